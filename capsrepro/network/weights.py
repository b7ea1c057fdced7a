"""Save and load weights."""

import hashlib
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.origin import KEY, SEAL, Origin, check_file
from capsrepro.core.text import one_line

_NUMBERS = ("<f2", "<f4", "<f8")  # of weights: floating point, not complex
_EXTRA_BYTES = 1 << 20  # that a weights file may have beyond its numbers


def save_weights(model: keras.Model, path: Path, *, origin: Origin | None = None, half: bool = False) -> None:
    """Saves the weights without the optimizer as a Keras `.weights.h5`; equal weights give equal bytes.

    The SHA-256 of the content is appended to the file, since HDF5 has no checksum of the numbers.

    Args:
        model: the model; its weights do not change.
        path: the file to write, atomically.
        origin: run and settings of the training; None: unknown.
        half: store numbers in float16 (11 significant bits), in half the size; loading converts them to float32.
    """
    with files.replacing(path) as temporary:
        # On a full disk HDF5 crashes with a segmentation fault, so the space is tested first.
        temporary.write_bytes(bytes(4 * model.count_params() + _EXTRA_BYTES))
        uncompiled(model).save_weights(temporary)
        if half:
            _halve(temporary)
        if origin is not None:
            with h5py.File(temporary, "a") as file:
                file.attrs[KEY] = json.dumps({**vars(origin), "settings": origin.settings.as_json()}, sort_keys=True)
        digest = bytes.fromhex(files.sha256(temporary))
        with temporary.open("ab") as file:
            file.write(SEAL + digest)


def load_weights(model: keras.Model, path: Path) -> None:
    """Loads weights of `save_weights` into a model of the same architecture.

    Raises:
        Error: the file is missing, damaged, not a weights file or of another architecture, or a number in it is not
            finite. The latter could go unnoticed, as oneDNN's ReLU turns NaN into 0. Do not use the model after it.
    """
    check_file(path)
    try:
        _check_arrays(path)
        with warnings.catch_warnings():
            # If the file lacks the weights of a layer, Keras only warns and leaves the layer as initialised.
            warnings.simplefilter("error", UserWarning)
            uncompiled(model).load_weights(path)
    except Exception as fault:  # HDF5 raises many types on damaged files
        reason = one_line(fault, 300)
        raise Error(
            f"{path}: not the weights of this {model.name} of {model.count_params()} parameters ({reason})"
        ) from fault
    if not all(np.isfinite(keras.ops.convert_to_numpy(variable)).all() for variable in model.weights):
        raise Error(f"{path}: a weight is not finite; train again")


def _filters(array: h5py.Dataset) -> int:
    """The number of filters, such as compression, that an array is stored with."""
    count: int = array.id.get_create_plist().get_nfilters()
    return count


def _halve(path: Path) -> None:
    """Rewrites a weights file with its arrays in float16."""
    entries: list[tuple[str, np.ndarray | None, dict[str, Any]]] = []

    def add(name: str, entry: Any) -> None:
        entries.append((name, entry[()] if isinstance(entry, h5py.Dataset) else None, dict(entry.attrs)))

    with h5py.File(path, "r") as file:
        file.visititems(add)
    with h5py.File(path, "w") as file:
        for name, array, attributes in entries:
            entry = file.require_group(name) if array is None else file.create_dataset(name, data=np.float16(array))
            entry.attrs.update(attributes)


def _check_arrays(path: Path) -> None:
    """Checks the arrays of a file before any is read.

    Elements of variable length would share their bytes, so that few are many in memory. Arrays of other files, and
    compressed or virtual ones, are not what Keras writes.

    Raises:
        ValueError: an array is not of plain floating-point numbers in the file itself, or there are too many bytes.
    """
    sizes = [0]

    def add(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            if entry.dtype.str not in _NUMBERS or entry.is_virtual or entry.external or _filters(entry):
                raise ValueError(f"{one_line(name)} is of {one_line(entry.dtype)}, or not stored as it is")
            sizes.append(entry.nbytes)

    def check_link(name: str) -> None:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{one_line(name)} leads to elsewhere")

    with h5py.File(path, "r") as file:
        file.visititems(add)
        file.visit_links(check_link)
    if sum(sizes) > path.stat().st_size:
        raise ValueError(f"its arrays claim to have {sum(sizes)} bytes")


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over the names, shapes and values of a model's weights; the file's hash would cover more than these."""
    names = "".join(f"{variable.path} {variable.shape}" for variable in model.weights)
    return arrays_sha256(map(keras.ops.convert_to_numpy, model.weights), names)


def arrays_sha256(arrays: Iterable[np.ndarray], names: str = "") -> str:
    """SHA-256 over `names` and the bytes of the arrays."""
    digest = hashlib.sha256(names.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def uncompiled(model: keras.Model) -> keras.Model:
    """A model of the same layers without the state of optimizer and metrics, which would be saved too."""
    return keras.Model(model.input, model.output, name=model.name)
