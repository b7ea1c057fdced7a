"""Predicts how long trainings take, from provenance or from their backups."""

import functools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from capsrepro.core import files
from capsrepro.core.params import RunConfig, same_settings
from capsrepro.core.paths import RunPaths
from .progress import backups, written

ENVIRONMENT = ("device", "instructions", "backend")  # a step takes as long where these are equal
MARGIN, BESIDES = 1.1, 30  # a prediction is the measured time of the steps and a tenth, and seconds for all besides
LENGTH = ("steps", "decay_steps", "checkpoint_steps")  # settings that do not change the time of a step
DESCRIBE = "import json; from capsrepro.network import environment; print(json.dumps(environment.describe()))"


@functools.cache
def environment() -> dict[str, Any]:
    """The environment of a process that imports the backend; here the backend would take memory of the GPU."""
    answer = subprocess.run([sys.executable, "-c", DESCRIBE], capture_output=True, text=True, check=True)
    described: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return described


def known(group: Sequence[RunPaths], settings: RunConfig) -> tuple[float, int] | None:
    """The seconds of a step and the steps in the newest provenance of a run with as many seeds on this device.

    Args:
        group: the seeds of the run that are trained in one program.
        settings: of the run; the length of a training may differ.
    """
    places = (group[0].provenance.parent, group[0].training.parent)
    found = [path for place in places for path in place.glob(f"{group[0].run}-seed*.json")]
    for path in sorted(found, key=written, reverse=True):
        entry = files.read_json(path)
        if not entry.get("train_seconds") or len(entry.get("together", [0])) != len(group):
            continue
        trained = entry["settings"]
        now = settings.as_json() | {key: trained[key] for key in LENGTH}
        here = environment()
        if same_settings(trained, now) and all(entry.get(key) == here[key] for key in ENVIRONMENT):
            return entry["train_seconds"] / entry["steps_done"], entry["steps_done"]
    return None


def measured(where: RunPaths, state: Path, since: float) -> float | None:
    """The seconds of a step between two backups that were saved since a time; None: there are not yet two.

    The first interval is left out, since the program is compiled in it.
    """
    recent = [path for member in backups(where, state)[-1:] for path in member if written(path) >= since]
    if len(recent) < 2:
        return None
    try:
        (first, began), (last, ended) = (_read(path) for path in recent[-2:])
    except FileNotFoundError:  # another was saved meanwhile
        return None
    return (ended - began) / (last - first)


def seconds(steps: int, pace: float) -> float:
    """The time that is predicted for steps of this many seconds."""
    return MARGIN * steps * pace + BESIDES


def _read(path: Path) -> tuple[int, float]:
    """The step of a backup, and the seconds of training up to it."""
    with np.load(path, allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
    return meta["step"], meta["record"]["seconds"]
