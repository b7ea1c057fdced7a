"""The Keras callback of a training: backups, history, early stopping, and checks of the loss and accuracy."""

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

# Keras prefixes the name of the output if a model has several.
NAMES = {"scores_loss": "classification_loss", "scores_right": "right", "scores_almost": "almost"}
STOP = "stop_accuracy_pct"  # the column of the accuracy that ends a training
VALIDATION = "validation_accuracy_pct"  # the column that TensorBoard shows beside the training accuracy
PATIENCE, LEARNING = 3, 30_000  # a training is ended after this many intervals and images at chance level
PROBE = 32  # training images on which the changes of the routing logits are measured
STOP_BATCH = 500  # batch size for the split that ends a training
PASSES = 5  # routing passes measured, as in Figure A.1


class TrainingCallback(keras.callbacks.Callback):
    """Saves a backup and a line of history after each interval, and ends the training at its stopping accuracy."""

    def __init__(
        self,
        kept: Backups,
        run: RunConfig,
        dataset: Dataset,
        stop: Dataset | None,
        received: Sequence[int] = (),
        watch: Mapping[str, Dataset] | None = None,
    ) -> None:
        """Sets up the callback.

        Args:
            kept: the backups.
            run: settings of the run.
            dataset: the training split.
            stop: the split whose accuracy ends the training; None: none.
            received: list of received signals, see `signals.deferred`; the training stops once it is not empty.
            watch: splits whose accuracy in percent is a column of the history, by the name of the column.
        """
        super().__init__()
        self.backups = kept
        self.run = run
        self.dataset = dataset
        self.stop = stop
        self.received = received
        self.watch = dict(watch or {})
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._began = 0.0
        self._first = 0  # step at the start of the interval, or where it resumed
        self._part: dict[str, Any] = {}  # steps and mean logs of the interval before an interruption

    @property
    def stopped(self) -> bool:
        """Whether the last interval reached the accuracy that ends the training (section 5.2 of the paper)."""
        return self.run.stop_pct is not None and any(line[STOP] >= self.run.stop_pct for line in self.history[-1:])

    @functools.cached_property
    def classifier(self) -> keras.Model:
        """The model from `image` to `scores`; it is cached, as its prediction is compiled at the first use."""
        return models.classifier(self.model)

    @functools.cached_property
    def encoder(self) -> keras.Model:
        """The model from `image` to the input capsules of the routing."""
        return keras.Model(self.model.input["image"], self.model.get_layer("digit_capsules").input)

    @functools.cached_property
    def probe(self) -> np.ndarray:
        """Undistorted training images on which the changes of the routing logits are measured."""
        return self.dataset.batch(np.arange(min(PROBE, len(self.dataset)))).images

    def restore(self, model: keras.Model) -> int:
        """Restores the compiled model, the history and the elapsed time from the newest backup.

        Returns:
            The step from which the training resumes; 0 if there is no backup.
        """
        step, record = self.backups.restore(model)
        self.history, self.seconds = record.get("history", []), record.get("seconds", 0.0)
        self._part = record.get("part", {})
        return step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()
        self._first = steps_done(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Checks the loss and handles received signals.

        The loss is a mean over the interval so far, so that it stays non-finite once any step was.
        """
        step = self._first + batch + 1  # not read from the optimizer, which is slow at every step with JAX
        check_finite(logs["loss"], step, self.backups.folder)
        ends = step % self.run.checkpoint_steps == 0 or step == self.run.steps
        if self.received and not ends:  # at the end of an interval, on_epoch_end saves
            self.seconds += time.perf_counter() - self._began
            self._part = self._whole_interval(step, logs)
            self._save(step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds a line to the history, saves a backup, and decides whether the training ends."""
        self.seconds += time.perf_counter() - self._began
        step = steps_done(self.model)
        means = self._whole_interval(step, logs)["means"]
        self._part = {}
        line = {"step": step, "learning_rate": float(self.model.optimizer.learning_rate), **named(means)}
        if self.run.routing:
            line |= {f"logit_change_{number}": change for number, change in enumerate(self._logit_changes(), 1)}
        if self.run.stop_pct is not None and self.stop is not None:
            line[STOP] = self._accuracy_pct(self.stop)
        line |= {name: self._accuracy_pct(split) for name, split in self.watch.items()}
        if VALIDATION in line and logs is not None:  # Keras gives the same logs to the callbacks that come after
            logs["val_scores_right" if "scores_right" in logs else "val_right"] = line[VALIDATION] / 100
        self.history.append(line)
        self._save(step)
        check_above_chance(self.history, self.run, self.dataset.classes, self.dataset.digits)
        self.model.stop_training = self.stopped

    def _accuracy_pct(self, split: Dataset) -> float:
        scored = evaluation.scored(self.classifier, split, STOP_BATCH)
        return 100.0 - evaluation.count(scored, split).error_pct

    def _logit_changes(self) -> list[float]:
        """The mean change of the logits in each of `PASSES` routing passes, see `routing.logit_changes`."""
        digit = self.model.get_layer("digit_capsules")
        votes = digit.votes(self.encoder(self.probe))
        changes = routing.logit_changes(votes, digit.bias, PASSES, digit.leaky, digit.update)
        return [float(change) for change in changes]

    def _whole_interval(self, step: int, logs: Mapping[str, Any]) -> dict[str, Any]:
        """The steps of the interval so far and the means of its logs, with the part before an interruption."""
        now, before = step - self._first, self._part.get("steps", 0)
        means = {name: float(value) for name, value in logs.items()}
        if before:
            total = now + before
            means = {name: (now * mean + before * self._part["means"][name]) / total for name, mean in means.items()}
        return {"steps": now + before, "means": means}

    def _save(self, step: int) -> None:
        self.backups.save(self.model, step, {"history": self.history, "seconds": self.seconds, "part": self._part})
        if self.received and step < self.run.steps:
            raise Stopped(
                self.received[0], f"step {step} is saved in {self.backups.folder}; the next start resumes there"
            )


def steps_done(model: keras.Model) -> int:
    """The number of updates that a compiled model has made."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


def named(logs: Mapping[str, Any]) -> dict[str, float]:
    """Renames Keras's logs, so that names are the same with and without a decoder; `loss` is the total."""
    return {NAMES.get(name, name): float(value) for name, value in logs.items()}


def check_finite(loss: float, step: int, kept: Path | None) -> None:
    """Stops a training that has diverged.

    Raises:
        Error: the loss is not finite; the message names `kept`, the folder of the last good weights.
    """
    if not np.isfinite(loss):
        raise Error(f"step {step}: the loss is {loss}; the last good weights are in {kept or 'none'}")


def check_above_chance(history: Sequence[Mapping[str, float]], run: RunConfig, classes: int, digits: int = 1) -> None:
    """Stops a training that learns nothing, such as the well-known "10 % on some GPUs".

    A training learns nothing if its accuracy is at most 1.2 times chance in each of the last `PATIENCE` intervals, with
    at least `LEARNING` images in total. This bound is above the share of the most frequent digit, which is the accuracy
    of a constant prediction.

    Raises:
        Error: the training learns nothing; the message has the accuracies.
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
