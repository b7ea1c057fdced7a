"""Save and load weights."""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from pydantic.dataclasses import dataclass

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.core.paths import RunPaths
from capsrepro.core.text import one_line
from capsrepro.core.validation import CONFIG, Natural, Text, validated

SEAL = b"sha256 of the bytes before: "  # followed by 32 bytes at the end of our weights files, which HDF5 ignores

_ORIGIN = "capsrepro"  # the attribute of a weights file that holds its `Origin` as JSON
_PIECE = 1 << 20  # bytes read at a time
_NUMBERS = ("<f2", "<f4", "<f8")  # of weights: floating point, not complex
_MOST_ORIGIN = 64 << 10  # bytes of an `Origin` as JSON
_EXTRA_BYTES = 1 << 20  # that a weights file may have beyond its numbers


@dataclass(frozen=True, config=CONFIG)
class Origin:
    """Run, seed, steps and settings of trained weights, stored with them to prevent use with other settings."""

    run: Text
    scale: Text
    seed: Natural
    steps: Natural  # the updates actually made, summed over all members
    settings: RunConfig

    @property
    def for_evaluation(self) -> RunConfig:
        """The settings in float32; an evaluation in the bfloat16 of training could change single predictions."""
        return dataclasses.replace(self.settings, precision="float32")


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
                file.attrs[_ORIGIN] = json.dumps(
                    {**vars(origin), "settings": origin.settings.as_json()}, sort_keys=True
                )
        digest = bytes.fromhex(files.sha256(temporary))
        with temporary.open("ab") as file:
            file.write(SEAL + digest)


def read_origin(path: Path, expected: RunPaths | None = None) -> Origin | None:
    """Reads run and settings of the weights in a file; None if they are not stored.

    Args:
        path: the file.
        expected: the run that the weights must belong to; None: any.

    Raises:
        Error: the file is missing or damaged, or its weights are of another run, scale or seed.
    """
    _check_file(path)
    try:
        with h5py.File(path, "r") as file:
            text = _origin_text(file)
        content = None if text is None else json.loads(text)
    except Exception as fault:  # HDF5 raises many types on damaged files
        raise Error(f"{path}: not readable ({one_line(fault, 200)}); delete it and train again") from fault
    if content is None:
        return None
    origin: Origin = validated(Origin, content, str(path))
    if expected is not None and (origin.scale, origin.run, origin.seed) != (
        expected.scale,
        expected.run,
        expected.seed,
    ):
        found = RunPaths(origin.scale, origin.run, origin.seed).name
        raise Error(f"{path}: expected the weights of {expected.name}, received those of {found}; train again")
    return origin


def origin_of(where: RunPaths) -> Origin:
    """Reads run and settings of a run's weights from their file or, for older weights, from their provenance.

    Raises:
        Error: the weights are missing, damaged or of another run, or neither file has the settings.
    """
    if (stored := read_origin(where.weights, where)) is not None:
        return stored
    settings, content = provenance_settings(where), files.read_json(where.origin)
    return Origin(where.run, where.scale, where.seed, int(content.get("steps_done", settings.steps)), settings)


def provenance_settings(where: RunPaths) -> RunConfig:
    """Reads the settings of a training from its provenance, which needs no weights.

    Raises:
        Error: the provenance is missing or malformed, or has no settings.
    """
    content = files.read_json(where.origin)
    settings: RunConfig = validated(RunConfig, content.get("settings"), f"{where.origin}, settings")
    return settings


def evaluation_settings(path: Path, otherwise: RunConfig, expected: RunPaths | None = None) -> RunConfig:
    """The settings to evaluate weights with: those of their training, in float32.

    Args:
        path: the weights file.
        otherwise: the settings to use if the file stores none.
        expected: see `read_origin`.
    """
    if (origin := read_origin(path, expected)) is not None:
        return origin.for_evaluation
    return dataclasses.replace(otherwise, precision="float32")


def load_weights(model: keras.Model, path: Path) -> None:
    """Loads weights of `save_weights` into a model of the same architecture.

    Raises:
        Error: the file is missing, damaged, not a weights file or of another architecture, or a number in it is not
            finite. The latter could go unnoticed, as oneDNN's ReLU turns NaN into 0. Do not use the model after it.
    """
    _check_file(path)
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


def _origin_text(file: h5py.File) -> str | None:
    """The text in the attribute of `Origin`; a list of texts could share its bytes and so fill the memory."""
    if _ORIGIN not in file.attrs:
        return None
    attribute = file.attrs.get_id(_ORIGIN)
    text = file.attrs[_ORIGIN] if attribute.shape == () else None
    if not isinstance(text, str) or len(text) > _MOST_ORIGIN:
        raise ValueError("its origin is no text, or too long")
    return text


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise Error(f"{path}: no such weights; train them with `dvc repro` or `python -m experiments.train`")
    if not _is_sealed(path) or not h5py.is_hdf5(path):
        raise Error(f"{path}: not a Keras weights file, or damaged; delete it and train again")


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


def _is_sealed(path: Path) -> bool:
    """Whether the checksum at the end of a file is correct; files without one, such as Keras's own, pass."""
    content = path.stat().st_size - len(SEAL) - 32
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(max(0, content))
        seal = file.read()
        if content < 0 or not seal.startswith(SEAL):
            return True
        file.seek(0)
        for start in range(0, content, _PIECE):
            digest.update(file.read(min(_PIECE, content - start)))
    return digest.digest() == seal[len(SEAL) :]


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
