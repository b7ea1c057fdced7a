"""Where trained weights come from: run, seed, steps and settings, stored in their file. No framework is loaded."""

import dataclasses
import hashlib
import json
from pathlib import Path

import h5py
from pydantic.dataclasses import dataclass

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.core.paths import RunPaths
from capsrepro.core.text import one_line
from capsrepro.core.validation import CONFIG, Natural, Text, validated

KEY = "capsrepro"  # the attribute of a weights file that holds its `Origin` as JSON
SEAL = b"sha256 of the bytes before: "  # followed by 32 bytes at the end of our weights files, which HDF5 ignores

_PIECE = 1 << 20  # bytes read at a time
_MOST_BYTES = 64 << 10  # of an `Origin` as JSON


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


def read_origin(path: Path, expected: RunPaths | None = None) -> Origin | None:
    """Reads run and settings of the weights in a file; None if they are not stored.

    Args:
        path: the file.
        expected: the run that the weights must belong to; None: any.

    Raises:
        Error: the file is missing or damaged, or its weights are of another run, scale or seed.
    """
    check_file(path)
    try:
        with h5py.File(path, "r") as file:
            text = _origin_text(file)
        content = None if text is None else json.loads(text)
    except Exception as fault:  # HDF5 raises many types on damaged files
        raise Error(f"{path}: not readable ({one_line(fault, 200)}); train again, or name another") from fault
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


def check_file(path: Path) -> None:
    """Raises an Error where a file is missing, no HDF5, or damaged according to its checksum."""
    if not path.is_file():
        raise Error(f"{path}: no such weights; train them with `dvc repro` or `python -m experiments.train`")
    if not _is_sealed(path) or not h5py.is_hdf5(path):
        raise Error(f"{path}: not a Keras weights file, or damaged; train again, or name another")


def _origin_text(file: h5py.File) -> str | None:
    """The text in the attribute of `Origin`; a list of texts could share its bytes and so fill the memory."""
    if KEY not in file.attrs:
        return None
    attribute = file.attrs.get_id(KEY)
    text = file.attrs[KEY] if attribute.shape == () else None
    if not isinstance(text, str) or len(text) > _MOST_BYTES:
        raise ValueError("its origin is no text, or too long")
    return text


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
