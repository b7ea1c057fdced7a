"""Classifies the digits in pictures (PNG, JPEG, BMP, WebP, GIF; IDX files) with a CapsNet, draws reconstructions."""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tabulate

from capsrepro.core import params, paths, text
from capsrepro.core.errors import Error
from capsrepro.core.origin import evaluation_settings
from capsrepro.core.paths import BEST_FIRST
from capsrepro.data import picture_files, pictures
from . import NAME, SEED, at_least, run_cli

DRAWN = 80  # largest number of pictures drawn, eight in a row


def main(arguments: argparse.Namespace) -> None:
    """Classifies all readable pictures; each unreadable file is reported in one line, and the exit code is then 1."""
    picture_files.check_output(arguments.output, arguments.images)
    scale, weights = arguments.scale or BEST_FIRST[0], arguments.weights
    if weights is None:
        scales = [arguments.scale] if arguments.scale else BEST_FIRST
        scale, weights = paths.trained(arguments.run, arguments.seed, scales)
    settings = evaluation_settings(weights, params.read(arguments.params).settings(arguments.run, scale))
    if (settings.data, settings.model) != ("mnist", "capsnet"):
        raise Error(f"{arguments.run}: not a CapsNet for MNIST; give --run one that is")
    read, refused = [], 0
    for path in arguments.images:
        try:
            read += [one._replace(name=text.one_line(one.name)) for one in pictures.read(path, arguments.first)]
        except Error as fault:
            print(f"error: {text.message(fault)}", file=sys.stderr)
            refused += 1
    if read:
        answer(read, settings, weights, arguments.output)
    if refused:
        sys.exit(1)


def answer(read: list[pictures.DigitPicture], settings: Any, weights: Path, output: Path) -> None:
    """Prints a line for each picture, and draws it above the reconstruction from the capsule of its digit."""
    from capsrepro.network import devices, evaluation, models  # first, as it loads the framework without its lines
    from capsrepro.network.weights import load_weights

    devices.share_gpus()
    from capsrepro.figures import drawing, reconstructions

    images = np.stack([one.image for one in read])  # (N, 28, 28, 1)
    model = models.build(settings, pictures.SHAPE)
    load_weights(model, weights)
    lengths = evaluation.scores_of(model, images, str(weights))  # (N, 10)
    digits = lengths.argmax(axis=1)
    lines = [[one.name, digit, *row, one.prepared] for one, digit, row in zip(read, digits, lengths, strict=True)]
    header = ["picture", "digit", *map(str, range(10)), "prepared"]
    print(f"The digit, and the lengths of all ten capsules by {weights}:")
    print(tabulate.tabulate(lines, header, floatfmt=".2f", disable_numparse=[0]))
    if settings.reconstruction:
        names = [picture_files.drawable(Path(one.name).name) for one in read[:DRAWN]]
        drawing.save(reconstructions.redrawn(model, names, images[:DRAWN], digits[:DRAWN]), output)
        print(f"{output}: the first {len(names)} with their reconstructions")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="a picture, or an IDX file, also gzipped")
    parser.add_argument("--first", type=at_least(1), default=10, help="largest number of images from an IDX file")
    parser.add_argument("--run", type=NAME, default="mnist-capsnet-r3-recon", help="a CapsNet for MNIST in params.yaml")
    parser.add_argument("--scale", type=NAME, help=f"else the first of {', '.join(BEST_FIRST)} that has weights")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the training")
    parser.add_argument("--weights", type=Path, help=f"your own weights, of the network of --scale ({BEST_FIRST[0]})")
    parser.add_argument("--output", type=Path, default=Path("reconstruction.png"), help="the drawing")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameter file")
    run_cli(main, parser)
