"""The pipeline in temporary clones: which stages run, what they leave, and that two clones agree."""

import re
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.clones import BUILT, ROWS, Clone, ran

MEMORY = Path("/dev/shm")  # a file system in memory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def one(clone: Callable[[], Clone]) -> Clone:
    return clone()


@pytest.fixture(scope="module")
def first(one: Clone) -> list[str]:
    """The stages of the first `dvc repro` in it."""
    return one.repro()


def test_everything_runs_once_and_leaves_a_table(one: Clone, first: list[str]) -> None:
    """That it is everything, `test_again_runs_nothing` says."""
    stages = {"fetch", *(f"{stage}@quick-{row}-0" for stage in ("train", "evaluate") for row in ROWS)}
    stages |= {f"build@quick-{name}" for name in BUILT} | {"figures-data"}
    stages |= {"table@quick", "report@quick"}
    assert stages <= set(first)
    assert len(first) == len(set(first))
    table = (one.folder / "results" / "quick" / "table.md").read_text()
    assert table.count("| quick") == 2
    assert "not run" in table
    assert not list((one.folder / "state").rglob("*.npz"))
    for row in ROWS:
        metrics, provenance = (one.result(kind, row) for kind in ("metrics", "provenance"))
        assert (metrics["examples"], metrics["steps"], metrics["run"]) == (10_000, 6, row)
        assert metrics["test_error_pct"] == pytest.approx(metrics["wrong"] / 100)
        assert provenance["git_dirty"] is False
        assert provenance["train_examples"] == 60_000
        assert len(provenance["git_revision"]) == 40


def test_again_runs_nothing(one: Clone, first: list[str]) -> None:
    assert one.repro() == []


def test_a_change_of_the_readme_runs_nothing_and_one_of_the_losses_trains_and_evaluates(
    one: Clone, first: list[str]
) -> None:
    readme, losses = one.folder / "README.md", one.folder / "capsrepro" / "network" / "losses.py"
    before = {path: path.read_text() for path in (readme, losses)}
    readme.write_text(before[readme] + "more\n")
    assert one.repro("--dry") == []
    losses.write_text(before[losses] + "# more\n")
    stages = {stage.partition("@")[0] for stage in one.repro("--dry")}
    for path, text in before.items():
        path.write_text(text)
    assert stages >= {"train", "evaluate"}
    assert not stages & {"fetch", "build"}


def test_a_second_clone_trains_for_itself_and_gets_the_same_metrics(
    clone: Callable[[], Clone], one: Clone, first: list[str]
) -> None:
    """Its cache lies on another file system, where there is one."""
    two = clone()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as cache:
        two.python("dvc", "cache", "dir", "--local", cache)
        assert {f"train@quick-{row}-0" for row in ROWS} <= set(two.repro("evaluate"))
        assert not (two.folder / ".dvc" / "cache" / "files").exists()
        shutil.rmtree(two.folder / "checkpoints")
        assert two.repro("evaluate") == []  # the weights come back from there
    for row in ROWS:
        assert two.result("metrics", row) == one.result("metrics", row)


def test_an_experiment_with_other_routing_trains_anew(one: Clone, first: list[str]) -> None:
    one.call("git", "add", "-A")
    one.call("git", "commit", "-qm", "results")
    before = one.result("metrics", ROWS[1])
    stages = ran(one.python("dvc", "exp", "run", "evaluate", "-S", f"runs.{ROWS[1]}.routing=1"))
    assert f"train@quick-{ROWS[1]}-0" in stages
    assert f"train@quick-{ROWS[0]}-0" not in stages
    after = one.result("metrics", ROWS[1])
    assert (before["routing"], after["routing"]) == (3, 1)
    assert before["weights_sha256"] != after["weights_sha256"]
    assert "routing" in one.python("dvc", "params", "diff")
    assert "weights_sha256" in one.python("dvc", "metrics", "diff")
    assert " D " not in one.call("git", "status", "--porcelain")
    one.call("git", "checkout", "params.yaml")
    assert not [stage for stage in one.repro() if stage.startswith("train")]  # the weights are in the run-cache
    assert one.result("metrics", ROWS[1]) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "nothing"), "unknown run 'nothing'"),
        (("train", ROWS[0], "--scale", "huge"), "unknown scale 'huge'"),
        (("train", ROWS[0], "--data", "nowhere"), "experiments.fetch mnist"),
        (("evaluate", ROWS[0], "--scale", "full"), "no such weights"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    """In this process, where the framework is loaded already; a text makes the exit code 1."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*words])
    with pytest.raises(SystemExit) as raised:
        runpy.run_module(f"experiments.{words[0]}", run_name="__main__")
    assert re.fullmatch(r"error: [^\n]+", str(raised.value.code))
    assert message in raised.value.code
