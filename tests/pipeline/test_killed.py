"""`experiments.train`, killed with SIGKILL again and again, ends with the weights of an uninterrupted training."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.digits import philox
from tests.support.killed_trainings import STEPS, Moment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux to count the threads of a process"),
]

CAPSNET, BASELINE = "mnist-capsnet-r3-recon", "mnist-baseline"
KILLS = {BASELINE: 9, CAPSNET: 1}  # each kind of moment; the first has dropout, which has a state, and trains sooner
SEED = 33
INTERVAL, BATCH = 4, 8  # a pass over the data ends within every seventh step or so
SETTINGS = {"steps": STEPS, "checkpoint_steps": INTERVAL, "decay_steps": 10}
NARROW = {
    CAPSNET: SETTINGS | {"conv_channels": [4], "primary_types": 2, "dense_units": [8, 8]},
    BASELINE: SETTINGS | {"conv_channels": [2, 2, 2], "dense_units": [8, 8]},
}


KINDS = (
    Moment("step"), Moment("outside"), Moment("write", 90), Moment("drawing"), Moment("fsync", 1), Moment("interval"),
    Moment("replace"), Moment("fsync", 2), Moment("unlink"),
)  # fmt: skip


def moments(count: int) -> list[Moment]:
    """Moments of the kinds in turn, uniform over the steps and in their order, and two at the end."""
    steps = philox(SEED).integers(STEPS - 2, size=count)
    drawn = [dataclasses.replace(KINDS[at % len(KINDS)], step=int(step)) for at, step in enumerate(sorted(steps), 1)]
    return [*drawn, Moment("weights"), Moment("clear")]


def backup(step: int) -> int:
    """The last step up to this one that has a backup."""
    return step - step % INTERVAL


def goes_on_from(moment: Moment, first: int) -> range:
    """Where the start after one that was killed may go on, having begun at `first` itself."""
    if moment.step == STEPS:
        return range(STEPS, STEPS + 1)
    step = max(moment.step, first + 1)
    within = backup(step + INTERVAL - 1)  # of the first backup from there on
    renamed = within - INTERVAL, within
    least, most = {
        "step": (backup(step - 1),) * 2,
        "outside": (backup(step - 1), backup(step + 1)),
        "drawing": (first, backup(step)),  # of a batch that is drawn some steps ahead
        "interval": (within,) * 2,
        "unlink": (within,) * 2,
    }.get(moment.kind, (renamed[(moment.kind, moment.number) == ("fsync", 2)],) * 2)  # the second is the folder's
    return range(least, most + 1, INTERVAL)


class Starter:
    """The process that starts trainings."""

    def __init__(self) -> None:
        # On a CPU, and without the threads of NumPy's and SciPy's libraries, which would be lost at a fork.
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OPENBLAS_NUM_THREADS": "1"}
        environment.pop("CAPSREPRO_STATE", None)
        command = [sys.executable, "-m", "tests.support.killed_trainings"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, folder: Path, row: str, moment: Moment | None = None) -> tuple[int, int]:
        """A training up to a moment or its end: the step that it went on from, and its exit status."""
        assert self.process.stdin is not None
        asked = {"folder": str(folder), "row": row, "moment": moment and dataclasses.asdict(moment)}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        process, resumed = self._told("process"), self._told("resumed")
        if moment is not None and moment.kind == "outside":
            self._told("reached")
            os.kill(process, signal.SIGKILL)
        return resumed, self._told("ended")

    def _told(self, word: str) -> int:
        assert self.process.stdout is not None
        message, _, number = self.process.stdout.readline().partition(" ")
        assert message == word, f"{message} {number}, in place of {word}"
        return int(number)


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    started = Starter()
    yield started
    started.process.communicate()


def prepared(folder: Path) -> Path:
    """A folder to train in."""
    folder.mkdir()
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"trainings": {}, "scale_settings": {"quick": NARROW}}
    for row in KILLS:
        params["runs"][row]["batch_size"] = BATCH
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def left(folder: Path) -> set[str]:
    """All files in a folder but TensorBoard's."""
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix() for path in paths if path.parts[0] != "logs"}


@pytest.mark.parametrize("row", KILLS)
def test_a_training_killed_anywhere_ends_with_the_weights_of_an_uninterrupted_one(
    starter: Starter, tmp_path: Path, row: str
) -> None:
    whole, killed = prepared(tmp_path / "whole"), prepared(tmp_path / "killed")
    assert starter.start(whole, row) == (0, 0)
    begun, drawn = [], moments(KILLS[row])
    assert row == CAPSNET or {(moment.kind, moment.number) for moment in KINDS} <= {(m.kind, m.number) for m in drawn}
    for moment in drawn:
        resumed, ended = starter.start(killed, row, moment)
        assert ended == -signal.SIGKILL, moment
        begun.append(resumed)
    resumed, ended = starter.start(killed, row)
    assert ended == 0
    went_on = [*begun[1:], resumed]
    for moment, first, after in zip(drawn, begun, went_on, strict=True):
        assert after in goes_on_from(moment, first), (moment, first)
    assert sum(after > 0 for after in went_on[: KILLS[row]]) >= 3 * KILLS[row] // 4
    assert resumed == STEPS
    for name in (f"checkpoints/quick/{row}-seed0.weights.h5", f"results/quick/history/{row}-seed0.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert left(killed) == left(whole)
