"""Trains with JAX: many steps in one call of the device, and several seeds in one program.

Keras's `fit` calls the device once a step with a batch from the host, which takes longer than the arithmetic of a step.
Here the images lie on the device, where `lax.scan` makes as many steps as lie between two looks at the loss. A step is
Keras's own `train_step`, as in `fit`, so that model, losses, metrics and optimizer are the same. Several seeds are the
same program under `vmap`. They do not influence each other: each has its own weights, batches, backups and end.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from capsrepro.core.errors import Error, Stopped
from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Stream
from capsrepro.network import devices
from capsrepro.training.callback import TrainingCallback, named, steps_done
from capsrepro.training.feeding import tensors

STEPS_ON_GPU, STEPS_ON_CPU = 100, 10  # between two looks at loss and signals; a step takes a CPU much longer

State = tuple[list[Any], ...]  # the arrays of the variables of `_variables`, for several seeds stacked
Logs = dict[str, np.ndarray]  # means since the start of the interval, for each step and, if several, each seed


@dataclasses.dataclass(eq=False)
class Lane:
    """One of the trainings that run together.

    Attributes:
        model: compiled, with the weights at `step`.
        progress: its backups, history and checks.
        step: the steps done.
        verbose: as for Keras's `fit`.
        labelled: print a line for each interval with the seed in it, instead of Keras's progress bar.
        resumed_at: the step at which this process started.
        fault: what ended the training before its end.
        is_open: whether an interval was started and not ended.
        opened: the step at which it was started or resumed.
    """

    model: keras.Model
    stream: Stream
    run: RunConfig
    progress: TrainingCallback
    step: int
    verbose: int = 0
    labelled: bool = False
    fault: Error | Stopped | None = None
    is_open: bool = False
    opened: int = 0

    def __post_init__(self) -> None:
        self.resumed_at = self.step

    @functools.cached_property
    def callbacks(self) -> keras.callbacks.CallbackList:
        """All callbacks, as `fit` has them."""
        interval = self.run.checkpoint_steps
        label = [Labelled(self.stream.seed, self.run.steps)] if self.labelled and self.verbose else []
        callbacks = keras.callbacks.CallbackList(
            [self.progress, *label],
            add_progbar=self.verbose != 0 and not self.labelled,
            model=self.model,
            verbose=self.verbose,
            epochs=-(-self.run.steps // interval),
            steps=interval,
        )
        callbacks.on_train_begin()
        return callbacks

    @property
    def ended(self) -> bool:
        """Whether nothing is left to train."""
        return self.fault is not None or self.step >= self.run.steps or self.progress.stopped

    @property
    def at_boundary(self) -> bool:
        """Whether an interval ends at this step."""
        return self.step % self.run.checkpoint_steps == 0 or self.step == self.run.steps

    def until_look(self, steps: int) -> int:
        """The number of steps to the next look at the loss, at most `steps`; a pure function of the step."""
        done = self.step % self.run.checkpoint_steps
        return min(steps - done % steps, self.run.checkpoint_steps - done, self.run.steps - self.step)

    def open(self) -> None:
        """Starts an interval, or resumes one."""
        if not self.is_open:
            self.is_open, self.opened = True, self.step
            self.model.reset_metrics()
            self.callbacks.on_epoch_begin(self.step // self.run.checkpoint_steps)

    def look(self, logs: Logs) -> None:
        """Checks the logs of the last steps, each `(steps,)`; at the end of an interval, the model must be current."""
        steps = len(logs["loss"])
        finite = np.isfinite(logs["loss"])
        last = steps - 1 if finite.all() else int(np.argmin(finite))
        now = {name: float(values[last]) for name, values in logs.items()}
        try:
            self.callbacks.on_train_batch_end(self.step - steps + last - self.opened, now)
            if self.at_boundary:
                self.callbacks.on_epoch_end((self.step - 1) // self.run.checkpoint_steps, now)
                self.is_open = False
        except (Error, Stopped) as fault:
            self.fault = fault


class Labelled(keras.callbacks.Callback):
    """Prints the seed, step and logs of each interval."""

    def __init__(self, seed: int, steps: int) -> None:
        super().__init__()
        self.seed, self.steps = seed, steps

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Prints a line."""
        values = ", ".join(f"{name} {value:.4g}" for name, value in named(logs).items())
        print(f"seed {self.seed}, step {steps_done(self.model)} of {self.steps}: {values}", flush=True)


