"""Records: framing, shards, damage at each place, and that reading and writing are inverse."""

import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from capsrepro.core.errors import Error
from capsrepro.data import batches
from capsrepro.data.multimnist import MultiMnist
from capsrepro.released import records, tfrecords
from tests.support.digits import Digits, needs_tensorflow

SIZE = 3 * 4  # of the images of the small records here
Change = Callable[[bytearray], object]
Content = bytes | dict[str, object]
with_examples = needs_tensorflow("read and write Examples in TFRecords")


def features(count: int, first: int = 0, size: tuple[int, int, int] = (3, 4, 1)) -> dict[str, np.ndarray]:
    """Single digits, each of one grey that is its number."""
    numbers = np.arange(first, first + count)
    images = np.broadcast_to(numbers.reshape(-1, 1, 1, 1), (count, *size)).astype(np.uint8)
    return {"image_raw": images, "label": numbers % 10}


def framed(data: list[bytes], path: Path) -> Path:
    tfrecords.write([path], ((0, record) for record in data))
    return path


def example(**changes: object) -> bytes:
    """A serialized single digit, with features replaced, or left out where they are None."""
    import tensorflow as tf

    content = {"image_raw": bytes(SIZE), "label": 5, "height": 3, "width": 4, "depth": 1} | changes
    made = tf.train.Example()
    for name, value in content.items():
        if isinstance(value, bytes):
            made.features.feature[name].bytes_list.value.append(value)
        elif value is not None:
            made.features.feature[name].int64_list.value.extend(np.atleast_1d(value).tolist())
    return made.SerializeToString()


def record(content: Content) -> bytes:
    """Bytes as they are, or an `example` with these changes."""
    return content if isinstance(content, bytes) else example(**content)


# The framing


@needs_tensorflow("write what the framing is compared with")
def test_framing_is_tensorflows_byte_for_byte(tmp_path: Path) -> None:
    import tensorflow as tf

    data = [b"", b"capsule", bytes(range(256)) * 5]
    ours = framed(data, tmp_path / "ours")
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in data:
            writer.write(record)
    assert ours.read_bytes() == (tmp_path / "theirs").read_bytes()
    read = tfrecords.RecordFiles([ours])
    assert [read.read(number) for number in range(len(read))] == data


def test_checksums_are_made_by_compiled_code() -> None:
    import google_crc32c

    assert google_crc32c.implementation == "c"


def test_records_are_counted_through_all_files(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "empty", "b")]
    tfrecords.write(paths, [(0, b"0"), (0, b"1"), (2, b"2")])
    read = tfrecords.RecordFiles(paths)
    assert [read.read(number) for number in (2, 0, 1)] == [b"2", b"0", b"1"]
    assert read.where(2) == f"{paths[2]}: record 0"
    for number in (-1, 3):
        with pytest.raises(IndexError):
            read.read(number)


def test_digest_tells_the_content(tmp_path: Path) -> None:
    digests = [
        tfrecords.RecordFiles([framed(data, tmp_path / f"{number}")]).sha256
        for number, data in enumerate([[b"a", b"b"], [b"a", b"b"], [b"b", b"a"], [b"a", b"c"], [b"ab"]])
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_opening_reads_the_framing_only(tmp_path: Path) -> None:
    """A sparse file of 125 GiB, of which the disk holds 4 MB, is opened and its last record read."""
    path, length, count = tmp_path / "huge", 1 << 27, 1000
    (head,) = struct.unpack("<I", tfrecords._checksum(struct.pack("<Q", length)))
    tail = framed([b"last"], tmp_path / "tail").read_bytes()
    with path.open("wb") as file:
        try:
            file.truncate((length + 16) * count)
        except OSError:
            pytest.skip("this file system has no sparse files")
        for number in range(count):
            file.seek((length + 16) * number)
            file.write(struct.pack("<QI", length, head))
        file.seek((length + 16) * count)
        file.write(tail)
    read = tfrecords.RecordFiles([path])
    assert len(read) == count + 1
    assert read.read(count) == b"last"


def test_a_file_that_is_replaced_is_read_as_it_was(tmp_path: Path) -> None:
    path = framed([b"old"], tmp_path / "file")
    read = tfrecords.RecordFiles([path])
    framed([b"new"], path)
    assert read.read(0) == b"old"


def test_files_are_closed_with_their_reader(tmp_path: Path) -> None:
    read = tfrecords.RecordFiles([framed([b"x"], tmp_path / "file")])
    (handle,) = read.handles
    os.fstat(handle)
    del read
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


# Damage. A record here is 12 bytes of header, the data, 4 bytes of footer.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.__setitem__(20, 1), "record 1: its length fails its checksum"),
        (lambda content: content.__setitem__(30, 1), "record 1: its length fails its checksum"),
        (lambda content: content.__setitem__(33, 1), "record 1: its data fails its checksum"),
        (lambda content: content.__setitem__(37, 1), "record 1: its data fails its checksum"),
        (lambda content: content.__delitem__(slice(-1, None)), "record 2: the file ends within it"),
        (lambda content: content.__delitem__(slice(50, None)), "record 2: the file ends within it"),
        (lambda content: content.extend(b"more"), "record 3: the file ends within it"),
    ],
)
def test_damage_of_the_framing_names_file_and_record(tmp_path: Path, change: Change, message: str) -> None:
    path = framed([b"1234", b"5678", b"9012"], tmp_path / "digits.tfrecords")
    content = bytearray(path.read_bytes())
    assert len(content) == 60
    change(content)
    path.write_bytes(content)
    with pytest.raises(Error, match=rf"digits\.tfrecords: {message}; fetch it again"):
        tfrecords.RecordFiles([path]).read(1)


