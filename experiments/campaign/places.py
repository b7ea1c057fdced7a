"""The names of packed files, and the paths that they come from."""

import re
from pathlib import Path

from capsrepro.core import files, not_run
from capsrepro.core.errors import Error
from capsrepro.core.paths import RunPaths

NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/){2}[A-Za-z0-9_-][A-Za-z0-9._-]*")  # two folders and a file
_FILE = re.compile(r"(?P<run>.+)-seed(?P<seed>\d+)\.(?P<rest>[a-z0-9.]+)")
_STATE = re.compile(r"(?P<training>.+-seed\d+)\.(?P<member>\d+)\.(?P<fingerprint>[0-9a-f]{16})\.(?P<step>\d+)\.npz")


def training(name: str) -> RunPaths:
    """The training that a packed file belongs to.

    Raises:
        Error: no packed file has such a name.
    """
    scale, kind, file = name.split("/") if NAME.fullmatch(name) else ("", "", "")
    match = _FILE.fullmatch(file)
    if match is None or (kind == "states" and not _STATE.fullmatch(file)):
        raise Error(f"{name!r:.80}: expected a name such as paper/metrics/x-seed0.json; pack the folder anew")
    return RunPaths(scale, match["run"], int(match["seed"]))


def place(name: str, state: Path) -> Path:
    """The path that a packed file comes from; `state` is the folder of the backups."""
    scale, kind, file = name.split("/")
    if match := _STATE.fullmatch(file):
        return state / scale / match["training"] / match["member"] / match["fingerprint"] / f"{match['step']}.npz"
    return Path("checkpoints", scale, file) if kind == "checkpoints" else Path("results", scale, kind, file)


def is_newer(path: Path) -> bool:
    """Whether what lies at a path, or beside it if it is a backup, is kept."""
    if path.suffix == ".npz" and path.stem.isdigit():
        return any(other.name >= path.name for other in path.parent.glob("[0-9]*.npz"))
    return path.exists() and not (path.suffix == ".json" and not_run.KEY in files.read_json(path))
