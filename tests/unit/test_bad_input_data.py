"""Data files damaged at random: each is refused by name in one line, or read with what it says."""

import contextlib
import functools
import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from capsrepro import sources
from capsrepro.core.errors import Error
from capsrepro.data import affnist, cifar10, mnist, smallnorb, svhn
from capsrepro.released import records, tfrecords
from capsrepro.sources.parts import File
from capsrepro.sources.published import Source
from tests.support.bad_input import REFUSED, answer, damaged, frugal, often, put
from tests.support.digits import needs_tensorflow, philox

pytestmark = pytest.mark.usefixtures("counted")

GENERATOR = philox(3)
COUNT = 3  # items in each file
LABELS = np.array([9, 0, 4], np.uint8)
with_examples = needs_tensorflow("read and write Examples in TFRecords")


def noise(*shape: int) -> np.ndarray:
    return GENERATOR.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (mnist, cifar10, smallnorb, svhn):
            patch.setattr(module, "COUNTS", {"train": COUNT, "test": COUNT})
        yield tmp_path_factory.mktemp("bad")


# IDX, CIFAR-10's and NORB's files have no checksum: what is read is what stands there


IDX = {
    "t10k-images-idx3-ubyte": struct.pack(">4I", 0x803, COUNT, 28, 28) + noise(COUNT, 28, 28).tobytes(),
    "t10k-labels-idx1-ubyte": struct.pack(">2I", 0x801, COUNT) + LABELS.tobytes(),
}


@often
@given(st.sampled_from(sorted(IDX)).flatmap(lambda name: st.tuples(st.just(name), damaged(IDX[name], 16))))
def test_idx_is_refused_or_read_as_it_stands(folder: Path, change: tuple[str, bytes | None]) -> None:
    name, content = change
    for each, whole in IDX.items():
        put(folder / each, content if each == name else whole)
    with frugal(folder / "t10k-images-idx3-ubyte"):
        read = answer("IDX", lambda: mnist.load(folder, "test"), folder / name)
    if read is not REFUSED:
        assert content is not None
        assert (len(content), content[:8]) == (len(IDX[name]), IDX[name][:8])
        assert (read.images.shape, read.images.dtype, read.labels.shape) == ((COUNT, 28, 28, 1), np.uint8, (COUNT,))
        assert 0 <= read.labels.min() <= read.labels.max() <= 9
        stored = read.images.tobytes() if "images" in name else read.labels.astype(np.uint8).tobytes()
        assert content.endswith(stored)


CIFAR = np.concatenate([LABELS[:, None], noise(COUNT, 3072)], axis=1).tobytes()


@often
@given(damaged(CIFAR))
def test_cifar_binary_is_refused_or_read_as_it_stands(folder: Path, content: bytes | None) -> None:
    path = folder / "test_batch.bin"
    put(path, content)
    with frugal(path):
        read = answer("CIFAR-10 binary", lambda: cifar10.read_binary(path, COUNT), path)
    if read is not REFUSED:
        images, labels = read
        assert (images.shape, images.dtype, labels.dtype) == ((COUNT, 32, 32, 3), np.uint8, np.uint8)
        assert labels.max() <= 9
        planes = np.moveaxis(images, -1, 1).reshape(COUNT, -1)
        assert np.concatenate([labels[:, None], planes], axis=1).tobytes() == content


PAIRS, CATEGORIES = smallnorb.FILES["test"]
NORB = {
    PAIRS: struct.pack("<6I", 0x1E3D4C55, 4, COUNT, 2, 96, 96) + noise(COUNT, 2, 96, 96).tobytes(),
    CATEGORIES: struct.pack("<5I", 0x1E3D4C54, 1, COUNT, 1, 1) + np.array([4, 0, 1], "<i4").tobytes(),
}


@often
@given(st.sampled_from(sorted(NORB)).flatmap(lambda name: st.tuples(st.just(name), damaged(NORB[name], 24))))
def test_norb_matrix_is_refused_or_read_as_it_stands(folder: Path, change: tuple[str, bytes | None]) -> None:
    name, content = change
    for each, whole in NORB.items():
        put(folder / each, content if each == name else whole)
    with frugal(folder / PAIRS):
        read = answer("NORB matrix", lambda: smallnorb.load(folder, "test"), folder / name)
    if read is not REFUSED:
        assert content is not None
        assert (len(content), content[:12]) == (len(NORB[name]), NORB[name][:12])
        assert (read.images.shape, read.images.dtype) == ((COUNT, 48, 48, 2), np.uint8)
        assert 0 <= read.labels.min() <= read.labels.max() <= 4
        pixels = np.frombuffer((folder / PAIRS).read_bytes()[24:], np.uint8).reshape(COUNT, 2, 96, 96)
        assert np.array_equal(np.moveaxis(read.images, -1, 1), pixels[:, :, ::2, ::2])
        assert read.labels.astype("<i4").tobytes() == (folder / CATEGORIES).read_bytes()[20:]


# Records have checksums


SIZE = {"height": 3, "width": 4, "depth": 2}


