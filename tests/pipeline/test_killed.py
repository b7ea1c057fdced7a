"""`experiments.train`, killed with SIGKILL again and again, ends with the weights of an uninterrupted training.

`python -m tests.pipeline.test_killed` imports what a training needs and then starts those that its input asks for, each
a fork of itself, since fifty starts of Python and TensorFlow would take minutes.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.support import ROOT
from tests.support.digits import philox, unpacked
from tests.support.watched_files import Watch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux to count the threads of a process"),
]

ROWS = ("mnist-capsnet-r3-recon", "mnist-baseline")  # the second has dropout
STEPS, INTERVAL = 100, 4
IMAGES, BATCH = 50, 8  # a pass over the data ends within every seventh step or so
KILLS, SEED = 20, 33
SETTINGS = {"steps": STEPS, "checkpoint_steps": INTERVAL, "decay_steps": 10}
NARROW = {
    ROWS[0]: SETTINGS | {"conv_channels": [4], "primary_types": 2, "dense_units": [8, 8]},
    ROWS[1]: SETTINGS | {"conv_channels": [2, 2, 2], "dense_units": [8, 8]},
}


@dataclasses.dataclass(frozen=True)
class Moment:
    """When a start is killed: at the first chance from a step on.

    Attributes:
        kind: `step`: after a step; `drawing`: in the thread that draws a batch; `outside`: by another process, any time
            in the two steps after one; `interval`: after a backup. Within a backup: the number-th `write`, `fsync` or
            `replace`, or `unlink` of the oldest. At the end: `weights`, while they are written; `clear`, after that.
        number: of those within a backup.
        step: how many are done.
    """

    kind: str
    number: int = 1
    step: int = STEPS


KINDS = (
    Moment("step"), Moment("outside"), Moment("write", 90), Moment("drawing"), Moment("fsync", 1), Moment("interval"),
    Moment("outside"), Moment("replace"), Moment("step"), Moment("fsync", 2), Moment("outside"), Moment("unlink"),
)  # fmt: skip
WITHIN = ("write", "fsync", "replace", "unlink")


def moments() -> list[Moment]:
    """Twenty, uniform over the steps, in their order, and two at the end."""
    steps = philox(SEED).integers(STEPS - 2, size=KILLS)
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
        command = [sys.executable, "-m", "tests.pipeline.test_killed"]
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
    params |= {"scales": ["quick"], "rows": list(ROWS), "figures": [], "scale_settings": {"quick": NARROW}}
    for row in ROWS:
        params["runs"][row]["batch_size"] = BATCH
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def left(folder: Path) -> set[str]:
    """All files in a folder but TensorBoard's."""
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix() for path in paths if path.parts[0] != "logs"}


