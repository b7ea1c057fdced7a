"""Finds the data that `--data_dir` names, in the released code's layout or ours."""

from pathlib import Path

from capsrepro.core.errors import Error
from capsrepro.data import cifar10, mnist, multimnist, smallnorb
from capsrepro.data.batches import Dataset
from capsrepro.released import records


def load(dataset: str, data_dir: str, *, train: bool, validate: bool, targets: int) -> Dataset:
    """Loads the training or the test split.

    Args:
        dataset: `mnist`, `cifar10` or `norb`.
        data_dir: a folder, or for MNIST a record file (`path@N` for N shards). A folder holds the released code's
            record files or the files of `experiments.fetch`, directly or in a subfolder with the data set's name.
        train: True: the training split; False: the test split.
        validate: train without the validation images (MNIST: on 50,000), or test on them (MNIST: 10,000).
        targets: digits per image; 2 for MultiMNIST, read from shards or paired from MNIST's files.

    Raises:
        Error: no usable file was found; the message names the expected files.
    """
    if targets > 1 and dataset != "mnist":
        raise Error(f"--num_targets={targets}: only --dataset=mnist has several digits in an image, received {dataset}")
    if validate and dataset == "norb":
        raise Error("--validate: smallNORB has no validation split here; leave it out")
    split: mnist.Split = "train" if train else "test"
    return {"mnist": _mnist, "cifar10": _cifar10, "norb": _norb}[dataset](data_dir, split, validate, targets)


def _mnist(data_dir: str, split: mnist.Split, validate: bool, targets: int) -> Dataset:
    name = f"{'mnist' if targets == 1 else 'multimnist'}-{split}" + ("-validation" if validate else "")
    folder = Path(data_dir)
    if not folder.is_dir():
        return _with_digits(records.load(data_dir, name=name), data_dir, targets)
    if targets == 1:
        shift = 2 if split == "train" else 0
        # The released reader and writer disagree about the name.
        both = (f"{split}_{shift}shifted_mnist_valid", f"valid_{split}_{shift}shifted_mnist")
        wanted = both if validate else (f"{split}_{shift}shifted_mnist",)
        others = f"{'valid_' if validate else ''}{split}_*shifted_mnist.tfrecords"  # such as those padded to 40x40
        found = [folder / f"{stem}.tfrecords" for stem in wanted] + sorted(folder.glob(others))
        for path in found:
            if path.is_file():
                return _with_digits(records.load(path, name=name), str(path), targets)
    for place in (folder, folder / "mnist"):
        if (place / mnist.FILES["train"][0]).is_file() or (place / mnist.FILES["test"][0]).is_file():
            if targets == 1:
                return mnist.load(place, split, validate=validate)
            # As in the released README; the paper shifts by 4.
            return multimnist.load(place, split, validate=validate, shift=6, base_shift="per_image")
    looked = "a record file, MNIST's IDX files" + (f", {' or '.join(wanted)}.tfrecords" if targets == 1 else "")
    raise Error(f"--data_dir={data_dir}: found none of {looked}; run `python -m experiments.fetch mnist`")


def _with_digits(dataset: Dataset, where: str, targets: int) -> Dataset:
    if dataset.digits != targets:
        raise Error(f"{where}: has {dataset.digits} digit(s) in an image, but --num_targets={targets}; make them agree")
    return dataset


def _cifar10(data_dir: str, split: mnist.Split, validate: bool, targets: int) -> Dataset:
    folder = Path(data_dir)
    return cifar10.load(folder / "cifar10" if (folder / "cifar10").is_dir() else folder, split, validate=validate)


def _norb(data_dir: str, split: mnist.Split, validate: bool, targets: int) -> Dataset:
    folder = Path(data_dir)
    for path in (folder / f"{split}duo.tfrecords", folder / "norb" / f"{split}duo.tfrecords", folder):
        if path.is_file():
            return records.load(path, name=f"smallnorb-{split}")
    return smallnorb.load(folder / "smallnorb" if (folder / "smallnorb").is_dir() else folder, split)
