"""What a campaign brings home: a stopped training goes on elsewhere, and nothing damaged or older is put in place."""

import dataclasses
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from capsrepro.core import files
from capsrepro.core.errors import Error, Stopped
from capsrepro.core.origin import read_origin
from capsrepro.core.paths import RunPaths
from capsrepro.data import loading
from capsrepro.network import models, ties
from capsrepro.network.weights import load_weights
from capsrepro.training import loop
from capsrepro.training.seeds import train_and_save
from experiments.campaign import home, packed
from tests.support.digits import few_of, mnist_digits
from tests.support.runs import CAPSNET

WHERE = RunPaths("quick", "tiny", 0)
STATE, DATA = Path("state"), Path("data")
RUN = dataclasses.replace(CAPSNET, steps=6)


def train_in(folder: Path, patch: pytest.MonkeyPatch) -> str:
    """Trains a few steps in a folder, which becomes the current one; gives the hash of the weights."""
    folder.mkdir(exist_ok=True)
    patch.chdir(folder)
    train_and_save(RUN, few_of(mnist_digits()), [WHERE], state=STATE, verbose=0)
    return str(files.read_json(WHERE.training)["trained_sha256"])


def stop_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """The same, ended by a signal in the middle of an interval."""
    asked = loop.Stream.draws

    def draws(self: loop.Stream, start: int, stop: int) -> Any:
        if start <= 3 < stop:
            signal.raise_signal(signal.SIGTERM)
        return asked(self, start, stop)

    with patch.context() as patched, pytest.raises(Stopped):
        patched.setattr(loop.Stream, "draws", draws)
        train_in(folder, patch)


def test_a_training_that_goes_on_in_another_folder_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train_in(tmp_path / "whole", monkeypatch)
    monkeypatch.setattr(packed, "PART", 5000)  # bytes, so that the state lies in parts
    stop_in(tmp_path / "away", monkeypatch)
    home.leave(tmp_path / "home", [WHERE], STATE, DATA)
    parts = sorted((tmp_path / "home").rglob("*.part*"))
    assert len(parts) > 1
    assert max(part.stat().st_size for part in parts) <= 5000
    (tmp_path / "back").mkdir()
    monkeypatch.chdir(tmp_path / "back")
    home.take(tmp_path / "home", STATE)
    assert train_in(tmp_path / "back", monkeypatch) == whole
    assert "resumed at step" in capsys.readouterr().out

    home.leave(tmp_path / "home", [WHERE], STATE, DATA)  # trained and not evaluated: in full precision
    assert {name.split("/")[1] for name in packed.contents(tmp_path / "home")} == {"checkpoints", "history"}
    files.write_json(WHERE.metrics, {})
    files.write_json(WHERE.provenance, files.read_json(WHERE.training))
    monkeypatch.setattr(loading, "load", lambda *_: few_of(mnist_digits()))
    home.leave(tmp_path / "home", [WHERE], STATE, DATA)
    kinds = {"metrics", "provenance", "history", "weights"}
    assert {name.split("/")[1] for name in packed.contents(tmp_path / "home")} == kinds
    assert not list((tmp_path / "home").rglob("states/*"))
    (tmp_path / "last").mkdir()
    monkeypatch.chdir(tmp_path / "last")
    home.take(tmp_path / "home", STATE)
    model = models.build(RUN, (28, 28, 1))
    load_weights(model, WHERE.published)
    assert files.read_json(WHERE.publication)["rounded_sha256"] == ties.hashes("", model)["rounded_sha256"]
    assert files.read_json(WHERE.publication)["trained_sha256"] == whole
    assert (origin := read_origin(WHERE.published)) is not None
    assert (origin.run, origin.steps) == ("tiny", 6)


def state_in(folder: Path, step: int, patch: pytest.MonkeyPatch) -> Path:
    """Writes what stands for a backup in a folder, which becomes the current one."""
    folder.mkdir(exist_ok=True)
    patch.chdir(folder)
    path = STATE / WHERE.name / "0" / "0123456789abcdef" / f"{step:08d}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"state after {step}".encode())
    return path


def test_a_damaged_or_missing_part_is_refused_in_one_line_and_nothing_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "PART", 7)
    state_in(tmp_path / "away", 5, monkeypatch)
    files.write_json(RunPaths("quick", "other", 0).metrics, {})
    home.leave(tmp_path / "home", [WHERE, RunPaths("quick", "other", 0)], STATE, DATA)
    first, last = sorted((tmp_path / "home").rglob("*.part*"))
    monkeypatch.chdir(tmp_path / "home")
    for damage in (lambda: first.write_bytes(b"stale a"), last.unlink):
        before = first.read_bytes()
        damage()
        with pytest.raises(Error, match=r"^\S+00000005\.npz: damaged or incomplete, copy the folder again; [^\n]+$"):
            home.take(tmp_path / "home", STATE)
        first.write_bytes(before)
    assert not Path("results").exists()
    with pytest.raises(Error, match=r"no contents\.json there"):
        home.take(tmp_path / "nowhere", STATE)


@pytest.mark.parametrize("name", ["quick/metrics/../x-seed0.json", "quick/x-seed0.json", "quick/states/x-seed0.npz"])
def test_a_list_with_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    files.write_json(tmp_path / packed.CONTENTS, {name: {"sha256": "", "parts": 1}})
    with pytest.raises(Error, match="expected a name such as paper/metrics"):
        home.take(tmp_path, STATE)


def test_files_that_are_packed_at_once_are_all_listed(tmp_path: Path) -> None:
    """A lock belongs to an open folder, so that threads wait for each other as processes do."""
    (tmp_path / "file").write_text("content")
    names = [f"quick/metrics/x-seed{number}.json" for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: packed.pack(tmp_path / "home", {name: tmp_path / "file"}), names))
    assert packed.contents(tmp_path / "home").keys() == set(names)


def test_later_backups_and_results_are_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state_in(tmp_path / "away", 5, monkeypatch)
    home.leave(tmp_path / "home", [WHERE], STATE, DATA)
    for step, steps in ((6, {6}), (4, {4, 5})):
        path = state_in(tmp_path / f"here{step}", step, monkeypatch)
        home.take(tmp_path / "home", STATE)
        assert {int(other.stem) for other in path.parent.iterdir()} == steps
    (tmp_path / "finished").mkdir()
    monkeypatch.chdir(tmp_path / "finished")
    files.write_json(WHERE.metrics, {"run": "tiny"})
    home.take(tmp_path / "home", STATE)
    assert not STATE.exists()
