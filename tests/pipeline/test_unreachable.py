"""A source that cannot be reached takes nothing with it but its own row, which has the reason in its place."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from capsrepro.core import not_run
from capsrepro.core.files import read_json
from tests.support.clones import ROWS, SMALL, Clone, ran

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ENSEMBLE = "cifar10-ensemble"
MADE = {"train-further@training0", "evaluate-further@training0"}


def wanting_photographs(clone: Clone) -> Clone:
    """With one row made of MNIST, and the ensemble, in a place without a network."""
    path = clone.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    entry = {"scale": "quick", "run": ENSEMBLE, "seed": 0, "source": "cifar10"}
    params |= {"sources": ["cifar10"], "further": [entry]}
    params["trainings"]["quick"]["rows"] = [ROWS[0]]
    params["scale_settings"]["quick"][ENSEMBLE] = SMALL | {"conv_channels": [2], "primary_types": 1}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return clone


def keep_going(clone: Clone) -> tuple[str, list[str], int]:
    """Runs `dvc repro -k`; gives what it printed, the stages that it ran, and its exit code."""
    output = clone.call("sh", "-c", f"{sys.executable} -m dvc repro -k; echo exit code $?")
    return output, ran(output), int(output.rpartition("exit code ")[2].split()[0])


def row(path: Path, words: str) -> str:
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("|") and words in line][:1]
    return line


def test_every_other_row_and_the_reason_in_that_row(clone: Callable[[], Clone]) -> None:
    one = wanting_photographs(clone())
    output, stages, code = keep_going(one)
    results = one.folder / "results" / "quick"
    assert code != 0
    assert "no mirror serves cifar-10-batches-bin/data_batch_1.bin" in output
    assert "failed to reproduce 'reached@cifar10'" in output
    assert {*MADE, f"evaluate@quick-{ROWS[0]}-0", "fetch-further@cifar10", "reached@cifar10"} <= set(stages)
    assert "not run: source unreachable" in row(results / "table.md", "7 CapsNets, CIFAR-10")
    assert "| quick" in row(results / "table.md", "Baseline, MNIST")
    assert "not run: source unreachable" in (results / "report.md").read_text()
    assert not_run.read(one.folder / "results", "quick") == {ENSEMBLE: "source unreachable"}
    assert not list((one.folder / "checkpoints").rglob(f"{ENSEMBLE}*.h5"))

    again, stages, code = keep_going(one)  # tries the source again, and nothing else
    assert (set(stages), code != 0) == ({"fetch-further@cifar10", "reached@cifar10"}, True)
    assert "no mirror serves" in again

    printed = one.python("experiments.fetch", "cifar10", "--noted", check=False)
    assert printed.startswith("error: data/cifar10: no mirror serves ")
    assert "source unreachable" in str(read_json(results / "metrics" / f"{ENSEMBLE}-seed0.json"))
    assert "cifar10" in one.python("experiments.train", ENSEMBLE, check=False)  # without the flag: an error
