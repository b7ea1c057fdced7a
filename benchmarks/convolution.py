"""Compares speed and error of `network.convolution` with the backend's convolution: forward and both gradients.

The two are timed in turn, so that both run on an equally busy machine; on a busy one trust the ratio of CPU times.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import interleaved

SIZES = {"MNIST": 20, "MultiMNIST": 28, "affNIST": 32}  # sizes of the first convolution's output
CHANNELS = 256
KERNEL = 9
STRIDE = 2
HEADS = ("direct s", "fast s", "ratio", "CPU ratio", "error direct", "error fast")
EXAMPLES = 2  # number of images whose results are compared with float64


def main(batch: int, repeats: int, sizes: Sequence[int]) -> None:
    """Prints a line for each data set and precision."""
    from capsrepro.network.devices import has_bfloat16

    print(f"batch {batch}, best of {repeats}; errors: the largest of outputs and gradients, part of the largest value")
    print(f"{'':12}{'':10}" + "".join(f"{head:>14}" for head in HEADS))
    for name, size in SIZES.items():
        for precision in ("float32", "bfloat16") if size in sizes else ():
            known = precision == "float32" or has_bfloat16()
            figures = row(size, precision, batch, repeats) if known else ["not measured"]
            print(f"{name:12}{precision:10}" + "".join(f"{figure:>14}" for figure in figures), flush=True)


def row(size: int, precision: str, batch: int, repeats: int) -> list[str]:
    """The cells of a line, for the columns in `HEADS`."""
    from keras import ops

    from capsrepro.network.convolution import convolve

    functions = [three_passes(direct), three_passes(lambda inputs, kernel: convolve(inputs, kernel, STRIDE))]
    arrays = example(size, batch)
    few = [array[:EXAMPLES] for array in arrays[:2]] + [arrays[2]]
    truths = functions[0](*(ops.cast(array, "float64") for array in few))
    errors = [error(function(*(ops.cast(array, precision) for array in few)), truths) for function in functions]
    given = [ops.cast(array, precision) for array in arrays]
    taken = interleaved([partial(function, *given) for function in functions], repeats)
    (slow, slow_cpu), (fast, fast_cpu) = [[min(clock) for clock in zip(*times, strict=True)] for times in taken]
    ratios = [f"{slow / fast:.2f}", f"{slow_cpu / fast_cpu:.2f}"]
    return [f"{slow:.3f}", f"{fast:.3f}", *ratios, *(f"{value:.1e}" for value in errors)]


def direct(inputs: Any, kernel: Any) -> Any:
    """The backend's convolution."""
    from keras import ops

    return ops.conv(inputs, kernel, strides=STRIDE, padding="valid")


def three_passes(convolution: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], list[Any]]:
    """Compiles a function from inputs, gradient of the outputs and kernel to the outputs and both gradients."""
    import tensorflow as tf

    def passes(inputs: Any, upstream: Any, kernel: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = convolution(inputs, kernel)
        return [outputs, *tape.gradient(outputs, (inputs, kernel), upstream)]

    compiled: Callable[[Any, Any, Any], list[Any]] = tf.function(passes)
    return compiled


def example(size: int, batch: int) -> list[np.ndarray]:
    """Random inputs after a ReLU, gradient of the outputs, and kernel."""
    noise = np.random.Generator(np.random.Philox(0))
    grid = (size - KERNEL) // STRIDE + 1
    inputs = np.maximum(noise.standard_normal((batch, size, size, CHANNELS), np.float32), 0)
    upstream = noise.standard_normal((batch, grid, grid, CHANNELS), np.float32)
    return [inputs, upstream, 0.1 * noise.standard_normal((KERNEL, KERNEL, CHANNELS, CHANNELS), np.float32)]


def error(found: Sequence[Any], truths: Sequence[Any]) -> float:
    """The largest difference over all tensors, relative to the largest value of its tensor."""
    from keras import ops

    pairs = [[ops.convert_to_numpy(ops.cast(x, "float64")) for x in pair] for pair in zip(found, truths, strict=True)]
    return max(float(np.abs(one - truth).max() / np.abs(truth).max()) for one, truth in pairs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="images in a batch")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES.values()), help="input sizes to measure")
    arguments = parser.parse_args()
    main(arguments.batch, arguments.repeats, arguments.sizes)
