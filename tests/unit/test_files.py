"""Files are there whole or not at all; a folder is held by one process."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capsrepro.core import files
from capsrepro.core.errors import Error
from tests.support import ROOT
from tests.support.commands import run_code


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        assert temporary.name.endswith(".weights.h5")
        assert temporary.parent.parent == tmp_path
        temporary.write_text("half")
        raise RuntimeError
    assert [name.name for name in tmp_path.iterdir()] == ["a.weights.h5"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    files.write_json(tmp_path / "metrics.json", {"wrong": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, full)
        with pytest.raises(OSError, match="No space left"):
            files.write_json(tmp_path / "metrics.json", {"wrong": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert files.read_json(tmp_path / "metrics.json") == {"wrong": 1}


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_what_is_no_json_object_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(Error, match=r"a\.json: "):
        files.read_json(tmp_path / "a.json")


def test_a_lock_ends_with_the_process_that_holds_it_however_it_ends(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from capsrepro.core import files\n"
        "with files.locked(pathlib.Path(sys.argv[1]), 'it'):\n"
        "    print('held', flush=True); sys.stdin.read(1); os._exit(9)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Error, match=f"it is already under way by process {holder.pid} "), files.locked(tmp_path, "it"):
        pass
    holder.communicate("x")
    assert holder.returncode == 9
    with files.locked(tmp_path, "it"):
        pass


def test_a_command_without_its_backend_says_so_in_one_line() -> None:
    code = (
        "import runpy, sys\n"
        "sys.modules['tensorflow'] = None  # its import fails, as where it is not installed\n"
        "sys.argv = ['predict', 'tests/data/t10k-images-idx3-ubyte.gz', '--first', '1']\n"  # what it needs is here
        "runpy.run_module('experiments.predict', run_name='__main__')"
    )
    done = run_code(code, KERAS_BACKEND="tensorflow")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "tensorflow" in line
    assert line.endswith("; install it, or set KERAS_BACKEND to one that is installed")


def test_a_command_on_a_full_disk_says_so_in_one_line(tmp_path: Path) -> None:
    """The table's command, its writes failing as on a full disk."""
    code = (
        "import errno, os, runpy, sys; from capsrepro.core import files\n"
        "def full(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "files.os.fsync = full\n"
        "sys.argv = ['table', '--scale', 'quick', '--results', sys.argv[1]]\n"
        "runpy.run_module('experiments.table', run_name='__main__')"
    )
    (tmp_path / "quick" / "metrics").mkdir(parents=True)
    (tmp_path / "paper.csv").write_text((ROOT / "results" / "paper.csv").read_text(encoding="utf-8"), encoding="utf-8")
    done = run_code(code, tmp_path)
    assert done.returncode == 1
    where = tmp_path / "quick" / "table.md"
    assert done.stderr == f"error: {where}: No space left on device; free some space and run it again\n"
    assert [path.name for path in (tmp_path / "quick").iterdir()] == ["metrics"]
