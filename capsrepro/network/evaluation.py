"""Evaluates trained networks on a whole test split; errors are counted first and divided once."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np

from capsrepro.core.errors import Error
from capsrepro.data.batches import Batch, Dataset
from capsrepro.network import losses, models


@dataclasses.dataclass(frozen=True)
class Score:
    """The numbers of wrong and of all images. An image is right if all of its digits are."""

    wrong: int
    examples: int
    none_right: int  # wrong images with no digit right; with one digit per image these are all wrong images
    digits: int = 1

    @property
    def error_pct(self) -> float:
        """The error in percent, the paper's measure; a pair is wrong unless both of its digits are right."""
        return 100.0 * self.wrong / self.examples

    @property
    def digit_error_pct(self) -> float:
        """The error per digit in percent, the measure of other publications on pairs."""
        return 100.0 * self.digits_wrong / (self.digits * self.examples)

    @property
    def digits_wrong(self) -> int:
        """The number of wrong digits, over all images."""
        return self.wrong if self.digits == 1 else self.wrong + self.none_right


class Answers(NamedTuple):
    """The predictions of a network on a split: N examples in order, T digits each, C classes."""

    labels: np.ndarray  # (N, T) int32
    predicted: np.ndarray  # (N, T) int64: the classes of the T highest scores, highest first
    scores: np.ndarray  # (N, C) float32
    sha256: str = ""  # of the images and labels that the network was given

    @property
    def right(self) -> np.ndarray:
        """Whether all digits of an example are right: `(N,)` bool."""
        found: np.ndarray = (np.sort(self.labels) == np.sort(self.predicted)).all(axis=1)
        return found


def answers(model: keras.Model, dataset: Dataset, batch_size: int = 500, examples: int | None = None) -> Answers:
    """Predicts a whole split with a network or an ensemble (`models.ensemble`).

    Among equal scores the class with the lower number ranks first, as in `losses.both_right`.

    Args:
        model: the network.
        dataset: the split.
        batch_size: batch size of the forward passes.
        examples: number of examples to take from the start of the split; None: all.

    Raises:
        Error: a score is not finite.
    """
    classifier, digest = models.classifier(model), hashlib.sha256()
    scores, labels = [], []
    for where, batch in batches(dataset, batch_size, examples):
        digest.update(np.ascontiguousarray(batch.images).tobytes() + batch.labels.tobytes())
        scores.append(finite(classifier.predict_on_batch(batch.images), f"{classifier.name} on {where}"))
        labels.append(batch.labels)
    everything = np.concatenate(scores)
    highest = np.argsort(-everything, axis=1, kind="stable")[:, : dataset.digits]
    return Answers(np.concatenate(labels), highest, everything, digest.hexdigest())


def scores_of(model: keras.Model, images: np.ndarray, where: str, batch_size: int = 500) -> np.ndarray:
    """The scores `(N, C)` of images `(N, H, W, D)`; `where` names the images in an error.

    Raises:
        Error: a score is not finite.
    """
    classifier, parts = models.classifier(model), np.array_split(images, range(batch_size, len(images), batch_size))
    return finite(np.concatenate([classifier.predict_on_batch(part) for part in parts]), where)


def evaluate(model: keras.Model, dataset: Dataset, batch_size: int = 500, examples: int | None = None) -> Score:
    """Counts the wrong images of a split, in constant memory.

    Args:
        model: a network, or an ensemble (`models.ensemble`).
        dataset: the split.
        batch_size: batch size of the forward passes.
        examples: number of examples to take from the start of the split; None: all.

    Raises:
        Error: a score is not finite.
    """
    return count(scored(models.classifier(model), dataset, batch_size, examples), dataset)


def count(scores_and_labels: Iterable[tuple[np.ndarray, np.ndarray]], dataset: Dataset) -> Score:
    """Counts wrong images over batches of scores `(B, C)` and labels `(B, T)`."""
    both = some = examples = 0
    for scores, labels in scores_and_labels:
        truth = np.eye(dataset.classes, dtype=np.float32)[labels].max(axis=1)
        both += int(keras.ops.sum(losses.both_right(truth, scores, digits=dataset.digits)))
        some += int(keras.ops.sum(losses.any_right(truth, scores, digits=dataset.digits)))
        examples += len(labels)
    return Score(examples - both, examples, examples - some, dataset.digits)


def scored(
    classifier: keras.Model, dataset: Dataset, batch_size: int, examples: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields scores `(B, C)` and labels `(B, T)` of each batch; `classifier` is from `models.classifier`.

    Raises:
        Error: a score is not finite.
    """
    for where, batch in batches(dataset, batch_size, examples):
        yield finite(classifier.predict_on_batch(batch.images), f"{classifier.name} on {where}"), batch.labels


def batches(dataset: Dataset, batch_size: int, examples: int | None = None) -> Iterator[tuple[str, Batch]]:
    """Yields the batches of a split, or of its first `examples`, each with a description for error messages."""
    size = len(dataset) if examples is None else min(examples, len(dataset))
    for start in range(0, size, batch_size):
        yield f"{dataset.name}, images from {start}", dataset.batch(np.arange(start, min(start + batch_size, size)))


def finite(scores: np.ndarray, where: str) -> np.ndarray:
    """Returns the scores after checking that they are finite.

    Raises:
        Error: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise Error(f"{where}: a score is not finite; train again or fetch the checkpoint again")
    return scores
