"""The pipeline in two temporary clones: which stages run, what they leave, and that they agree.

The second one wants one row of the first, and one of photographs whose source cannot be reached: that takes nothing
with it but its own row.
"""

import os
import re
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from capsrepro.core import not_run
from tests.support import ROOT
from tests.support.clones import BUILT, ROWS, SMALL, Clone, ran

PHOTOGRAPHS = "cifar10-ensemble"
MEMORY = Path("/dev/shm")  # a file system in memory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def one(clone: Callable[[], Clone]) -> Clone:
    return clone()


@pytest.fixture(scope="module")
def first(one: Clone) -> list[str]:
    """The stages of the first `dvc repro` in it."""
    return one.repro()


@pytest.fixture(scope="module")
def committed(one: Clone, first: list[str]) -> Clone:
    """The first clone, with its results committed."""
    one.call("git", "add", "-A")
    one.call("git", "commit", "-qm", "results")
    return one


@pytest.fixture(scope="module")
def two(clone: Callable[[], Clone]) -> Iterator[Clone]:
    """The second clone, without a network. Its cache lies on another file system, where there is one."""
    made = clone()
    path = made.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    entry = {"scale": "quick", "run": PHOTOGRAPHS, "seed": 0, "source": "cifar10"}
    params |= {"sources": ["cifar10"], "further": [entry]}
    params["trainings"]["quick"]["rows"] = [ROWS[0]]
    params["scale_settings"]["quick"][PHOTOGRAPHS] = SMALL | {"conv_channels": [2], "primary_types": 1}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as cache:
        Path(cache).chmod(0o2775)  # what is made in it belongs to its group
        made.python("dvc", "cache", "dir", "--local", cache)
        made.python("dvc", "config", "--local", "cache.shared", "group")
        yield made


@pytest.fixture(scope="module")
def kept_going(two: Clone) -> tuple[str, list[str], int]:
    """Its first `dvc repro --keep-going`."""
    return keep_going(two)


def keep_going(clone: Clone) -> tuple[str, list[str], int]:
    """Runs `dvc repro --keep-going`; gives what it printed, the stages that it ran, and its exit code."""
    output = clone.call("sh", "-c", f"{sys.executable} -m dvc repro --keep-going; echo exit code $?")
    return output, ran(output), int(output.rpartition("exit code ")[2].split()[0])


def row(path: Path, words: str) -> str:
    """The first row of a table with these words."""
    return next(line for line in path.read_text().splitlines() if line.startswith("|") and words in line)


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


def test_what_a_campaign_trained_is_found_done_once_it_is_committed(committed: Clone, tmp_path: Path) -> None:
    """As docs/commands.md says. A campaign leaves the same files, of which dvc.lock and the run-cache know nothing."""
    clone = committed.copied(tmp_path / "clone")
    (clone.folder / "dvc.lock").unlink()
    shutil.rmtree(clone.folder / ".dvc" / "cache" / "runs")
    clone.repro("build")
    trained = {f"{stage}@quick-{row}-0" for stage in ("train", "evaluate") for row in ROWS}
    assert trained <= set(clone.repro("--dry"))
    clone.python("dvc", "commit", "-f", "train", "evaluate")
    assert not trained & set(clone.repro("--dry"))


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


def test_every_other_row_and_the_reason_in_that_row(two: Clone, kept_going: tuple[str, list[str], int]) -> None:
    (output, stages, code), results = kept_going, two.folder / "results" / "quick"
    assert code != 0
    assert "no mirror serves cifar-10-batches-bin/data_batch_1.bin" in output
    assert "failed to reproduce 'reached@cifar10'" in output
    further = {f"{stage}-further@training0" for stage in ("train", "evaluate")}
    assert {*further, f"evaluate@quick-{ROWS[0]}-0", "fetch-further@cifar10", "reached@cifar10"} <= set(stages)
    assert "not run: source unreachable" in row(results / "table.md", "7 CapsNets, CIFAR-10")
    assert "| quick" in row(results / "table.md", "Baseline, MNIST")
    assert "not run: source unreachable" in (results / "report.md").read_text()
    assert not_run.read(two.folder / "results", "quick") == {PHOTOGRAPHS: "source unreachable"}
    assert not list((two.folder / "checkpoints").rglob(f"{PHOTOGRAPHS}*.h5"))


