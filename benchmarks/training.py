"""Training of the full MNIST CapsNet, beside the convolution in it that nothing can do without."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks import medians
from benchmarks.convolution import SIZES, direct, example, three_passes
from capsrepro.core.errors import Error

BATCH = 128  # as the paper's runs
STEPS = 4  # of a turn
REPEATS = 5


def images_per_second(precision: Literal["float32", "mixed_bfloat16"], folder: Path) -> tuple[float, float] | None:
    """Training with routing and decoder; and the direct 9x9 convolution alone, forward and both gradients.

    None where bfloat16 is only emulated: that would say nothing.

    Raises:
        Error: Keras runs on another backend than TensorFlow.
    """
    from keras import backend, ops

    from capsrepro.network import devices

    if (found := backend.backend()) != "tensorflow":
        raise Error(f"KERAS_BACKEND: training is measured with tensorflow, not with {found}; set it to that")
    if precision == "mixed_bfloat16" and not devices.has_bfloat16():
        return None
    train = training(precision, folder)
    passes = three_passes(direct)
    arrays = [ops.cast(array, precision.removeprefix("mixed_")) for array in example(SIZES["MNIST"], BATCH)]
    seconds = medians([train, partial(_convolve, passes, arrays)], REPEATS)
    trained, convolved = (STEPS * BATCH / second for second in seconds)
    return trained, convolved


def training(precision: Literal["float32", "mixed_bfloat16"], folder: Path) -> Callable[[], object]:
    """What trains for `STEPS` steps each time that it is called, as a run of the pipeline does between two backups."""
    from capsrepro.core.params import RunConfig
    from capsrepro.data import mnist
    from capsrepro.data.batches import Stream
    from capsrepro.network import devices
    from capsrepro.training import loop

    run = RunConfig("mnist", "capsnet", routing=3, reconstruction=True, precision=precision)
    dataset = mnist.load(folder / "mnist", "train")
    devices.share_gpus()
    loop.make_deterministic(0)
    model = loop.compiled(run, dataset, seed=0)
    batches = loop.pipeline(loop.Steps(Stream(dataset, BATCH, seed=0), 0, STEPS, decoder=True))
    return lambda: model.fit(batches, shuffle=False, verbose=0)


def _convolve(passes: Callable[..., Any], arrays: list[Any]) -> None:
    """As many times as training does it in a turn."""
    import tensorflow as tf

    for _ in range(STEPS):
        passes(*arrays)
    tf.test.experimental.sync_devices()  # a GPU answers before it is done
