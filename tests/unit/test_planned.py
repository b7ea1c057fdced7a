"""`experiments.planned`: what is planned and has no result is fetched, trained and evaluated, the shortest first."""

import argparse
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from capsrepro.core import not_run, params, paths
from capsrepro.core.errors import Error
from experiments import planned
from tests.support import ROOT

KNOWN = params.read(ROOT / "params.yaml")
CIFAR = ["cifar10-ensemble", "cifar10-capsnet-r3", "cifar10-capsnet-r1", "cifar10-plain"]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that were run, in a project without results; none fails."""
    (tmp_path / "results").mkdir()
    shutil.copy(ROOT / "results" / "plan.csv", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    done: list[str] = []

    def run(command: tuple[str, ...], **_: Any) -> SimpleNamespace:
        done.append(" ".join(command[2:]))
        return SimpleNamespace(returncode=3 if "--seed 2" in done[-1] else 0)

    monkeypatch.setattr(planned.subprocess, "run", run)
    return done


def arguments(*runs: str, **changed: Any) -> argparse.Namespace:
    given = {"params": ROOT / "params.yaml", "data": Path("data"), "scale": "quick", "dry_run": False}
    return argparse.Namespace(runs=list(runs), **{**given, **changed})


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_the_shortest_comes_first_and_the_ensemble_last(called: list[str]) -> None:
    missing = [(where.run, where.seed) for where in planned.missing_trainings(KNOWN, "quick", CIFAR)]
    assert missing[:3] == [("cifar10-capsnet-r1", seed) for seed in range(3)]
    assert (missing[-1], len(missing)) == (("cifar10-ensemble", 0), 10)


def test_what_has_a_result_is_left_alone_and_a_reason_is_none(called: list[str]) -> None:
    done, away = (paths.RunPaths("quick", run, 0) for run in ("cifar10-capsnet-r1", "cifar10-ensemble"))
    write(done.metrics, {"wrong": 1})
    not_run.write(away, not_run.UNREACHABLE)
    missing = planned.missing_trainings(KNOWN, "quick", ["cifar10-capsnet-r1", "cifar10-ensemble"])
    assert [(where.run, where.seed) for where in missing] == [
        ("cifar10-capsnet-r1", 1),
        ("cifar10-capsnet-r1", 2),
        ("cifar10-ensemble", 0),
    ]


def test_data_are_fetched_once_and_what_is_trained_is_evaluated_only(called: list[str]) -> None:
    where = paths.RunPaths("quick", "cifar10-plain", 0)
    write(where.weights, {})
    write(where.provenance, {})
    with pytest.raises(
        Error, match=r"train cifar10-plain --scale quick --seed 2 .*: ended with status 3; run this again"
    ):
        planned.main(arguments("cifar10-plain"))
    assert [words.split()[:2] for words in called] == [
        ["experiments.fetch", "cifar10"],
        *[[f"experiments.{stage}", "cifar10-plain"] for stage in ("evaluate", "train", "evaluate", "train")],
    ]


def test_a_dry_run_only_prints(called: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    planned.main(arguments("mnist-baseline", "cifar10-ensemble", dry_run=True))
    assert not called
    printed = capsys.readouterr().out.replace(f" --params {ROOT}/params.yaml", "").replace(" --data data", "")
    assert printed.splitlines() == [
        "quick/mnist-baseline-seed0: at most 500 steps",
        "quick/cifar10-ensemble-seed0: at most 7 x 600 steps",
        "python -m experiments.train mnist-baseline --scale quick --seed 0",
        "python -m experiments.evaluate mnist-baseline --scale quick --seed 0",
        "python -m experiments.fetch cifar10",
        "python -m experiments.train cifar10-ensemble --scale quick --seed 0",
        "python -m experiments.evaluate cifar10-ensemble --scale quick --seed 0",
    ]


def test_what_no_plan_names_is_an_error(called: list[str]) -> None:
    with pytest.raises(Error, match="no line about svhn-capsnet at the scale quick"):
        planned.main(arguments("svhn-capsnet"))
