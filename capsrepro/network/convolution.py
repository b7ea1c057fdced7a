"""Fast strided convolution for many channels, by polyphase decomposition and DFT, in `keras.ops` alone.

A convolution of stride s is the sum of s*s convolutions of stride 1 over every s-th row and column (its phases). In a
discrete Fourier transform of the length of a phase, each of them becomes a product. The phases act as additional input
channels. There remains one matrix product over channels for each frequency, with constant matrices before and after.
For MNIST (20x20 to 6x6, kernel 9x9, stride 2) the phases are 10x10. Each pair of an input and an output channel then
takes 4 * 148 real products instead of 36 * 81, about a quarter.

A complex product takes three real ones. With f_k(z) = Re(exp(i t_k) z) and the directions t_k = 0, 60 and 120 degrees,

    z w = 4/3 sum_k exp(-2i t_k) f_k(z) f_k(w)

since the three exp(2i t_k) add up to zero. All directions are treated alike, which keeps rounding errors small. The f_k
of the transform of real numbers is a sum of cosines, so that nothing here is complex. Gradients are those of the matrix
products.

It was designed for CPUs, but cuDNN's gradients of strided convolutions are slow too. Forward and both gradients on an
H100, batch 128, JAX 0.11: 3.31 ms direct and 0.70 ms here in float32 (TF32), 2.50 and 0.38 ms in bfloat16.

Alternatives that were tried and dropped:
- Toom-Cook points: 118 products, but 8 times the error in float32, and useless in bfloat16.
- Tiles of the output: 1.8 times slower at 28x28 and 32x32.
- Separate transforms of rows and columns: 0 to 8 % faster at 20x20 and 15 to 20 % at 32x32, for twice the code.

Shapes: B batch, C and D channels in and out, F products, s stride, h and w of a phase.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

DIRECTIONS = np.pi / 3 * np.arange(3)
BATCH = 128  # images that share the transform of a kernel, for `is_faster`
LARGEST = 1024 * 2**20  # bytes of a transformed kernel at most; training holds its gradient, too


def convolve(inputs: Any, kernel: Any, strides: int = 1, padding: str = "valid") -> Any:
    """The same convolution as `keras.ops.conv` on images, computed by DFT; see `is_faster` for when it is faster.

    Args:
        inputs: `(B, height, width, C)`, float32 or bfloat16; all sizes but B must be known.
        kernel: `(rows, columns, C, D)`, of the same dtype.
        strides: s, in both directions.
        padding: `valid` or `same`.

    Returns:
        `(B, H, W, D)` in the dtype of `inputs`. In float32 the error of result and gradients equals the backend's,
        about 1e-6 of the largest value. In bfloat16 the error is 1.7 times the backend's.

    Raises:
        ValueError: the kernel does not fit into the inputs.
    """
    inputs, kernel = ops.convert_to_tensor(inputs), ops.convert_to_tensor(kernel)
    *kernel_size, channels, filters = kernel.shape
    before, grid, taps, phase = _geometry(inputs.shape[1:3], kernel_size, strides, padding)
    if min(grid) < 1:
        raise ValueError(
            f"a {kernel_size} kernel does not fit into {inputs.shape}; use padding='same' or a smaller kernel"
        )
    of_inputs, of_kernel, back = transforms(grid, taps)
    products, depth = len(of_inputs), strides**2 * channels

    flat = ops.reshape(kernel, (1, *kernel_size, channels * filters))
    weights = _spectrum(flat, of_kernel, (0, 0), taps, strides)  # (F, s*s*C*D)
    images = _spectrum(inputs, of_inputs, before, phase, strides)  # (F, B*s*s*C)
    images = ops.reshape(images, (products, -1, depth))
    mixed = ops.matmul(images, ops.reshape(weights, (products, depth, filters)))  # (F, B, D)
    outputs = ops.matmul(ops.cast(back, mixed.dtype), ops.reshape(mixed, (products, -1)))  # (H*W, B*D)
    return ops.transpose(ops.reshape(outputs, (*grid, -1, filters)), (2, 0, 1, 3))


def is_faster(size: Sequence[int], kernel: Sequence[int], strides: int, padding: str, dtype: str) -> bool:
    """Whether `convolve` takes fewer multiplications than the direct sum, without too large a transformed kernel.

    The ratio of multiplications was within a fifth of the measured ratio of times, for 32 to 256 channels and 20x20 to
    32x32 pixels.

    Args:
        size: height and width of the inputs.
        kernel: `(rows, columns, C, D)`.
        strides: s.
        padding: `valid` or `same`.
        dtype: of inputs and kernel.
    """
    *kernel_size, channels, filters = kernel
    _, grid, taps, phase = _geometry(size, kernel_size, strides, padding)
    depth = strides**2 * channels
    products = 1.5 * math.prod(phase)
    overhead = math.prod(phase) / filters + math.prod(taps) / BATCH + math.prod(grid) / depth
    less = products * depth * (1 + overhead) < math.prod(grid) * math.prod(kernel_size) * channels
    return less and products * depth * filters * (2 if dtype == "bfloat16" else 4) <= LARGEST


def transforms(grid: Sequence[int], taps: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The constant transform matrices of one phase: of its inputs, of its kernel, and back to its outputs.

    With x and k flattened, `back @ ((of_inputs @ x) * (of_kernel @ k))` is the convolution of x with k on the grid.

    Args:
        grid: H and W.
        taps: rows and columns of k; x has grid + taps - 1.

    Returns:
        `(F, h*w)`, `(F, taps)` and `(H*W, F)` in float32. There are three products for each pair of conjugate
        frequencies, and one for each frequency that is its own conjugate.
    """
    size = [outputs + more - 1 for outputs, more in zip(grid, taps, strict=True)]
    waves, turns, shares = [], [], []
    for wave in np.ndindex(*size):
        mirrored = tuple(-number % length for number, length in zip(wave, size, strict=True))
        if wave <= mirrored:
            directions = DIRECTIONS[:1] if wave == mirrored else DIRECTIONS
            waves += [wave] * len(directions)
            turns += [*directions]
            shares += [1.0] if wave == mirrored else [2 * 4 / 3] * 3  # 2: for the conjugate
    turn = np.array(turns)[:, None]

    def angles(places: Sequence[int]) -> np.ndarray:
        turned: np.ndarray = np.array(waves) @ (np.indices(places).reshape(2, -1) / np.array(size)[:, None])
        return 2 * np.pi * turned

    of_inputs = np.cos(angles(size) - turn)
    of_kernel = np.cos(angles(taps) + turn)  # the conjugate, since this is a correlation: the kernel is not flipped
    back = np.cos(angles(grid) - 2 * turn) * np.array(shares)[:, None] / np.prod(size)
    return of_inputs.astype(np.float32), of_kernel.astype(np.float32), back.T.astype(np.float32)


