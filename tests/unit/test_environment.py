"""What a result says of its origin: versions, device and commit; and the list of trainings that did not finish."""

import csv
import os
import signal
import subprocess
from pathlib import Path

import keras
import pytest

from capsrepro.core.errors import Busy, Error, Stopped
from capsrepro.core.paths import RunPaths
from capsrepro.network import devices, environment
from capsrepro.training.tried import COLUMNS, listed_if_unfinished
from tests.support.runs import CAPSNET

WHERE = RunPaths("full", "mnist-capsnet-r3-recon", 1)
SMI = """
==============NVSMI LOG==============
Driver Version                            : 580.95.05
CUDA Version                              : 13.0
"""


def repository(folder: Path) -> str:
    """A commit in a folder, with one tracked file of code and one of results; gives its hash."""

    def git(*words: str) -> str:
        who = ["-c", "user.name=tests", "-c", "user.email=tests@example.org"]
        return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout

    (folder / "results").mkdir()
    (folder / "code.py").write_text("pass\n")
    (folder / "results" / "table.md").write_text("old\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "all")
    return git("rev-parse", "HEAD").strip()


def test_the_commit_is_gits_and_dirty_if_code_changed_but_not_if_results_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAPSREPRO_REVISION", raising=False)
    head = repository(tmp_path)
    known = {"git_revision": head, "git_dirty": False, "revision_source": "git"}
    (tmp_path / "results" / "table.md").write_text("new\n")
    assert environment.revision(tmp_path) == known
    (tmp_path / "code.py").write_text("changed\n")
    assert environment.revision(tmp_path) == known | {"git_dirty": True}


def test_a_commit_that_a_variable_names_asserts_nothing_about_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path)
    monkeypatch.setenv("CAPSREPRO_REVISION", "0123abc")
    expected = {"git_revision": "0123abc", "git_dirty": None, "revision_source": "env"}
    assert environment.revision(tmp_path) == expected


def test_versions_on_a_gpu_name_jaxlib_cuda_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        known = {"-q": SMI, "--query-gpu=driver_version": "580.95.05\n", "--query-gpu=name": "NVIDIA H100\n"}
        return subprocess.CompletedProcess(words, 0, known[words[1]], "")

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(devices, "gpus", lambda: ["a GPU"])
    monkeypatch.setattr(subprocess, "run", answer)
    monkeypatch.setattr(environment, "_version", lambda name: f"{name}'s")
    found = environment.versions()
    assert found.keys() == {"keras", "jax", "jaxlib", "numpy", "python", "cuda", "driver"}
    assert (found["jaxlib"], found["cuda"], found["driver"]) == ("jaxlib's", "13.0", "580.95.05")
    assert environment.device() == "1 x NVIDIA H100"


def test_versions_on_a_cpu_name_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    monkeypatch.setattr(devices, "gpus", list)
    assert environment.versions().keys() == {"keras", "tensorflow", "numpy", "python"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to train in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAPSREPRO_REVISION", "0123abcdef")
    return tmp_path


def unfinished(fault: BaseException) -> None:
    with pytest.raises(type(fault)), listed_if_unfinished(WHERE, CAPSNET):
        raise fault


def listed() -> list[dict[str, str]]:
    with open(WHERE.tried, newline="") as file:
        return list(csv.DictReader(file))


def test_trainings_that_fail_or_are_stopped_are_appended_by_the_program(home: Path) -> None:
    unfinished(Error("nothing is learnt up to step 4500;\nstart again"))
    unfinished(Stopped(signal.SIGTERM, "saved at step 7"))
    unfinished(MemoryError())
    first, second, third = listed()
    assert tuple(first) == COLUMNS
    assert (first["run"], first["seed"], first["steps done"]) == (WHERE.run, "1", "4500")
    assert first["settings"] == "steps 7, decay_steps 5"
    assert first["commit"] == "0123abc"
    assert first["what became of it"] == "nothing is learnt up to step 4500; start again"
    assert (second["steps done"], second["what became of it"]) == ("7", "saved at step 7")
    assert (third["steps done"], third["what became of it"]) == ("", "MemoryError")


def test_the_list_names_no_folder_of_one_machine(home: Path) -> None:
    unfinished(Stopped(signal.SIGTERM, f"step 7 is saved in {home}/state/quick/mnist/0; the next start resumes there"))
    unfinished(OSError(28, "No space left on device", f"{home}/state/a.npz"))
    unfinished(Error("state/quick/mnist: not writable, 1/2"))
    assert [line["what became of it"] for line in listed()] == [
        "step 7 is saved in .../0; the next start resumes there",
        "[Errno 28] No space left on device: '.../a.npz'",
        "state/quick/mnist: not writable, 1/2",
    ]


def test_lines_that_are_there_stay(home: Path) -> None:
    WHERE.tried.parent.mkdir(parents=True)
    WHERE.tried.write_text(",".join(COLUMNS) + "\n" + ",".join(["kept"] * len(COLUMNS)) + "\n")
    unfinished(Error("a fault"))
    assert [line["run"] for line in listed()] == ["kept", WHERE.run]


@pytest.mark.parametrize("what", ["not UTF-8", "a pipe", "a file in place of its folder"])
def test_a_list_that_cannot_be_written_does_not_hide_what_the_training_failed_of(
    home: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = WHERE.tried.parent
    if what == "a file in place of its folder":
        folder.parent.mkdir(parents=True)
        folder.touch()
    else:
        folder.mkdir(parents=True)
        WHERE.tried.write_bytes(b"run,seed\n\xff,1\n") if what == "not UTF-8" else os.mkfifo(WHERE.tried)
    unfinished(Error("a fault"))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {WHERE.tried}: this training is not listed (")


def test_a_training_that_ends_or_never_began_is_not_listed(home: Path) -> None:
    with listed_if_unfinished(WHERE, CAPSNET):
        pass
    unfinished(Busy("another process trains this run"))
    assert not WHERE.tried.exists()
