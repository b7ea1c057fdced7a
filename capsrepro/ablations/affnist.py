"""A closer look at the affNIST comparison: other baselines, later checks, accuracy by position and rotation.

The paper stops two networks at equal accuracy on expanded MNIST and finds the CapsNet 13 points ahead on affNIST
(section 5.2). It does not give the layers of its baseline, so several are tried.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from capsrepro.core.errors import Error
from capsrepro.core.params import Params, RunConfig

FOLDER = Path("studies")  # in the folder of a scale
STOP, TEST = "expanded_accuracy_pct", "affnist_accuracy_pct"  # columns of a history
CAPSNET, BASELINE = "affnist-capsnet", "affnist-baseline"
DISTANCES = (0.0, 2.0, 4.0, 6.0, 8.0, 12.0)  # pixels from the centre: max(|down|, |right|); at most 6 in training
ROTATIONS = (0.0, 5.0, 10.0, 15.0, 20.0)  # degrees in either direction; no rotation in training


def variants(known: Params, scale: str) -> dict[str, RunConfig]:
    """The networks to compare, by name: the CapsNet, the baseline of the table, and other baselines.

    Each is trained for all steps of its scale, without a stopping accuracy. `crossing` finds the check that would have
    stopped it, and the later checks are known too.
    """
    capsnet, baseline = (dataclasses.replace(known.settings(run, scale), stop_pct=None) for run in (CAPSNET, BASELINE))
    halved = tuple(max(1, channels // 2) for channels in baseline.conv_channels)
    return {
        "capsnet": capsnet,
        "baseline": baseline,
        "baseline, first kernel 5x5": dataclasses.replace(baseline, layers_recipe="released"),
        "baseline, half the channels": dataclasses.replace(baseline, conv_channels=halved),
        "baseline, no dropout": dataclasses.replace(baseline, dropout=0.0),
    }


def stops(known: Params, scale: str) -> dict[str, float]:
    """The accuracy on expanded MNIST, in percent, at which CapsNet and baseline stop, by run.

    Raises:
        Error: a run has none at the scale.
    """
    found = {}
    for run in (CAPSNET, BASELINE):
        if (stop := known.settings(run, scale).stop_pct) is None:
            where = f"scale_settings.{scale}.{run}.stop_pct"
            raise Error(f"{where}: missing; the comparison is made at this accuracy: 99.23 or 99.22 in the paper")
        found[run] = stop
    return found


def crossing(history: Sequence[Mapping[str, float]], stop: float) -> Mapping[str, float] | None:
    """The first check of a history whose accuracy on expanded MNIST reached `stop`; None if none did."""
    return next((line for line in history if line[STOP] >= stop), None)


def by_place(parameters: np.ndarray, right: np.ndarray) -> Iterator[dict[str, Any]]:
    """Accuracy of a network by the position and the rotation of the digit.

    Args:
        parameters: affine parameters of each image of a built affNIST, float `(N, 6)`, see `data.affnist.PARAMETERS`.
        right: whether each image was classified correctly, bool `(N,)`.

    Yields:
        A line for each bin: quantity, lower edge, upper edge (excluded, except in the last bin), number of images,
        number correct, accuracy in percent.
    """
    distance = np.abs(parameters[:, 4:6]).max(axis=1)
    rotation = np.abs(parameters[:, 0])
    for name, values, edges in (
        ("pixels from the middle", distance, DISTANCES),
        ("degrees of rotation", rotation, ROTATIONS),
    ):
        for low, high in itertools.pairwise(edges):
            last = high == edges[-1]
            inside = (values >= low) & ((values < high) | (last & (values >= high)))
            count, good = int(inside.sum()), int(right[inside].sum())
            accuracy = round(100.0 * good / count, 2) if count else None
            yield {"by": name, "from": low, "to": high, "images": count, "right": good, "accuracy_pct": accuracy}
