"""A training that is stopped within an interval has the history of one that was not."""

import dataclasses
import signal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from capsrepro.core.errors import Stopped
from capsrepro.data.mnist import Mnist
from capsrepro.training.callback import TrainingCallback
from tests.support.runs import BASELINE

RUN = dataclasses.replace(BASELINE, steps=8, checkpoint_steps=4)
LOSSES = [4.0, 2.0, 1.0, 1.0]  # of the first interval


class Kept:
    """Backups in memory."""

    folder = "nowhere"

    def __init__(self) -> None:
        self.newest: tuple[int, dict[str, Any]] = (0, {})

    def save(self, model: Any, step: int, record: dict[str, Any]) -> None:
        self.newest = step, record

    def restore(self, model: Any) -> tuple[int, dict[str, Any]]:
        return self.newest


def trained(kept: Kept, few: Mnist, stops: set[int]) -> TrainingCallback:
    """Does what Keras does in the rest of the first interval; a signal comes before each step of `stops`."""
    received: list[int] = []
    progress: Any = TrainingCallback(kept, RUN, few, None, received)  # type: ignore[arg-type]
    model = SimpleNamespace(optimizer=SimpleNamespace(iterations=0, learning_rate=0.5), stop_training=False)
    progress.set_model(model)
    first = model.optimizer.iterations = progress.restore(model)
    progress.on_epoch_begin(0)
    for step in range(first, 4):
        if step in stops:
            stops.remove(step)
            received.append(signal.SIGTERM)
        means = {"loss": float(np.mean(LOSSES[first : step + 1])), "right": 0.5}
        model.optimizer.iterations = step + 1
        progress.on_train_batch_end(step - first, means)
    progress.on_epoch_end(0, means)
    return progress


@pytest.mark.parametrize("stops", [{0}, {1}, {2}, {0, 1}, {0, 2}, {0, 1, 2}], ids=str)
def test_means_of_an_interval_are_over_all_of_its_steps(stops: set[int], few: Mnist) -> None:
    whole = trained(Kept(), few, set()).history
    assert whole[0]["loss"] == 2.0
    kept, left = Kept(), set(stops)
    for _ in stops:
        with pytest.raises(Stopped):
            trained(kept, few, left)
    again = trained(kept, few, left)
    assert again.history == [pytest.approx(line) for line in whole]
    assert kept.newest[1]["part"] == {}  # the next interval begins anew
