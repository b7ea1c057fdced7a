"""Weights files that are made to fill the memory, to read other files, or to pass other numbers off as weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from capsrepro.core.errors import Error
from capsrepro.core.origin import read_origin
from capsrepro.network.weights import load_weights, save_weights
from tests.support.runs import tiny_network


def first(file: h5py.File) -> tuple[h5py.Group, str, h5py.Dataset]:
    """The largest array, with its group and its name there."""
    found: list[str] = []
    file.visititems(lambda name, entry: found.append(name) if isinstance(entry, h5py.Dataset) else None)
    name = max(found, key=lambda one: file[one].size)
    group, _, last = name.rpartition("/")
    return file[group], last, file[name]


def replaced(**options: Any) -> Callable[[Path, h5py.File], None]:
    """Replaces the largest array by one with these options of h5py, of ones."""

    def change(_: Path, file: h5py.File) -> None:
        group, name, array = first(file)
        shape = array.shape
        del group[name]
        group.create_dataset(name, shape=shape, **options)

    return change


def external(path: Path, file: h5py.File) -> None:
    """An array whose numbers are in another file."""
    group, name, array = first(file)
    shape, size = array.shape, array.nbytes
    del group[name]
    (path.parent / "elsewhere").write_bytes(bytes(size))
    group.create_dataset(name, shape=shape, dtype="f4", external=[(str(path.parent / "elsewhere"), 0, size)])


def linked(path: Path, file: h5py.File) -> None:
    """A link in place of an array, to an array of another file."""
    group, name, array = first(file)
    with h5py.File(path.parent / "other.h5", "w") as other:
        other.create_dataset("a", data=array[()])
    del group[name]
    group[name] = h5py.ExternalLink("other.h5", "/a")


def softly(_: Path, file: h5py.File) -> None:
    group, name, _array = first(file)
    file.move(f"{group.name}/{name}", "/elsewhere")
    group[name] = h5py.SoftLink("/elsewhere")


def origins(_: Path, file: h5py.File) -> None:
    file.attrs["capsrepro"] = ["{}"] * 3000


def virtual(_: Path, file: h5py.File) -> None:
    group, name, array = first(file)
    layout = h5py.VirtualLayout(array.shape, "f4")
    del group[name]
    group.create_virtual_dataset(name, layout)


HOSTILE: dict[str, Callable[[Path, h5py.File], None]] = {
    "complex numbers": replaced(dtype="c8"),
    "whole numbers": replaced(dtype="i8"),
    "truth values": replaced(dtype="?"),
    "texts": replaced(dtype=h5py.string_dtype()),
    "elements of variable length": replaced(dtype=h5py.vlen_dtype(np.float32)),
    "compressed": replaced(dtype="f4", compression="gzip"),
    "in another file": external,
    "a link to another file": linked,
    "a soft link": softly,
    "virtual": virtual,
}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "a.weights.h5"
    save_weights(tiny_network(seed=1), path)
    content = path.read_bytes()
    path.write_bytes(
        content[: content.rindex(b"sha256 of the bytes before: ")]
    )  # whoever changes it leaves out the seal
    return path


@pytest.mark.parametrize("what", HOSTILE)
def test_other_arrays_than_plain_numbers_of_the_file_are_refused(what: str, whole: Path) -> None:
    model = tiny_network()
    load_weights(model, whole)
    with h5py.File(whole, "r+") as file:
        HOSTILE[what](whole, file)
    with pytest.raises(Error, match=r"a\.weights\.h5: not the weights of this capsnet") as refused:
        load_weights(model, whole)
    assert str(refused.value).isprintable()


def test_an_origin_of_many_texts_is_refused_unread(whole: Path) -> None:
    with h5py.File(whole, "r+") as file:
        origins(whole, file)
    with pytest.raises(Error, match="its origin is no text"):
        read_origin(whole)