@pytest.mark.parametrize("change", [lambda file: file.write(b"changed!"), lambda file: file.truncate(30)])
def test_a_change_after_opening_fails_the_checksum(tmp_path: Path, change: Change) -> None:
    path = framed([b"x" * 100], tmp_path / "file")
    read = tfrecords.RecordFiles([path])
    with path.open("r+b") as file:
        file.seek(20)
        change(file)
    with pytest.raises(Error, match="file: record 0: its data fails its checksum"):
        read.read(0)


@with_examples
@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"no Example", "expected an Example with the features image_raw, label, height, width, depth"),
        (b"", "expected an Example with the features"),
        ({"label": None}, "expected an Example with the features"),
        ({"label": [1, 2]}, "expected an Example with the features"),
        ({"label": b"5"}, "expected an Example with the features"),
        ({"image_raw": None}, "expected an Example with the features"),
        ({"image_raw": bytes(11)}, "expected 12 bytes of image_raw, received 11"),
        ({"height": 4}, r"expected the size \(3, 4, 1\), received \[4, 4, 1\]"),
        ({"label": 10}, "expected label in 0-9, received 10"),
        ({"label": -1}, "expected label in 0-9, received -1"),
    ],
)
def test_damage_of_a_record_names_file_and_record(tmp_path: Path, damaged: Content, message: str) -> None:
    path = framed([example(), example(), record(damaged)], tmp_path / "digits.tfrecords")
    read = records.Records(path)
    assert read.read([0, 1])["label"].tolist() == [5, 5]
    with pytest.raises(Error, match=rf"digits\.tfrecords: record 2: {message}"):
        read.read([0, 2, 1])


@with_examples
@pytest.mark.parametrize(
    ("first", "message"),
    [
        (b"junk", "record 0: expected an Example with the features .* or image_raw, label, height, width, depth"),
        ({"width": 0}, r"record 0: expected a positive size, received \(3, 0, 1\)"),
        ({"width": -4, "height": -3}, "record 0: expected a positive size"),
    ],
)
def test_a_first_record_of_no_kind_is_refused(tmp_path: Path, first: Content, message: str) -> None:
    with pytest.raises(Error, match=message):
        records.Records(framed([record(first)], tmp_path / "digits"))


def test_files_without_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="digits: expected records, received none"):
        records.Records(framed([], tmp_path / "digits"))


# Shards


