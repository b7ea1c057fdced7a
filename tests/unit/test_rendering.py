"""Training batches are drawn on the host and rendered anywhere: the same pixels with NumPy and with JAX."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from capsrepro.data import affnist, batches, cifar10, mnist, multimnist, smallnorb, svhn, windows
from capsrepro.data.batches import Dataset, Stream
from tests.support.digits import Digits, few_of, philox

BATCH = 32


def noise(*shape: int) -> np.ndarray:
    return philox(1).integers(0, 256, shape, np.uint8)


def pairs(digits: Digits, **settings: int) -> multimnist.MultiMnist:
    return multimnist.MultiMnist(digits[0][:300], digits[1][:300], name="few", sha256="", **settings)


def sixty_million(digits: Digits) -> multimnist.MultiMnist:
    images, labels = (np.resize(array, (60_000, *array.shape[1:])) for array in digits)
    return multimnist.MultiMnist(images, labels, name="sixty million", sha256="")


def expanded(digits: Digits) -> mnist.Mnist:
    images = np.pad(digits[0][:300], ((0, 0), (6, 6), (6, 6), (0, 0)))
    return mnist.Mnist(images, digits[1][:300], name="expanded", sha256="", shift=6)


SETS: dict[str, Callable[[Digits], Dataset]] = {
    "mnist": lambda digits: few_of(digits, 300),
    "every shift": lambda digits: mnist.EveryShift.of(few_of(digits, 300)),
    "expanded": expanded,
    "affnist": lambda digits: affnist.AffNist(expanded(digits).images, digits[1][:300], sha256=""),
    "multimnist": pairs,
    "multimnist, shifts beyond the padding": lambda digits: pairs(digits, shift=6),
    "multimnist, sixty million": sixty_million,
    "cifar10": lambda digits: cifar10.Cifar10(noise(300, 32, 32, 3), digits[1][:300], name="c", sha256=""),
    "smallnorb": lambda digits: smallnorb.SmallNorb(noise(300, 48, 48, 2), digits[1][:300] % 5, name="n", sha256=""),
    "svhn": lambda digits: svhn.Svhn(noise(300, 32, 32, 3), digits[1][:300], name="s", sha256=""),
}
FLOATS = ("cifar10", "smallnorb")  # whose distortions compute with fractions, rounded otherwise on each device
# Before the standardisation a pixel is as large as 318, where float32 has steps of 3e-5. The standardisation divides by
# a deviation as small as 15: that of noise, 74, times the smallest contrast. A step and a rounding make 4e-6.
ROUNDING = 4e-6
# Of the first four batches before drawing and rendering were two parts: what the committed weights were trained on.
BEFORE = {
    "mnist": "78808b14c8e8c442fccdd530",
    "every shift": "4f56c9bb6d6ff574d655ab16",
    "expanded": "af6c03a201f7ff3903bce001",
    "affnist": "6bfc1ff59bf5732b06f7a70f",
    "multimnist": "60767a2b90ac1cb4cb85689d",
    "svhn": "0c4ee037a23ce4435a46b1b4",
}


@pytest.mark.parametrize("name", SETS)
def test_a_device_renders_the_batches_of_the_host(name: str, digits: Digits) -> None:
    jax = pytest.importorskip("jax", reason="needs JAX to render on a device")
    stream = Stream(SETS[name](digits), BATCH, 7)
    stored = {key: jax.numpy.asarray(array) for key, array in stream.dataset.stored.items()}
    render = jax.jit(stream.dataset.render)
    for step in (0, 1, 11, 5000):
        drawn = {key: array[0] for key, array in stream.draws(step, step + 1).items()}
        host = stream.batch(step)
        for ours, theirs in zip(host, render(stored, drawn), strict=True):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
            if name in FLOATS and ours.dtype == np.float32:
                np.testing.assert_allclose(theirs, ours, rtol=0, atol=ROUNDING)
            else:
                assert np.array_equal(theirs, ours)


@pytest.mark.parametrize("name", BEFORE)
def test_batches_are_those_that_the_committed_weights_were_trained_on(name: str, digits: Digits) -> None:
    stream, digest = Stream(SETS[name](digits), BATCH, 5), hashlib.sha256()
    for step in range(4):
        for array in stream.batch(step):
            digest.update(str((array.shape, array.dtype)).encode() + np.ascontiguousarray(array).tobytes())
    assert digest.hexdigest()[:24] == BEFORE[name]


@pytest.mark.parametrize("name", SETS)
def test_a_draw_is_some_bytes_an_example_and_the_same_however_many_are_drawn(name: str, digits: Digits) -> None:
    stream = Stream(SETS[name](digits), BATCH, 7)
    together = stream.draws(9, 12)  # the third batch spans two passes over 300 examples
    assert sum(array.nbytes for array in together.values()) <= 20 * 3 * BATCH
    for number, step in enumerate(range(9, 12)):
        for key, array in stream.draws(step, step + 1).items():
            assert np.array_equal(together[key][number], array[0])


@pytest.mark.parametrize("name", SETS)
def test_distorted_is_what_is_drawn_and_then_rendered(name: str, digits: Digits) -> None:
    data, numbers = SETS[name](digits), np.arange(20)
    drawn = data.draw(numbers, batches.generator(0, 1, 0))
    for one, other in zip(
        data.distorted(numbers, batches.generator(0, 1, 0)), data.render(data.stored, drawn), strict=True
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("depth", [1, 3])
def test_blocks_are_cut_out_alike_with_numpy_and_with_jax(depth: int) -> None:
    jax = pytest.importorskip("jax", reason="needs JAX to cut on a device")
    rows, starts = noise(9, 40 * depth), philox(2).integers(0, 30 * depth, 9, endpoint=True)
    expected = [row[start : start + 10 * depth] for row, start in zip(rows, starts, strict=True)]
    assert np.array_equal(windows.blocks(rows, starts, 10 * depth), expected)
    assert np.array_equal(windows.blocks(jax.numpy.asarray(rows), starts.astype(np.int32), 10 * depth), expected)
