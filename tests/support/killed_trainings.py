"""Trainings of the pipeline that are killed at a moment, for tests/pipeline/test_killed.py.

`python -m tests.support.killed_trainings` imports what a training needs and then starts those that its input asks for,
each a fork of itself, since so many starts of Python and TensorFlow would take minutes.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.digits import few_of, mnist_digits
from tests.support.watched_files import Watch

IMAGES = 50  # that are trained on
STEPS = 100  # of a training
WITHIN = ("write", "fsync", "replace", "unlink")


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


def start_trainings() -> None:
    """Starts what its input asks for, one after the other."""
    from capsrepro.data import loading  # noqa: F401
    from capsrepro.training import seeds  # noqa: F401  what experiments.train imports

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
    """Answers who asked, whatever is redirected."""
    os.write(1, f"{word} {number}\n".encode())


def train(folder: Path, row: str, moment: Moment | None) -> None:
    """`python -m experiments.train ROW` in a folder, on few digits, until the moment."""
    from capsrepro.data import loading
    from experiments import train

    tell("process", os.getpid())
    os.chdir(folder)
    few = few_of(mnist_digits(), IMAGES)
    patch = pytest.MonkeyPatch()
    patch.setattr(loading, "load", lambda *_: few)
    tell_where_it_goes_on(patch)
    if moment is not None:
        kill_at(moment, patch)
    words = {"run": row, "scale": "quick", "seed": 0, "seeds": None, "unless_noted": False}
    train.main(argparse.Namespace(**words, params=Path("params.yaml"), data=Path("data")))


def tell_where_it_goes_on(patch: pytest.MonkeyPatch) -> None:
    """Has the step told that a training resumes after."""
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
    from capsrepro.training import seeds
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
            before(patch, seeds, "save_weights", lambda *_: watch(STEPS))
        case "clear":
            before(patch, Backups, "clear", lambda _: kill())
        case _:
            before(patch, Backups, "save", lambda _kept, _model, step, _record: watch(step))


def before(patch: pytest.MonkeyPatch, owner: Any, name: str, hook: Callable[..., None]) -> None:
    """Calls a hook before each call of a function."""
    called = getattr(owner, name)

    def first_the_hook(*arguments: Any, **options: Any) -> Any:
        hook(*arguments)
        return called(*arguments, **options)

    patch.setattr(owner, name, first_the_hook)


def after(patch: pytest.MonkeyPatch, owner: Any, name: str, hook: Callable[..., None]) -> None:
    """Calls a hook after each call of a function."""
    called = getattr(owner, name)

    def then_the_hook(*arguments: Any, **options: Any) -> None:
        called(*arguments, **options)
        hook(*arguments)

    patch.setattr(owner, name, then_the_hook)


def kill() -> None:
    """Ends this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    start_trainings()
