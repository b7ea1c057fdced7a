"""What experiments.build wrote, damaged at random: refused by name in one line, or read exactly; no pickle is read."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsrepro.data import affnist
from tests.support.arrays import HEADERS, Trap, npy, npz
from tests.support.bad_input import REFUSED, answer, damaged, frugal, often, put
from tests.support.digits import philox

pytestmark = pytest.mark.usefixtures("counted")

COUNT = 3  # items in each file
NOISE = philox(4).integers(0, 256, (COUNT, 40, 40, 1), dtype=np.uint8)


BUILT = {"images": NOISE, "labels": np.array([9, 0, 4], np.uint8), "parameters": np.full((COUNT, 6), 0.5, np.float32)}


def exact(read: Any) -> bool:
    return all(np.array_equal(ours, whole) for ours, whole in zip(read, BUILT.values(), strict=True))


@often
@given(damaged(npz({f"{name}.npy": npy(array) for name, array in BUILT.items()}), 200))
def test_built_affnist_is_refused_or_exactly_what_was_written(folder: Path, content: bytes | None) -> None:
    path = folder / "affnist.npz"
    put(path, content)
    with frugal(path):
        read = answer("built affNIST", lambda: affnist.read_built(path, 6), path)
    assert read is REFUSED or exact(read)


@often
@given(st.sampled_from(sorted(BUILT)), HEADERS, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_arrays_that_say_what_they_are_not_are_refused(
    folder: Path, name: str, header: dict[str, Any], compression: int
) -> None:
    """The archive's checksums are right, an array's header is not, or it claims what would fill the memory."""
    path = folder / "crafted.npz"
    members = {f"{each}.npy": npy(array, **(header if each == name else {})) for each, array in BUILT.items()}
    put(path, npz(members, compression))
    with frugal(path):
        read = answer("built affNIST, other headers", lambda: affnist.read_built(path, 6), path)
    assert read is REFUSED or [array.shape for array in read] == [array.shape for array in BUILT.values()]
    assert read is REFUSED or header.get("fortran_order") or exact(read)


def test_no_pickle_is_loaded(folder: Path) -> None:
    path, sprung = folder / "pickled.npz", folder / "sprung"
    np.savez(path, allow_pickle=True, **{**BUILT, "images": np.array([Trap(sprung)], object)})
    assert answer("built affNIST", lambda: affnist.read_built(path, 6), path) is REFUSED
    assert not sprung.exists()


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(folder: Path) -> None:
    path = folder / "bomb.npz"
    members = {f"{name}.npy": npy(array) for name, array in (BUILT | {"images": np.zeros(1 << 26, np.uint8)}).items()}
    put(path, npz(members, zipfile.ZIP_DEFLATED))
    with frugal(path):
        assert answer("built affNIST", lambda: affnist.read_built(path, 6), path) is REFUSED
