"""Training as the released code's command does it: checkpoints `model.ckpt-STEP` and summaries in one folder."""

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
from capsrepro.training import callback, loop

KEPT = 5  # checkpoints, as TensorFlow 1's Saver keeps by default


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
    """Trains to `run.steps`, going on from the newest checkpoint in `folder`, and returns the path of the last one.

    Args:
        run: its settings; a checkpoint is written every `checkpoint_steps` and at the end.
        dataset: the training split.
        folder: for `model.ckpt-STEP` and the summaries. Only checkpoints before the last five are removed from it.
        seed: of the weights, the order of the data and its distortion.
        replicas: GPUs that share each batch; their gradients are averaged.
        start: a checkpoint to begin with where `folder` has none; empty: fresh weights.
        pictures: write histograms and reconstructions too, at every step.
        verbose: as for Keras's `fit`.

    Raises:
        Error: another process trains here, a checkpoint is not of this network, there are too few GPUs, or the loss is
            no longer finite; the last good checkpoint stays.
    """
    with files.locked(folder, "training"), contextlib.closing(Summaries(folder)) as summaries:
        loop.make_deterministic(seed)
        with _scope(replicas, run.batch_size):
            model = loop.compiled(run, dataset, seed, metrics(run, dataset))
            prefix = newest(folder) or start
            first = checkpoints.restore_released(model, prefix) if prefix else 0
        stream = Stream(dataset, run.batch_size, seed)
        saver = Saver(folder, summaries, stream, run, pictures)
        loop.fit(model, stream, run, first, callbacks=[saver], verbose=verbose)
    return newest(folder) or saver.save(model, first)


def newest(folder: Path) -> Path | None:
    """The checkpoint with the highest step in a folder, None if it has none."""
    return next(reversed(_all(folder)), None)


def step_of(prefix: Path) -> int:
    """The step in a checkpoint's name, 0 where there is none."""
    number = prefix.name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def metrics(run: RunConfig, dataset: Dataset) -> dict[str, list[Any]]:
    """What the released code tells of a batch beside the losses: the share almost right, each reconstruction's loss."""

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
    """Writes a batch's summaries at every step, and a checkpoint at the end of each interval."""

    def __init__(self, folder: Path, summaries: Summaries, stream: Stream, run: RunConfig, pictures: bool) -> None:
        super().__init__()
        self.folder, self.summaries, self.stream, self.run, self.pictures = folder, summaries, stream, run, pictures

    @functools.cached_property
    def viewer(self) -> keras.Model:
        """Made once: what it predicts with is compiled at its first use."""
        return viewer(self.model)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Makes the metrics those of one batch: Keras's are means over the epoch."""
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Writes the summaries; the step is the number of updates before this one, as in the released code."""
        step = callback.steps_done(self.model) - 1
        callback.check_finite(logs["loss"], step, newest(self.folder))
        self.summaries.scalars(step, tower(logs, self.run.batch_size))
        if self.pictures:
            inputs, truths = loop.tensors(
                self.stream.batch(step), self.stream.dataset.classes, decoder=self.run.reconstruction
            )
            self.summaries.pictures(step, self.viewer, inputs, truths)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the checkpoint and removes the oldest."""
        self.save(self.model, callback.steps_done(self.model))

    def save(self, model: keras.Model, step: int) -> Path:
        """Writes `model.ckpt-STEP` and TensorFlow's note of the newest."""
        prefix = checkpoints.save_released(model, self.folder / "model.ckpt", step)
        for old in _all(self.folder)[:-KEPT]:
            for part in self.folder.glob(f"{old.name}.*"):
                part.unlink()
        kept = "".join(f'all_model_checkpoint_paths: "{path.name}"\n' for path in _all(self.folder))
        files.write_text(self.folder / "checkpoint", f'model_checkpoint_path: "{prefix.name}"\n{kept}')
        return prefix


def tower(logs: dict[str, float], batch_size: int) -> dict[str, float]:
    """A batch's losses and counts, from what Keras logs, under the released code's tags."""
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
    """The checkpoints in a folder, without `.index`, the oldest first."""
    names = [path.with_suffix("") for path in folder.glob("model.ckpt-*.index")]
    return sorted((path for path in names if re.fullmatch(r"model\.ckpt-\d+", path.name)), key=step_of)


def _scope(replicas: int, batch_size: int) -> Any:
    """Where a model is to be made so that each of its batches is shared by several devices."""
    import tensorflow as tf

    if replicas == 1:
        return contextlib.nullcontext()
    devices = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    if len(devices) < replicas:
        raise Error(f"--num_gpus={replicas}: this machine has {len(devices)} device(s) for it; ask for no more")
    if batch_size % replicas:
        raise Error(f"--num_gpus={replicas}: does not divide the batch of {batch_size}; choose another number")
    return tf.distribute.MirroredStrategy(devices[:replicas]).scope()