class Program:
    """The compiled steps of all lanes, with the images on the device."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        """Takes lanes of one run and data set, at any steps."""
        import jax

        self.lanes = lanes
        self.stored = jax.device_put(dict(lanes[0].stream.dataset.stored))
        self._jitted = jax.jit(_steps(lanes), donate_argnums=1)
        self._compiled: dict[int, Any] = {}  # by number of steps
        for lane in lanes:
            _build_metrics(lane)

    def __call__(self, state: State, drawn: dict[str, np.ndarray]) -> tuple[State, dict[str, Any]]:
        """Makes the steps that `drawn` has batches for; returns before the device is done, and takes `state` over."""
        count = len(next(iter(drawn.values())))
        if count not in self._compiled:
            compiled = self._compiled[count] = self._jitted.lower(self.stored, state, drawn).compile()
            check_memory(compiled, len(self.lanes))
            if self.lanes[0].verbose and len(self._compiled) == 1:
                print(f"{len(self.lanes)} seed(s): {memory(compiled) / 1e9:.3f} GB of the device", flush=True)
        state, logs = self._compiled[count](self.stored, state, drawn)
        return state, logs

    def state(self) -> State:
        """The variables of all models, for several lanes stacked on a new first axis."""
        import jax

        states = [[[variable.value for variable in group] for group in _variables(lane.model)] for lane in self.lanes]
        if len(states) == 1:
            return tuple(states[0])
        return tuple(jax.tree.map(lambda *arrays: jax.numpy.stack(arrays), *states))

    def assign(self, state: State, running: Sequence[Lane]) -> None:
        """Gives the models of the `running` lanes their part of the state; the others keep the weights of their end."""
        for number, lane in enumerate(self.lanes):
            for group, arrays in zip(_variables(lane.model), state, strict=True):
                for variable, array in zip(group, arrays, strict=True):
                    if lane in running:
                        variable.assign(array if len(self.lanes) == 1 else array[number])


def train(lanes: Sequence[Lane], received: Sequence[int]) -> None:
    """Trains every lane to its end, or to its fault, which does not end the others.

    Lanes may be at different steps, as after a kill between two backups. A lane that has ended is computed on with the
    others, without effect: a program for fewer lanes would have to be compiled, and its last digits might differ.

    Args:
        lanes: trainings of one run.
        received: list of received signals, see `signals.deferred`; once it is not empty, every lane saves its state.

    Raises:
        Error: the lanes need more memory than the device has.
        Stopped: a signal was received; all states are saved.
    """
    if all(lane.ended for lane in lanes):
        return
    program, steps = Program(lanes), steps_in_a_call()
    batches = functools.lru_cache(maxsize=2)(functools.partial(drawn, lanes))
    stopping: list[int] = []  # the signals, from the moment on at which the models are current
    for lane in lanes:
        lane.progress.received = stopping
    while running := [lane for lane in lanes if not lane.ended]:
        for lane in running:
            lane.open()
        state, current = program.state(), False
        while not current:
            count = min(lane.until_look(steps) for lane in running)
            state, logs = program(state, batches(tuple(lane.step for lane in lanes), count))
            for lane in running:
                lane.step += count
            if ahead := min((lane.until_look(steps) for lane in running), default=0):
                batches(tuple(lane.step for lane in lanes), ahead)  # while the device computes
            seen = {name: np.asarray(values) for name, values in logs.items()}  # waits for the device
            if current := bool(received) or any(lane.at_boundary for lane in running):
                program.assign(state, running)
                stopping.extend(received)
            for number, lane in enumerate(lanes):
                if lane in running:
                    lane.look({name: values[:, number] if len(lanes) > 1 else values for name, values in seen.items()})

    for lane in lanes:
        if isinstance(lane.fault, Stopped):
            raise lane.fault


def steps_in_a_call() -> int:
    """The number of steps from one look at loss and signals to the next."""
    return STEPS_ON_GPU if devices.gpus() else STEPS_ON_CPU


def check_memory(compiled: Any, seeds: int) -> None:
    """Refuses a program that does not fit into the device.

    Raises:
        Error: it needs more memory than the device has; the message has both.
    """
    import jax

    needed, available = memory(compiled), (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if available is not None and needed > available:
        raise Error(
            f"{seeds} seed(s) together need {needed / 1e9:.1f} GB of the device, which has {available / 1e9:.1f}; "
            "train fewer at once or set a smaller batch_size"
        )


def memory(compiled: Any) -> int:
    """The bytes of the device that a compiled program needs: images, state and batches, and intermediate results."""
    sizes = compiled.memory_analysis()
    results = sizes.output_size_in_bytes - sizes.alias_size_in_bytes  # the new state takes the place of the old one
    return int(sizes.argument_size_in_bytes + results + sizes.temp_size_in_bytes)


def _steps(lanes: Sequence[Lane]) -> Callable[..., Any]:
    """The function from stored images, state and drawn batches to the new state and the logs of each step."""
    import jax

    model, dataset, decoder = lanes[0].model, lanes[0].stream.dataset, lanes[0].run.reconstruction

    def steps(stored: Any, state: State, drawn: Any) -> Any:
        def step(state: State, drawn: Any) -> Any:
            batch = dataset.render(stored, drawn)
            logs, state = model.train_step(state, tensors(batch, dataset.classes, decoder=decoder))
            return tuple(state), logs

        return jax.lax.scan(step if len(lanes) == 1 else jax.vmap(step), state, drawn)

    return steps


def drawn(lanes: Sequence[Lane], starts: Sequence[int], count: int) -> dict[str, np.ndarray]:
    """What `count` batches of each lane are rendered from, `(count, B, ...)`, for several `(count, lanes, B, ...)`."""
    each = [lane.stream.draws(start, start + count) for lane, start in zip(lanes, starts, strict=True)]
    return each[0] if len(each) == 1 else {name: np.stack([one[name] for one in each], axis=1) for name in each[0]}


def _variables(model: keras.Model) -> tuple[list[Any], ...]:
    """The groups of variables in the order of Keras's `train_step`."""
    return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables


def _build_metrics(lane: Lane) -> None:
    """Creates the variables of the metrics, which Keras's `fit` does at its first batch."""
    batch = lane.stream.batch(0)
    lane.model._symbolic_build(data_batch=tensors(batch, lane.stream.dataset.classes, decoder=lane.run.reconstruction))
