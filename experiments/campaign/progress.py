"""How far trainings are."""

from collections.abc import Sequence
from pathlib import Path

from capsrepro.core import files, not_run
from capsrepro.core.params import RunConfig, same_settings
from capsrepro.core.paths import RunPaths


def has_result(where: RunPaths) -> bool:
    """Whether a training is evaluated; a note that it was not run is no result."""
    return where.metrics.is_file() and not_run.KEY not in files.read_json(where.metrics)


def is_trained(where: RunPaths, settings: RunConfig) -> bool:
    """Whether there are weights of these settings, which only have to be evaluated."""
    if not (where.weights.is_file() and where.training.is_file()):
        return False
    return same_settings(files.read_json(where.training).get("settings", {}), settings.as_json())


def backups(where: RunPaths, state: Path) -> list[list[Path]]:
    """The backups of each member of a training, member 0 first, the newest last; none of other settings or code."""
    newest = []
    members = (path for path in (state / where.name).glob("*") if path.name.isdecimal())
    for member in sorted(members, key=lambda path: int(path.name)):
        if found := sorted(member.glob("*/[0-9]*.npz"), key=written):
            newest.append(sorted(found[-1].parent.glob("[0-9]*.npz")))
    return newest


def steps_done(group: Sequence[RunPaths], state: Path) -> int:
    """The steps that a run has made, of all members; of seeds in one program those of the slowest."""
    return min(sum(int(member[-1].stem) for member in backups(where, state)) for where in group)


def written(path: Path) -> float:
    """When a file was written; 0: it is gone, as the oldest backup is once a new one is saved."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
