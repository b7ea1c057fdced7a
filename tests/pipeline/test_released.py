"""The authors' published checkpoints, from the server to the table, with archives made here and served on loopback.

The commands run as `python -m` would run them, but in this process, whose table of sources leads to the server; only in
the last test they are a process of their own.
"""

import dataclasses
import hashlib
import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from capsrepro import sources
from capsrepro.core import files, not_run, params, paths
from capsrepro.data import cifar10, loading
from capsrepro.data.batches import Dataset
from capsrepro.evidence import paper
from capsrepro.network import evaluation, models
from capsrepro.network.weights import weights_sha256
from capsrepro.released import checkpoints
from capsrepro.sources import published
from capsrepro.sources.mirrors import Http
from capsrepro.sources.parts import File, Package
from capsrepro.sources.published import MNIST_FILES, SOURCES, Source
from tests.support import ROOT
from tests.support.archives import tarred
from tests.support.commands import run_module
from tests.support.digits import PACKED, philox
from tests.support.loopback import Handler, Server, serving

MNIST_RUN, CIFAR_RUN = "mnist-capsnet-r3-recon", "cifar10-ensemble"
MNIST_ARCHIVE, CIFAR_ARCHIVE = "released-mnist-checkpoints", "released-cifar-checkpoints"
PREFIXES = {MNIST_RUN: ["mnist_checkpoint/model.ckpt"], CIFAR_RUN: [f"cifar/cifar{k}/model.ckpt" for k in range(7)]}
STEPS = {MNIST_RUN: 1, CIFAR_RUN: 600_000}
NARROW = {"conv_channels": [2], "primary_types": 1, "dense_units": [4, 4]}
PHOTOGRAPHS = 300
UNREACHABLE = "source unreachable"


class Shelf(Handler):
    """Serves what the server's dictionary holds."""

    def do_GET(self) -> None:
        content = self.server.contents.get(self.path[1:])
        self.answer(content or b"", status=404 if content is None else 200)


class ShelfServer(Server):
    def __init__(self) -> None:
        super().__init__(Shelf)
        self.contents: dict[str, bytes] = {}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShelfServer]:
    monkeypatch.setenv("no_proxy", "*")
    server = ShelfServer()
    with serving(server):
        yield server


