"""Brings the results of a campaign and the states of its unfinished trainings home, and back to a machine."""

import re
from collections.abc import Sequence
from pathlib import Path

from capsrepro.core import files, not_run
from capsrepro.core.errors import Error
from capsrepro.core.paths import RunPaths
from . import halved, packed
from .progress import backups, has_result

SEED = re.compile(r"(.+)-seed(\d+)(?=\.)")  # of a file's name


def check(folder: Path, planned: Sequence[RunPaths]) -> None:
    """Refuses a folder of others, or a run whose name no file there may have, before anything is trained."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not (folder / packed.CONTENTS).exists():
        raise Error(f"{folder}: expected a new folder or one of an earlier campaign; name another")
    for where in planned:
        if not packed.NAME.fullmatch(f"{where.scale}/metrics/{where.metrics.name}"):
            raise Error(f"{where.name}: expected only letters, digits and . _ - in its name; give the run another name")


def leave(folder: Path, planned: Sequence[RunPaths], state: Path, data: Path) -> None:
    """Packs the results of what is finished, and the states of what is not, in place of what it packed earlier."""
    done = [where for where in planned if has_result(where)]
    chosen = {f"{where.scale}/{path.parent.name}/{path.name}": path for where in done for path in _results(where)}
    for where in set(planned) - set(done):
        for member in backups(where, state):
            parts = member[-1].relative_to(state / where.scale).parts
            chosen[f"{where.scale}/states/{'.'.join(parts)}"] = member[-1]
        if where.weights.exists():  # trained and not evaluated
            kept = [("checkpoints", where.weights), ("checkpoints", where.training), ("history", where.history)]
            chosen |= {f"{where.scale}/{kind}/{path.name}": path for kind, path in kept if path.exists()}
    before = [name for name in packed.contents(folder) if _training(name) in planned]
    packed.pack(folder, chosen, [name for name in before if name.split("/")[1] != "weights"])
    for where in done:
        halved.leave(folder, where, data)
    print(f"{folder}: {len(packed.contents(folder))} files, {len(done)} trainings finished")


def take(folder: Path, state: Path) -> None:
    """Puts what is packed in its place; a training with results or weights here keeps them, as do later backups."""
    listed = packed.contents(folder)
    if not listed:
        raise Error(f"{folder}: no {packed.CONTENTS} there; name the folder that a campaign left with --home")
    kept = {where for where in map(_training, listed) if has_result(where) or where.weights.exists()}
    wanted = {name: _place(name, state) for name in listed if _training(name) not in kept}
    wanted = {name: path for name, path in wanted.items() if not _is_newer(path)}
    for name in listed:
        packed.verify(folder, name, listed[name])
    for name, path in wanted.items():
        packed.unpack(folder, name, listed[name], path)
    print(f"{folder}: {len(wanted)} files put in place, {len(listed) - len(wanted)} not, since there are later ones")


def _results(where: RunPaths) -> list[Path]:
    paths = (where.metrics, where.predictions, where.evaluation, where.provenance, where.history)
    return [path for path in paths if path.exists()]


def _training(name: str) -> RunPaths:
    """The training that a packed file belongs to."""
    scale, _, file = name.split("/")
    if (match := SEED.match(file)) is None:
        raise Error(f"{name}: expected a file of a run and a seed; pack it anew")
    return RunPaths(scale, match[1], int(match[2]))


def _place(name: str, state: Path) -> Path:
    """The path that a packed file comes from."""
    scale, kind, file = name.split("/")
    if kind == "states":
        training, member, fingerprint, step = file.removesuffix(".npz").rsplit(".", 3)
        return state / scale / training / member / fingerprint / f"{step}.npz"
    return Path("checkpoints", scale, file) if kind == "checkpoints" else Path("results", scale, kind, file)


def _is_newer(path: Path) -> bool:
    """Whether what lies at a path, or beside it if it is a backup, is kept."""
    if path.suffix == ".npz" and path.stem.isdigit():
        return any(other.name >= path.name for other in path.parent.glob("[0-9]*.npz"))
    return path.exists() and not (path.suffix == ".json" and not_run.KEY in files.read_json(path))