@with_examples
def test_shards_are_read_in_their_order(tmp_path: Path) -> None:
    spec = f"{tmp_path}/digits@3"
    assert records.write(spec, records.SINGLE, [features(4), features(3, first=4)]) == 7
    names = [f"digits-0000{shard}-of-00003" for shard in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    read = records.Records(spec)
    assert read.read(range(7))["image_raw"][:, 0, 0, 0].tolist() == [0, 3, 6, 1, 4, 2, 5]


@with_examples
@pytest.mark.parametrize("there", [[f"{shard:05d}-of-00002" for shard in range(2)], ["00000-of-00001"]])
def test_another_number_of_shards_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, there: list[str]
) -> None:
    for name in (*there, "00000-of-00007"):  # a stray one of an incomplete set counts for nothing
        framed([example()], tmp_path / f"digits-{name}")
    with caplog.at_level(logging.WARNING):
        assert len(records.Records(f"{tmp_path}/digits@10")) == len(there)
    assert caplog.messages == [f"{tmp_path}/digits: found {len(there)} shards instead of 10; all of them are read"]


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ([], "missing .*digits-00000-of-00003, .*digits-00001-of-00003, .*digits-00002-of-00003;"),
        (["00001-of-00003"], "missing .*digits-00000-of-00003, .*digits-00002-of-00003;"),
        (["00000-of-00003", "00000-of-00001"], "missing .*digits-00001-of-00003, .*digits-00002-of-00003;"),
        (["00000-of-00002"], "missing .*digits-00000-of-00003"),
        (["00000-of-00001", "00000-of-00002", "00001-of-00002"], r"found sets of \[1, 2\] shards; ask for one of them"),
    ],
)
def test_missing_shards_are_named(tmp_path: Path, there: list[str], message: str) -> None:
    for name in there:
        framed([b"any"], tmp_path / f"digits-{name}")
    with pytest.raises(Error, match=rf"digits@3: {message}"):
        records.Records(f"{tmp_path}/digits@3")


def test_of_many_missing_shards_three_are_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"digits-00002-of-00100 and 97 more; write them"):
        records.Records(f"{tmp_path}/digits@100")
    with pytest.raises(Error, match="none/digits: missing .*none/digits; write them"):
        records.Records(tmp_path / "none" / "digits")
    for count in ("0", "100000", "9" * 5000):
        with pytest.raises(Error, match=f"expected 1 to 99999 shards after @, received {count[:50]}"):
            records.Records(f"{tmp_path}/digits@{count}")


# Reading and writing


@with_examples
def test_tensorflow_reads_what_is_written(tmp_path: Path) -> None:
    import tensorflow as tf

    path = tmp_path / "digits"
    records.write(path, records.SINGLE, [features(3)])
    read = [
        tf.train.Example.FromString(record.numpy()).features.feature for record in tf.data.TFRecordDataset(str(path))
    ]
    assert [list(feature["label"].int64_list.value) for feature in read] == [[0], [1], [2]]
    assert [feature["image_raw"].bytes_list.value[0] for feature in read] == [bytes([n]) * SIZE for n in range(3)]
    assert sorted(read[0]) == ["depth", "height", "image_raw", "label", "width"]
    assert [read[0][name].int64_list.value[0] for name in ("height", "width", "depth")] == [3, 4, 1]


@with_examples
@pytest.mark.parametrize("size", [(28, 28, 1), (40, 40, 1), (3, 5, 3)])
def test_single_digits_of_any_size_come_back(tmp_path: Path, size: tuple[int, int, int]) -> None:
    written = features(5, size=size)
    records.write(tmp_path / "digits", records.SINGLE, [written])
    data = records.load(tmp_path / "digits", name="mnist-test")
    assert (len(data), data.image_shape, data.digits, data.classes, data.name) == (5, size, 1, 10, "mnist-test")
    batch = data.batch(np.array([4, 0, 4]))
    assert np.array_equal(batch.images, batches.unit(written["image_raw"][[4, 0, 4]]))
    assert np.array_equal(batch.targets, batch.images[:, None])
    assert batch.labels.tolist() == [[4], [0], [4]]
    assert (batch.images.dtype, batch.targets.dtype, batch.labels.dtype) == (np.float32, np.float32, np.int32)


def pairs(digits: Digits) -> MultiMnist:
    return MultiMnist(digits[0][:6], digits[1][:6], name="multimnist-test", sha256="", base_shift="per_image", pairs=4)


@with_examples
def test_pairs_come_back_each_once(tmp_path: Path, digits: Digits) -> None:
    made = pairs(digits)
    spec = f"{tmp_path}/pairs@5"
    records.write(spec, records.PAIRS, records.every_pair(made), generator=batches.generator(0, 2, 0))
    data = records.load(spec, name="pairs")
    assert (len(data), data.image_shape, data.digits, data.classes) == (24, (36, 36, 1), 2, 10)
    ours, theirs = data.batch(np.arange(24)), made.batch(np.arange(24))
    # In file order they are dealt; sorted by their pixels they are those of the index.
    order = [sorted(range(24), key=lambda n: batch.targets[n].tobytes()) for batch in (ours, theirs)]
    for name in ("images", "labels", "targets"):
        mine, expected = getattr(ours, name)[order[0]], getattr(theirs, name)[order[1]]
        assert mine.dtype == expected.dtype
        assert np.array_equal(mine, expected)


