"""Loads and verifies the data set of a run."""

from pathlib import Path
from typing import Literal

from capsrepro import sources
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data import affnist, cifar10, mnist, multimnist, smallnorb, svhn
from capsrepro.data.batches import Dataset

Split = Literal["train", "stop", "test"]


def load(run: RunConfig, split: Split, folder: Path, scale: str) -> Dataset:
    """Loads a split of a run's data set and verifies its files.

    Args:
        run: settings of the run: data set, distortion, number of examples.
        split: `train` or `test`; affNIST also has `stop`, whose accuracy ends its training.
        folder: the folder that `experiments.fetch` downloads to.
        scale: the scale whose built files are read, if the data set has any.

    Raises:
        Error: a file is missing or is not the published one, or the data set has no such split.
    """
    examples = run.train_examples if split == "train" else None
    if run.data == "affnist":
        published = split == "test" and sources.is_fetched("affnist", folder)
        sha256 = sources.data_sha256("affnist" if published else "mnist", folder)  # verify before parsing
        built = folder / "built" / scale
        return affnist.load(folder, split, built=built, validate=run.validate, examples=examples, sha256=sha256)
    if split == "stop":
        raise Error(f"{run.data}: has no split `stop`; only affnist is stopped by one")
    if run.validate and run.data in ("smallnorb", "svhn"):
        raise Error(f"{run.data}: has no validation split; set validate: false")
    source = "mnist" if run.data == "multimnist" else run.data
    place, sha256 = folder / source, sources.data_sha256(source, folder)
    if run.data == "mnist":
        return mnist.load(place, split, validate=run.validate, shift=run.shift, examples=examples, sha256=sha256)
    if run.data == "multimnist":
        return multimnist.load(
            place,
            split,
            shift=run.shift,
            base_shift=run.base_shift,
            pairs=multimnist.PAIRS if split == "train" else run.test_pairs,
            validate=run.validate,
            examples=examples,
            sha256=sha256,
        )
    if run.data == "cifar10":
        return cifar10.load(place, split, validate=run.validate, examples=examples, sha256=sha256)
    if run.data == "smallnorb":
        return smallnorb.load(place, split, examples=examples, sha256=sha256)
    return svhn.load(place, split, examples=examples, sha256=sha256)
