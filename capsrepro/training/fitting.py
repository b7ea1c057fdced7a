"""Trains with Keras's `fit`, which has its batches from the host."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Stream
from capsrepro.network import devices
from capsrepro.training.feeding import Steps, pipeline
from capsrepro.training.scanning import Lane

STEPS_ON_GPU = 50  # at most in one call of TensorFlow, which takes about as long as a step


def train(lane: Lane, logs: Path | None) -> None:
    """Trains a lane to its end; an error of the training becomes its `fault`."""
    try:
        if not lane.progress.stopped:
            boards = _tensorboard(logs, lane.progress.backups.fingerprint, lane.step)
            callbacks = [lane.progress, *boards]
            fit(
                lane.model,
                lane.stream,
                lane.run,
                lane.step,
                callbacks=callbacks,
                at_once=STEPS_ON_GPU if _tensorflow_on_gpu() else 1,
                verbose=lane.verbose,
            )
    except Error as fault:
        lane.fault = fault


def fit(
    model: keras.Model,
    stream: Stream,
    run: RunConfig,
    first: int,
    *,
    callbacks: list[Any],
    at_once: int = 1,
    verbose: int = 1,
) -> None:
    """Trains a compiled model from step `first` to `run.steps` or until a callback stops it.

    An epoch of Keras is `checkpoint_steps` steps. Between two calls of the callbacks lie as many steps as divide the
    rest of the epoch, at most `at_once`.
    """
    for start, stop, interval in _intervals(first, run.steps, run.checkpoint_steps):
        steps = max(number for number in range(1, at_once + 1) if interval % number == 0)
        if steps != model.steps_per_execution:
            model.steps_per_execution, model.train_function = steps, None  # Keras makes the function anew
        model.fit(
            pipeline(Steps(stream, start, stop, decoder=run.reconstruction)),
            initial_epoch=start // run.checkpoint_steps,
            epochs=start // run.checkpoint_steps + (stop - start) // interval,
            steps_per_epoch=interval,
            shuffle=False,
            verbose=verbose,
            callbacks=callbacks,
        )
        if model.stop_training:
            return


def _tensorflow_on_gpu() -> bool:
    return keras.backend.backend() == "tensorflow" and bool(devices.gpus())


def _intervals(first: int, steps: int, interval: int) -> Iterator[tuple[int, int, int]]:
    """Splits the remaining steps into (start, stop, interval): the rest of an interrupted interval, then whole ones.

    An incomplete last interval comes last.
    """
    whole = steps - steps % interval
    if first < whole and first % interval:  # stopped by a signal within an interval
        boundary = first + interval - first % interval
        yield first, boundary, boundary - first
        first = boundary
    if first < whole:
        yield first, whole, interval
    if max(first, whole) < steps:
        yield max(first, whole), steps, steps - max(first, whole)


def _tensorboard(logs: Path | None, experiment: str, first: int) -> list[keras.callbacks.Callback]:
    """Other settings, data or code have a folder of their own; a training that resumes goes on in its folder."""
    if logs is None:
        return []
    if keras.backend.backend() != "tensorflow":
        print(f"no TensorBoard logs: they need the TensorFlow backend, this is {keras.backend.backend()}")
        return []
    folder = logs / experiment[:12]
    if first == 0:  # the same training once more: its curves would be drawn over the earlier ones
        shutil.rmtree(folder, ignore_errors=True)
    return [keras.callbacks.TensorBoard(folder, write_graph=False)]
