"""Trains like the released command, with checkpoints `model.ckpt-STEP` and summaries in one folder."""

import contextlib
import functools
import re
from pathlib import Path
from typing import Any

import keras

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Dataset, Stream
from capsrepro.network import losses
from capsrepro.released import checkpoints
from capsrepro.released.summaries import TOWER, Summaries, viewer
from capsrepro.training import callback, feeding, fitting, loop

KEPT = 5  # checkpoints to keep, the default of TensorFlow 1's Saver


def train(
    run: RunConfig,
    dataset: Dataset,
    folder: Path,
    *,
    seed: int = 0,
    replicas: int = 1,
    start: str = "",
    pictures: bool = False,
    verbose: int = 1,
) -> Path:
    """Trains up to `run.steps`, resuming from the newest checkpoint in `folder`.

    Args:
        run: settings of the run; a checkpoint is written every `checkpoint_steps` and at the end.
        dataset: the training split.
        folder: folder of `model.ckpt-STEP` and the summaries; only the last five checkpoints are kept.
        seed: seed of the weights, the order of the data and its distortion.
        replicas: number of GPUs that share each batch; their gradients are averaged.
        start: the checkpoint to start from if `folder` has none; empty: initial weights.
        pictures: also write histograms and reconstructions, at every step.
        verbose: as for Keras's `fit`.

    Returns:
        The path of the last checkpoint, without `.index`.

    Raises:
        Error: another process is training in `folder`, a checkpoint is of another network, there are too few GPUs, or
            the loss is not finite; the last good checkpoint is kept.
    """
    with files.locked(folder, "training"), contextlib.closing(Summaries(folder)) as summaries:
        loop.make_deterministic(seed)
        with _scope(replicas, run.batch_size):
            model = loop.compiled(run, dataset, seed, metrics(run, dataset))
            prefix = newest(folder) or start
            first = checkpoints.restore_released(model, prefix) if prefix else 0
        stream = Stream(dataset, run.batch_size, seed)
        saver = Saver(folder, summaries, stream, run, pictures)
        fitting.fit(model, stream, run, first, callbacks=[saver], verbose=verbose)
    return newest(folder) or saver.save(model, first)


def newest(folder: Path) -> Path | None:
    """The checkpoint with the highest step in a folder; None if there is none."""
    return next(reversed(_all(folder)), None)


def step_of(prefix: Path) -> int:
    """The step in a checkpoint's name; 0 if it has none."""
    number = prefix.name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def metrics(run: RunConfig, dataset: Dataset) -> dict[str, list[Any]]:
    """The released code's metrics besides the losses: the share almost right, and each digit's reconstruction loss."""

    def almost(truth: Any, scores: Any) -> Any:
        return losses.any_right(truth, scores, digits=dataset.digits)

    def drawn(digit: int) -> Any:
        def error(truth: Any, pixels: Any) -> Any:
            return losses.reconstruction_loss(truth[:, digit : digit + 1], pixels[:, digit : digit + 1])

        error.__name__ = f"digit{digit}"
        return error

    own: dict[str, list[Any]] = {"scores": [almost]}
    if run.reconstruction:
        own["reconstruction"] = [drawn(digit) for digit in range(dataset.digits)]
    return own


class Saver(keras.callbacks.Callback):
    """Keras callback that writes summaries at every step and a checkpoint at the end of each interval."""

    def __init__(self, folder: Path, summaries: Summaries, stream: Stream, run: RunConfig, pictures: bool) -> None:
        super().__init__()
        self.folder, self.summaries, self.stream, self.run, self.pictures = folder, summaries, stream, run, pictures

    @functools.cached_property
    def viewer(self) -> keras.Model:
        """The model for picture summaries; it is cached, as its prediction is compiled at the first use."""
        return viewer(self.model)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Resets the metrics, so that they are of one batch; Keras's are means over the epoch."""
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Writes the summaries; the step is the number of updates before this one, as in the released code."""
        step = callback.steps_done(self.model) - 1
        callback.check_finite(logs["loss"], step, newest(self.folder))
        self.summaries.scalars(step, tower(logs, self.run.batch_size))
        if self.pictures:
            inputs, truths = feeding.tensors(
                self.stream.batch(step), self.stream.dataset.classes, decoder=self.run.reconstruction
            )
            self.summaries.pictures(step, self.viewer, inputs, truths)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes a checkpoint and removes old ones."""
        self.save(self.model, callback.steps_done(self.model))

    def save(self, model: keras.Model, step: int) -> Path:
        """Writes `model.ckpt-STEP` and TensorFlow's file `checkpoint`, which names the newest; removes old ones."""
        prefix = checkpoints.save_released(model, self.folder / "model.ckpt", step)
        for old in _all(self.folder)[:-KEPT]:
            for part in self.folder.glob(f"{old.name}.*"):
                part.unlink()
        kept = "".join(f'all_model_checkpoint_paths: "{path.name}"\n' for path in _all(self.folder))
        files.write_text(self.folder / "checkpoint", f'model_checkpoint_path: "{prefix.name}"\n{kept}')
        return prefix


def tower(logs: dict[str, float], batch_size: int) -> dict[str, float]:
    """Converts Keras's logs of a batch to losses and counts under the released code's tags."""
    values = callback.named(logs)
    tags = {
        "total_loss_1": values["loss"],
        "batch_classification_cost": values.get("classification_loss", values["loss"]),
        "accuracy_1": values["right"],
        "correct_prediction_batch": values["right"] * batch_size,
        "almost_correct_batch": values["almost"] * batch_size,
    }
    for digit, scope in enumerate(("loss", "loss_1")):
        if (name := f"reconstruction_digit{digit}") in values:
            tags[f"recons/{scope}/reconstruction_error"] = values[name]
    return {f"{TOWER}/{tag}": float(value) for tag, value in tags.items()}


def _all(folder: Path) -> list[Path]:
    """The checkpoints in a folder, without `.index`, oldest first."""
    names = [path.with_suffix("") for path in folder.glob("model.ckpt-*.index")]
    return sorted((path for path in names if re.fullmatch(r"model\.ckpt-\d+", path.name)), key=step_of)


def _scope(replicas: int, batch_size: int) -> Any:
    """The distribution scope for building a model whose batches are shared by several devices."""
    import tensorflow as tf

    if replicas == 1:
        return contextlib.nullcontext()
    devices = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    if len(devices) < replicas:
        raise Error(f"--num_gpus={replicas}: this machine has {len(devices)} device(s) for it; ask for no more")
    if batch_size % replicas:
        raise Error(f"--num_gpus={replicas}: does not divide the batch of {batch_size}; choose another number")
    return tf.distribute.MirroredStrategy(devices[:replicas]).scope()
