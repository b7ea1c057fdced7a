"""Writes MNIST as the released code's TFRecords: each digit at every shift, or pairs of digits (MultiMNIST)."""

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from capsrepro.data import batches, mnist, multimnist
from capsrepro.released import records, tfrecords
from experiments import at_least, boolean_flag, run_cli

SPLITS = ("train", "test", "valid_train", "valid_test")
_DEALING = 2  # what a generator is for; batches has the smaller numbers


def main(arguments: argparse.Namespace) -> None:
    """Writes the records, all of them or none, and tells which files they are in."""
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
            base_shift="per_image",  # as the released code has it; the paper shifts the digits of each pair
            pairs=arguments.num_pairs,
        )
        shards = -(-len(pairs) // arguments.max_shard)
        spec = f"{folder}/multi{arguments.split}_{arguments.shift}shifted_mnist.tfrecords@{shards}"
        kind, features = records.PAIRS, records.every_pair(pairs)
    else:
        kind = records.SINGLE
        features = records.every_shift(digits.images, digits.labels, shift=arguments.shift, pad=arguments.pad)
    bar = tqdm(features, total=len(digits), unit=" digits", disable=None)
    count = records.write(spec, kind, bar, generator=batches.generator(arguments.seed, _DEALING, 0))
    for path in tfrecords.named(spec):
        print(path)
    print(f"{count} records in {time.monotonic() - started:.1f} s")


def load(data_dir: Path, split: str) -> mnist.Mnist:
    """The digits of a split; `data_dir` holds the MNIST files, or its folder mnist does, as after experiments.fetch."""
    validate = split.startswith("valid_")
    source: mnist.Split = "train" if split.endswith("train") else "test"
    there = (data_dir / mnist.FILES["train" if validate else source][0]).is_file()
    return mnist.load(data_dir if there else data_dir / "mnist", source, validate=validate)


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=Path, default=Path("data"), help="holds MNIST's IDX files, itself or in its folder mnist")
    add("--output_dir", type=Path, help="where the records go; data_dir if not given")
    add("--split", choices=SPLITS, default="train", help="valid_train: training images 10000-59999; valid_test: 0-9999")
    add("--shift", type=at_least(0), default=2, help="how far a digit is moved each way, in pixels")
    add("--pad", type=at_least(0), default=0, help="zeros around each digit, in pixels")
    boolean_flag(parser, "multi_targets", False, "pairs of digits instead of single ones")
    add("--num_pairs", type=at_least(1), default=1000, help="pairs of each digit")
    add("--max_shard", type=at_least(1), default=100_000, help="most pairs in a file")
    add("--seed", type=int, default=0, help="of the pairs and of which file each goes to")
    return parser


if __name__ == "__main__":
    run_cli(main, flags())