def example(kind: records.Kind, number: int) -> bytes:
    """A serialized record of a kind."""
    import tensorflow as tf

    made = tf.train.Example()
    for name in kind.images:
        made.features.feature[name].bytes_list.value.append(bytes([number]) * 24)
    for name, value in {**dict.fromkeys(kind.labels, number), **SIZE}.items():
        made.features.feature[name].int64_list.value.append(value)
    for name in kind.facts:
        made.features.feature[name].int64_list.value.extend([1, 2, 3, 4])
    return made.SerializeToString(deterministic=True)


@functools.cache
def examples(kind: records.Kind) -> list[bytes]:
    return [example(kind, number) for number in range(COUNT)]


def framed(data: list[bytes]) -> bytes:
    """As TFRecords are; made here, so that two hands must agree on the format."""
    lengths = [struct.pack("<Q", len(one)) for one in data]
    return b"".join(
        length + tfrecords._checksum(length) + one + tfrecords._checksum(one)
        for length, one in zip(lengths, data, strict=True)
    )


@with_examples
@often
@given(st.deferred(lambda: damaged(framed(examples(records.PAIRS)), 16)))
def test_records_are_refused_or_exactly_those_written(folder: Path, content: bytes | None) -> None:
    """The format has no count: a file that ends between two records is one of fewer."""
    path = folder / "pairs.tfrecords"
    put(path, content)
    with frugal(path):
        files = answer("records", lambda: tfrecords.RecordFiles([path]), path)
    whole = examples(records.PAIRS)
    for number in range(len(files) if files is not REFUSED else 0):
        with frugal(path), contextlib.suppress(Error):
            assert files.read(number) in whole

    def read_all() -> dict[str, np.ndarray]:
        opened = records.Records(path)
        return opened.read(range(len(opened)))

    read = answer("records of digits", read_all, path)
    if read is not REFUSED:
        assert read["label_1"].tolist() == (list(range(COUNT)) * 9)[: len(read["label_1"])]
        assert np.array_equal(read["merged_raw"], np.ones((1, 3, 4, 2)) * read["label_1"].reshape(-1, 1, 1, 1))


@with_examples
@often
@given(st.sampled_from(records.KINDS).flatmap(lambda kind: damaged(examples(kind)[0], 100)), st.integers(0, COUNT - 1))
def test_examples_with_sound_checksums_are_refused_or_of_one_size(
    folder: Path, content: bytes | None, place: int
) -> None:
    """What a writer got wrong: the framing is right, the Example is not."""
    path = folder / "examples.tfrecords"
    data = list(examples(records.SINGLE))
    data[place] = content or b""
    put(path, framed(data))

    def read() -> tuple[records.Records, dict[str, np.ndarray]]:
        opened = records.Records(path)
        return opened, opened.read(range(COUNT))

    outcome = answer("Examples", read, path)
    if outcome is not REFUSED:
        opened, features = outcome
        for name in opened.kind.images:
            assert (features[name].shape, features[name].dtype) == ((COUNT, *opened.image_shape), np.uint8)
        for name in opened.kind.labels:
            assert 0 <= features[name].min() <= features[name].max() < opened.kind.classes


# Matlab's files, compressed as the published ones are: so they have a checksum. Those that are not are left out here:
# damaged they can crash scipy's reader. The sha256 of what was fetched is verified before it is read.


def matlab(**arrays: Any) -> bytes:
    with io.BytesIO() as file:
        scipy.io.savemat(file, arrays, do_compression=True)
        return file.getvalue()


HOUSES = noise(32, 32, 3, COUNT)
SVHN = matlab(X=HOUSES, y=np.array([[9], [10], [4]], np.uint8))
PUBLISHED = noise(1600, COUNT)
AFFNIST = matlab(affNISTdata={"image": PUBLISHED, "label_int": LABELS[None]})


@often
@given(damaged(SVHN, 160))
def test_svhn_is_refused_or_exactly_what_was_written(folder: Path, content: bytes | None) -> None:
    path = folder / "test_32x32.mat"
    put(path, content)
    with frugal(path):
        read = answer("Matlab, SVHN", lambda: svhn.read_matlab(path, COUNT), path)
    if read is not REFUSED:
        assert np.array_equal(read[0], np.moveaxis(HOUSES, -1, 0))
        assert np.array_equal(read[1], LABELS)


@often
@given(damaged(AFFNIST, 160))
def test_published_affnist_is_refused_or_exactly_what_was_written(folder: Path, content: bytes | None) -> None:
    path = folder / "test.mat"
    put(path, content)
    with frugal(path):
        read = answer("Matlab, affNIST", lambda: affnist.read_published(path), path)
    if read is not REFUSED:
        assert np.array_equal(read[0].reshape(COUNT, -1).T, PUBLISHED)
        assert np.array_equal(read[1], LABELS)


# What was fetched has a published sha256


FETCHED = zlib.compress(noise(500).tobytes())


@often
@given(damaged(FETCHED))
def test_a_fetched_file_is_refused_unless_it_is_the_published_one(folder: Path, content: bytes | None) -> None:
    file = File("some.bin", len(FETCHED), hashlib.sha256(FETCHED).hexdigest())
    source = Source((file,), ())
    (folder / "some").mkdir(exist_ok=True)
    path = folder / "some" / "some.bin"
    put(path, content)
    table = {"some": source}
    read = answer(
        "fetched file", lambda: sources.data_sha256("some", folder, lock=folder / "lock.json", table=table), path
    )
    assert (read is REFUSED) == (content != FETCHED)