@pytest.mark.parametrize("row", ROWS)
def test_a_training_killed_anywhere_ends_with_the_weights_of_an_uninterrupted_one(
    starter: Starter, tmp_path: Path, row: str
) -> None:
    whole, killed = prepared(tmp_path / "whole"), prepared(tmp_path / "killed")
    assert starter.start(whole, row) == (0, 0)
    begun = []
    for moment in moments():
        resumed, ended = starter.start(killed, row, moment)
        assert ended == -signal.SIGKILL, moment
        begun.append(resumed)
    resumed, ended = starter.start(killed, row)
    assert ended == 0
    went_on = [*begun[1:], resumed]
    for moment, first, after in zip(moments(), begun, went_on, strict=True):
        assert after in goes_on_from(moment, first), (moment, first)
    assert sum(after > 0 for after in went_on[:KILLS]) >= 15
    assert resumed == STEPS
    for name in (f"checkpoints/quick/{row}-seed0.weights.h5", f"results/quick/history/{row}-seed0.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert left(killed) == left(whole)


# What runs in the other process


def start_trainings() -> None:
    """Starts what its input asks for, one after the other."""
    from capsrepro.data import loading  # noqa: F401
    from capsrepro.training import loop, provenance  # noqa: F401  what experiments.train imports

    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads, of which a fork has one"
    for line in sys.stdin:
        asked = json.loads(line)
        if (process := os.fork()) == 0:
            status = 1
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # what is told goes past it
                    train(Path(asked["folder"]), asked["row"], asked["moment"] and Moment(**asked["moment"]))
                status = 0
            except BaseException:  # noqa: BLE001  the process ends here
                traceback.print_exc()
            os._exit(status)
        tell("ended", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def tell(word: str, number: int) -> None:
    os.write(1, f"{word} {number}\n".encode())


def train(folder: Path, row: str, moment: Moment | None) -> None:
    """`python -m experiments.train ROW` in a folder, on few digits, until the moment."""
    from capsrepro.data import loading
    from capsrepro.data.mnist import Mnist
    from experiments import train

    tell("process", os.getpid())
    os.chdir(folder)
    images = np.frombuffer(unpacked("t10k-images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    labels = np.frombuffer(unpacked("t10k-labels-idx1-ubyte"), np.uint8, offset=8)
    few = Mnist(images[:IMAGES], labels[:IMAGES], name="few", sha256="of few")
    patch = pytest.MonkeyPatch()
    patch.setattr(loading, "load", lambda *_: few)
    tell_where_it_goes_on(patch)
    if moment is not None:
        kill_at(moment, patch)
    train.main(argparse.Namespace(run=row, scale="quick", seed=0, params=Path("params.yaml"), data=Path("data")))


def tell_where_it_goes_on(patch: pytest.MonkeyPatch) -> None:
    from capsrepro.training.backups import Backups

    restored = Backups.restore

    def restore(self: Backups, model: Any) -> Any:
        found = restored(self, model)
        tell("resumed", found[0])
        return found

    patch.setattr(Backups, "restore", restore)


def kill_at(moment: Moment, patch: pytest.MonkeyPatch) -> None:
    """Has this process killed at a moment."""

    from capsrepro.data.batches import Stream
    from capsrepro.network import weights
    from capsrepro.training.backups import Backups
    from capsrepro.training.callback import TrainingCallback, steps_done

    reached: list[int] = []

    def from_step(step: int) -> None:
        if step >= moment.step:
            kill()

    def wait_to_be_killed(step: int) -> None:
        if step >= moment.step and not reached:
            reached.append(step)
            tell("reached", step)
        if reached and step == reached[0] + 2:
            signal.pause()

    def within(asked: list[str]) -> None:
        awaited = moment.kind if moment.kind in WITHIN else "fsync"
        left = awaited == "unlink" and "replace" not in asked  # by a killed start: removed before
        if asked[-1] == awaited and asked.count(awaited) >= moment.number and not left:
            kill()

    def watch(step: int) -> None:
        if step >= moment.step:
            Watch(patch, within)

    match moment.kind:
        case "step":
            after(
                patch,
                TrainingCallback,
                "on_train_batch_end",
                lambda watched, *_: from_step(steps_done(watched.model)),
            )
        case "outside":
            after(
                patch,
                TrainingCallback,
                "on_train_batch_end",
                lambda watched, *_: wait_to_be_killed(steps_done(watched.model)),
            )
        case "interval":
            after(patch, TrainingCallback, "on_epoch_end", lambda watched, *_: from_step(steps_done(watched.model)))
        case "drawing":
            before(patch, Stream, "batch", lambda _, step: from_step(step))
        case "weights":
            before(patch, weights, "save_weights", lambda *_: watch(STEPS))
        case "clear":
            before(patch, Backups, "clear", lambda _: kill())
        case _:
            before(patch, Backups, "save", lambda _kept, _model, step, _record: watch(step))


def before(patch: pytest.MonkeyPatch, owner: Any, name: str, hook: Callable[..., None]) -> None:
    called = getattr(owner, name)

    def first_the_hook(*arguments: Any, **options: Any) -> Any:
        hook(*arguments)
        return called(*arguments, **options)

    patch.setattr(owner, name, first_the_hook)


def after(patch: pytest.MonkeyPatch, owner: Any, name: str, hook: Callable[..., None]) -> None:
    called = getattr(owner, name)

    def then_the_hook(*arguments: Any, **options: Any) -> None:
        called(*arguments, **options)
        hook(*arguments)

    patch.setattr(owner, name, then_the_hook)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    start_trainings()
