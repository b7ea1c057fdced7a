"""Evaluates released checkpoints like the released command: a single one, an ensemble, or new ones as they appear."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Dataset
from capsrepro.network import evaluation, losses, models
from capsrepro.network.evaluation import Score
from capsrepro.released import checkpoints
from capsrepro.released.settings import TEST_BATCH
from capsrepro.released.summaries import Summaries
from capsrepro.released.training import newest, step_of, tower
from capsrepro.training.feeding import tensors


def members(checkpoint: str, count: int) -> list[Path]:
    """The checkpoints of an ensemble: `checkpoint` with `{}` replaced by 0 to count - 1, or by 1 to count.

    Raises:
        Error: `checkpoint` has no `{}`, or members are missing; the message names them.
    """
    if count == 1:
        return [Path(checkpoint.replace("{}", "0"))]
    if "{}" not in checkpoint:
        raise Error(f"--checkpoint={checkpoint}: --num_trials={count} needs a {{}} in it for the number of each member")
    numbered = [[Path(checkpoint.replace("{}", str(first + number))) for number in range(count)] for first in (0, 1)]
    missing = [[prefix for prefix in prefixes if not Path(f"{prefix}.index").is_file()] for prefixes in numbered]
    complete, lacking = min(zip(numbered, missing, strict=True), key=lambda pair: len(pair[1]))
    if lacking:
        raise Error(f"--num_trials={count}: missing {', '.join(map(str, lacking))}; fetch or train every member")
    return complete


def restored(run: RunConfig, dataset: Dataset, prefixes: Sequence[Path]) -> keras.Model:
    """Restores the network of one checkpoint, or the ensemble of several.

    Raises:
        Error: a checkpoint is not readable or is of another network.
    """
    networks = []
    for prefix in prefixes:
        network = models.build(run, dataset.image_shape, classes=dataset.classes, digits=dataset.digits)
        checkpoints.restore_released(network, prefix)
        networks.append(network)
    return models.ensemble(networks)


def evaluate(
    run: RunConfig,
    dataset: Dataset,
    prefixes: Sequence[Path],
    *,
    folder: Path,
    examples: int | None = None,
    predictions: Path | None = None,
) -> Score:
    """Evaluates a network or an ensemble on a split and writes summaries.

    Args:
        run: settings of each network.
        dataset: the test split.
        prefixes: checkpoints of the networks; the class scores of several are added.
        folder: folder of the summaries, which are written at the step of the last checkpoint. The counts are
            `correct_prediction`, `wrong_prediction` and `almost_wrong_prediction` (no digit right). For a single
            network the mean losses are written too.
        examples: number of examples to take from the start of the split; None: all.
        predictions: an .npz file for `scores` float32 `(N, C)` and `labels` int32 `(N,)` (pairs: `(N, 2)`), in the
            order of the data; None: none.

    Raises:
        Error: a checkpoint is not readable or is of another network, `examples` is out of range, or a score is not
            finite.
    """
    if examples is not None and not 0 < examples <= len(dataset):
        raise Error(f"--eval_size={examples}: {dataset.name} has {len(dataset)} images; choose 1 to that")
    network = restored(run, dataset, prefixes)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    sums: dict[str, float] = {}

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if len(prefixes) == 1:
            scored = _with_losses(run, dataset, network, examples, sums)
        else:
            scored = evaluation.scored(models.classifier(network), dataset, TEST_BATCH, examples)
        for pair in scored:
            if predictions is not None:
                kept.append(pair)
            yield pair

    score = evaluation.count(batches(), dataset)
    if predictions is not None:
        _write(predictions, kept)
    values: dict[str, float] = {
        "correct_prediction": score.examples - score.wrong,
        "wrong_prediction": score.wrong,
        "almost_wrong_prediction": score.none_right,
    }
    if sums:
        values |= tower({name: value / score.examples for name, value in sums.items()}, score.examples)
    with contextlib.closing(Summaries(folder)) as summaries:
        summaries.scalars(step_of(prefixes[-1]), values)
    return score


def follow(folder: Path, *, seconds: float, polls: int) -> Iterator[Path]:
    """Yields each new checkpoint that a training writes, until `polls` in a row find none.

    Args:
        folder: folder of the training; it need not exist yet.
        seconds: time between two polls.
        polls: number of polls without a new checkpoint before it ends.
    """
    seen, unsuccessful = -1, 0
    while unsuccessful < polls:
        prefix = newest(folder)
        if prefix is not None and step_of(prefix) > seen:
            seen, unsuccessful = step_of(prefix), 0
            yield prefix
        else:
            unsuccessful += 1
            time.sleep(seconds)


def _with_losses(
    run: RunConfig, dataset: Dataset, network: keras.Model, examples: int | None, sums: dict[str, float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Like `evaluation.scored` for a single network, decoder included; adds each loss and count to `sums`."""
    for where, batch in evaluation.batches(dataset, TEST_BATCH, examples):
        inputs, truths = tensors(batch, dataset.classes, decoder=run.reconstruction)
        outputs = network.predict_on_batch(inputs)
        scores = evaluation.finite(outputs["scores"], f"{network.name} on {where}")
        for name, values in _each(run, dataset, outputs, truths).items():
            sums[name] = sums.get(name, 0.0) + float(np.sum(values))
        yield scores, batch.labels


def _each(run: RunConfig, dataset: Dataset, outputs: Mapping[str, Any], truths: Mapping[str, Any]) -> dict[str, Any]:
    """Losses and counts of each image, under the names of the training's logs."""
    truth, scores, digits = truths["scores"], outputs["scores"], dataset.digits
    cost = losses.classification(run.loss, run.recipe_of_loss)(truth, scores)
    values = {
        "classification_loss": cost,
        "right": losses.both_right(truth, scores, digits=digits),
        "almost": losses.any_right(truth, scores, digits=digits),
    }
    for digit in range(digits if run.reconstruction else 0):
        part = slice(digit, digit + 1)
        error = losses.reconstruction_loss(truths["reconstruction"][:, part], outputs["reconstruction"][:, part])
        values[f"reconstruction_digit{digit}"] = error
        cost = cost + error
    return {"loss": cost, **values}


def _write(path: Path, kept: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    scores, labels = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
    with files.replacing(path) as temporary:
        np.savez(temporary, scores=scores, labels=labels[:, 0] if labels.shape[1] == 1 else labels)
