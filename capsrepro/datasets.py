"""Loads data sets by name: `capsrepro.datasets.load("multimnist", "test")`."""

from pathlib import Path
from typing import Any

import pooch

from capsrepro import sources
from capsrepro.core.params import FROM_MNIST, RunConfig
from capsrepro.core.validation import validated
from capsrepro.data import loading
from capsrepro.data.batches import Dataset

PAIRS_SHIFT = 4  # pixels that the paper moves the digits of a pair


def load(
    name: str, split: loading.Split = "test", folder: Path | str = "data", *, scale: str = "full", **settings: Any
) -> Dataset:
    """Loads a split of a data set as the paper uses it; its files are fetched if they are not there, and verified.

    The affNIST test set is built once by `capsrepro build affnist --scale full`.

    Args:
        name: `mnist`, `multimnist`, `affnist`, `cifar10`, `smallnorb` or `svhn`.
        split: `train` or `test`; affNIST also has `stop`.
        folder: the folder of the data sets; the environment variable `CAPSREPRO_DATA` names one that is searched first.
        scale: the scale of the built files, if the data set has any.
        **settings: those of a run that say what its data are, such as `shift`, `test_pairs` or `train_examples`.

    Returns:
        The data set: `len(it)` examples, `it.batch(numbers)` gives `images` (B, H, W, D) in [0, 1] and `labels` (B, T).

    Raises:
        Error: the name, the split or a setting is unknown, or no mirror has the files.
    """
    shift = {"shift": PAIRS_SHIFT} if name == "multimnist" else {}
    run: RunConfig = validated(RunConfig, {"data": name, "model": "capsnet", **shift, **settings}, "datasets.load")
    source = "mnist" if name in FROM_MNIST else name
    if not sources.is_fetched(source, Path(folder)):
        pooch.get_logger().setLevel("WARNING")  # `say` says the same in fewer words
        sources.fetch(source, Path(folder), say=print)
    return loading.load(run, split, Path(folder), scale)
