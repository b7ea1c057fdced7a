"""The real CIFAR-10, for tests that skip where it was not fetched."""

import functools

import pytest

from capsrepro import sources
from capsrepro.data import cifar10
from capsrepro.data.cifar10 import Cifar10
from capsrepro.data.mnist import Split
from tests.support import ROOT

FOLDER = ROOT / "data" / "cifar10"
needs_photographs = pytest.mark.skipif(
    not (FOLDER / cifar10.FOLDER).is_dir(),
    reason="CIFAR-10 is not in data/cifar10; `python -m experiments.fetch cifar10` fetches 139 MB",
)


@functools.cache
def photographs(split: Split) -> Cifar10:
    """One split, verified."""
    return cifar10.load(FOLDER, split, sha256=sources.data_sha256("cifar10", FOLDER.parent))
