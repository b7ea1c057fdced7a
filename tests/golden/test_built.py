"""Checksums of what is built from MNIST's test digits: a file built anywhere is the one that results came from."""

from pathlib import Path

import numpy as np
from pytest_regressions.data_regression import DataRegressionFixture

from capsrepro.data import affnist, batches, multimnist
from capsrepro.data.multimnist import MultiMnist
from tests.support.arrays import checksum
from tests.support.digits import Digits

GOLDEN = Path(__file__).parent / "data" / "built.yml"


def arrays(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Every built array at a small size, and two orders of training."""
    pairs = MultiMnist(images, labels, name="multimnist-test", sha256="", pairs=1)
    shared = MultiMnist(images, labels, name="multimnist-test", sha256="", pairs=2, shift=6, base_shift="per_image")
    merged, first, second, both = shared.rendered(np.arange(0, 20_000, 10))
    transformed, parameters = affnist.affine(images, np.arange(4000), 2, 0)
    placed, places = affnist.expanded(images, np.arange(2000), 0)
    return {
        **{f"multimnist/{name}": array for name, array in multimnist.index(pairs).items()},
        "multimnist-6-per-image/merged": merged,
        "multimnist-6-per-image/first": first,
        "multimnist-6-per-image/second": second,
        "multimnist-6-per-image/labels": both,
        "affnist/images": transformed,
        "affnist/parameters": parameters,
        "expanded/images": placed,
        "expanded/shifts": places,
        "order/mnist": batches.order(0, 59_000, 62_000, 60_000),
        "order/multimnist": batches.order(0, 0, 3000, 60_000_000),
    }


def test_built_arrays_are_those_of_the_checksums(digits: Digits, data_regression: DataRegressionFixture) -> None:
    """After a change that is meant: `python -m pytest tests/golden/test_built.py --force-regen`."""
    ours = {name: checksum(array) for name, array in arrays(*digits).items()}
    data_regression.check(ours, fullpath=GOLDEN)