@with_examples
def test_training_reads_records_as_they_are(tmp_path: Path) -> None:
    """The shifts are in the file already."""
    records.write(tmp_path / "digits", records.SINGLE, [features(9)])
    data = records.load(tmp_path / "digits", name="x")
    batch = batches.Stream(data, 9, seed=0).batch(0)
    assert sorted(batch.labels[:, 0]) == list(range(9))
    assert np.array_equal(batch.images[:, 0, 0, 0], batches.unit(batch.labels[:, 0]))


@with_examples
def test_dealing_is_even_random_and_repeatable(tmp_path: Path) -> None:
    def dealt(name: str, seed: int) -> list[list[int]]:
        spec = f"{tmp_path}/{name}@4"
        records.write(spec, records.SINGLE, [features(30)], generator=batches.generator(seed, 2, 0))
        return [records.Records(path).read(range(7))["label"].tolist() for path in tfrecords.named(spec)]

    one = dealt("one", 0)
    sizes = [len(records.Records(path)) for path in tfrecords.named(f"{tmp_path}/one@4")]
    assert (sum(sizes), min(sizes), max(sizes)) == (30, 7, 8)
    assert one == dealt("again", 0)
    assert one != dealt("other", 1)
    files = [[path.read_bytes() for path in tfrecords.named(f"{tmp_path}/{name}@4")] for name in ("one", "again")]
    assert files[0] == files[1]


@with_examples
def test_smallnorb_is_halved_and_keeps_its_cameras_apart(tmp_path: Path) -> None:
    images = np.zeros((600, 96, 96, 2), np.uint8)
    images[:, ::2, ::2, 0] = (np.arange(600) % 250).reshape(-1, 1, 1)
    images[:, ::2, ::2, 1] = 255
    meta = np.arange(2400).reshape(600, 4)
    parts = [{"image_raw": images[a:b], "label": np.arange(a, b) % 5, "meta": meta[a:b]} for a, b in ((0, 1), (1, 600))]
    path = tmp_path / "trainduo.tfrecords"
    assert records.write(path, records.SMALLNORB, parts) == 600
    read = records.Records(path)
    assert np.array_equal(read.read([599, 3])["image_raw"], images[[599, 3]])
    assert np.array_equal(read.read([599, 3])["meta"], meta[[599, 3]])
    data = records.load(path, name="smallnorb-train")
    assert (len(data), data.image_shape, data.classes, data.sha256) == (600, (32, 32, 2), 5, read.sha256)
    assert data.images.shape == (600, 48, 48, 2)
    assert np.array_equal(data.images[:, 0, 0, 0], np.arange(600) % 250)
    assert data.images[..., 1].min() == 255
    assert data.labels.tolist() == [n % 5 for n in range(600)]


@with_examples
def test_smallnorb_of_another_size_is_refused(tmp_path: Path) -> None:
    part = {"image_raw": np.zeros((1, 48, 48, 2), np.uint8), "label": np.zeros(1), "meta": np.zeros((1, 4), int)}
    records.write(tmp_path / "duo", records.SMALLNORB, [part | {"label": np.array([0])}])
    with pytest.raises(Error, match=r"record 0: expected a size of \(96, 96, 2\), received \(48, 48, 2\)"):
        records.load(tmp_path / "duo", name="x")


@with_examples
def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    records.write(f"{tmp_path}/digits@2", records.SINGLE, [features(4)])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def failing():
        yield features(6)
        raise Error("the disk is full")

    with pytest.raises(Error, match="the disk is full"):
        records.write(f"{tmp_path}/digits@2", records.SINGLE, failing())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@with_examples
def test_images_that_are_no_bytes_are_refused(tmp_path: Path) -> None:
    part = features(1)
    with pytest.raises(TypeError, match="'safe'"):
        records.write(tmp_path / "x", records.SINGLE, [part | {"image_raw": part["image_raw"].astype(np.float32)}])
    assert not list(tmp_path.iterdir())


def test_every_shift_goes_row_by_row() -> None:
    image = np.zeros((1, 3, 3, 1), np.uint8)
    image[0, 1, 1] = 7
    (made,) = records.every_shift(image, np.array([4]), shift=1, pad=1)
    assert made["image_raw"].shape == (9, 5, 5, 1)
    assert made["label"].tolist() == [4] * 9
    places = [tuple(np.argwhere(copy[..., 0])[0]) for copy in made["image_raw"]]
    assert places == [(row, column) for row in (1, 2, 3) for column in (1, 2, 3)]
