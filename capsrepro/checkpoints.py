"""What a training leaves: its weights, and while it runs the backups that a killed one goes on from."""

import hashlib
import json
import logging
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from capsrepro import files
from capsrepro.errors import Error

log = logging.getLogger(__name__)

KEPT = 2  # backups: the newest, and the one before it in case the newest cannot be read


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes the weights alone, no optimizer, as a Keras `.weights.h5`; the same weights give the same bytes."""
    with files.replacing(path) as temporary:
        _uncompiled(model).save_weights(temporary)


def load_weights(model: keras.Model, path: Path) -> None:
    """Fills a model of the same architecture with the weights of `save_weights`.

    Raises:
        Error: the file is missing, is no weights file, belongs to another architecture, or holds a number that is not
            finite (which need not show: oneDNN's ReLU turns NaN into 0). The model is then not to be used.
    """
    if not path.is_file():
        raise Error(f"{path}: no such weights; train them with `dvc repro` or `python -m experiments.train`")
    if not h5py.is_hdf5(path):
        raise Error(f"{path}: not a Keras weights file; delete it and train again")
    try:
        with warnings.catch_warnings():
            # Keras only warns of a layer that the file has no weights for, and leaves it as it was initialised.
            warnings.simplefilter("error", UserWarning)
            _uncompiled(model).load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as fault:
        reason = " ".join(str(fault).split())[:300]
        raise Error(
            f"{path}: not the weights of this {model.name} of {model.count_params()} parameters ({reason})"
        ) from fault
    if not all(np.isfinite(keras.ops.convert_to_numpy(variable)).all() for variable in model.weights):
        raise Error(f"{path}: a weight is not finite; train again")


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over the arrays with their names and shapes (a file also holds what is not weights)."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(f"{variable.path} {variable.shape}".encode())
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


class Backups:
    """The backups of one training, `folder/<fingerprint>/<step>.npz`.

    The fingerprint stands for all that determines the weights, so that a training with other settings, data or code
    never finds these; it starts anew beside them.
    """

    def __init__(self, folder: Path, fingerprint: dict[str, Any]) -> None:
        """Takes what the fingerprint consists of: a dictionary that JSON can hold."""
        content = json.dumps(fingerprint, sort_keys=True)
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()
        self.folder = folder / self.fingerprint[:16]
        if others := [other.name for other in folder.glob("*/") if other != self.folder]:
            log.warning(
                "%s: %d backup(s) of other settings, data or code are set aside, not resumed", folder, len(others)
            )

    def save(self, model: keras.Model, step: int, record: dict[str, Any]) -> None:
        """Keeps all that a training needs to go on after `step`; `record` is what else it wants back, as JSON.

        Raises:
            Error: a variable is not finite; what is there already stays.
        """
        arrays = [keras.ops.convert_to_numpy(variable) for variable in _state(model)]
        if not all(np.isfinite(array).all() for array in arrays):
            raise Error(f"step {step}: a weight is not finite; the last good backup is {self._newest() or 'none'}")
        meta = {"step": step, "record": record, "fingerprint": self.fingerprint, "sha256": _digest(arrays)}
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        with files.replacing(self.folder / f"{step:08d}.npz") as temporary:
            np.savez(temporary, meta=text, **{f"v{number}": array for number, array in enumerate(arrays)})
        for old in self._all()[:-KEPT]:
            old.unlink()

    def restore(self, model: keras.Model) -> tuple[int, dict[str, Any]]:
        """Fills the compiled model and its optimizer from the newest backup that can be read.

        Returns:
            The step after which it was made and the record; 0 and an empty record where there is none.
        """
        for path in reversed(self._all()):
            try:
                meta, arrays = self._read(path, [tuple(variable.shape) for variable in _state(model)])
            except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as fault:
                log.warning("%s: this backup cannot be read (%s); trying the one before", path, fault)
                continue
            for variable, array in zip(_state(model), arrays, strict=True):
                variable.assign(array)
            return int(meta["step"]), meta["record"]
        return 0, {}

    def clear(self) -> None:
        """Removes them, once the weights that they led to are in place."""
        for path in self._all():
            path.unlink()
        if self.folder.is_dir():
            self.folder.rmdir()

    def _read(self, path: Path, shapes: list[tuple[int, ...]]) -> tuple[dict[str, Any], list[np.ndarray]]:
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(archive["meta"].tobytes())
            arrays = [archive[f"v{number}"] for number in range(len(archive.files) - 1)]
        if meta["fingerprint"] != self.fingerprint:
            raise ValueError("it belongs to another training")
        if [array.shape for array in arrays] != shapes or _digest(arrays) != meta["sha256"]:
            raise ValueError("its content does not match its checksum")
        return meta, arrays

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.npz"))

    def _newest(self) -> Path | None:
        return next(iter(reversed(self._all())), None)


def _state(model: keras.Model) -> list[Any]:
    """Weights, the state of dropout's seeds (which `model.weights` leaves out) and the optimizer's variables."""
    return [*_uncompiled(model).variables, *model.optimizer.variables]


def _uncompiled(model: keras.Model) -> keras.Model:
    """The same layers without the optimizer and the metrics that `compile` adds to what is saved."""
    return keras.Model(model.input, model.output, name=model.name)


def _digest(arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
