"""The training loop; an interrupted training resumes from its latest backup."""

import dataclasses
import shutil
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
PREFETCHED = 8  # batches computed in advance
DISPATCHED = 10  # steps sent to a GPU between two checks of loss and signals, since each check makes it wait


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training."""

    model: keras.Model
    history: list[dict[str, float]]  # for each interval: step, learning_rate, and the means of loss and metrics
    seconds: float  # time of all steps, including those before an interruption
    resumed_at: int  # the step from which this process resumed; 0: it started from the beginning
    steps: int  # the step at which it ended
    stop_reached: bool  # False: the run declares a stopping accuracy and did not reach it
    backups: Backups  # to be removed once the final weights are saved


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
        run: settings of the run.
        dataset: the training split.
        seed: seed of the weights, the order of the data, its distortion and dropout.
        state: folder for the backups; backups of other settings, data or code in it are kept.
        stop: the split whose accuracy ends the training early, if the run has a `stop_pct`.
        watch: splits whose accuracy in percent is a column of the history, by the name of the column.
        logs: folder for TensorBoard, which has a folder for each fingerprint; None: no logs.
        sources: the source files that determine the weights; None: this module and that of `dataset`, with their
            imports.
        verbose: as for Keras's `fit`.

    Raises:
        Error: another process is training in `state`, the loss is not finite, or nothing is learnt; the last good
            backup is kept.
        Stopped: a signal was received; the state is saved.
    """
    with files.locked(state, "training"), signals.deferred() as received:
        make_deterministic(seed)
        model = compiled(run, dataset, seed)
        known = fingerprint(run, dataset, seed, sources_of(Path(__file__), dataset) if sources is None else sources)
        progress = TrainingCallback(Backups(state, known), run, dataset, stop, received, watch)
        first = progress.restore(model)
        if not progress.stopped:
            stream = Stream(dataset, run.batch_size, seed)
            boards = _tensorboard(logs, progress.backups.fingerprint, first)
            fit(model, stream, run, first, callbacks=[progress, *boards], verbose=verbose)
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
    """Builds a run's network and compiles it with its losses, Adam, and the accuracy, the metric `right`.

    Args:
        run: settings of the run.
        dataset: gives the shape of an image and the numbers of its digits and classes.
        seed: seed of the initial weights and of dropout.
        metrics: additional metrics, by output.
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
        # With TensorFlow on a CPU, XLA's convolutions were measured 17 times slower than oneDNN's. JAX always uses XLA.
        jit_compile=with_jax or on_gpu,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def make_deterministic(seed: int) -> None:
    """Sets Keras's global seed, and makes TensorFlow use deterministic kernels, which add in a fixed order."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def tensors(batch: Batch, classes: int, *, decoder: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts a batch for `models.capsnet`: inputs `image` and `mask`, targets `scores` and `reconstruction`."""
    one_hot = np.eye(classes, dtype=np.float32)[batch.labels]  # (B, T, C)
    # Not the sum, which would be 2 for two digits of one class and make the loss negative, as in the released code.
    inputs, truths = {"image": batch.images}, {"scores": one_hot.max(axis=1)}
    if decoder:
        inputs["mask"] = one_hot
        truths["reconstruction"] = models.flattened(batch.targets)
    return inputs, truths


class Decay(keras.optimizers.schedules.ExponentialDecay):
    """The released code's learning rate: max(1e-6, rate * decay_rate^(step / decay_steps)), at every step."""

    def __call__(self, step: Any) -> Any:
        """The learning rate at this step."""
        return keras.ops.maximum(super().__call__(step), LOWEST_RATE)


class AveragingAdam(keras.optimizers.Adam):
    """Adam with a moving average of the weights, which replaces them only when `finish` is called.

    Keras replaces the weights at the end of each `fit`, but a training here may call `fit` several times.
    """

    def finalize_variable_values(self, var_list: Any) -> None:
        """Does nothing, instead of replacing the weights."""

    def finish(self, weights: Any) -> None:
        """Replaces the weights by their average."""
        super().finalize_variable_values(weights)


class Steps(keras.utils.PyDataset):
    """The training batches `start` to `stop` for Keras, prefetched by a thread; item i is batch `start` + i."""

    def __init__(self, stream: Stream, start: int, stop: int, *, decoder: bool) -> None:
        super().__init__(workers=1, max_queue_size=PREFETCHED)
        self.stream, self.start, self.stop, self.decoder = stream, start, stop, decoder

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, item: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Inputs and targets of a batch."""
        return tensors(self.stream.batch(self.start + item), self.stream.dataset.classes, decoder=self.decoder)


def pipeline(steps: Steps) -> Any:
    """Training batches as `fit` takes them: the same ones, prefetched.

    With TensorFlow it is a tf.data pipeline that differs from Keras's own in two points. It has no autotuner: the
    destructor of a pipeline waits until the autotuner wakes, whose period doubles from 10 ms to 60 s, and about half of
    all calls of `fit` ended in such a wait. And it is no generator: TensorFlow 2.21 then has every freed block of
    128 kB returned to the system, and 120 steps of the quick CapsNet took 11 million page faults and 103 s in place of
    0.7 million and 71 s.
    """
    if keras.backend.backend() != "tensorflow":
        return steps
    import tensorflow as tf

    first = steps[0]
    arrays = tf.nest.flatten(first)

    def batch(item: Any) -> list[np.ndarray]:
        return [np.ascontiguousarray(array) for array in tf.nest.flatten(steps[int(item)])]

    def fetch(item: Any) -> Any:
        tensors = tf.numpy_function(batch, [item], [array.dtype for array in arrays])
        for tensor, array in zip(tensors, arrays, strict=True):
            tensor.set_shape((None, *array.shape[1:]))
        return tf.nest.pack_sequence_as(first, tensors)

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.range(len(steps)).map(fetch).prefetch(PREFETCHED).with_options(options)


def _adam(run: RunConfig) -> keras.optimizers.Optimizer:
    """Adam with TensorFlow 1's epsilon and the run's learning rate."""
    rate = Decay(run.learning_rate, run.decay_steps, run.decay_rate)
    if run.average is None:
        return keras.optimizers.Adam(rate, epsilon=1e-8)
    return AveragingAdam(rate, epsilon=1e-8, use_ema=True, ema_momentum=run.average, name="adam")


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
