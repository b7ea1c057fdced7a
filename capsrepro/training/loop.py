"""One training: from a run's settings and its data to weights, resumable at every backup."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from capsrepro.core import files
from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Batch, Dataset, Stream
from capsrepro.network import devices, losses, models
from capsrepro.training import signals
from capsrepro.training.backups import Backups
from capsrepro.training.callback import TrainingCallback, steps_done
from capsrepro.training.fingerprint import fingerprint, sources_of

LOWEST_RATE = 1e-6
PREFETCHED = 8  # batches that are made ahead
DISPATCHED = 10  # steps that a GPU is given before the loss and signals are looked at, for which it has to stand still


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training."""

    model: keras.Model
    history: list[dict[str, float]]  # for each interval: step, learning_rate, and the means of loss and metrics
    seconds: float  # spent in steps, over all the starts that it took
    resumed_at: int  # the step that this start resumed after; 0: it began anew
    steps: int  # the step that it ended at
    stop_reached: bool  # False: it should have ended at an accuracy that it did not reach
    backups: Backups  # to be removed once the weights are in place


def train(
    run: RunConfig,
    dataset: Dataset,
    seed: int,
    *,
    state: Path,
    stop: Dataset | None = None,
    watch: Mapping[str, Dataset] | None = None,
    logs: Path | None = None,
    sources: Iterable[Path] | None = None,
    verbose: int = 1,
) -> Trained:
    """Trains a run, or resumes an interrupted training of the same fingerprint.

    Args:
        run: its settings.
        dataset: the training split.
        seed: of the weights, the order of the data, its distortion and dropout.
        state: folder for the backups; those of other settings, data or code in it are left alone.
        stop: the split whose accuracy ends the training early, where the run has a `stop_pct`.
        watch: splits whose accuracy in percent goes into each line of the history, by the name of the column.
        logs: folder for TensorBoard; None: no logs.
        sources: the files whose code makes the weights; None: this module and that of `dataset`, with what they import.
        verbose: as for Keras's `fit`.

    Raises:
        Error: another process trains here, or the loss is no longer finite; the last good backup stays.
    """
    with files.locked(state, "training"), signals.noted() as asked:
        make_deterministic(seed)
        model = compiled(run, dataset, seed)
        known = fingerprint(run, dataset, seed, sources_of(Path(__file__), dataset) if sources is None else sources)
        progress = TrainingCallback(Backups(state, known), run, dataset, stop, asked, watch)
        first = progress.restore(model)
        if not progress.stopped:
            stream = Stream(dataset, run.batch_size, seed)
            fit(model, stream, run, first, callbacks=[progress, *_tensorboard(logs)], verbose=verbose)
        if run.average is not None:
            model.optimizer.finish(model.trainable_variables)
        reached = run.stop_pct is None or progress.stopped
        return Trained(model, progress.history, progress.seconds, first, steps_done(model), reached, progress.backups)


def fit(
    model: keras.Model, stream: Stream, run: RunConfig, first: int, *, callbacks: list[Any], verbose: int = 1
) -> None:
    """Trains a compiled model from step `first` to `run.steps` or until a callback stops it.

    An epoch of Keras is `checkpoint_steps` steps.
    """
    for start, stop, interval in _intervals(first, run.steps, run.checkpoint_steps):
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