def test_an_unreachable_source_is_tried_again_and_nothing_else(two: Clone, kept_going: tuple[object, ...]) -> None:
    output, stages, code = keep_going(two)
    assert (set(stages), code != 0) == ({"fetch-further@cifar10", "reached@cifar10"}, True)
    assert "no mirror serves" in output
    printed = two.python("experiments.fetch", "cifar10", "--noted", check=False)
    assert printed.startswith("error: data/cifar10: no mirror serves ")
    assert "source unreachable" in str(two.result("metrics", PHOTOGRAPHS))
    assert "cifar10" in two.python("experiments.train", PHOTOGRAPHS, check=False)  # without the flag: an error


def test_the_second_clone_trains_for_itself_and_gets_the_same_metrics(
    one: Clone, first: list[str], two: Clone, kept_going: tuple[str, list[str], int]
) -> None:
    assert f"train@quick-{ROWS[0]}-0" in kept_going[1]
    assert not (two.folder / ".dvc" / "cache" / "files").exists()
    shutil.rmtree(two.folder / "checkpoints")
    assert two.repro("evaluate") == []  # the weights come back from the cache
    assert two.result("metrics", ROWS[0]) == one.result("metrics", ROWS[0])


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv for two users")
def test_two_users_share_one_cache(two: Clone, kept_going: tuple[str, list[str], int], tmp_path: Path) -> None:
    """The cache belongs to another user and to a group of both; this one has none of root's rights over it."""
    cache, group, other = Path(two.python("dvc", "cache", "dir").strip()), 54321, two.copied(tmp_path / "other")
    for path in (cache, *cache.rglob("*")):
        mode = path.stat().st_mode
        os.chown(path, group, group)
        path.chmod(mode)  # chown takes the bit of the group from it
    shutil.rmtree(other.folder / "checkpoints")
    rights = ",".join(f"-{right}" for right in ("dac_override", "dac_read_search", "fowner", "chown"))
    as_user = ("setpriv", f"--bounding-set={rights}", f"--groups={group}", sys.executable, "-m", "dvc")
    assert ran(other.call(*as_user, "repro", "evaluate")) == []  # the weights of the first user
    build = f"build@quick-{BUILT[0]}"
    assert ran(other.call(*as_user, "repro", "--single-item", "--force", build)) == [build]
    (other.folder / "note.txt").write_text("of the second user")
    before = {path for path in cache.rglob("*") if path.is_file()}
    other.call(*as_user, "add", "note.txt")
    assert {path for path in cache.rglob("*") if path.is_file()} > before


def test_own_row_is_trained_alone_compared_and_taken_back(committed: Clone) -> None:
    """With two seeds."""
    one, before = committed, (committed.folder / "params.yaml").read_text()
    one.python("experiments", "new", "my-row", "--like", ROWS[1], "routing=1")
    stages = ["evaluate@quick-my-row-1"]
    trained = set(ran(one.python("dvc", "exp", "run", "--set-param", "trainings.quick.seeds=[1]", *stages)))
    assert trained == {*stages, *(stage.replace("evaluate", "train") for stage in stages)}
    shown = one.python("dvc", "metrics", "show")
    assert "README" not in shown
    for name in ("quick/metrics/my-row-seed1", f"full/metrics/{ROWS[1]}-seed2"):
        assert f"results/{name}.json" in shown
    above, _, below = one.python("experiments.table").partition("## Other runs")
    assert "| not run" in above
    assert f"| my-row | {ROWS[1]} | routing 1 (3) | " in " ".join(below.split())
    assert "my-row" in one.python("dvc", "exp", "show", "--only-changed", "--md")
    one.call("git", "stash", "--include-untracked")
    one.python("dvc", "checkout")
    assert (one.folder / "params.yaml").read_text() == before
    assert one.call("git", "status", "--porcelain") == ""
    assert "my-row" not in one.python("experiments.table")


def test_an_experiment_with_other_routing_trains_anew(committed: Clone) -> None:
    one = committed
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
    assert not [stage for stage in one.repro("evaluate") if stage.startswith("train")]  # they are in the run-cache
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
