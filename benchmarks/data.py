"""Measures examples per second of the data sets; needs MNIST's files (`python -m experiments.fetch mnist`)."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import rates
from capsrepro.data import affnist, mnist, multimnist
from capsrepro.data.batches import Dataset, Stream

BATCH = 128  # as in training
BATCHES = 20  # batches in a timed call
BLOCK = 50_000  # index entries in a timed call

Case = tuple[str, Callable[[], object], int, int | None]  # title, function, items per call, bound in items per second


def cases(folder: Path) -> list[Case]:
    """The benchmarks, with the bounds for the project's two-core machine."""
    digits = mnist.load(folder / "mnist", "train")
    pairs = multimnist.load(folder / "mnist", "train")
    test = mnist.load(folder / "mnist", "test")
    expanded = affnist.load(folder, "train", built=folder)
    numbers = np.arange(40_000_000, 40_000_000 + BLOCK)

    return [
        ("MultiMNIST index, pairs", lambda: pairs.pairs(numbers), BLOCK, 5_000_000),
        ("MultiMNIST rendered, pairs", lambda: pairs.rendered(numbers[:BATCH]), BATCH, 100_000),
        ("MultiMNIST rendered, 10,000 at a time", lambda: pairs.rendered(numbers[:10_000]), 10_000, 100_000),
        ("affNIST built, images", lambda: affnist.affine(test.images, np.arange(2000), 32, 0), 2000, 5_000),
        ("expanded MNIST built, images", lambda: affnist.expanded(test.images, np.arange(2000), 0), 2000, 5_000),
        ("MNIST training batches, images", stream(digits), BATCHES * BATCH, 20_000),
        ("expanded MNIST training batches, images", stream(expanded), BATCHES * BATCH, None),
        ("MultiMNIST training batches, pairs", stream(pairs), BATCHES * BATCH, 5_000),
    ]


def stream(dataset: Dataset) -> Callable[[], object]:
    """A function that computes `BATCHES` training batches."""
    batches = Stream(dataset, BATCH, seed=0)
    return lambda: [batches.batch(step) for step in range(BATCHES)]


def on_one_core(name: Literal["mnist", "multimnist"], folder: Path) -> float:
    """Training examples per second, the median, with all threads on one core."""
    module = {"mnist": mnist, "multimnist": multimnist}[name]
    work, cores = stream(module.load(folder / "mnist", "train")), os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return rates(work, BATCHES * BATCH)[1]
    finally:
        os.sched_setaffinity(0, cores)


def main(folder: Path) -> None:
    """Prints a line for each benchmark."""
    print(f"{'per second':40}{'best':>14}{'median':>14}{'bound':>14}")
    for name, work, items, bound in cases(folder):
        best, median = rates(work, items)
        reached = "" if bound is None else f"{bound:14,}" + ("" if best >= bound else "  MISSED")
        print(f"{name:40}{best:14,.0f}{median:14,.0f}{reached}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the folder mnist")
    main(parser.parse_args().data)
