"""Measures training of the full MNIST CapsNet against its 9x9 convolution alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks import medians
from benchmarks.convolution import SIZES, direct, example, three_passes

BATCH = 128  # as in the runs
STEPS = 40  # in a timed call, so that its fixed costs do not show
REPEATS = 3


def images_per_second(precision: Literal["float32", "mixed_bfloat16"], folder: Path) -> tuple[float, float] | None:
    """Images per second of training, with routing and decoder, and of its 9x9 convolution alone.

    The convolution is the backend's, forward and both gradients.

    Returns:
        The two rates; None with a backend other than TensorFlow, or if bfloat16 is only emulated, as the result would
        be meaningless.
    """
    from keras import backend, ops

    from capsrepro.network import devices

    if backend.backend() != "tensorflow" or (precision == "mixed_bfloat16" and not devices.has_bfloat16()):
        return None
    train = training(precision, folder)
    passes = three_passes(direct)
    arrays = [ops.cast(array, precision.removeprefix("mixed_")) for array in example(SIZES["MNIST"], BATCH)]
    seconds = medians([train, partial(_convolve, passes, arrays)], REPEATS)
    trained, convolved = (STEPS * BATCH / second for second in seconds)
    return trained, convolved


def training(precision: Literal["float32", "mixed_bfloat16"], folder: Path) -> Callable[[], object]:
    """A function that trains for `STEPS` steps, as a run does between two backups."""
    from capsrepro.core.params import RunConfig
    from capsrepro.data import mnist
    from capsrepro.data.batches import Stream
    from capsrepro.network import devices
    from capsrepro.training import feeding, loop

    run = RunConfig("mnist", "capsnet", routing=3, reconstruction=True, precision=precision)
    dataset = mnist.load(folder / "mnist", "train")
    devices.share_gpus()
    loop.make_deterministic(0)
    model = loop.compiled(run, dataset, seed=0)
    batches = feeding.pipeline(feeding.Steps(Stream(dataset, BATCH, seed=0), 0, STEPS, decoder=True))
    return lambda: model.fit(batches, shuffle=False, verbose=0)


def _convolve(passes: Callable[..., Any], arrays: list[Any]) -> None:
    """Calls the convolution as often as training does in a timed call."""
    import tensorflow as tf

    for _ in range(STEPS):
        passes(*arrays)
    tf.test.experimental.sync_devices()  # GPU calls return before they are done
