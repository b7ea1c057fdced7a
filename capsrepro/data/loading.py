"""From a run's settings to its data set, verified."""

from pathlib import Path

from capsrepro import sources
from capsrepro.data import mnist
from capsrepro.data.batches import Dataset
from capsrepro.params import Run


def load(run: Run, split: mnist.Split, folder: Path) -> Dataset:
    """The split of a run's data set, its files verified.

    Args:
        run: its settings: which data set, how it is distorted, how much of it.
        split: `train` or `test`.
        folder: where `experiments.fetch` put the data sets.

    Raises:
        Error: a file is missing or is not the published one.
    """
    return mnist.load(
        folder / "mnist",
        split,
        validate=run.validate,
        shift=run.shift,
        examples=run.train_examples if split == "train" else None,
        sha256=sources.data_sha256("mnist", folder),
    )
