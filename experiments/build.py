"""Builds test sets from MNIST's test digits, one file each in data/built/SCALE."""

import argparse
import time
from pathlib import Path

from capsrepro.core import files
from . import SEED, at_least, run_cli

NAMES = ("affnist", "expanded", "multimnist")
MOST = 1000  # images or pairs per digit; as many as the paper's MultiMNIST has
VERSIONS = {"quick": 1, "medium": 8, "full": 32, "paper": 32}  # affNIST's images per digit; the published set has 32


def main(arguments: argparse.Namespace) -> None:
    """Builds the requested sets, one after the other."""
    from capsrepro.data import affnist, mnist, multimnist

    versions = VERSIONS[arguments.scale] if arguments.versions is None else arguments.versions
    digits = mnist.load(arguments.data / "mnist", "test")
    for name in arguments.names:
        path = arguments.data / "built" / arguments.scale / f"{name}.npz"
        with files.locked(arguments.data / ".build" / arguments.scale / name, f"building {path}"):
            began = time.perf_counter()
            each = {"affnist": versions, "expanded": 1, "multimnist": arguments.pairs}[name]
            if name == "affnist":
                affnist.build_affnist(digits, path, each, arguments.seed)
            elif name == "expanded":
                affnist.build_expanded(digits, path, arguments.seed)
            else:
                pairs = multimnist.load(arguments.data / "mnist", "test", pairs=each, seed=arguments.seed)
                multimnist.build_index(pairs, path)
            seconds = time.perf_counter() - began
            count = len(digits) * each
        print(f"{path}: {count} examples in {seconds:.1f} s, {count / seconds:.0f} a second", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="docs/data.md describes the content of each file.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    parser.add_argument("--scale", default="quick", choices=VERSIONS, help="the scale; it selects folder and versions")
    parser.add_argument(
        "--versions", type=at_least(1, MOST), help="affNIST's images per digit; else quick 1, medium 8, others 32"
    )
    parser.add_argument(
        "--pairs", type=at_least(1, MOST), default=1, help="MultiMNIST's pairs per base digit, in an index"
    )
    parser.add_argument("--seed", type=SEED, default=0, help="seed of affine maps, positions and pairs")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the folder mnist")
    run_cli(main, parser)
