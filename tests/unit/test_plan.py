"""results/plan.csv: what reading it refuses, which results it names, and that it says what params.yaml says."""

import dataclasses
from pathlib import Path

import pytest

from capsrepro.core import params
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.evidence import plan
from capsrepro.evidence.results import Result
from tests.support import ROOT, result_files

COMMITTED = ROOT / "results" / "plan.csv"
HEADER = "scale,run,seeds,steps,decay_steps,stop,stop_pct,why,commit"
LINE = "full,caps,0 1 2,300000,2000,steps,,the main number,0123abc"
STOPPED = "full,moved,0,300000,2000,accuracy,99.23,the gap,0123abc"
SETTINGS = RunConfig("mnist", "capsnet", recipe="paper", routing=3, reconstruction=True).as_json()


def write(folder: Path, *lines: str) -> Path:
    path = folder / "plan.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def result(run: str = "caps", seed: int = 0, scale: str = "full", **settings: object) -> Result:
    facts = result_files.metrics(run, SETTINGS, 23, seed=seed, scale=scale)
    origin = result_files.provenance(SETTINGS | settings)
    return Result(
        **facts, **{k: origin[k] for k in ("settings", "data_sha256", "train_examples")}, counted_in="float32"
    )


def test_a_result_must_be_planned_with_its_seed_and_length_only(tmp_path: Path) -> None:
    plans = plan.read(write(tmp_path, HEADER, LINE))
    assert not plan.is_unplanned(plans, result())
    assert not plan.is_unplanned(plans, result(seed=2))
    for other in (
        result(seed=3),
        result(run="others"),
        result(scale="quick"),
        result(steps=50_000),
        result(decay_steps=667),
        result(stop_pct=99.0),
    ):
        assert plan.is_unplanned(plans, other)


def test_planned_seeds_that_are_not_there_must_be_told(tmp_path: Path) -> None:
    plans = plan.read(write(tmp_path, HEADER, LINE, LINE.replace("caps", "other").replace("0 1 2", "0")))
    assert plan.remarks(plans, [result(seed=0), result(seed=2)]) == ("2 of 3 planned seeds",)
    assert plan.remarks(plans, [result(), result("other")]) == ("1 of 3 planned seeds",)
    assert plan.remarks(plans, [*(result(seed=seed) for seed in range(3)), result("other")]) == ()
    assert plan.remarks(plans, [result(), result(seed=9)]) == ("unplanned",)


def test_how_far_a_plan_is_must_be_told_until_it_is_done(tmp_path: Path) -> None:
    plans = plan.read(write(tmp_path, HEADER, LINE, LINE.replace("caps", "other").replace("0 1 2", "0")))
    done = [result(seed=0), result(seed=2), result(seed=9)]
    assert plan.unfinished(plans, "full", done) == "Preliminary: 2 of 4 planned trainings are done."
    assert plan.unfinished(plans, "full", [*(result(seed=seed) for seed in range(3)), result("other")]) == ""
    assert plan.unfinished(plans, "quick", []) == ""


def test_a_planned_stop_must_be_the_one_that_ended_the_training(tmp_path: Path) -> None:
    plans = plan.read(write(tmp_path, HEADER, LINE, STOPPED))
    assert not plan.is_unplanned(plans, result(run="moved", stop_pct=99.23))
    assert plan.is_unplanned(plans, result(run="moved"))


def test_what_was_counted_before_there_were_plans_must_be_unplanned(tmp_path: Path) -> None:
    plans = plan.read(write(tmp_path, HEADER, LINE))
    assert plan.is_unplanned(plans, dataclasses.replace(result(), counted_in=""))


def test_published_checkpoints_must_need_no_plan() -> None:
    assert not plan.is_unplanned([], result(scale="released"))
    assert plan.is_unplanned([], result())


def test_without_a_file_nothing_must_be_planned(tmp_path: Path) -> None:
    assert plan.read(tmp_path / "plan.csv") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE.replace("0 1 2", "0 1 1"), "seeds: expected whole numbers between spaces, each once, received '0 1 1'"),
        (LINE.replace("0 1 2", "0 -1"), "seeds: expected whole numbers between spaces, each once, received '0 -1'"),
        (LINE.replace("0 1 2", "0 100001"), "seeds: expected whole numbers between spaces, each once, received '0 10"),
        (LINE.replace("0 1 2", "0,1"), "expected 9 values, received 10"),
        (LINE.replace("300000", "many"), "steps: expected a whole number above 0, received 'many'"),
        (LINE.replace("2000", "0"), "decay_steps: expected a whole number above 0, received '0'"),
        (LINE.replace("the main number", ""), "why: missing; fill in the purpose of the runs"),
        (LINE.replace("0123abc", "main"), "commit: expected 7 to 40 digits of a commit in lower case, received 'main'"),
        (LINE.replace("0123abc", ""), "commit: missing"),
        (LINE.replace("steps,,", "accuracy,,"), "stop is `steps`, or `accuracy` with a stop_pct"),
        (LINE.replace("steps,,", "steps,99,"), "stop is `steps`, or `accuracy` with a stop_pct"),
        (LINE.replace("steps,,", "whenever,,"), "stop is `steps`, or `accuracy` with a stop_pct"),
        (STOPPED.replace("99.23", "101"), "stop_pct: expected a number from 0 to 100, received '101'"),
        (LINE.replace("0 1 2", "2 3"), "seeds: one of caps is planned in an earlier line too"),
    ],
)
def test_a_bad_line_must_be_refused_in_one_line(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, HEADER, LINE, line)
    with pytest.raises(Error) as refused:
        plan.read(path)
    assert str(refused.value).startswith(f"{path}, line 3")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_column_must_be_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="line 1: unknown or repeated column 'budget'"):
        plan.read(write(tmp_path, f"{HEADER},budget", f"{LINE},1"))


def test_the_committed_plan_must_say_what_params_says() -> None:
    known = params.read(ROOT / "params.yaml")
    plans = plan.read(COMMITTED)
    for one in plans:
        settings = known.settings(one.run, one.scale)
        assert (one.steps, one.decay_steps, one.stop_pct) == (settings.steps, settings.decay_steps, settings.stop_pct)
    quick = {one.run: one.seeds for one in plans if one.scale == "quick"}
    photographs = {run for run, settings in known.runs.items() if settings.data == "cifar10"}
    selected = known.trainings["quick"]
    assert quick.keys() == {*selected.rows, *photographs}
    assert {quick[row] for row in selected.rows} == {selected.seeds}
    assert {run: quick[run] for run in photographs} == {
        "cifar10-ensemble": (0,),
        **dict.fromkeys(("cifar10-capsnet-r3", "cifar10-capsnet-r1", "cifar10-plain"), (0, 1, 2)),  # for the claims
    }
    assert next(one.run for one in plans if one.scale == "paper") == "mnist-capsnet-r3-recon"
    # All other results of `full` are older than the first plan.
    assert [one.run for one in plans if one.scale == "full"] == ["cifar10-capsnet-r3"]
