"""experiments.campaign: in which order a plan is run, what it skips, and that an interruption loses nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.commands import run_module

HEADER = "scale,run,seeds,steps,decay_steps,stop,stop_pct,why,commit"
PLAN = """small,a,0 1 2,5,5,steps,,why,0123abc
small,b,0 1,5,5,steps,,why,0123abc
small,pairs,0,5,5,steps,,why,0123abc
other,a,7,5,5,steps,,why,0123abc
"""
RUN = "{data: %s, model: capsnet, routing: 3%s}"
PARAMS = f"""
trainings: {{}}
runs:
  a: {RUN % ("mnist", "")}
  b: {RUN % ("mnist", "")}
  pairs: {RUN % ("multimnist", ", shift: 4")}
scale_settings:
  small: {{a: {{}}, b: {{}}, pairs: {{}}}}
  other: {{a: {{}}}}
"""
# Stands in for a stage: notes its call, and leaves metrics; b's first training fails.
STAGE = """
import pathlib, sys, time
stage = pathlib.Path(__file__).stem
run, scale, seed = sys.argv[1], sys.argv[3], sys.argv[5]
with open("calls", "a") as calls:
    calls.write(f"{stage} {run} {seed}\\n")
if (stage, run, seed) == ("train", "b", "0"):
    sys.exit("error: it fails")
if stage == "evaluate":
    path = pathlib.Path("results", scale, "metrics", f"{run}-seed{seed}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
if pathlib.Path("hold").exists() and stage == "train":
    print("held", flush=True)
    import signal
    signal.pause()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose stages are stand-ins."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "plan.csv").write_text(f"{HEADER}\n{PLAN}")
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "experiments").mkdir()
    shutil.copy(ROOT / "experiments" / "__init__.py", tmp_path / "experiments")
    shutil.copytree(ROOT / "experiments" / "campaign", tmp_path / "experiments" / "campaign")
    for name in ("train", "evaluate"):
        (tmp_path / "experiments" / f"{name}.py").write_text(STAGE)
    return tmp_path


def run(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_module("experiments.campaign", "--scale", "small", *words, cwd=project)


def calls(project: Path) -> list[str]:
    return (project / "calls").read_text().splitlines()


def test_a_campaign_takes_seed_by_seed_within_a_data_set_and_skips_what_has_a_result(project: Path) -> None:
    done = run(project, "--dry-run")
    names = ["a-seed0", "b-seed0", "a-seed1", "b-seed1", "a-seed2", "pairs-seed0"]
    assert done.stdout.splitlines() == ["small: 6 planned, 6 without a result", *(f"small/{name}" for name in names)]
    assert not (project / "calls").exists()
    (project / "results" / "small" / "metrics").mkdir(parents=True)
    (project / "results" / "small" / "metrics" / "a-seed1.json").write_text("{}")
    assert "small/a-seed1" not in run(project, "--dry-run").stdout
    (project / "results" / "small" / "metrics" / "a-seed1.json").write_text('{"run": "a", "not_run": "unreachable"}')
    assert "small/a-seed1" in run(project, "--dry-run").stdout


def test_a_campaign_runs_only_what_is_named_and_refuses_what_is_not_planned(project: Path) -> None:
    assert run(project, "b", "--dry-run").stdout.splitlines()[1:] == ["small/b-seed0", "small/b-seed1"]
    done = run(project, "c", "--dry-run")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: plan.csv: no line about c at the scale small; add one, or name another run\n"


def test_a_training_that_fails_does_not_stop_the_others(project: Path) -> None:
    done = run(project, "--jobs", "1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: 1 failed, the first is small/b-seed0")
    assert "5 done, 0 left" in done.stdout
    names = ("a 0", "b 0", "a 1", "b 1", "a 2", "pairs 0")
    expected = [f"{stage} {name}" for name in names for stage in ("train", "evaluate")]
    expected.remove("evaluate b 0")
    assert calls(project) == expected
    assert "1 without a result" in run(project, "--jobs", "1").stdout
    assert calls(project) == [*expected, "train b 0"]


def test_a_campaign_that_is_stopped_ends_its_trainings_and_starts_no_more(project: Path) -> None:
    (project / "hold").touch()
    words = [sys.executable, "-m", "experiments.campaign", "--scale", "small", "--jobs", "1"]
    known = os.environ | {"PYTHONPATH": f"{project}{os.pathsep}{ROOT}"}
    started = subprocess.Popen(words, cwd=project, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stderr is not None
    while b"held" not in started.stderr.readline():
        assert started.poll() is None
    started.terminate()
    account, _ = started.communicate()
    assert started.returncode == 0
    assert account.endswith(b"0 done, 6 left; the same command resumes them\n")
    assert calls(project) == ["train a 0"]


def test_the_time_that_is_given_ends_it_with_an_account(project: Path) -> None:
    (project / "hold").touch()
    done = run(project, "--jobs", "2", "--minutes", "0.05")
    assert "0 done, " in done.stdout
    assert "the same command resumes them" in done.stdout
