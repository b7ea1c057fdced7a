"""Backups that an interrupted training resumes from."""

import contextlib
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line
from capsrepro.network.weights import arrays_sha256, uncompiled

log = logging.getLogger(__name__)

KEPT = 2  # backups to keep: the newest, and the one before it in case the newest cannot be read


class Backups:
    """The backups of one training, `folder/<fingerprint>/<step>.npz`.

    The fingerprint covers everything that determines the weights. A training with other settings, data or code has
    another fingerprint, so that it ignores these backups and starts from the beginning.
    """

    def __init__(self, folder: Path, fingerprint: dict[str, Any]) -> None:
        """Takes the parent folder and the content of the fingerprint, a dictionary of JSON values."""
        content = json.dumps(fingerprint, sort_keys=True)
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()
        self.folder = folder / self.fingerprint[:16]
        if others := [other.name for other in folder.glob("*/") if other != self.folder]:
            log.warning(
                "%s: %d backup(s) of other settings, data or code are set aside, not resumed", folder, len(others)
            )

    def save(self, model: keras.Model, step: int, record: dict[str, Any]) -> None:
        """Saves the state of a training after `step` and removes old backups.

        Args:
            model: the compiled model.
            step: number of steps done.
            record: additional JSON values that `restore` returns.

        Raises:
            Error: a variable is not finite; existing backups are kept.
        """
        arrays = [keras.ops.convert_to_numpy(variable) for variable in _state(model)]
        if not all(np.isfinite(array).all() for array in arrays):
            raise Error(f"step {step}: a weight is not finite; the last good backup is {self._newest() or 'none'}")
        meta = {"step": step, "record": record, "fingerprint": self.fingerprint, "sha256": arrays_sha256(arrays)}
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        with files.replacing(self.folder / f"{step:08d}.npz") as temporary:
            np.savez(temporary, meta=text, **{f"v{number}": array for number, array in enumerate(arrays)})
        # Backups of later steps are unreadable; otherwise this training would have resumed from them.
        existing = self._all()
        kept = [path for path in existing if path.stem <= f"{step:08d}"][-KEPT:]
        for path in set(existing).difference(kept):
            path.unlink()

    def restore(self, model: keras.Model) -> tuple[int, dict[str, Any]]:
        """Restores the compiled model and its optimizer from the newest readable backup.

        Returns:
            The step and the record of the backup; 0 and an empty record if there is none.
        """
        for path in reversed(self._all()):
            try:
                meta, arrays = self._read(path, [tuple(variable.shape) for variable in _state(model)])
            except Exception as fault:  # noqa: BLE001  # many types on damaged files
                reason = one_line(fault)
                log.warning("%s: this backup cannot be read (%s); trying the one before", path, reason)
                continue
            for variable, array in zip(_state(model), arrays, strict=True):
                variable.assign(array)
            return meta["step"], meta["record"]
        return 0, {}

    def clear(self) -> None:
        """Removes the backups once the final weights are saved, unless another process is training from them."""
        with contextlib.suppress(Error), files.locked(self.folder.parent, "training"):
            if self.folder.is_dir():
                shutil.rmtree(self.folder)  # including leftovers of interrupted saves

    def _read(self, path: Path, shapes: list[tuple[int, ...]]) -> tuple[dict[str, Any], list[np.ndarray]]:
        stored = files.read_arrays(path)
        meta = json.loads(stored["meta"].tobytes())
        arrays = [stored[f"v{number}"] for number in range(len(stored) - 1)]
        if meta["fingerprint"] != self.fingerprint:
            raise ValueError("it belongs to another training")
        if meta["step"] != int(path.stem) or not isinstance(meta["record"], dict):
            raise ValueError("its step is not that of its name, or its record is no object")
        if [array.shape for array in arrays] != shapes or arrays_sha256(arrays) != meta["sha256"]:
            raise ValueError("its content does not match its checksum")
        return meta, arrays

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.npz"))

    def _newest(self) -> Path | None:
        return next(iter(reversed(self._all())), None)


def _state(model: keras.Model) -> list[Any]:
    """Weights, dropout's seed states (which `model.weights` leaves out) and the optimizer's variables."""
    return [*uncompiled(model).variables, *model.optimizer.variables]
