"""The provenance of trained weights: settings, data, code, machine, versions and time."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Dataset
from capsrepro.network import devices, environment
from capsrepro.training.loop import Trained


def describe(run: RunConfig, dataset: Dataset, trained: Sequence[Trained]) -> dict[str, Any]:
    """The provenance of a training, as JSON can hold it.

    Args:
        run: its settings; `settings` repeats them, so that a table can tell when params.yaml has moved on.
        dataset: what it was trained on.
        trained: what came out, one for each member.

    Returns:
        Among others `steps_done` (of all members), `stop_reached`, `train_seconds`, `images_per_second`,
        `peak_memory_mb` (resident, of this process), and the environment, see `environment.describe`.
    """
    steps, seconds = sum(one.steps for one in trained), sum(one.seconds for one in trained)
    return {
        **facts(run, dataset, len(dataset)),
        "steps_done": steps,
        "stop_reached": all(one.stop_reached for one in trained),
        "train_seconds": round(seconds, 1),
        "images_per_second": round(steps * run.batch_size / seconds, 1) if seconds else 0.0,
        "peak_memory_mb": round(environment.peak_memory_mb()),
    }


def facts(run: RunConfig, dataset: Dataset, train_examples: int) -> dict[str, Any]:
    """What is known of weights that others trained, too: settings, data, and with what they were trained or tested.

    Args:
        run: the settings that they were trained with.
        dataset: what they were trained on; where others did that, what they were tested on.
        train_examples: how many images they were trained on.
    """
    return {
        "settings": dataclasses.asdict(devices.resolved(run)),
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "train_examples": train_examples,
        **environment.describe(),
    }
