"""What experiments.build wrote, damaged at random: refused by name in one line, or read exactly; no pickle is read."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsrepro.data import affnist
from tests.support.bad_input import REFUSED, answer, damaged, frugal, often, put, tell
from tests.support.digits import philox

COUNT = 3  # items in each file
NOISE = philox(4).integers(0, 256, (COUNT, 40, 40, 1), dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    tell(request)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


BUILT = {"images": NOISE, "labels": np.array([9, 0, 4], np.uint8), "parameters": np.full((COUNT, 6), 0.5, np.float32)}


def npy(array: np.ndarray, **header: Any) -> bytes:
    """A .npy file; `header` says what the array is not."""
    with io.BytesIO() as file:
        message = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
        np.lib.format.write_array_header_1_0(file, message)
        return file.getvalue() + (b"" if array.dtype.hasobject else array.tobytes())


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return file.getvalue()


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


SHAPES = st.lists(st.integers(0, 3) | st.sampled_from([2**31, 2**62, -1]), max_size=4).map(tuple)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "shape": SHAPES,
        "descr": st.sampled_from(["|O", "<f4", "|u1", "<f8", "|S7", "|V3", "<M8[s]"]),
        "fortran_order": st.booleans(),
    },
)


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


class Trap:
    """What unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


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