@pytest.fixture
def place(server: ShelfServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: the paper's numbers, narrow networks, and sources that lead to the server."""
    place = tmp_path / "place"
    (place / "results" / "released" / "metrics").mkdir(parents=True)  # else the published results are shown
    shutil.copy(ROOT / "results" / "paper.csv", place / "results")
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    for scale in ("released", "paper"):
        for run in PREFIXES:
            settings["scale_settings"][scale][run] |= NARROW
    (place / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    monkeypatch.chdir(place)
    monkeypatch.delenv("CAPSREPRO_DATA", raising=False)
    monkeypatch.delenv("CAPSREPRO_OFFLINE", raising=False)
    serve_mnist(server, monkeypatch)
    for name in (MNIST_ARCHIVE, CIFAR_ARCHIVE):
        source = dataclasses.replace(SOURCES[name], mirrors=(Http(server.address, SOURCES[name].files),))
        monkeypatch.setitem(SOURCES, name, source)
    return place


def serve_mnist(server: ShelfServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST without its training files, which nobody reads here; the published hashes of the test files hold."""
    packages = []
    for file in MNIST_FILES[2:]:
        content = (PACKED / f"{file.name}.gz").read_bytes()
        server.contents[f"{file.name}.gz"] = content
        packages.append(Package(f"{file.name}.gz", len(content), sha256(content), {file.name: ""}))
    monkeypatch.setitem(SOURCES, "mnist", Source(MNIST_FILES[2:], (Http(server.address, tuple(packages)),)))


@pytest.fixture
def photographs(place: Path, server: ShelfServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 with a few test photographs and no training files, in an archive as the published one."""
    generator = philox(0)
    records = generator.integers(0, 256, (PHOTOGRAPHS, 1 + 3 * 32 * 32), np.uint8)
    records[:, 0] %= 10
    name = f"{cifar10.FOLDER}/test_batch.bin"
    archive = tarred({name: records.tobytes()})
    server.contents["cifar-10-binary.tar.gz"] = archive
    package = Package("cifar-10-binary.tar.gz", len(archive), sha256(archive), {name: name})
    monkeypatch.setitem(SOURCES, "cifar10", Source((File(name, records.size),), (Http(server.address, (package,)),)))
    monkeypatch.setitem(cifar10.COUNTS, "test", PHOTOGRAPHS)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs `python -m experiments.NAME ARGUMENTS` in this process and gives what it printed."""

    def command(name: str, *arguments: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_module(f"experiments.{name}", run_name="__main__")
        return capsys.readouterr().out

    return command


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def trained(run: str, folder: Path, *, first_seed: int = 0) -> tuple[list[keras.Model], dict[str, bytes]]:
    """The networks of a run's checkpoints, each from a seed of its own, and the files of an archive of them."""
    settings = params.read(Path("params.yaml")).settings(run, "released")
    shape = (28, 28, 1) if run == MNIST_RUN else (24, 24, 3)
    members = []
    for number, prefix in enumerate(PREFIXES[run]):
        members.append(models.build(settings, shape, seed=first_seed + number))
        checkpoints.save_released(members[-1], folder / prefix, STEPS[run])
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    return members, {str(path.relative_to(folder)): path.read_bytes() for path in written}


def dataset(run: str) -> Dataset:
    return loading.load(params.read(Path("params.yaml")).settings(run, "released"), "test", Path("data"), "released")


def result(kind: str, run: str) -> dict[str, Any]:
    return files.read_json(Path("results", "released", kind, f"{run}-seed0.json"))


def reasons() -> dict[str, str]:
    return not_run.read(Path("results"), "released")


def unreachable(*runs: str) -> None:
    """As after a fetch that reached nothing."""
    for run in runs:
        not_run.write(paths.RunPaths("released", run, 0), UNREACHABLE)


def results_there() -> list[Path]:
    found = Path("results", "released").rglob("*seed0.json")
    return [path for path in found if not_run.KEY not in files.read_json(path)]


def refused(command: Callable[..., str], run: str) -> str:
    """The one line that the command ends with; a text makes the exit code 1."""
    with pytest.raises(SystemExit) as raised:
        command("released", run)
    assert isinstance(raised.value.code, str)
    assert re.fullmatch(r"error: [^\n]+", raised.value.code)
    return raised.value.code


def rows(command: Callable[..., str]) -> list[str]:
    """The rows of the published checkpoints in the comparison, the first table; the one of power names them too."""
    comparison, _, _ = command("table", "--scale", "quick").partition("Power: ")
    return [line for line in comparison.splitlines() if "released checkpoint" in line]


def verdict(row: str) -> str:
    return row.split("|")[-2].strip()


def left() -> set[str]:
    """Every file of the archives' folders and of the results, but for locks and the paper's numbers."""
    found = [path for folder in ("data", "results") for path in Path(folder).rglob("*") if path.is_file()]
    kept = [path for path in found if "released" in str(path) and path.name not in ("lock", "paper.csv")]
    return {str(path) for path in kept}


def test_mnist_checkpoint_must_give_the_count_of_the_same_weights_and_a_row_in_the_table(
    place: Path, server: ShelfServer, tmp_path: Path, command: Callable[..., str]
) -> None:
    unreachable(MNIST_RUN, CIFAR_RUN)
    (network,), contents = trained(MNIST_RUN, tmp_path / "made")
    numbers = Path("results/paper.csv")  # the narrow network as if it were the paper's, so that it is judged
    numbers.write_text(numbers.read_text().replace(",8215728,3,true", f",{network.count_params()},3,true"))
    archive = server.contents["mnist_checkpoints.tar.gz"] = tarred(contents)
    message = command("released", MNIST_RUN)
    found, facts = result("metrics", MNIST_RUN), result("provenance", MNIST_RUN)
    score = evaluation.evaluate(network, dataset(MNIST_RUN))
    assert message.splitlines()[-1] == f"{MNIST_RUN}: {score.wrong} of 10000 wrong, {score.error_pct:.2f} %"
    assert (found["wrong"], found["examples"], found["steps"]) == (score.wrong, 10_000, 300_000)
    assert found["weights_sha256"] == weights_sha256(network)
    assert facts["checkpoints"] == ["mnist_checkpoint/model.ckpt-1"]
    assert facts["archive_sha256"] == sha256(archive)
    assert facts["data_sha256"] == sources.data_sha256("mnist")
    assert (facts["train_examples"], facts["settings"]["conv_channels"]) == (60_000, [2])
    lock = {MNIST_ARCHIVE: {"mnist_checkpoints.tar.gz": sha256(archive)}}
    assert files.read_json(Path("results/released_sources.lock.json")) == lock
    assert reasons() == {CIFAR_RUN: UNREACHABLE}
    ours, others = rows(command)
    assert "CapsNet, released checkpoint, MNIST" in ours
    assert f"({score.wrong}/10000)" in ours
    assert verdict(ours) == f"missed (released recipe, {MNIST_RUN}-seed0 learnt nothing)"  # nobody trained it
    assert verdict(others) == f"not run: {UNREACHABLE}"
    server.contents.clear()  # all is there, verified, and unpacked: nothing is asked for
    assert command("released", MNIST_RUN).splitlines()[-1] == message.splitlines()[-1]
    assert result("metrics", MNIST_RUN) == found


@pytest.mark.parametrize("on_disk", ["gone", "changed"])
def test_an_archive_that_changed_since_the_first_fetch_must_be_refused(
    place: Path, server: ShelfServer, tmp_path: Path, command: Callable[..., str], on_disk: str
) -> None:
    _, contents = trained(MNIST_RUN, tmp_path / "made")
    server.contents["mnist_checkpoints.tar.gz"] = tarred(contents)
    command("released", MNIST_RUN)
    before = {path: Path(path).read_bytes() for path in left()}
    changed = server.contents["mnist_checkpoints.tar.gz"] = tarred(trained(MNIST_RUN, tmp_path / "b", first_seed=9)[1])
    archive = place / "data" / MNIST_ARCHIVE / "mnist_checkpoints.tar.gz"
    recorded = sha256(archive.read_bytes())
    archive.unlink() if on_disk == "gone" else archive.write_bytes(changed)
    assert f"mnist_checkpoints.tar.gz: wrong sha256, expected {recorded}" in refused(command, MNIST_RUN)
    after = {path: Path(path).read_bytes() for path in left()}
    assert {path for path in before if after.get(path) != before[path]} == {str(archive.relative_to(place))}
    assert UNREACHABLE not in reasons().values()


def test_another_archive_must_not_be_evaluated_from_the_files_of_the_first(
    place: Path, server: ShelfServer, tmp_path: Path, command: Callable[..., str]
) -> None:
    for number in (0, 5):  # the user accepts the second one: forgets the recorded hash and fetches again
        (network,), contents = trained(MNIST_RUN, tmp_path / str(number), first_seed=number)
        server.contents["mnist_checkpoints.tar.gz"] = tarred(contents)
        command("released", MNIST_RUN)
        assert result("metrics", MNIST_RUN)["weights_sha256"] == weights_sha256(network)
        Path("results/released_sources.lock.json").unlink()
    assert len(list(Path("data", MNIST_ARCHIVE, "unpacked").iterdir())) == 1


def test_seven_cifar_checkpoints_must_give_the_count_of_their_ensemble(
    place: Path, server: ShelfServer, photographs: None, tmp_path: Path, command: Callable[..., str]
) -> None:
    members, contents = trained(CIFAR_RUN, tmp_path / "made")
    archive = server.contents["cifar_checkpoints.tar.gz"] = tarred(contents)
    command("released", CIFAR_RUN)
    found, facts = result("metrics", CIFAR_RUN), result("provenance", CIFAR_RUN)
    ensemble = models.ensemble(members)
    score = evaluation.evaluate(ensemble, dataset(CIFAR_RUN))
    assert (found["wrong"], found["examples"], found["steps"]) == (score.wrong, PHOTOGRAPHS, 600_000)
    assert found["weights_sha256"] == weights_sha256(ensemble)
    assert found["parameters"] == members[0].count_params()
    assert facts["checkpoints"] == [f"cifar/cifar{number}/model.ckpt-600000" for number in range(7)]
    assert facts["archive_sha256"] == sha256(archive)
    row = rows(command)[1]
    assert "7 CapsNets, released checkpoint, CIFAR-10" in row
    assert f"({score.wrong}/{PHOTOGRAPHS})" in row
    assert verdict(row) == f"quick ({CIFAR_RUN}-seed0 learnt nothing)"  # so few photographs


def test_six_cifar_checkpoints_must_be_refused(
    place: Path, server: ShelfServer, photographs: None, tmp_path: Path, command: Callable[..., str]
) -> None:
    _, contents = trained(CIFAR_RUN, tmp_path / "made")
    six = {name: content for name, content in contents.items() if "cifar3" not in name}
    server.contents["cifar_checkpoints.tar.gz"] = tarred(six)
    assert "expected 7 of cifar*/model.ckpt-600000.index, found 6" in refused(command, CIFAR_RUN)
    assert not results_there()
    assert verdict(rows(command)[1]) == "not run"


@pytest.mark.parametrize("away", ["nobody listens", "no such file", "no data set"])
def test_a_source_that_is_away_must_be_the_reason_in_the_row(
    place: Path,
    server: ShelfServer,
    tmp_path: Path,
    command: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    away: str,
) -> None:
    if away == "nobody listens":
        nowhere = dataclasses.replace(
            SOURCES[MNIST_ARCHIVE], mirrors=(Http("http://127.0.0.1:1/", SOURCES[MNIST_ARCHIVE].files),)
        )
        monkeypatch.setitem(SOURCES, MNIST_ARCHIVE, nowhere)
    elif away == "no data set":
        server.contents = {"mnist_checkpoints.tar.gz": tarred(trained(MNIST_RUN, tmp_path / "made")[1])}
    line = refused(command, MNIST_RUN)
    message = {"nobody listens": "does not answer", "no such file": "mnist_checkpoints.tar.gz: HTTP 404"}
    assert message.get(away, "images-idx3-ubyte.gz: HTTP 404") in line
    assert reasons() == {MNIST_RUN: UNREACHABLE}
    assert [verdict(row) for row in rows(command)] == [f"not run: {UNREACHABLE}", "not run"]
    assert not results_there()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_must_not_be_told_as_an_unreachable_source(
    place: Path, server: ShelfServer, command: Callable[..., str]
) -> None:
    server.contents["mnist_checkpoints.tar.gz"] = tarred({"any": b"content"})
    part = place / "data" / ".fetch" / MNIST_ARCHIVE / "mnist_checkpoints.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    assert "No space left on device; make room" in refused(command, MNIST_RUN)
    assert left() == set()


def test_a_fetch_under_way_must_not_be_told_as_an_unreachable_source(
    place: Path, server: ShelfServer, command: Callable[..., str]
) -> None:
    with files.locked(place / "data" / ".fetch" / MNIST_ARCHIVE, "fetching"):
        assert f"already under way by process {os.getpid()}" in refused(command, MNIST_RUN)
    assert left() == set()


@pytest.mark.parametrize("kind", ["link", "page", "damaged", "other network"])
def test_an_archive_that_will_not_do_must_be_refused_and_leave_no_result(
    place: Path, server: ShelfServer, tmp_path: Path, command: Callable[..., str], kind: str
) -> None:
    unreachable(MNIST_RUN)
    _, contents = trained(MNIST_RUN, tmp_path / "made")
    archive, message = {
        "link": (tarred(contents, "evil"), "mnist_checkpoints.tar.gz: evil is a link or a device"),
        "page": (
            b"<html>please log in</html>",
            "mnist_checkpoints.tar.gz: not a whole tar archive (Not a gzipped file",
        ),
        "damaged": (tarred(contents)[:-9], "mnist_checkpoints.tar.gz: not a whole tar archive ("),
        "other network": (tarred(contents), "model.ckpt-1: not a checkpoint of this"),
    }[kind]
    server.contents["mnist_checkpoints.tar.gz"] = archive
    if kind == "other network":
        wider = Path("params.yaml").read_text().replace("primary_types: 1\n", "primary_types: 2\n")
        Path("params.yaml").write_text(wider)
    assert message in refused(command, MNIST_RUN)
    assert not results_there()
    unpacked = {path for path in left() if "/unpacked/" in path}
    assert len(unpacked) == (2 if kind == "other network" else 0)
    if kind != "page":  # it was there, so the old reason no longer holds
        assert reasons() == {}


def test_published_checkpoints_must_be_of_the_papers_networks() -> None:
    known = params.read(ROOT / "params.yaml")
    for run in PREFIXES:
        released, rerun = (known.settings(run, scale) for scale in ("released", "paper"))
        # How exactly and how often saved is all that a rerun may do in another way.
        same = {"precision": released.precision, "checkpoint_steps": released.checkpoint_steps}
        assert dataclasses.replace(rerun, **same) == released
    network = models.build(known.settings(MNIST_RUN, "released"), (28, 28, 1))
    assert network.count_params() == paper.read(ROOT / "results" / "paper.csv")[MNIST_RUN].parameters == 8_215_728


def test_the_command_must_exit_with_1_and_one_line_where_there_is_no_network(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    done = run_module("experiments.released", CIFAR_RUN, cwd=tmp_path, CAPSREPRO_OFFLINE="1", CAPSREPRO_DATA="")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]*no mirror serves cifar_checkpoints\.tar\.gz [^\n]*\n", done.stderr)
    assert not_run.read(tmp_path / "results", "released") == {CIFAR_RUN: UNREACHABLE}
    assert published.CAPSULE_TORONTO in done.stderr
