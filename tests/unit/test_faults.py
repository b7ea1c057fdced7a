"""A write, sync or rename that fails, or a disk that is full, costs what was being written and nothing that was there.

`python -m tests.unit.test_faults FOLDER` is the part that needs a small file system of its own in FOLDER.
"""

import errno
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from capsrepro import sources
from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.data.mnist import Mnist
from capsrepro.network.weights import load_weights, save_weights, weights_sha256
from capsrepro.sources.mirrors import Folder
from capsrepro.sources.parts import File, as_package
from capsrepro.sources.published import Source
from capsrepro.training import loop
from capsrepro.training.backups import Backups
from tests.support import ROOT
from tests.support.runs import CAPSNET
from tests.support.watched_files import ERRORS, Watch


def fails(number: int, code: int) -> Callable[[list[str]], None]:
    """The number-th of all that is done fails, and what comes after it does not."""

    def fault(asked: list[str]) -> None:
        if len(asked) == number:
            raise OSError(code, os.strerror(code))

    return fault


def is_full(number: int) -> Callable[[list[str]], None]:
    """From the number-th on nothing can be written any more; renamed and removed, it can."""

    def fault(asked: list[str]) -> None:
        if len(asked) >= number and asked[-1] in ("write", "fsync"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fault


def each_fault(reset: Callable[[], Any], write: Callable[[], Any]) -> Iterator[bool]:
    """Has `write` fail at each thing that it does to files, in each way; yields whether it had renamed by then."""
    reset()
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        write()
    assert {"write", "fsync", "replace"} <= set(watch.done)
    for number in range(1, len(watch.done) + 1):
        each = [(fails(number, code), False) for code in ERRORS] + [(is_full(number), True)]
        for fault, full in each:
            reset()
            with pytest.MonkeyPatch.context() as patch:
                again = Watch(patch, fault)
                try:
                    write()
                except OSError as refused:
                    assert refused.errno in ERRORS
                    yield "replace" in again.done
                else:  # nothing was left to write on the full disk
                    assert (full, again.done) == (True, watch.done)


def names(folder: Path) -> list[str]:
    """All that lies in a folder, what is hidden too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


class Kept:
    """A small network with the backups of steps 2 and 4; at each step all its weights are the number of the step."""

    def __init__(self, folder: Path, units: int = 100) -> None:
        numbers = keras.Input((30,))
        self.model = keras.Model(numbers, keras.layers.Dense(units)(numbers))
        self.model.compile("adam", "mse")
        self.model.optimizer.build(self.model.trainable_variables)
        self.backups = Backups(folder, {"of": "a test"})
        for step in (2, 4):
            self.save(step)

    def save(self, step: int) -> None:
        self.fill(step)
        self.backups.save(self.model, step, {"history": [step]})

    def fill(self, step: int) -> None:
        for variable in self.model.trainable_variables:
            variable.assign(np.full(variable.shape, step))

    def restored(self) -> int:
        """The step that comes back, which has to be all of it."""
        self.fill(0)
        step, record = self.backups.restore(self.model)
        assert record == {"history": [step]}
        assert self.holds(step)
        return step

    def holds(self, value: int) -> bool:
        return all((keras.ops.convert_to_numpy(each) == value).all() for each in self.model.trainable_variables)


def test_whatever_fails_in_a_backup_the_one_before_is_there(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state")
    before = shutil.copytree(kept.backups.folder, tmp_path / "before")

    def reset() -> None:
        shutil.rmtree(kept.backups.folder)
        shutil.copytree(before, kept.backups.folder)

    for renamed in each_fault(reset, lambda: kept.save(6)):
        assert kept.restored() == (6 if renamed else 4)
        left = names(kept.backups.folder)
        assert left[-2:] == (["00000004.npz", "00000006.npz"] if renamed else ["00000002.npz", "00000004.npz"])
        assert left[:-2] in ([], ["00000002.npz"])  # where its removal failed


def test_whatever_fails_in_metrics_the_old_ones_are_there(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"

    def write(wrong: int) -> None:
        files.write_json(path, {"wrong": wrong})

    for renamed in each_fault(lambda: write(1), lambda: write(2)):
        assert files.read_json(path) == {"wrong": 2 if renamed else 1}
        assert names(tmp_path) == ["metrics.json"]


def test_whatever_fails_in_saving_weights_the_old_ones_are_there(tmp_path: Path) -> None:
    kept, path = Kept(tmp_path / "state"), tmp_path / "weights" / "a.weights.h5"

    def save(value: int) -> None:
        kept.fill(value)
        save_weights(kept.model, path)

    for renamed in each_fault(lambda: save(1), lambda: save(2)):
        load_weights(kept.model, path)
        assert kept.holds(2 if renamed else 1)
        assert names(path.parent) == [path.name]


def test_a_training_on_a_full_disk_goes_on_once_there_is_room(
    few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(folder: Path) -> loop.Trained:
        return loop.train(CAPSNET, few, 0, state=folder, verbose=0)

    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        saved = Backups.save

        def save(self: Backups, model: Any, step: int, record: Any) -> None:
            if step == 4:
                Watch(patch, is_full(40))
            saved(self, model, step, record)

        patch.setattr(Backups, "save", save)
        with pytest.raises(OSError, match="No space left"):
            train(tmp_path / "state")
    again = train(tmp_path / "state")
    assert again.resumed_at == 2
    assert again.history == whole.history
    assert weights_sha256(again.model) == weights_sha256(whole.model)


def test_new_backups_outlive_damaged_ones_of_later_steps(tmp_path: Path) -> None:
    """Both of a training's backups damaged: it starts anew, and what it then saves is what the next start finds."""
    kept = Kept(tmp_path)
    for path in kept.backups.folder.iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    assert kept.backups.restore(kept.model) == (0, {})
    kept.save(1)
    assert kept.restored() == 1
    kept.save(3)
    assert names(kept.backups.folder) == ["00000001.npz", "00000003.npz"]


def test_backups_are_cleared_with_what_a_killed_save_left(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    with files.replacing(kept.backups.folder / "00000005.npz") as temporary:
        temporary.write_bytes(b"half")
        left = kept.backups.folder / f".00000005.npz.1@{socket.gethostname()}.left"
        shutil.copytree(temporary.parent, left)  # as if of process 1, which lives
        temporary.write_bytes(b"whole")
    kept.backups.clear()
    assert names(tmp_path) == ["lock"]


def test_what_a_killed_writer_left_is_seen_by_nobody_and_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    for process, host in ((ended.pid, socket.gethostname()), (1, socket.gethostname()), (ended.pid, "elsewhere")):
        left = tmp_path / f".row.json.{process}@{host}.abcdefgh"
        left.mkdir()
        (left / "row.json").write_text("{")
    assert list(tmp_path.glob("*.json")) == []
    files.write_json(path, {"wrong": 1})
    lives, elsewhere = f".row.json.1@{socket.gethostname()}.abcdefgh", f".row.json.{ended.pid}@elsewhere.abcdefgh"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([lives, elsewhere, "row.json"])


def on_a_full_disk(folder: Path) -> None:
    """A backup, weights, metrics and a fetch, each on a disk that is full before it or within it."""
    kept = Kept(folder / "state", units=2000)
    weights, metrics = folder / "a.weights.h5", folder / "metrics.json"
    save_weights(kept.model, weights)
    files.write_json(metrics, {"wrong": 1})
    published, old = bytes(200_000), b"old"
    shelf = folder / "shelf"
    shelf.mkdir()
    (shelf / "new").write_bytes(published)
    (folder / "data" / "toy").mkdir(parents=True)
    (folder / "data" / "toy" / "old").write_bytes(old)
    known = [File(name, len(one), hashlib.sha256(one).hexdigest()) for name, one in (("old", old), ("new", published))]
    source = Source(tuple(known), (Folder(shelf, "toy", (as_package(known[1]),)),))
    writes: dict[str, Callable[[], Any]] = {
        "backup": lambda: kept.save(6),
        "weights": lambda: save_weights(kept.model, weights),
        "half": lambda: save_weights(kept.model, weights, half=True),
        "metrics": lambda: files.write_json(metrics, {"wrong": 2, "more": "x" * 100_000}),
        "fetch": lambda: sources.fetch("toy", folder / "data", table={"toy": source}),
    }
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for left in (0, 4096, 16384, 65536):
        for name, write in writes.items():
            disk = os.statvfs(folder)
            (folder / "filler").write_bytes(bytes(disk.f_bavail * disk.f_frsize - left))
            with pytest.raises((OSError, Error), match="No space left") as message:
                write()
            assert "\n" not in str(message.value), name
            (folder / "filler").unlink()
            now = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
            assert now == {path: content for path, content in before.items() if path.name != "lock"}, (name, left)
            assert kept.restored() == 4
    for write in writes.values():
        write()
    assert kept.restored() == 6
    assert (folder / "data" / "toy" / "new").read_bytes() == published


@pytest.mark.slow
def test_a_disk_that_is_really_full_costs_nothing_that_was_there(tmp_path: Path) -> None:
    """A file system of 16 MB in a name space of its own, which ends with the process."""

    def within(*command: str) -> subprocess.CompletedProcess[str]:
        mounted = 'mount -t tmpfs -o size=16m none "$0" && exec "$@"'
        words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, str(tmp_path), *command]
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    if shutil.which("unshare") is None or within("true").returncode:
        pytest.skip("mounting a file system is not permitted here")
    done = within(sys.executable, "-m", "tests.unit.test_faults", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


if __name__ == "__main__":
    on_a_full_disk(Path(sys.argv[1]))
