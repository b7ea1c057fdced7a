"""Measures training steps per second, loading included, on each way that a step can be made.

On a GPU the network is the full MNIST CapsNet with decoder in bfloat16, on a CPU the narrow one of `quick` in float32.
The bound is the arithmetic of its largest layer, the 9x9 convolution: three matrix products, forward and for both
gradients, of the same size, on the same device and in the same run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import medians

BATCH = 128  # as in the runs
POSITIONS = 6 * 6  # of the convolution's output
TAPS = 9 * 9
ATOMS = 8
REPEATS = 5
ON_GPU, ON_CPU = 500, 20  # steps in a timed call, so that its fixed costs do not show

Rates = tuple[float, float] | None  # steps per second, and as many by the bound; None: this backend has no such way


def fit(folder: Path) -> Rates:
    """Steps per second with batches from the host and Keras's `fit`."""
    from capsrepro.training import feeding, loop

    run, stream, steps = _run(folder)
    model = loop.compiled(run, stream.dataset, seed=0)
    batches = feeding.pipeline(feeding.Steps(stream, 0, steps, decoder=True))
    return _measured(lambda: model.fit(batches, shuffle=False, verbose=0), steps, run)


def scan(seeds: int, folder: Path) -> Rates:
    """Steps per second with batches rendered on the device and many steps in a call; the steps of all seeds count."""
    import keras

    if keras.backend.backend() != "jax":
        return None
    import numpy as np

    from capsrepro.data.batches import Stream
    from capsrepro.training import loop, scanning
    from capsrepro.training.backups import Backups
    from capsrepro.training.callback import TrainingCallback

    run, stream, steps = _run(folder)
    dataset = stream.dataset
    unused = TrainingCallback(Backups(folder / "unused", {}), run, dataset, None)
    streams = [Stream(dataset, BATCH, seed) for seed in range(seeds)]
    lanes = [scanning.Lane(loop.compiled(run, dataset, one.seed), one, run, unused, 0) for one in streams]
    program = scanning.Program(lanes)
    current = [program.state()]
    calls = min(steps, scanning.steps_in_a_call())

    def train() -> None:
        for _ in range(steps // calls):
            current[0], logs = program(current[0], scanning.drawn(lanes, [0] * seeds, calls))
        np.asarray(logs["loss"])  # waits for the device

    return _measured(train, steps * seeds, run)


def _run(folder: Path) -> Any:
    """Run, stream and number of steps in a timed call."""
    from capsrepro.core.params import RunConfig
    from capsrepro.data import mnist
    from capsrepro.data.batches import Stream
    from capsrepro.network import devices
    from capsrepro.training import loop

    on_gpu = bool(devices.gpus())
    devices.share_gpus()
    loop.make_deterministic(0)
    widths: dict[str, Any] = {} if on_gpu else {"conv_channels": (32,), "primary_types": 8}
    precision: Any = "mixed_bfloat16" if on_gpu else "float32"
    run = RunConfig("mnist", "capsnet", routing=3, reconstruction=True, precision=precision, **widths)
    return run, Stream(mnist.load(folder / "mnist", "train"), BATCH, 0), ON_GPU if on_gpu else ON_CPU


def _measured(train: Callable[[], object], steps: int, run: Any) -> Rates:
    """The rates of a training of so many steps, and of the products of as many."""
    trained, multiplied = medians([train, lambda: _multiply(steps, run)], REPEATS)
    return steps / trained, steps / multiplied


def _multiply(steps: int, run: Any) -> None:
    """Makes the matrix products of the convolution in this many steps."""
    from keras import ops

    dtype = run.precision.removeprefix("mixed_")
    inner, outer = TAPS * run.conv_channels[0], run.primary_types * ATOMS
    rows, kernel = ops.ones((BATCH * POSITIONS, inner), dtype), ops.ones((inner, outer), dtype)
    upstream = ops.ones((BATCH * POSITIONS, outer), dtype)
    for _ in range(steps):
        results = [ops.matmul(rows, kernel), ops.matmul(ops.transpose(rows), upstream)]
        results.append(ops.matmul(upstream, ops.transpose(kernel)))
    for result in results:
        ops.convert_to_numpy(result[0, 0])  # waits for the device