def compiled(
    run: RunConfig, dataset: Dataset, seed: int, metrics: Mapping[str, list[Any]] | None = None
) -> keras.Model:
    """The run's network with its losses, Adam, and the metric `right`: the share of images all of whose digits are.

    Args:
        run: its settings.
        dataset: for the shape of an image, how many digits are in it, and the classes.
        seed: of the initial weights and of dropout.
        metrics: others, by output.
    """
    model = models.build(run, dataset.image_shape, classes=dataset.classes, digits=dataset.digits, seed=seed)
    objective = {"scores": losses.classification(run.loss, run.recipe_of_loss)}
    if run.reconstruction:
        objective["reconstruction"] = losses.reconstruction_loss

    def right(truth: Any, scores: Any) -> Any:
        return losses.both_right(truth, scores, digits=dataset.digits)

    with_jax, on_gpu = keras.backend.backend() == "jax", bool(devices.gpus())
    model.compile(
        optimizer=_adam(run),
        loss=objective,
        metrics={**(metrics or {}), "scores": [right, *(metrics or {}).get("scores", [])]},
        steps_per_execution=DISPATCHED if with_jax and on_gpu else 1,
        # With TensorFlow on a CPU, XLA's convolutions were measured 17 times slower than oneDNN's; JAX has no other.
        jit_compile=with_jax or on_gpu,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def make_deterministic(seed: int) -> None:
    """Seeds what is not seeded by itself and asks TensorFlow for kernels that add in a fixed order."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def tensors(batch: Batch, classes: int, *, decoder: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """A batch as `models.capsnet` takes it: inputs `image` and `mask`, truths `scores` and `reconstruction`."""
    one_hot = np.eye(classes, dtype=np.float32)[batch.labels]  # (B, T, C)
    # The maximum, not the sum: two digits of one class would give 2 and, as in the released code, a negative loss.
    inputs, truths = {"image": batch.images}, {"scores": one_hot.max(axis=1)}
    if decoder:
        inputs["mask"] = one_hot
        truths["reconstruction"] = models.flattened(batch.targets)
    return inputs, truths


class Decay(keras.optimizers.schedules.ExponentialDecay):
    """The released code's rate: max(1e-6, rate * decay_rate^(step / decay_steps)), falling at every step."""

    def __call__(self, step: Any) -> Any:
        """The rate for this step."""
        return keras.ops.maximum(super().__call__(step), LOWEST_RATE)


class AveragingAdam(keras.optimizers.Adam):
    """Adam that keeps a moving average of the weights beside them, and puts it in their place only when told to.

    Keras does so at the end of each `fit`; here a training is several of them, as many as it takes.
    """

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leaves the weights as they are."""

    def finish(self, weights: Any) -> None:
        """Puts the average in place of the weights."""
        super().finalize_variable_values(weights)


class Steps(keras.utils.PyDataset):
    """The training batches `start` to `stop` for Keras, prefetched by a thread; item i is batch `start` + i."""

    def __init__(self, stream: Stream, start: int, stop: int, *, decoder: bool) -> None:
        super().__init__(workers=1, max_queue_size=PREFETCHED)
        self.stream, self.start, self.stop, self.decoder = stream, start, stop, decoder

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, item: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Inputs and truths of a batch."""
        return tensors(self.stream.batch(self.start + item), self.stream.dataset.classes, decoder=self.decoder)


def pipeline(steps: Steps) -> Any:
    """Training batches as `fit` takes them: the same ones, prefetched.

    With TensorFlow it is a tf.data pipeline without the autotuner that Keras's own has. Its destructor waits until the
    autotuner wakes, whose period doubles from 10 ms to 60 s: about half of all calls of `fit` ended in such a wait.
    """
    if keras.backend.backend() != "tensorflow":
        return steps
    import tensorflow as tf

    def spec(array: np.ndarray) -> Any:
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    signature = tuple({name: spec(array) for name, array in part.items()} for part in steps[0])
    batches = tf.data.Dataset.from_generator(
        lambda: map(steps.__getitem__, range(len(steps))), output_signature=signature
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(PREFETCHED).with_options(options)


def _adam(run: RunConfig) -> keras.optimizers.Optimizer:
    """Adam as TensorFlow 1 has it, with the run's rate."""
    rate = Decay(run.learning_rate, run.decay_steps, run.decay_rate)
    if run.average is None:
        return keras.optimizers.Adam(rate, epsilon=1e-8)
    return AveragingAdam(rate, epsilon=1e-8, use_ema=True, ema_momentum=run.average, name="adam")


def _intervals(first: int, steps: int, interval: int) -> Iterator[tuple[int, int, int]]:
    """The stretches of training still to do: whole intervals, then what is left of the last one."""
    whole = steps - steps % interval
    if first < whole and first % interval:  # it was stopped by a signal
        boundary = first + interval - first % interval
        yield first, boundary, boundary - first
        first = boundary
    if first < whole:
        yield first, whole, interval
    if max(first, whole) < steps:
        yield max(first, whole), steps, steps - max(first, whole)


def _tensorboard(logs: Path | None) -> list[keras.callbacks.Callback]:
    if logs is None:
        return []
    if keras.backend.backend() != "tensorflow":
        print(f"no TensorBoard logs: they need the TensorFlow backend, this is {keras.backend.backend()}")
        return []
    return [keras.callbacks.TensorBoard(logs, write_graph=False)]
