"""experiments.campaign: in which order a plan is run, what it skips, and that an interruption loses nothing."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from capsrepro.core import params
from capsrepro.core.paths import RunPaths
from experiments.campaign import home, pace, progress
from experiments.campaign.trainings import Trainings
from tests.support import ROOT
from tests.support.commands import run_module

HEADER = "scale,run,seeds,steps,decay_steps,stop,stop_pct,why,commit"
PLAN = """small,a,0 1 2,300000,2000,steps,,why,0123abc
small,b,0 1,300000,2000,steps,,why,0123abc
small,pairs,0,300000,2000,steps,,why,0123abc
other,a,7,300000,2000,steps,,why,0123abc
"""
ENVIRONMENT = {"device": "a GPU", "instructions": "avx512f", "backend": "jax"}
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
# Stands in for a stage: notes its call, and leaves metrics; b's first training fails. Where it is to be held, a
# training leaves two backups, the second after as many seconds as the file says, and waits for a signal.
STAGE = """
import json, pathlib, sys
stage = pathlib.Path(__file__).stem
run, scale, seed = sys.argv[1], sys.argv[3], " ".join(sys.argv[5 : sys.argv.index("--params")])
with open("calls", "a") as calls:
    calls.write(f"{stage} {run} {seed}\\n")
if (stage, run, seed[0]) == ("train", "b", "0"):
    sys.exit("error: it fails")
if stage == "evaluate":
    path = pathlib.Path("results", scale, "metrics", f"{run}-seed{seed}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
if pathlib.Path("hold").exists() and stage == "train":
    import numpy
    folder = pathlib.Path("state", scale, f"{run}-seed{seed}", "0", "0123456789abcdef")
    folder.mkdir(parents=True, exist_ok=True)
    for step, seconds in ((1, 0.0), (2, float(pathlib.Path("hold").read_text() or 1))):
        meta = json.dumps({"step": step, "record": {"seconds": seconds}})
        numpy.savez(folder / f"{step:08d}.npz", meta=numpy.frombuffer(meta.encode(), numpy.uint8))
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


def run(project: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_module("experiments.campaign", "--scale", "small", *words, cwd=project, **variables)


def trainings(*, even_unfinished: bool = False) -> Trainings:
    """Of a campaign of an hour in this folder, which looks at an unknown speed all the time."""
    arguments = argparse.Namespace(minutes=60.0, calibration=0.1, even_unfinished=even_unfinished)
    arguments.params, arguments.data = Path("params.yaml"), Path("data")
    return Trainings(arguments, params.read(arguments.params), Path("state"))


def know(run: str, seconds: float, **changed: object) -> None:
    """Writes the provenance of a training of a hundred steps."""
    settings = params.read(Path("params.yaml")).settings(run, "small").as_json() | {"steps": 100}
    entry = ENVIRONMENT | {"settings": settings, "train_seconds": seconds, "steps_done": 100}
    path = RunPaths("small", run, 9).provenance
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry | changed))


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as the current folder, on a GPU."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(pace, "environment", lambda: ENVIRONMENT)
    return project


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


@pytest.mark.parametrize(
    ("name", "message"),
    [("c", "unknown run 'c' in runs; known: d, a"), ("d", "unknown run 'd' in scale_settings.small")],
)
def test_a_plan_about_a_run_without_settings_is_refused_before_anything_runs(
    project: Path, name: str, message: str
) -> None:
    (project / "params.yaml").write_text(PARAMS.replace("runs:\n", f"runs:\n  d: {RUN % ('mnist', '')}\n"))
    with (project / "results" / "plan.csv").open("a") as plan:
        plan.write(f"small,{name},0,300000,2000,steps,,why,0123abc\n")
    done = run(project, "--dry-run")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: plan.csv, {name}: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("small,a,3,300001,2000,steps,,why,0123abc", "a at the scale small: steps 300000, planned 300001; make params"),
        (
            "small,a,3,300000,2000,accuracy,99,why,0123abc",
            "a at the scale small: stop_pct None, planned 99.0; make para",
        ),
        ("smal,a,3,300000,2000,steps,,why,0123abc", "unknown scale 'smal' in scale_settings; known: small, other"),
    ],
)
def test_a_plan_that_params_contradicts_is_refused_before_anything_runs(project: Path, line: str, message: str) -> None:
    """Results that are trained for longer than planned are `unplanned`: after hours."""
    path = project / "results" / "plan.csv"
    path.write_text(f"{path.read_text()}{line}\n")
    done = run(project)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not (project / "calls").exists()


def test_a_plan_that_is_named_and_missing_is_refused(project: Path) -> None:
    done = run(project, "--plan", "none.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: none.csv: not readable as CSV (No such file or directory)")