def _geometry(size: Sequence[int], kernel_size: Sequence[int], stride: int, padding: str) -> tuple[list[int], ...]:
    """The sizes along both axes: leading zeros, outputs, and a phase of the kernel and of the inputs.

    Padding is as in TensorFlow: an odd number of zeros puts one more at the end.
    """
    if padding == "same":
        grid = [-(-length // stride) for length in size]
        missing = [(outputs - 1) * stride + k - n for outputs, k, n in zip(grid, kernel_size, size, strict=True)]
        before = [max(zeros, 0) // 2 for zeros in missing]
    else:
        grid = [(n - k) // stride + 1 for n, k in zip(size, kernel_size, strict=True)]
        before = [0, 0]
    taps = [-(-k // stride) for k in kernel_size]
    return before, grid, taps, [outputs + more - 1 for outputs, more in zip(grid, taps, strict=True)]


def _spectrum(x: Any, matrix: np.ndarray, before: Sequence[int], phase: Sequence[int], stride: int) -> Any:
    """Pads `(B, rows, columns, C)` with `before` zeros, splits it into phases, transforms them: `(F, B*s*s*C)`."""
    height, width = phase
    after = [length * stride - front - size for length, front, size in zip(phase, before, x.shape[1:3], strict=True)]
    if any(before) or max(after) > 0:
        x = ops.pad(x, ((0, 0), *((front, max(back, 0)) for front, back in zip(before, after, strict=True)), (0, 0)))
    x = x[:, : height * stride, : width * stride]  # drops what no output depends on
    x = ops.reshape(x, (-1, height, stride, width, stride, x.shape[-1]))
    x = ops.transpose(x, (1, 3, 0, 2, 4, 5))  # (h, w, B, s, s, C)
    return ops.matmul(ops.cast(matrix, x.dtype), ops.reshape(x, (height * width, -1)))
