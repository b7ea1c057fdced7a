"""The training loop; an interrupted training resumes from its latest backup."""

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Dataset, Stream
from capsrepro.network import devices, losses, models, sizes
from capsrepro.training import fitting, scanning, signals
from capsrepro.training.backups import Backups
from capsrepro.training.callback import TrainingCallback, steps_done
from capsrepro.training.fingerprint import fingerprint, sources_of
from capsrepro.training.scanning import Lane

LOWEST_RATE = 1e-6


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
    together: tuple[int, ...] = ()  # the seeds that were trained in one program, if several


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
        stop: the split whose accuracy ends the training early; needed if the run has a `stop_pct`.
        watch: splits whose accuracy in percent is a column of the history, by the name of the column.
        logs: folder for TensorBoard, which has a folder for each fingerprint; None: no logs.
        sources: the source files that determine the weights; None: this module and that of `dataset`, with their
            imports.
        verbose: as for Keras's `fit`.

    Raises:
        Error: the run has a `stop_pct` and there is no `stop`, another process is training in `state`, the loss is not
            finite, or nothing is learnt; the last good backup is kept.
        Stopped: a signal was received; the state is saved.
    """
    folders = {} if logs is None else {seed: logs}
    [result] = train_together(
        run, dataset, {seed: state}, stop=stop, watch=watch, logs=folders, sources=sources, verbose=verbose
    )
    return finished(result)


def finished(result: Trained | Error) -> Trained:
    """The result of a training that did not fail; raises the error of one that did."""
    if isinstance(result, Error):
        raise result
    return result


def train_together(
    run: RunConfig,
    dataset: Dataset,
    states: Mapping[int, Path],
    *,
    wanted: Sequence[int] = (),
    stop: Dataset | None = None,
    watch: Mapping[str, Dataset] | None = None,
    logs: Mapping[int, Path] | None = None,
    sources: Iterable[Path] | None = None,
    verbose: int = 1,
) -> list[Trained | Error]:
    """Trains a run with several seeds: with JAX in one program, with other backends one after the other.

    Each seed is trained as it would be alone, but for the last digits, and resumes by itself. A limit of time is set
    with `signal.alarm`: as after any other signal, all states are saved.

    Args:
        run: settings of the run.
        dataset: the training split.
        states: the folder for the backups of each seed, see `train`.
        wanted: the seeds whose results are returned; none: all. With JAX the other seeds are trained too, unless
            backups show that all wanted ones are done.
        stop: see `train`.
        watch: see `train`.
        logs: the folder for TensorBoard of each seed.
        sources: see `train`.
        verbose: see `train`.

    Returns:
        For each wanted seed its result, or the error that ended it: its loss is not finite, or it learns nothing. The
        other seeds are not disturbed.

    Raises:
        Error: the run has a `stop_pct` and there is no `stop`, another process is training in one of the folders, or
            the device has too little memory.
        Stopped: a signal was received; the states of all seeds are saved.
    """
    if run.stop_pct is not None and stop is None:
        raise Error(f"stop_pct is {run.stop_pct}, but no data are given to measure it on; give `stop`, or no stop_pct")
    sizes.check_batch(run, dataset.image_shape, dataset.classes)
    used = sources_of(Path(__file__), dataset) if sources is None else set(sources)
    with_jax, wanted = keras.backend.backend() == "jax", wanted or list(states)
    seeds = list(states) if with_jax else wanted
    several = with_jax and len(seeds) > 1
    together = {"together": sorted(seeds)} if several else {}  # the last digits of the weights depend on them
    lanes = {}
    with contextlib.ExitStack() as stack:
        for seed in seeds:
            stack.enter_context(files.locked(states[seed], "training"))
        received = stack.enter_context(signals.deferred())
        for seed in seeds:
            make_deterministic(seed)
            model = compiled(run, dataset, seed)
            kept = Backups(states[seed], fingerprint(run, dataset, seed, used) | together)
            progress = TrainingCallback(kept, run, dataset, stop, received, watch)
            stream = Stream(dataset, run.batch_size, seed)
            first = progress.restore(model)
            if first:
                print(f"resumed at step {first} of {run.steps}", flush=True)
            lanes[seed] = Lane(model, stream, run, progress, first, verbose, several)
            if not with_jax:
                fitting.train(lanes[seed], (logs or {}).get(seed))
        if with_jax and not all(lanes[seed].ended for seed in wanted):
            scanning.train(list(lanes.values()), received)
        return [_result(lanes[seed], tuple(sorted(seeds)) if several else ()) for seed in wanted]


def _result(lane: Lane, together: tuple[int, ...]) -> Trained | Error:
    if isinstance(lane.fault, Error):
        return lane.fault
    model, progress, run = lane.model, lane.progress, lane.run
    if run.average is not None:
        model.optimizer.finish(model.trainable_variables)
    reached = run.stop_pct is None or progress.stopped
    steps, kept = steps_done(model), progress.backups
    return Trained(model, progress.history, progress.seconds, lane.resumed_at, steps, reached, kept, together)


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

    with_jax = keras.backend.backend() == "jax"
    model.compile(
        optimizer=_adam(run),
        loss=objective,
        metrics={**(metrics or {}), "scores": [right, *(metrics or {}).get("scores", [])]},
        # With TensorFlow on a CPU, XLA's convolutions were measured 17 times slower than oneDNN's. JAX always uses XLA.
        jit_compile=with_jax or bool(devices.gpus()),
    )
    model.optimizer.build(model.trainable_variables)
    _build_metrics(model)
    return model


def _build_metrics(model: keras.Model) -> None:
    """Creates the variables of a compiled model's losses and metrics.

    Where the first trace of a step creates variables, TensorFlow traces the step again.
    """
    zeros = {name: keras.ops.zeros((1, *output.shape[1:])) for name, output in model.output.items()}
    model.compute_loss(y=zeros, y_pred=zeros)
    model.compute_metrics(None, zeros, zeros)
    model.reset_metrics()


def make_deterministic(seed: int) -> None:
    """Sets Keras's global seed, and makes TensorFlow use deterministic kernels, which add in a fixed order."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


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


def _adam(run: RunConfig) -> keras.optimizers.Optimizer:
    """Adam with TensorFlow 1's epsilon and the run's learning rate."""
    rate = Decay(run.learning_rate, run.decay_steps, run.decay_rate)
    if run.average is None:
        return keras.optimizers.Adam(rate, epsilon=1e-8)
    return AveragingAdam(rate, epsilon=1e-8, use_ema=True, ema_momentum=run.average, name="adam")
