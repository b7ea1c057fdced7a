"""Brings the results of a campaign and the states of its unfinished trainings home, and back to a machine."""

from collections.abc import Sequence
from pathlib import Path

from capsrepro.core.errors import Error
from capsrepro.core.paths import RunPaths
from . import halved, packed, places
from .progress import backups, has_result


def check(folder: Path, planned: Sequence[RunPaths]) -> None:
    """Refuses a folder of others, or a run whose name no file there may have, before anything is trained."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not (folder / packed.CONTENTS).exists():
        raise Error(f"{folder}: expected a new folder or one of an earlier campaign; name another")
    for where in planned:
        if not places.NAME.fullmatch(f"{where.scale}/metrics/{where.metrics.name}"):
            raise Error(f"{where.name}: expected only letters, digits and . _ - in its name; give the run another name")


def leave(folder: Path, planned: Sequence[RunPaths], state: Path, data: Path) -> None:
    """Packs the results of what is finished, and the states of what is not, in place of what it packed earlier."""
    done = [where for where in planned if has_result(where)]
    chosen: dict[str, Path] = {}
    for where in done:
        for path in (where.metrics, where.predictions, where.evaluation, where.provenance, where.history):
            chosen |= {f"{where.scale}/{path.parent.name}/{path.name}": path} if path.exists() else {}
    for where in set(planned) - set(done):
        for member in backups(where, state):
            parts = member[-1].relative_to(state / where.scale).parts
            chosen[f"{where.scale}/states/{'.'.join(parts)}"] = member[-1]
        if where.weights.exists():  # trained and not evaluated
            kept = [("checkpoints", where.weights), ("checkpoints", where.training), ("history", where.history)]
            chosen |= {f"{where.scale}/{kind}/{path.name}": path for kind, path in kept if path.exists()}
    before = [name for name in packed.contents(folder) if places.training(name) in planned]
    packed.pack(folder, chosen, [name for name in before if name.split("/")[1] != "weights"])
    for where in done:
        halved.leave(folder, where, data)
    print(f"{folder}: {len(packed.contents(folder))} files, {len(done)} trainings finished")


def take(folder: Path, state: Path) -> None:
    """Puts what is packed in its place; a training with results or weights here keeps them, as do later backups."""
    listed = packed.contents(folder)
    if not listed:
        raise Error(f"{folder}: no {packed.CONTENTS} there; name the folder that a campaign left with --home")
    kept = {where for where in map(places.training, listed) if has_result(where) or where.weights.exists()}
    wanted = {name: places.place(name, state) for name in listed if places.training(name) not in kept}
    wanted = {name: path for name, path in wanted.items() if not places.is_newer(path)}
    for name in listed:
        packed.verify(folder, name, listed[name])
    for name, path in wanted.items():
        packed.unpack(folder, name, listed[name], path)
    print(f"{folder}: {len(wanted)} of {len(listed)} files put in place; results and later backups here are kept")
