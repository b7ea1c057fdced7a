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
from capsrepro.core.validation import CONFIG, Natural, Text, validated

SEAL = b"sha256 of the bytes before: "  # ends our weights files, before 32 bytes; HDF5 ignores what follows its content

_ORIGIN = "capsrepro"  # the attribute of a weights file that holds its `Origin` as JSON
_PIECE = 1 << 20  # bytes read at a time
_ROOM = 1 << 20  # bytes that a weights file may have beside its numbers


@dataclass(frozen=True, config=CONFIG)
class Origin:
    """What weights were trained as. It is stored with them, so that they are never used with other settings."""

    run: Text
    scale: Text
    seed: Natural
    steps: Natural  # the updates really done, of all members together
    settings: RunConfig

    @property
    def for_evaluation(self) -> RunConfig:
        """The settings in float32: bfloat16, in which they may have been trained, would change single answers."""
        return dataclasses.replace(self.settings, precision="float32")


def save_weights(model: keras.Model, path: Path, *, origin: Origin | None = None, half: bool = False) -> None:
    """Writes the weights alone, no optimizer, as a Keras `.weights.h5`; the same weights give the same bytes.

    The SHA-256 of the file goes to its end: HDF5 has no checksum of the numbers.

    Args:
        model: whose weights; its own stay as they are.
        path: of the file.
        origin: what they were trained as; None: not known.
        half: store each number in float16, of 11 bits, and so the file in half the size; they are loaded as float32.
    """
    with files.replacing(path) as temporary:
        # On a full disk HDF5 ends the process with a segmentation fault: whether there is room has to be known before.
        temporary.write_bytes(bytes(4 * model.count_params() + _ROOM))
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
    """What the weights in a file were trained as; None where the file does not say.

    Args:
        path: of the file.
        expected: the run that they must be of; None: any.

    Raises:
        Error: the file is missing or damaged, or its weights are of another run, scale or seed.
    """
    _check_file(path)
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get(_ORIGIN)
        content = None if text is None else json.loads(text)
    except Exception as fault:  # of a damaged file HDF5 raises almost anything
        raise Error(
            f"{path}: not readable ({' '.join(str(fault).split())[:200]}); delete it and train again"
        ) from fault
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
    """What the weights of a run were trained as: stored with them or, for older ones, in their provenance.

    Raises:
        Error: the weights are missing, damaged or of another run, or neither file says what they were trained as.
    """
    if (stored := read_origin(where.weights, where)) is not None:
        return stored
    content = files.read_json(where.provenance)
    settings = validated(RunConfig, content.get("settings"), f"{where.provenance}, settings")
    return Origin(where.run, where.scale, where.seed, int(content.get("steps_done", settings.steps)), settings)


def evaluation_settings(path: Path, otherwise: RunConfig, expected: RunPaths | None = None) -> RunConfig:
    """The settings with which weights are evaluated: those that they were trained with, in float32.

    Args:
        path: the weights file.
        otherwise: the settings where the file says none.
        expected: as for `read_origin`.
    """
    if (origin := read_origin(path, expected)) is not None:
        return origin.for_evaluation
    return dataclasses.replace(otherwise, precision="float32")


def load_weights(model: keras.Model, path: Path) -> None:
    """Fills a model of the same architecture with the weights of `save_weights`.

    Raises:
        Error: the file is missing, is damaged, is no weights file, belongs to another architecture, or holds a number
            that is not finite (which need not show: oneDNN's ReLU turns NaN into 0). The model is then not to be used.
    """
    _check_file(path)
    try:
        _check_sizes(path)
        with warnings.catch_warnings():
            # Keras only warns of a layer that the file has no weights for, and leaves it as it was initialised.
            warnings.simplefilter("error", UserWarning)
            uncompiled(model).load_weights(path)
    except Exception as fault:  # of a damaged file HDF5 raises almost anything
        reason = " ".join(str(fault).split())[:300]
        raise Error(
            f"{path}: not the weights of this {model.name} of {model.count_params()} parameters ({reason})"
        ) from fault
    if not all(np.isfinite(keras.ops.convert_to_numpy(variable)).all() for variable in model.weights):
        raise Error(f"{path}: a weight is not finite; train again")


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
    """Whether a file is what `save_weights` wrote, as its end says; one that says nothing, as Keras's do, passes."""
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


def _check_sizes(path: Path) -> None:
    """Refuses a file whose arrays together claim to be larger than the file, before one of them is read."""
    sizes = [0]

    def add(_: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            sizes.append(entry.nbytes)

    with h5py.File(path, "r") as file:
        file.visititems(add)
    if sum(sizes) > path.stat().st_size:
        raise ValueError(f"its arrays claim to have {sum(sizes)} bytes")


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over the arrays with their names and shapes (a file also holds what is not weights)."""
    names = "".join(f"{variable.path} {variable.shape}" for variable in model.weights)
    return arrays_sha256(map(keras.ops.convert_to_numpy, model.weights), names)


def arrays_sha256(arrays: Iterable[np.ndarray], names: str = "") -> str:
    """SHA-256 over `names` and the bytes of the arrays."""
    digest = hashlib.sha256(names.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def uncompiled(model: keras.Model) -> keras.Model:
    """The same layers without the optimizer and the metrics that `compile` adds to what is saved."""
    return keras.Model(model.input, model.output, name=model.name)
