"""Reads and writes the released code's TFRecords: single digits, pairs of digits and smallNORB.

A record is a `tf.train.Example`. Its images are bytes, row by row (in smallNORB one camera after the other); labels and
sizes are int64. There is one record for every shift or pair of a digit, so that training applies no distortion.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capsrepro.core import console
from capsrepro.core.errors import Error
from capsrepro.data import smallnorb
from capsrepro.data.batches import Arrays, Batch, Dataset, shifted, unit
from capsrepro.data.multimnist import MultiMnist
from capsrepro.released import tfrecords

Features = Mapping[str, np.ndarray]

_SIZES = ("height", "width", "depth")
_PIECE = 256  # records read at a time when reading all
_REMEDY = "fetch the file again or write it anew"


class Kind(NamedTuple):
    """A kind of record: the names of its features, without `height`, `width` and `depth`."""

    name: str
    image: str  # the input of the network
    targets: tuple[str, ...]  # the target of the reconstruction of each label
    labels: tuple[str, ...]
    classes: int
    facts: tuple[str, ...] = ()  # further features, four numbers each
    depth_first: bool = False

    @property
    def images(self) -> tuple[str, ...]:
        """All features that are images."""
        return tuple(dict.fromkeys((*self.targets, self.image)))

    @property
    def features(self) -> tuple[str, ...]:
        """All features."""
        return (*self.images, *self.labels, *_SIZES, *self.facts)


SINGLE = Kind("single digits", "image_raw", ("image_raw",), ("label",), 10)
PAIRS = Kind("pairs of digits", "merged_raw", ("image_raw_1", "image_raw_2"), ("label_1", "label_2"), 10)
SMALLNORB = Kind("smallNORB", "image_raw", ("image_raw",), ("label",), 5, facts=("meta",), depth_first=True)
KINDS = (SMALLNORB, PAIRS, SINGLE)  # smallNORB first, since its records have all features of single digits


class Records:
    """Records by index, in the order of their files; the first record determines their kind and size."""

    def __init__(self, spec: str | Path) -> None:
        """Scans the framing of the files that `spec` names (see `tfrecords.find`).

        Raises:
            Error: a file is missing or damaged, there is no record, or the first record is of none of `KINDS`.
        """
        self.files = tfrecords.RecordFiles(tfrecords.find(spec))
        self.sha256 = self.files.sha256
        if not len(self):
            raise Error(f"{spec}: expected records, received none; {_REMEDY}")
        self.kind = self._kind()
        first = self._parsed(self.kind, [0])
        height, width, depth = (int(first[size][0]) for size in _SIZES)
        self.image_shape = height, width, depth
        self._demand([0], np.array([min(self.image_shape) > 0]), "a positive size", [self.image_shape])

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Iterable[int]) -> dict[str, np.ndarray]:
        """Reads the records at these indices.

        Returns:
            Arrays by feature: images uint8 `(B, H, W, D)`, labels int64 `(B,)`, smallNORB's `meta` int64 `(B, 4)`.

        Raises:
            Error: a record fails its checksum, is not an Example with the features of its kind, differs in size from
                the first record, has a wrong number of bytes, or has an invalid label.
        """
        numbers = [int(number) for number in indices]
        parsed = self._parsed(self.kind, numbers)
        sizes = np.stack([parsed[size] for size in _SIZES], axis=-1)  # (B, 3)
        self._demand(numbers, (sizes == self.image_shape).all(-1), f"the size {self.image_shape}", sizes.tolist())
        features = {name: self._pixels(numbers, parsed[name], name) for name in self.kind.images}
        for name in self.kind.labels:
            valid = (parsed[name] >= 0) & (parsed[name] < self.kind.classes)
            self._demand(numbers, valid, f"{name} in 0-{self.kind.classes - 1}", parsed[name].tolist())
        return features | {name: parsed[name] for name in (*self.kind.labels, *self.kind.facts)}

    def _kind(self) -> Kind:
        self.files.read(0)  # raises if it is damaged, which is not a matter of its kind
        for kind in KINDS:
            with contextlib.suppress(Error):
                self._parsed(kind, [0])
                return kind
        known = "; or ".join(f"{', '.join(kind.features)} ({kind.name})" for kind in KINDS)
        raise Error(f"{self.files.where(0)}: expected an Example with the features {known}; {_REMEDY}")

    def _parsed(self, kind: Kind, numbers: list[int]) -> dict[str, np.ndarray]:
        """The features as stored: bytes, and int64."""
        with console.quiet():
            import tensorflow as tf

        wanted = {name: tf.io.FixedLenFeature([], tf.string) for name in kind.images}
        wanted |= {name: tf.io.FixedLenFeature([], tf.int64) for name in (*kind.labels, *_SIZES)}
        wanted |= {name: tf.io.FixedLenFeature([4], tf.int64) for name in kind.facts}
        data = [self.files.read(number) for number in numbers]
        try:
            parsed = tf.io.parse_example(tf.constant(data, tf.string), wanted)
        except (tf.errors.OpError, UnicodeDecodeError) as fault:  # the latter if TensorFlow's message quotes the record
            for number in numbers if len(numbers) > 1 else ():
                self._parsed(kind, [number])  # raises an error that names the faulty record
            features = ", ".join(kind.features)
            raise Error(
                f"{self.files.where(numbers[0])}: expected an Example with the features {features}; {_REMEDY}"
            ) from fault
        return {name: values.numpy() for name, values in parsed.items()}

    def _pixels(self, numbers: list[int], raw: np.ndarray, name: str) -> np.ndarray:
        """Converts bytes objects `(B,)` to uint8 `(B, H, W, D)`."""
        height, width, depth = self.image_shape
        lengths = [len(image) for image in raw]
        expected = height * width * depth
        self._demand(numbers, np.array(lengths) == expected, f"{expected} bytes of {name}", lengths)
        pixels = np.frombuffer(b"".join(raw), np.uint8)
        if self.kind.depth_first:
            return np.moveaxis(pixels.reshape(-1, depth, height, width), 1, -1)
        return pixels.reshape(-1, height, width, depth)

    def _demand(self, numbers: list[int], good: np.ndarray, expected: str, received: list[Any]) -> None:
        """Raises an error about the first record that is not `good` (bool `(B,)`), if any."""
        if not good.all():
            bad = int(np.argmin(good))
            raise Error(f"{self.files.where(numbers[bad])}: expected {expected}, received {received[bad]}; {_REMEDY}")


class RecordedDigits(Dataset):
    """Data set of single digits or pairs of digits on disk, read on demand."""

    def __init__(self, records: Records, *, name: str) -> None:
        """Takes records of kind `SINGLE` or `PAIRS`."""
        self.records = records
        self.name = name
        self.sha256 = records.sha256
        self.image_shape = records.image_shape
        self.digits = len(records.kind.labels)
        self.classes = records.kind.classes

    def __len__(self) -> int:
        return len(self.records)

    def batch(self, indices: np.ndarray) -> Batch:
        """The records at these indices; the targets of a pair are its two separate digits."""
        return self.render(self.stored, self._read(indices))

    @property
    def stored(self) -> Arrays:
        """Nothing, since the records stay on disk."""
        return {}

    def draw(self, indices: np.ndarray, generator: np.random.Generator) -> Arrays:
        """The records themselves; nothing is random, since they are stored with their shifts."""
        return self._read(indices)

    def render(self, stored: Arrays, drawn: Arrays) -> Batch:
        """Pixels in [0, 1]."""
        return Batch(unit(drawn["image"]), drawn["labels"], unit(drawn["targets"]))

    def _read(self, indices: np.ndarray) -> Arrays:
        kind, features = self.records.kind, self.records.read(indices)
        labels = np.stack([features[name] for name in kind.labels], axis=1)  # (B, T)
        targets = np.stack([features[name] for name in kind.targets], axis=1)  # (B, T, H, W, D)
        return {"image": features[kind.image], "labels": labels.astype(np.int32), "targets": targets}


def load(spec: str | Path, *, name: str) -> Dataset:
    """Loads a data set from record files; smallNORB is halved and kept in memory, digits stay on disk.

    Args:
        spec: a file, or `path@N` for N shards (see `tfrecords.find`).
        name: name of the data set, for progress and provenance.

    Raises:
        Error: a file is missing or damaged.
    """
    records = Records(spec)
    if records.kind != SMALLNORB:
        return RecordedDigits(records, name=name)
    if records.image_shape != (96, 96, 2):
        raise Error(f"{records.files.where(0)}: expected a size of (96, 96, 2), received {records.image_shape}")
    images, labels = [], []
    for numbers in np.array_split(np.arange(len(records)), 1 + len(records) // _PIECE):
        features = records.read(numbers)
        images.append(smallnorb.halved(features["image_raw"]))
        labels.append(features["label"])
    return smallnorb.SmallNorb(np.concatenate(images), np.concatenate(labels), name=name, sha256=records.sha256)


def write(
    spec: str | Path, kind: Kind, batches: Iterable[Features], *, generator: np.random.Generator | None = None
) -> int:
    """Writes record files, either all of them or none; equal arguments give equal bytes.

    Args:
        spec: a file, or `path@N` for N shards. Existing files are replaced at the end.
        kind: kind of the records.
        batches: features in the form of `Records.read`.
        generator: distributes the records over the shards at random; None: in turn. The numbers of records of two
            shards differ by at most one.

    Returns:
        The number of records written.
    """
    paths = tfrecords.named(spec)
    return tfrecords.write(paths, zip(_dealt(len(paths), generator), _examples(kind, batches), strict=False))


def _dealt(shards: int, generator: np.random.Generator | None) -> Iterator[int]:
    """Endless iterator over shard numbers; each shard occurs once in every round."""
    turns = np.tile(np.arange(shards), (1024, 1))
    while True:
        yield from (turns if generator is None else generator.permuted(turns, axis=1)).ravel().tolist()


def every_shift(images: np.ndarray, labels: np.ndarray, *, shift: int, pad: int) -> Iterator[Features]:
    """Single digits at every shift, (2 * shift + 1)^2 records per digit, as the released code writes them.

    Args:
        images: uint8 `(N, H, W, D)`.
        labels: integers `(N,)`.
        shift: largest shift in pixels, in each direction; the gap is filled with zeros.
        pad: zeros added on each side of an image before it is shifted.

    Yields:
        Features for `write`, one image at a time; its shifts are ordered from up to down, then from left to right.
    """
    steps = range(-shift, shift + 1)
    shifts = np.array(list(itertools.product(steps, steps)))
    for image, label in zip(images, labels, strict=True):
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        copies = np.repeat(padded[None], len(shifts), axis=0)
        yield {"image_raw": shifted(copies, shifts), "label": np.full(len(shifts), label)}


def every_pair(dataset: MultiMnist) -> Iterator[Features]:
    """Pairs of digits as the released code writes them; yields features for `write`, one base digit at a time."""
    count = dataset.pairs_per_digit
    for first in range(0, len(dataset), count):
        merged, base, top, labels = dataset.rendered(np.arange(first, first + count))
        yield {
            "merged_raw": merged,
            "image_raw_1": base,
            "image_raw_2": top,
            "label_1": labels[:, 0],
            "label_2": labels[:, 1],
        }


def _examples(kind: Kind, batches: Iterable[Features]) -> Iterator[bytes]:
    """Yields serialized Examples, with features in alphabetical order."""
    with console.quiet():
        import tensorflow as tf

    for batch in batches:
        sizes = dict(zip(_SIZES, batch[kind.image].shape[1:], strict=True))
        for row in range(len(batch[kind.image])):
            example = tf.train.Example()
            feature = example.features.feature
            for name in kind.images:
                image = np.moveaxis(batch[name][row], -1, 0) if kind.depth_first else batch[name][row]
                feature[name].bytes_list.value.append(image.astype(np.uint8, casting="safe").tobytes())
            for name in (*kind.labels, *kind.facts):
                feature[name].int64_list.value.extend(np.atleast_1d(batch[name][row]).tolist())
            for name, size in sizes.items():
                feature[name].int64_list.value.append(size)
            yield example.SerializeToString(deterministic=True)
