"""How much faster `capsrepro.convolution` is than the backend's convolution: forward and both gradients, and its error.

The two take turns, so that both meet the same neighbours; on a busy machine believe the ratio of CPU seconds.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import in_turn

SIZES = {"MNIST": 20, "MultiMNIST": 28, "affNIST": 32}  # what the first convolution leaves of the image
CHANNELS = 256
KERNEL = 9
STRIDE = 2
HEADS = ("direct s", "fast s", "ratio", "CPU ratio", "error direct", "error fast")
EXAMPLES = 2  # whose results are held against float64


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
    """The figures under HEADS."""
    from keras import ops

    from capsrepro.network.convolution import convolve

    functions = [three_passes(direct), three_passes(lambda inputs, kernel: convolve(inputs, kernel, STRIDE))]
    arrays = example(size, batch)
    few = [array[:EXAMPLES] for array in arrays[:2]] + [arrays[2]]
    truths = functions[0](*(ops.cast(array, "float64") for array in few))
    errors = [error(function(*(ops.cast(array, precision) for array in few)), truths) for function in functions]
    given = [ops.cast(array, precision) for array in arrays]
    taken = in_turn([partial(function, *given) for function in functions], repeats)
    (slow, slow_cpu), (fast, fast_cpu) = [[min(clock) for clock in zip(*times, strict=True)] for times in taken]
    ratios = [f"{slow / fast:.2f}", f"{slow_cpu / fast_cpu:.2f}"]
    return [f"{slow:.3f}", f"{fast:.3f}", *ratios, *(f"{value:.1e}" for value in errors)]


def direct(inputs: Any, kernel: Any) -> Any:
    """The backend's convolution."""
    from keras import ops

    return ops.conv(inputs, kernel, strides=STRIDE, padding="valid")


def three_passes(convolution: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], list[Any]]:
    """A compiled function of inputs, the outputs' gradient and the kernel: outputs and the two gradients."""
    import tensorflow as tf

    def passes(inputs: Any, upstream: Any, kernel: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = convolution(inputs, kernel)
        return [outputs, *tape.gradient(outputs, (inputs, kernel), upstream)]

    compiled: Callable[[Any, Any, Any], list[Any]] = tf.function(passes)
    return compiled


def example(size: int, batch: int) -> list[np.ndarray]:
    """Inputs as a ReLU leaves them, the outputs' gradient, and a kernel."""
    noise = np.random.Generator(np.random.Philox(0))
    grid = (size - KERNEL) // STRIDE + 1
    inputs = np.maximum(noise.standard_normal((batch, size, size, CHANNELS), np.float32), 0)
    upstream = noise.standard_normal((batch, grid, grid, CHANNELS), np.float32)
    return [inputs, upstream, 0.1 * noise.standard_normal((KERNEL, KERNEL, CHANNELS, CHANNELS), np.float32)]


def error(found: Sequence[Any], truths: Sequence[Any]) -> float:
    """The largest difference, in units of the largest value of its tensor."""
    from keras import ops

    pairs = [[ops.convert_to_numpy(ops.cast(x, "float64")) for x in pair] for pair in zip(found, truths, strict=True)]
    return max(float(np.abs(one - truth).max() / np.abs(truth).max()) for one, truth in pairs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="images at a time")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES.values()), help="which of the input sizes")
    arguments = parser.parse_args()
    main(arguments.batch, arguments.repeats, arguments.sizes)
