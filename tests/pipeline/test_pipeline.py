"""The pipeline in temporary clones: which stages run, what they leave, and that two clones agree.

The clones learn from MNIST's test files, six times over under the training files' names, so that no network is needed;
the two hashes in the clones' table of sources say so.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from capsrepro.core import files
from tests.support import ROOT
from tests.support.digits import idx, unpacked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PUBLISHED = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
}
ROWS = ("mnist-baseline", "mnist-capsnet-r3-recon")


def call(clone: Path, *words: str, check: bool = True) -> str:
    """Runs a command in a clone and gives what it printed."""
    state = {
        "CAPSREPRO_STATE": str(clone / "state"),
        "CAPSREPRO_DATA": str(clone.parent / "digits"),
        "CAPSREPRO_OFFLINE": "1",
    }
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    environment = os.environ | state | dict.fromkeys(names, "tests@example.org")
    command = [sys.executable, "-m", *words] if words[0] == "dvc" else list(words)
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran, not those that it skipped or took from its run-cache."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pipeline")
    digits = folder / "digits"
    digits.mkdir()
    arrays = {}
    for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        (digits / f"t10k-{name}").write_bytes(unpacked(f"t10k-{name}"))
        header = 16 if "images" in name else 8
        shape = (60_000, 28, 28) if "images" in name else (60_000,)
        content = idx(np.frombuffer(unpacked(f"t10k-{name}")[header:] * 6, np.uint8).reshape(shape))
        (digits / f"train-{name}").write_bytes(content)
        arrays[f"train-{name}"] = hashlib.sha256(content).hexdigest()
    return [_clone(folder / name, arrays) for name in ("one", "two")]


def _clone(clone: Path, hashes: dict[str, str]) -> Path:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    for kind in ("metrics", "provenance", "history"):
        for old in (clone / "results" / "quick" / kind).glob("*-seed*"):
            old.unlink()
    (clone / "dvc.lock").unlink(missing_ok=True)
    table = clone / "capsrepro" / "sources" / "published.py"
    text = table.read_text()
    for name, published in PUBLISHED.items():
        assert published in text
        text = text.replace(published, hashes[name])
    table.write_text(text)
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params |= {"scales": ["quick"], "rows": list(ROWS), "seeds": [0], "figures": []}
    small = {"steps": 6, "decay_steps": 5, "checkpoint_steps": 4}
    params["scale_settings"]["quick"] = {
        ROWS[0]: small | {"conv_channels": [2, 2, 2], "dense_units": [4, 4]},
        ROWS[1]: small | {"conv_channels": [4], "primary_types": 1},
    }
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    call(clone, "git", "init", "-q")
    call(clone, "git", "add", "-A")
    call(clone, "git", "commit", "-qm", "clone")
    return clone


def metrics(clone: Path, row: str) -> dict[str, object]:
    return files.read_json(clone / "results" / "quick" / "metrics" / f"{row}-seed0.json")


@pytest.fixture(scope="module")
def first(clones: list[Path]) -> str:
    return call(clones[0], "dvc", "repro")


def test_everything_runs_once_and_leaves_a_table(clones: list[Path], first: str) -> None:
    stages = {"fetch", *(f"{stage}@quick-{row}-0" for stage in ("train", "evaluate") for row in ROWS)}
    stages |= {f"build@quick-{name}" for name in ("affnist", "expanded", "multimnist")} | {"figures-data"}
    stages |= {f"{stage}@{scale}" for stage in ("table", "report") for scale in ("quick", "full", "paper")}
    assert set(ran(first)) == stages
    table = (clones[0] / "results" / "quick" / "table.md").read_text()
    assert table.count("| quick") == 2
    assert "not run" in table
    assert not list((clones[0] / "state").rglob("*.npz"))
    for row in ROWS:
        found = metrics(clones[0], row)
        assert (found["examples"], found["steps"], found["run"]) == (10_000, 6, row)
        assert found["test_error_pct"] == pytest.approx(found["wrong"] / 100)
        provenance = files.read_json(clones[0] / "results" / "quick" / "provenance" / f"{row}-seed0.json")
        assert provenance["git_dirty"] is False
        assert provenance["train_examples"] == 60_000
        assert len(provenance["git_revision"]) == 40


def test_again_runs_nothing(clones: list[Path], first: str) -> None:
    assert ran(call(clones[0], "dvc", "repro")) == []


def test_a_change_of_the_readme_runs_nothing_and_one_of_the_losses_trains_and_evaluates(
    clones: list[Path], first: str
) -> None:
    (clones[0] / "README.md").open("a").write("more\n")
    assert ran(call(clones[0], "dvc", "repro", "--dry")) == []
    losses = clones[0] / "capsrepro" / "losses.py"
    before = losses.read_text()
    losses.write_text(before + "# more\n")
    stages = ran(call(clones[0], "dvc", "repro", "--dry"))
    losses.write_text(before)
    assert {stage.partition("@")[0] for stage in stages} >= {"train", "evaluate"}
    assert "fetch" not in stages


def test_a_second_clone_trains_for_itself_and_gets_the_same_metrics(clones: list[Path], first: str) -> None:
    stages = ran(call(clones[1], "dvc", "repro"))
    assert {f"train@quick-{row}-0" for row in ROWS} <= set(stages)
    for row in ROWS:
        assert metrics(clones[0], row) == metrics(clones[1], row)


def test_an_experiment_with_other_routing_trains_anew(clones: list[Path], first: str) -> None:
    call(clones[0], "git", "checkout", "-q", "--", "README.md")
    call(clones[0], "git", "add", "-A")
    call(clones[0], "git", "commit", "-qm", "results")
    before = metrics(clones[0], ROWS[1])
    output = call(clones[0], "dvc", "exp", "run", "-S", f"runs.{ROWS[1]}.routing=1")
    assert f"train@quick-{ROWS[1]}-0" in ran(output)
    assert f"train@quick-{ROWS[0]}-0" not in ran(output)
    after = metrics(clones[0], ROWS[1])
    assert (before["routing"], after["routing"]) == (3, 1)
    assert before["weights_sha256"] != after["weights_sha256"]
    assert "routing" in call(clones[0], "dvc", "params", "diff")
    assert "weights_sha256" in call(clones[0], "dvc", "metrics", "diff")
    status = call(clones[0], "git", "status", "--porcelain")
    assert " D " not in status


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
    clones: list[Path], first: str, words: tuple[str, ...], message: str
) -> None:
    command = [sys.executable, "-m", f"experiments.{words[0]}", *words[1:]]
    done = subprocess.run(command, cwd=clones[0], capture_output=True, text=True, check=False)
    faults = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert len(faults) == 1
    assert message in faults[0]
    assert "Traceback" not in done.stderr