def test_members_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    where = RunPaths("small", "a", 0)
    for member in (2, 10, 0):
        backup = tmp_path / where.name / str(member) / "0123456789abcdef" / "00000005.npz"
        backup.parent.mkdir(parents=True)
        backup.touch()
    assert [int(kept.parts[-3]) for [kept] in progress.backups(where, tmp_path)] == [0, 2, 10]


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


def test_the_waiting_seeds_of_a_run_are_trained_together_and_evaluated_one_by_one(project: Path) -> None:
    assert run(project, "--together", KERAS_BACKEND="tensorflow").stderr == (
        "error: --together: only JAX trains several seeds in one program; set KERAS_BACKEND=jax\n"
    )
    done = run(project, "--together", KERAS_BACKEND="jax")
    assert "4 done, 0 left" in done.stdout
    assert calls(project) == [
        *("train a 0 1 2", "evaluate a 0", "evaluate a 1", "evaluate a 2"),
        *("train b 0 1", "train pairs 0", "evaluate pairs 0"),
    ]
    assert done.stderr.splitlines()[-1].startswith("error: 2 failed, the first is small/b-seed0")


def test_what_is_known_not_to_finish_is_not_started_unless_it_is_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow, quick = RunPaths("small", "a", 0), RunPaths("small", "pairs", 0)
    know("a", 20_000.0)
    know("pairs", 0.1)
    campaign = trainings()
    assert campaign.run([slow]) == {slow: "left"}
    assert capsys.readouterr().out.startswith("small/a-seed0: not started: ")
    assert campaign.run([quick]) == {quick: "done"}
    assert calls(here) == ["train pairs 0", "evaluate pairs 0"]
    assert trainings(even_unfinished=True).run([slow]) == {slow: "done"}
    assert calls(here)[2:] == ["train a 0", "evaluate a 0"]


def test_a_speed_is_known_of_equal_settings_device_and_number_of_seeds_only(here: Path) -> None:
    a = RunPaths("small", "a", 0)
    settings = params.read(Path("params.yaml")).settings("a", "small")
    know("a", 50.0)
    assert pace.known([a], settings) == (0.5, 100)
    assert pace.known([a, RunPaths("small", "a", 1)], settings) is None
    know("a", 50.0, together=[0, 1])
    assert pace.known([a, RunPaths("small", "a", 1)], settings) == (0.5, 100)
    others = ({"device": "another"}, {"instructions": "avx2"}, {"backend": "torch"})
    for changed in (*others, {"settings": settings.as_json() | {"batch_size": 7}}):
        know("a", 50.0, **changed)
        assert pace.known([a], settings) is None, changed


@pytest.mark.parametrize("hold", ["20000", "0.001"])
def test_a_training_of_unknown_speed_is_measured_and_stopped_if_it_will_not_finish(
    here: Path, capsys: pytest.CaptureFixture[str], hold: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "hold").write_text(hold)
    a, campaign = RunPaths("small", "a", 0), trainings()
    fits, asked = campaign._fits, []

    def fits_and_ends(*words: object) -> bool:
        asked.append(fits(*words))  # type: ignore[arg-type]
        if asked[-1]:  # it would go on
            campaign.processes.stop()
        return asked[-1]

    monkeypatch.setattr(campaign, "_fits", fits_and_ends)
    assert campaign.run([a]) == {a: "left"}
    assert (asked, "stopped: " in capsys.readouterr().out) == ([hold == "0.001"], hold != "0.001")
    assert (calls(here), len(list(here.glob("state/small/a-seed0/0/*/*.npz")))) == (["train a 0"], 2)


def test_results_and_the_states_of_the_unfinished_lie_in_one_folder(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(project, "pairs", "--home", "home").returncode == 0
    (project / "hold").touch()
    words = [sys.executable, "-m", "experiments.campaign", "--scale", "small", "--jobs", "1", "--home", "home"]
    known = os.environ | {"PYTHONPATH": f"{project}{os.pathsep}{ROOT}"}
    with subprocess.Popen(words, cwd=project, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stderr is not None
        while b"held" not in started.stderr.readline():
            assert started.poll() is None
        started.terminate()
    state = "small/states/a-seed0.0.0123456789abcdef.00000002.npz"
    packed = {path.relative_to(project / "home").as_posix() for path in (project / "home").rglob("*.*")}
    assert packed == {"contents.json", state, "small/metrics/pairs-seed0.json"}
    monkeypatch.chdir(tmp_path_factory.mktemp("other"))
    home.take(project / "home", Path("state"))
    assert (
        Path("state/small/a-seed0/0/0123456789abcdef/00000002.npz").read_bytes()
        == (project / "home" / state).read_bytes()
    )
    assert Path("results/small/metrics/pairs-seed0.json").is_file()
    (project / "home" / "contents.json").unlink()
    assert "expected a new folder or one of an earlier campaign" in run(project, "--home", "home").stderr
