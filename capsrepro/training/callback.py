"""What watches a training: it keeps backups and a history, and ends the training where it is to end."""

import functools
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from capsrepro.core.errors import Error, Stopped
from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Dataset
from capsrepro.network import evaluation, models, routing
from capsrepro.training.backups import Backups

# Keras puts the output's name in front where there are several.
NAMES = {"scores_loss": "classification_loss", "scores_right": "right", "scores_almost": "almost"}
STOP = "stop_accuracy_pct"  # the column of the accuracy that ends a training
PATIENCE, LEARNING = 3, 30_000  # intervals, and images in them, at chance before a training is given up
PROBE = 32  # images of the probe
STOP_BATCH = 500  # images at a time of the split that ends a training
PASSES = 5  # of routing, as many as Figure A.1 tells of


class TrainingCallback(keras.callbacks.Callback):
    """Keeps a backup and a line of history at the end of each interval, and ends the training where it is to end."""

    def __init__(
        self,
        kept: Backups,
        run: RunConfig,
        dataset: Dataset,
        stop: Dataset | None,
        asked: Sequence[int] = (),
        watch: Mapping[str, Dataset] | None = None,
    ) -> None:
        """Takes where backups go, the run, what it is trained on, the split that ends it, and signals."""
        super().__init__()
        self.backups = kept
        self.run = run
        self.dataset = dataset
        self.stop = stop
        self.asked = asked
        self.watch = dict(watch or {})
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._began = 0.0
        self._first = 0  # step that the interval began at

    @property
    def stopped(self) -> bool:
        """Whether the last interval reached the accuracy that ends the training (section 5.2 of the paper)."""
        return self.run.stop_pct is not None and any(line[STOP] >= self.run.stop_pct for line in self.history[-1:])

    @functools.cached_property
    def classifier(self) -> keras.Model:
        """Made once: what it predicts with is compiled at its first use."""
        return models.classifier(self.model)

    @functools.cached_property
    def encoder(self) -> keras.Model:
        """From `image` to the capsules that are routed."""
        return keras.Model(self.model.input["image"], self.model.get_layer("digit_capsules").input)

    @functools.cached_property
    def probe(self) -> np.ndarray:
        """Training images, undistorted, that the routing is looked at with."""
        return self.dataset.batch(np.arange(min(PROBE, len(self.dataset)))).images

    def restore(self, model: keras.Model) -> int:
        """Fills the compiled model from the newest backup, history and seconds with it.

        Returns:
            The step after which the training goes on; 0 where there is no backup.
        """
        step, record = self.backups.restore(model)
        self.history, self.seconds = record.get("history", []), record.get("seconds", 0.0)
        return step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()
        self._first = steps_done(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the loss, a mean over the interval that stays not finite once it is, and at signals."""
        step = self._first + batch + 1  # not the optimizer's: with JAX, looking into the model at each step is slow
        check_finite(logs["loss"], step, self.backups.folder)
        ends = step % self.run.checkpoint_steps == 0 or step == self.run.steps
        if self.asked and not ends:  # otherwise the end of the interval saves it with its line of history
            self.seconds += time.perf_counter() - self._began
            self._save(step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the backup."""
        self.seconds += time.perf_counter() - self._began
        step = steps_done(self.model)
        line = {"step": step, "learning_rate": float(self.model.optimizer.learning_rate), **named(logs)}
        if self.run.routing:
            line |= {f"logit_change_{number}": change for number, change in enumerate(self._logit_changes(), 1)}
        if self.run.stop_pct is not None and self.stop is not None:
            line[STOP] = self._accuracy_pct(self.stop)
        line |= {name: self._accuracy_pct(split) for name, split in self.watch.items()}
        self.history.append(line)
        self._save(step)
        check_above_chance(self.history, self.run, self.dataset.classes, self.dataset.digits)
        self.model.stop_training = self.stopped

    def _accuracy_pct(self, split: Dataset) -> float:
        scored = evaluation.scored(self.classifier, split, STOP_BATCH)
        return 100.0 - evaluation.count(scored, split).error_pct

    def _logit_changes(self) -> list[float]:
        """What each of `PASSES` passes of routing would change the logits by; see `routing.logit_changes`."""
        digit = self.model.get_layer("digit_capsules")
        votes = digit.votes(self.encoder(self.probe))
        changes = routing.logit_changes(votes, digit.bias, PASSES, digit.leaky, digit.update)
        return [float(change) for change in changes]

    def _save(self, step: int) -> None:
        self.backups.save(self.model, step, {"history": self.history, "seconds": self.seconds})
        if self.asked and step < self.run.steps:
            raise Stopped(self.asked[0], f"step {step} is saved in {self.backups.folder}; the next start goes on there")


def steps_done(model: keras.Model) -> int:
    """How many updates are behind a compiled model's weights, on however many devices they are."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


def named(logs: Mapping[str, Any]) -> dict[str, float]:
    """What Keras logs, under names that do not depend on whether there is a decoder; `loss` is the total."""
    return {NAMES.get(name, name): float(value) for name, value in logs.items()}


def check_finite(loss: float, step: int, kept: Path | None) -> None:
    """Stops a training that has diverged.

    Raises:
        Error: the loss is not finite; `kept` is where the last good weights are.
    """
    if not np.isfinite(loss):
        raise Error(f"step {step}: the loss is {loss}; the last good weights are in {kept or 'none'}")


def check_above_chance(history: Sequence[Mapping[str, float]], run: RunConfig, classes: int, digits: int = 1) -> None:
    """Stops a training that learns nothing, the well-known "10 % on some GPUs", instead of going on for hours.

    It learns nothing if in each of the last `PATIENCE` intervals, of at least `LEARNING` images together, it was right
    less often than 1.2 times chance: more than the share of the most frequent digit, which a constant answer gets.

    Raises:
        Error: so it is; the message says what was seen.
    """
    last = history[-PATIENCE:]
    chance = 1.0 / math.comb(classes, digits)
    enough = len(last) == PATIENCE and PATIENCE * run.checkpoint_steps * run.batch_size >= LEARNING
    if enough and all(line["right"] <= 1.2 * chance for line in last):
        seen = ", ".join(f"{100 * line['right']:.1f} %" for line in last)
        raise Error(
            f"step {last[-1]['step']:g}: training accuracy stays at chance ({seen}; chance is {100 * chance:.1f} %); "
            "look at the data and the backend, or lower learning_rate"
        )
