"""Trainings handed to a local Ray, in temporary clones: afterwards `dvc repro` trains nothing."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from capsrepro.core import files
from tests.pipeline.test_pipeline import ROWS, call, clones, metrics, ran  # noqa: F401, a fixture
from tests.support.commands import run_module

TRAININGS = [f"train@quick-{row}-0" for row in ROWS]
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed (pip install capsrepro[sweep])"
)


def sweep(clone: Path, *words: str, check: bool = True) -> str:
    return call(clone, sys.executable, "-m", "experiments.sweep", "--address", "local", *words, check=check)


def trained_by_repro(clone: Path) -> list[str]:
    return [stage for stage in ran(call(clone, "dvc", "repro")) if stage.startswith("train@")]


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_trainings_through_the_cache_leave_none_to_dvc_repro(clones: list[Path]) -> None:  # noqa: F811
    output = sweep(clones[0])
    assert {line.partition(":")[0] for line in output.splitlines() if ": trained;" in line} == set(TRAININGS)
    assert "2 trained" in output
    assert trained_by_repro(clones[0]) == []
    head = call(clones[0], "git", "rev-parse", "HEAD").strip()
    for row in ROWS:
        assert metrics(clones[0], row)["examples"] == 10_000
        provenance = files.read_json(clones[0] / "results" / "quick" / "provenance" / f"{row}-seed0.json")
        assert (provenance["git_revision"], provenance["git_dirty"]) == (head, False)
        assert "OMP_NUM_THREADS" in os.environ or "OMP_NUM_THREADS" not in provenance["arithmetic"]
    assert "0 trained" in sweep(clones[0])


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_training_that_fails_is_told_and_the_others_come_through_the_remote(
    clones: list[Path],  # noqa: F811
) -> None:
    call(clones[1], "dvc", "remote", "add", "shared", str(clones[1].parent / "remote"))
    call(clones[1], "git", "commit", "-qam", "remote")
    with files.locked(clones[1] / "state" / "quick" / f"{ROWS[0]}-seed0" / "0", "training"):
        output = sweep(clones[1], "--remote", "shared", check=False)
    last = output.splitlines()[-1]
    assert last.startswith(f"error: 1 of 2 trainings failed; the first: {TRAININGS[0]}")
    assert f"already under way by process {os.getpid()}" in last
    assert f"{TRAININGS[1]}: trained" in output
    output = sweep(clones[1], "--remote", "shared", "--scale", "quick")
    assert f"{TRAININGS[0]}: trained; 0 to go" in output
    assert "1 trained" in output
    assert trained_by_repro(clones[1]) == []


@needs_ray
@pytest.mark.slow
def test_what_is_not_committed_is_refused(clones: list[Path]) -> None:  # noqa: F811
    (clones[0] / "capsrepro" / "new.py").touch()
    output = sweep(clones[0], check=False)
    (clones[0] / "capsrepro" / "new.py").unlink()
    assert output.startswith("error: capsrepro/new.py: differs from HEAD")
    assert len(output.splitlines()) == 1


def test_without_ray_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('no ray')\n")
    done = run_module("experiments.sweep", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: ray is not installed; run `pip install capsrepro[sweep]`\n"
