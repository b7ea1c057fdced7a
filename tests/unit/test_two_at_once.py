"""Two processes that train, build or fetch the same: the second says who holds it, the first is not disturbed."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from capsrepro.core import files
from capsrepro.training import backups
from tests.support import ROOT
from tests.support.digits import unpacked
from tests.support.loopback import Handler, Server, serving

FEW = """
from capsrepro.data import loading
from tests.support.digits import few_of, mnist_digits
few = few_of(mnist_digits())
loading.load = lambda *_: few
"""
# What a command is to wait in, the first time, until it is given some input.
HELD = """
def held(owner, name):
    called = getattr(owner, name)
    def wait(*arguments):
        setattr(owner, name, called)
        print("held", flush=True)
        sys.stdin.read(1)
        return called(*arguments)
    setattr(owner, name, wait)
"""


def command(folder: Path, name: str, *words: str, code: str = "") -> subprocess.Popen[str]:
    """Starts `python -m experiments.NAME WORDS` in a folder, after some code."""
    program = f"import runpy, sys\n{HELD}{code}\nrunpy.run_module('experiments.{name}', run_name='__main__')"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CAPSREPRO_")}
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], cwd=folder, env=environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_until_held(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    if not any(line == "held\n" for line in process.stdout):
        raise AssertionError(process.communicate()[1])


def ended(process: subprocess.Popen[str], given: str | None = None) -> tuple[int, list[str]]:
    """The exit status of a command and the errors that it told."""
    _, message = process.communicate(given)
    assert "Traceback" not in message, message
    return process.returncode, [line for line in message.splitlines() if line.startswith("error: ")]


def test_backups_that_another_start_goes_on_from_are_not_cleared(tmp_path: Path) -> None:
    kept = backups.Backups(tmp_path, {"of": "a test"})
    kept.folder.mkdir()
    (kept.folder / "00000001.npz").write_bytes(b"of a step")
    with files.locked(tmp_path, "training"):
        kept.clear()
        assert [path.name for path in kept.folder.iterdir()] == ["00000001.npz"]
    kept.clear()
    assert not kept.folder.exists()


@pytest.mark.slow
def test_a_second_training_of_the_same_says_who_trains_and_leaves_it_alone(tmp_path: Path) -> None:
    row = "mnist-baseline"
    narrow = {"steps": 6, "checkpoint_steps": 2, "conv_channels": [2, 2, 2], "dense_units": [8, 8]}
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"trainings": {}, "scale_settings": {"quick": {row: narrow}}}
    for folder in ("shared", "alone"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "params.yaml").write_text(yaml.safe_dump(params))
    hold = FEW + "from capsrepro.data import batches\nheld(batches.Stream, 'batch')"
    first = command(tmp_path / "shared", "train", row, code=hold)
    wait_until_held(first)
    status, errors = ended(command(tmp_path / "shared", "train", row, code=FEW))
    what = f"state/quick/{row}-seed0/0: training"
    assert (status, len(errors)) == (1, 1)
    assert errors[0].startswith(f"error: {what} is already under way by process {first.pid} on ")
    assert errors[0].endswith("; wait for it or stop it")
    assert ended(first, "x") == (0, [])
    assert ended(command(tmp_path / "alone", "train", row, code=FEW)) == (0, [])
    shared, alone = (tmp_path / folder / "checkpoints" / "quick" for folder in ("shared", "alone"))
    assert sorted(path.name for path in shared.iterdir()) == [f"{row}-seed0.json", f"{row}-seed0.weights.h5"]
    assert files.sha256(shared / f"{row}-seed0.weights.h5") == files.sha256(alone / f"{row}-seed0.weights.h5")


def test_a_second_build_of_the_same_says_who_builds_and_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / "data" / "mnist" / name).write_bytes(unpacked(name))
    hold = "from capsrepro.data import multimnist\nheld(multimnist, 'index')"
    first = command(tmp_path, "build", "multimnist", code=hold)
    wait_until_held(first)
    status, errors = ended(command(tmp_path, "build", "multimnist"))
    what = "data/.build/quick/multimnist: building data/built/quick/multimnist.npz"
    assert (status, len(errors)) == (1, 1)
    assert errors[0].startswith(f"error: {what} is already under way by process {first.pid} on ")
    assert ended(first, "x") == (0, [])
    built = tmp_path / "data" / "built" / "quick"
    assert [path.name for path in built.iterdir()] == ["multimnist.npz"]
    sha256 = files.sha256(built / "multimnist.npz")
    assert ended(command(tmp_path, "build", "multimnist")) == (0, [])  # now that nobody else does
    assert files.sha256(built / "multimnist.npz") == sha256


CONTENT = bytes(range(256)) * 100


class Waiting(Handler):
    """Serves `CONTENT`, each time once its server is allowed to."""

    def do_GET(self) -> None:
        assert isinstance(self.server, WaitingServer)
        self.server.asked.set()
        self.server.allowed.wait(60)
        self.answer(CONTENT)


class WaitingServer(Server):
    def __init__(self) -> None:
        super().__init__(Waiting)
        self.asked, self.allowed = threading.Event(), threading.Event()


@pytest.fixture
def server() -> Iterator[WaitingServer]:
    server = WaitingServer()
    with serving(server, over=server.allowed):
        yield server


def test_a_second_fetch_of_the_same_says_who_fetches_and_leaves_it_alone(tmp_path: Path, server: WaitingServer) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    code = f"""
from capsrepro.sources import mirrors, parts, published
file = parts.File("toy", {len(CONTENT)}, "{sha256}")
mirror = mirrors.Http("{server.address}", (parts.as_package(file),))
published.SOURCES["mnist"] = published.Source((file,), (mirror,))
"""
    first = command(tmp_path, "fetch", "mnist", code=code)
    assert server.asked.wait(60)
    status, errors = ended(command(tmp_path, "fetch", "mnist", code=code))
    what = "data/.fetch/mnist: fetching mnist"
    assert (status, len(errors)) == (1, 1)
    assert errors[0].startswith(f"error: {what} is already under way by process {first.pid} on ")
    server.allowed.set()
    assert ended(first) == (0, [])
    assert [path.name for path in (tmp_path / "data" / "mnist").iterdir()] == ["toy"]
    assert files.sha256(tmp_path / "data" / "mnist" / "toy") == sha256
    server.asked.clear()
    assert ended(command(tmp_path, "fetch", "mnist", code=code)) == (0, [])
    assert not server.asked.is_set()  # it was there and right
