"""Writes MNIST as the released code's TFRecords: each digit at every shift, or pairs of digits (MultiMNIST)."""

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from capsrepro.core import room
from capsrepro.data import batches, mnist, multimnist
from capsrepro.released import records, tfrecords
from . import SEED, at_least, run_cli

SPLITS = ("train", "test", "valid_train", "valid_test")
_DEALING = 2  # the purpose of a generator; smaller numbers are used in `batches`


def main(arguments: argparse.Namespace) -> None:
    """Writes the record files, either all of them or none, and prints their paths."""
    started = time.monotonic()
    digits = load(arguments.data_dir, arguments.split)
    folder = arguments.data_dir if arguments.output_dir is None else arguments.output_dir
    spec = f"{folder}/{arguments.split}_{arguments.shift}shifted_mnist.tfrecords"
    if arguments.multi_targets:
        pairs = multimnist.MultiMnist(
            digits.images,
            digits.labels,
            name=digits.name.replace("mnist", "multimnist"),
            sha256="",
            seed=arguments.seed,
            shift=arguments.shift,
            pad=arguments.pad,
            base_shift="per_image",  # as in the released code; the paper shifts each pair anew
            pairs=arguments.num_pairs,
        )
        shards = -(-len(pairs) // arguments.max_shard)
        spec = f"{folder}/multi{arguments.split}_{arguments.shift}shifted_mnist.tfrecords@{shards}"
        kind, features = records.PAIRS, records.every_pair(pairs)
    else:
        kind = records.SINGLE
        features = records.every_shift(digits.images, digits.labels, shift=arguments.shift, pad=arguments.pad)
    side = 28 + 2 * arguments.pad
    images = 3 * len(pairs) if arguments.multi_targets else (2 * arguments.shift + 1) ** 2 * len(digits)
    room.check_disk(folder, images * side * side, "--shift, --pad and --num_pairs")
    bar = tqdm(features, total=len(digits), unit=" digits", disable=None)
    count = records.write(spec, kind, bar, generator=batches.generator(arguments.seed, _DEALING, 0))
    for path in tfrecords.named(spec):
        print(path)
    print(f"{count} records in {time.monotonic() - started:.1f} s")


def load(data_dir: Path, split: str) -> mnist.Mnist:
    """The digits of a split, from MNIST's files in `data_dir` or in its subfolder `mnist`."""
    validate = split.startswith("valid_")
    source: mnist.Split = "train" if split.endswith("train") else "test"
    found = (data_dir / mnist.FILES["train" if validate else source][0]).is_file()
    return mnist.load(data_dir if found else data_dir / "mnist", source, validate=validate)


def boolean_flag(parser: argparse.ArgumentParser, name: str, default: bool, help: str) -> None:  # noqa: A002
    """Adds a flag that is parsed as in the released code: `--name`, `--noname`, `--name=false`, `--name false`."""
    parser.add_argument(
        f"--{name}", type=_boolean, nargs="?", const=True, default=default, metavar="true|false", help=help
    )
    same = f"the same as --{name}=false"
    parser.add_argument(f"--no{name}", dest=name, action="store_false", default=argparse.SUPPRESS, help=same)


def _boolean(word: str) -> bool:
    if (value := {"true": True, "1": True, "false": False, "0": False}.get(word.lower())) is None:
        raise argparse.ArgumentTypeError(f"expected true or false, received {word!r}")
    return value


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=Path, default=Path("data"), help="MNIST's IDX files are in it or in its subfolder mnist")
    add("--output_dir", type=Path, help="output folder; if not given: data_dir")
    add("--split", choices=SPLITS, default="train", help="valid_train: training images 10000-59999; valid_test: 0-9999")
    add("--shift", type=at_least(0, 28), default=2, help="largest shift of a digit in each direction, in pixels")
    add("--pad", type=at_least(0, 36), default=0, help="zeros on each side of a digit, in pixels")
    boolean_flag(parser, "multi_targets", False, "pairs of digits instead of single ones")
    add("--num_pairs", type=at_least(1, 10_000), default=1000, help="pairs per base digit")
    add("--max_shard", type=at_least(1), default=100_000, help="largest number of pairs in a file")
    add("--seed", type=SEED, default=0, help="seed of the pairs and of their distribution over files")
    return parser


if __name__ == "__main__":
    run_cli(main, flags())
