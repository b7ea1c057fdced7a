"""Describes the provenance of trained weights: settings, data, code, machine, versions and time."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Dataset
from capsrepro.network import devices, environment
from capsrepro.training.loop import Trained


def describe(run: RunConfig, dataset: Dataset, trained: Sequence[Trained]) -> dict[str, Any]:
    """The provenance of a training, as JSON values.

    Args:
        run: settings of the run; they are stored, so that tables can detect later changes of params.yaml.
        dataset: the training split.
        trained: the results of the training, one for each member.

    Returns:
        `steps_done` (of all members), `stop_reached`, `train_seconds`, `images_per_second`, `peak_memory_mb` (resident,
        of this process), `together` (only if several seeds shared the device: all of them; the times are then of all),
        and the entries of `facts`.
    """
    steps, seconds = sum(one.steps for one in trained), sum(one.seconds for one in trained)
    return {
        **facts(run, dataset, len(dataset)),
        "steps_done": steps,
        "stop_reached": all(one.stop_reached for one in trained),
        "train_seconds": round(seconds, 1),
        "images_per_second": round(steps * run.batch_size / seconds, 1) if seconds else 0.0,
        "peak_memory_mb": round(environment.peak_memory_mb()),
        **({"together": list(trained[0].together)} if trained[0].together else {}),
    }


def facts(run: RunConfig, dataset: Dataset, train_examples: int) -> dict[str, Any]:
    """The part of the provenance that is also known of the released checkpoints: settings, data and environment.

    Args:
        run: settings of the training.
        dataset: the training split; for released checkpoints the test split.
        train_examples: number of training images.
    """
    return {
        "settings": dataclasses.asdict(devices.resolved(run)),
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "train_examples": train_examples,
        **environment.describe(),
    }
