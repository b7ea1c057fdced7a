"""The fast convolution against the direct one, its gradients too."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from capsrepro.network import devices
from capsrepro.network.convolution import convolve, is_faster, transforms
from tests.support.digits import philox
from tests.support.gradients import with_gradients


def example(images, kernel, seed=0):
    noise = philox(seed)
    return noise.normal(size=images).astype(np.float32), noise.normal(size=kernel).astype(np.float32)


def padded(inputs, kernel, stride, padding):
    """The inputs in float64 with the zeros that `padding` asks for, and where those begin."""
    before, after = [], []
    for size, reach in zip(inputs.shape[1:3], kernel.shape[:2], strict=True):
        missing = max((-(-size // stride) - 1) * stride + reach - size, 0) if padding == "same" else 0
        before.append(missing // 2)
        after.append(missing - missing // 2)
    return np.pad(inputs.astype(np.float64), ((0, 0), *zip(before, after, strict=True), (0, 0))), before


def windows(x, kernel, stride):
    """For each row and column of the outputs, the inputs under the kernel, as a view."""
    rows, columns = kernel.shape[:2]
    for row in range((x.shape[1] - rows) // stride + 1):
        for column in range((x.shape[2] - columns) // stride + 1):
            top, left = row * stride, column * stride
            yield (row, column), x[:, top : top + rows, left : left + columns]


def direct(inputs, kernel, stride, padding):
    """The sum of the definition, in float64."""
    x, _ = padded(inputs, kernel, stride, padding)
    sums = {place: np.tensordot(window, kernel, 3) for place, window in windows(x, kernel, stride)}
    height, width = np.add(max(sums), 1)
    return np.stack([*sums.values()], axis=1).reshape(len(inputs), height, width, -1)


def direct_gradients(inputs, kernel, stride, padding, upstream):
    """Of the sum weighted by `upstream`, in float64."""
    x, (top, left) = padded(inputs, kernel, stride, padding)
    of_x, of_kernel = np.zeros_like(x), np.zeros(kernel.shape)
    both = zip(windows(x, kernel, stride), windows(of_x, kernel, stride), strict=True)
    for ((row, column), window), (_, of_window) in both:
        of_window[...] += np.tensordot(upstream[:, row, column], kernel, (1, 3))  # (B, rows, columns, C)
        of_kernel += np.tensordot(window, upstream[:, row, column], (0, 0))
    return of_x[:, top : top + inputs.shape[1], left : left + inputs.shape[2]], of_kernel


def error(found, truth):
    """The largest, as a part of the largest value."""
    found = ops.convert_to_numpy(ops.cast(found, "float32")).astype(np.float64)
    assert found.shape == truth.shape
    return np.abs(found - truth).max() / np.abs(truth).max()


def test_convolve_of_ones_counts_the_inputs_under_the_kernel() -> None:
    ones = convolve(np.ones((1, 5, 5, 2), np.float32), np.ones((3, 3, 2, 1), np.float32), 2, "same")
    assert np.allclose(ones[0, :, :, 0], 2 * np.array([[4, 6, 4], [6, 9, 6], [4, 6, 4]]), atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "kernel"),
    [((20, 20), (9, 9)), ((11, 14), (5, 5)), ((9, 9), (9, 9)), ((7, 12), (3, 4)), ((8, 6), (1, 1)), ((5, 6), (2, 5))],
)
def test_convolve_gives_the_direct_sum(size, kernel, stride, padding) -> None:
    inputs, weights = example((3, *size, 4), (*kernel, 4, 5))
    assert error(convolve(inputs, weights, stride, padding), direct(inputs, weights, stride, padding)) < 2e-6


@given(
    size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    kernel=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.integers(1, 4),
    padding=st.sampled_from(["valid", "same"]),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
@settings(deadline=None, max_examples=60)
def test_convolve_gives_the_direct_sum_for_any_sizes(size, kernel, stride, padding, channels) -> None:
    inputs, weights = example((2, *size, channels[0]), (*kernel, *channels))
    if padding == "valid" and (size[0] < kernel[0] or size[1] < kernel[1]):
        with pytest.raises(ValueError, match="does not fit into .*; use padding='same' or a smaller kernel"):
            convolve(inputs, weights, stride, padding)
        return
    truth = direct(inputs, weights, stride, padding)
    found = ops.convert_to_numpy(convolve(inputs, weights, stride, padding))
    assert np.abs(found - truth).max() < 1e-5 * np.sqrt(np.prod(kernel) * channels[0])


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolve_is_the_backends_convolution_at_the_true_size(padding) -> None:
    inputs, weights = example((2, 20, 20, 256), (9, 9, 256, 256))
    truth = ops.convert_to_numpy(ops.conv(inputs, weights, strides=2, padding=padding)).astype(np.float64)
    assert error(convolve(inputs, weights, 2, padding), truth) < 2e-6


def test_convolve_in_bfloat16_is_as_good_as_its_roundings() -> None:
    """A device that has no bfloat16 rounds its sums too, which are longer here than those of the gradients below."""
    inputs, weights = example((4, 20, 20, 32), (9, 9, 32, 16))
    found = convolve(ops.cast(inputs, "bfloat16"), ops.cast(weights, "bfloat16"), 2)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    assert error(found, direct(inputs, weights, 2, "valid")) < (1e-2 if devices.has_bfloat16() else 2e-2)


@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-6), ("bfloat16", 1.5e-2)])
@pytest.mark.parametrize(
    ("images", "kernel", "stride", "padding"),
    [
        ((2, 20, 20, 16), (9, 9, 16, 8), 2, "valid"),
        ((2, 9, 12, 3), (5, 4, 3, 2), 2, "same"),
        ((2, 7, 7, 3), (3, 3, 3, 2), 1, "same"),
        ((2, 12, 8, 3), (5, 5, 3, 2), 3, "valid"),
    ],
)
def test_gradients_are_those_of_the_direct_convolution(images, kernel, stride, padding, dtype, within) -> None:
    inputs, weights = example(images, kernel)
    upstream = philox(9).normal(size=direct(inputs, weights, stride, padding).shape)
    given = [ops.cast(array, dtype) for array in (inputs, weights)]
    _, found = with_gradients(lambda x, w: convolve(x, w, stride, padding), *given, cotangent=upstream)
    truths = direct_gradients(inputs, weights, stride, padding, upstream)
    for ours, truth in zip(found, truths, strict=True):
        assert keras.backend.standardize_dtype(ours.dtype) == dtype
        assert error(ours, truth) < within


def test_convolve_gives_the_same_bits_again() -> None:
    inputs, weights = example((8, 20, 20, 32), (9, 9, 32, 16))
    first, second = (ops.convert_to_numpy(convolve(inputs, weights, 2)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX traces each size of a batch by itself")
@pytest.mark.parametrize("batch", [1, 5])
def test_convolve_traced_for_any_batch_keeps_its_static_shape(batch) -> None:
    import tensorflow as tf

    inputs, weights = example((batch, 12, 14, 3), (5, 5, 3, 2))
    shapes = []

    @tf.function(input_signature=[tf.TensorSpec((None, 12, 14, 3)), tf.TensorSpec((5, 5, 3, 2))], autograph=False)
    def traced(x, w):
        found = convolve(x, w, 2)
        shapes.append(tuple(found.shape))
        return found

    assert error(traced(inputs, weights), direct(inputs, weights, 2, "valid")) < 2e-6
    assert shapes == [(None, 4, 5, 2)]


def test_transforms_of_mnist_have_148_products() -> None:
    of_inputs, of_kernel, back = transforms((6, 6), (5, 5))  # 4 frequencies of 10x10 are real, 48 pairs are not
    assert (of_inputs.shape, of_kernel.shape, back.shape) == ((148, 100), (148, 25), (36, 148))


@pytest.mark.parametrize(("grid", "taps", "products"), [((1, 1), (1, 1), 1), ((2, 3), (2, 3), 1 + 3 * 7)])
def test_transforms_slide_a_kernel_over_the_grid(grid, taps, products) -> None:
    of_inputs, of_kernel, back = transforms(grid, taps)
    size = tuple(there + more - 1 for there, more in zip(grid, taps, strict=True))
    assert len(of_inputs) == products
    x, k = (example((1, *shape, 1), (1,), seed)[0][0, :, :, 0] for seed, shape in enumerate((size, taps)))
    slid = back @ ((of_inputs @ x.ravel()) * (of_kernel @ k.ravel()))
    wanted = [(x[i : i + taps[0], j : j + taps[1]] * k).sum() for i in range(grid[0]) for j in range(grid[1])]
    assert np.allclose(slid, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dtype", "wanted"),
    [
        ((20, 20), (9, 9, 256, 256), 2, "valid", "float32", True),  # MNIST's primary capsules: 3.7 times faster
        ((20, 20), (9, 9, 32, 64), 2, "valid", "float32", True),  # at quick scale: 1.5 times
        ((28, 28), (9, 9, 256, 256), 2, "valid", "float32", True),  # MultiMNIST's: 3.9 times
        ((28, 28), (9, 9, 1, 256), 1, "valid", "float32", False),  # MNIST's first convolution
        ((20, 20), (9, 9, 8, 8), 2, "valid", "float32", False),
        ((10, 10), (1, 1, 256, 256), 1, "valid", "float32", False),
        ((24, 24), (9, 9, 256, 512), 2, "same", "float32", True),  # CIFAR-10's: 768 MiB for the kernel
        ((24, 24), (9, 9, 512, 512), 2, "same", "float32", False),  # 1,536 MiB
        ((24, 24), (9, 9, 256, 512), 2, "same", "bfloat16", True),
    ],
)
def test_pays_where_it_was_measured_to(size, kernel, stride, padding, dtype, wanted) -> None:
    assert is_faster(size, kernel, stride, padding, dtype) is wanted
