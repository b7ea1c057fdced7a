"""Trainings handed to a local Ray, in temporary clones: afterwards `dvc repro` trains nothing."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from capsrepro.core import files
from tests.support.clones import ROWS, Clone
from tests.support.commands import run_module

TRAININGS = [f"train@quick-{row}-0" for row in ROWS]
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed (pip install capsrepro[sweep])"
)


@pytest.fixture(scope="module")
def ready(clone: Callable[[], Clone]) -> Clone:
    """A clone in which all is there that trainings read."""
    made = clone()
    made.repro("build")
    return made


@pytest.fixture
def project(ready: Clone, tmp_path: Path) -> Clone:
    return ready.copied(tmp_path / "project")


def sweep(project: Clone, *words: str, check: bool = True) -> str:
    return project.python("experiments.sweep", "--address", "local", *words, check=check)


def to_train(project: Clone) -> list[str]:
    return sorted(stage for stage in project.repro("--dry", "train") if stage.startswith("train@"))


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_failed_training_is_named_and_the_others_leave_none_to_dvc_repro(
    project: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once, of which one fails and one comes through the remote; then the other one through the cache."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    project.python("dvc", "remote", "add", "shared", str(project.folder.parent / "remote"))
    project.call("git", "commit", "-qam", "remote")
    with files.locked(project.folder / "state" / "quick" / f"{ROWS[0]}-seed0" / "0", "training"):
        output = sweep(project, "--remote", "shared", check=False)
    last = output.splitlines()[-1]
    assert last.startswith(f"error: 1 of 2 trainings failed; the first: {TRAININGS[0]}")
    assert f"already under way by process {os.getpid()}" in last
    assert f"{TRAININGS[1]}: trained" in output
    assert to_train(project) == TRAININGS[:1]

    output = sweep(project, "--scale", "quick")
    assert f"{TRAININGS[0]}: trained; 0 to go" in output
    assert "1 trained" in output
    assert to_train(project) == []
    assert not (project.folder / "logs").exists()  # a training here would have left its log: each was trained once
    head = project.call("git", "rev-parse", "HEAD").strip()
    for row in ROWS:
        assert (project.folder / "checkpoints" / "quick" / f"{row}-seed0.weights.h5").is_file()
        provenance = files.read_json(project.folder / "checkpoints" / "quick" / f"{row}-seed0.json")
        assert (provenance["git_revision"], provenance["git_dirty"]) == (head, False)
        assert "OMP_NUM_THREADS" not in provenance["arithmetic"]  # which Ray sets for its tasks
    assert "0 trained" in sweep(project)


@needs_ray
@pytest.mark.slow
def test_what_is_not_committed_is_refused(project: Clone) -> None:
    (project.folder / "capsrepro" / "new.py").touch()
    output = sweep(project, check=False)
    assert output.startswith("error: capsrepro/new.py: differs from HEAD")
    assert len(output.splitlines()) == 1


def test_without_ray_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('no ray')\n")
    done = run_module("experiments.sweep", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: ray is not installed; run `pip install capsrepro[sweep]`\n"
