"""`python -m tests.support.hostile_readers FILES`: every reader that needs no framework, given damaged files.

The process limits its own memory and time first, so that a reader that believes a false header ends it. It prints how
many files each reader was given, as JSON; whatever a reader raises besides the project's own errors ends it too.
"""

import collections
import gzip
import json
import resource
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsrepro import report
from capsrepro.core import new_run, not_run, params
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.evidence import claims, comparison, paper, plan, predictions, tables
from capsrepro.evidence import scale as scales
from capsrepro.report import figure_files, run_records
from capsrepro.sources import archives
from capsrepro.sources.hashes import Hashes
from capsrepro.sources.parts import ContentError, File, Package
from capsrepro.sources.published import Source
from experiments.campaign import packed
from tests.support import ROOT, result_files
from tests.support.archives import png, tarred
from tests.support.bad_input import changed, damaged, put

MEMORY = 3 << 30  # bytes of address space, most of them of libraries
SECONDS = 900  # of the processor, for all files together

KNOWN = """
trainings:
  quick: {rows: [caps], seeds: [0]}
runs:
  caps: {data: mnist, model: capsnet, routing: 3, reconstruction: true}
scale_settings:
  quick:
    caps: {steps: 5, primary_types: 8, conv_channels: [16]}
"""
SETTINGS = RunConfig("mnist", "capsnet", routing=3, reconstruction=True).as_json()
METRICS = result_files.metrics("caps", SETTINGS, 23, scale="quick")
PROVENANCE = result_files.provenance(SETTINGS) | {"run": "caps", "scale": "quick", "seed": 0}


class Reader(NamedTuple):
    """A reader, the file that it reads, and whole content for it."""

    path: str
    whole: bytes
    read: Callable[[Path], Any]  # takes the folder


def lines(name: str, count: int) -> bytes:
    """The first lines of a committed table."""
    return b"".join((ROOT / "results" / name).read_bytes().splitlines(keepends=True)[:count])


def zipped() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside", b"digits" * 100)
        return path.read_bytes()


def answers() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.npz")
        classes = np.arange(50) % 10
        predictions.write(path, classes, classes, np.zeros((50, 10)))
        return path.read_bytes()


def unpacked(folder: Path, name: str, member: str) -> None:
    package = Package(name, 10**6, None, {"inside": member})
    archives.unpack(folder / name, package, [File("inside", 10**4)], folder / "place")


def unpacked_whole(folder: Path) -> None:
    archives.check_all(folder / "all.tar.gz", 10**6)
    archives.unpack_all(folder / "all.tar.gz", folder / "unpacked" / "place", 10**6)


def everything(folder: Path) -> None:
    """All that the commands `table` and `report` do."""
    known = params.read(folder / "params.yaml")
    ours = scales.load(known, folder, "quick", strict=True)
    tables.write(comparison.with_released(known, folder, ours), ours.results, folder, "quick")
    for path in report.write(known, folder, "quick"):
        path.read_text(encoding="utf-8")


def hashes(folder: Path) -> None:
    file = File("some.bin", 9)
    record = Hashes(Source((file,), (), True), folder / "some", folder / "lock.json")
    record.faults()
    record.add({"some.bin": "ab" * 32})
    json.loads((folder / "lock.json").read_bytes().decode())


def last_line(folder: Path) -> None:
    known = params.read(folder / "params.yaml")
    ours = scales.load(known, folder, "quick")
    ours.last_line(ours.results[0], ("step", "loss"))


def new(folder: Path) -> None:
    """All that the command `new` does with a KEY=VALUE."""
    path, known = folder / "setting.txt", folder / "params.yaml"
    key, _, value = (path.read_bytes() if path.is_file() else b"").decode("utf-8", "surrogateescape").partition("=")
    try:
        new_run.add(known, "mine", "caps", {key: value})
        params.read(known)
    finally:
        put(known, KNOWN.encode())


HISTORY = b"step,learning_rate,loss,right\n50,0.001,0.5,0.9\n100,0.00096,0.25,0.95\n"
PACKED = b'{"quick/metrics/caps-seed0.json": {"sha256": "ab", "parts": 1}}'
READERS = {
    "params.yaml": Reader("params.yaml", KNOWN.encode(), lambda folder: params.read(folder / "params.yaml")),
    "paper.csv": Reader("paper.csv", lines("paper.csv", 4), lambda folder: paper.read(folder / "paper.csv")),
    "claims.csv": Reader("claims.csv", lines("claims.csv", 4), lambda folder: claims.read(folder / "claims.csv")),
    "plan.csv": Reader("plan.csv", lines("plan.csv", 4), lambda folder: plan.read(folder / "plan.csv")),
    "metrics, to table and report": Reader(
        "quick/metrics/caps-seed0.json", json.dumps(METRICS).encode(), everything
    ),
    "provenance, to table and report": Reader(
        "quick/provenance/caps-seed0.json", json.dumps(PROVENANCE).encode(), everything
    ),
    "reason in place of metrics": Reader(
        "quick/metrics/far-seed0.json", b'{"run": "far", "not_run": "no"}', lambda folder: not_run.read(folder, "quick")
    ),
    "setting of a new run": Reader("setting.txt", b"conv_channels=[4]", new),
    "list of packed results": Reader("home/contents.json", PACKED, lambda folder: packed.contents(folder / "home")),
    "recorded hashes": Reader("lock.json", json.dumps({"some": {"some.bin": "ab" * 32}}).encode(), hashes),
    "history": Reader("quick/history/caps-seed0.csv", HISTORY, last_line),
    "tables of studies": Reader(
        "quick/studies/more.csv", HISTORY, lambda folder: run_records.sheets(folder / "quick")
    ),
    "predictions": Reader("a.npz", answers(), lambda folder: predictions.read(folder / "a.npz")),
    "figures": Reader("quick/figures/figure3.png", png(), lambda folder: figure_files.read(folder / "quick")),
    "tar archive of known files": Reader(
        "x.tar.gz", tarred({"a/inside": b"digits" * 50}), lambda folder: unpacked(folder, "x.tar.gz", "a/inside")
    ),
    "tar archive of unknown files": Reader("all.tar.gz", tarred({"a/b": b"digits" * 50, "c": b"d"}), unpacked_whole),
    "zip archive": Reader("x.zip", zipped(), lambda folder: unpacked(folder, "x.zip", "inside")),
    "gzipped file": Reader("x.gz", gzip.compress(b"digits" * 50, mtime=0), lambda folder: unpacked(folder, "x.gz", "")),
}  # fmt: skip


def content_of(reader: Reader) -> st.SearchStrategy[bytes | None]:
    """Damaged bytes; of JSON also other values in place of the right ones."""
    if not reader.path.endswith(".json"):
        return damaged(reader.whole, 200)
    others = changed(json.loads(reader.whole)).map(lambda tree: json.dumps(tree).encode("utf-8", "surrogatepass"))
    return damaged(reader.whole, 200) | others


def prepare(folder: Path) -> None:
    """All files that a reader needs besides its own, whole."""
    for reader in READERS.values():
        path = folder / reader.path
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, reader.whole)


def tried(reader: Reader, folder: Path, count: int) -> dict[str, int]:
    """Gives a reader this many files; returns how many there were, and how many it refused."""
    tally: collections.Counter[str] = collections.Counter(files=0, refused=0)

    @settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(content_of(reader))
    def give(content: bytes | None) -> None:
        put(folder / reader.path, content)
        shutil.rmtree(folder / "unpacked", ignore_errors=True)
        tally["files"] += 1
        try:
            reader.read(folder)
        except (Error, ContentError) as fault:
            message = str(fault)
            assert len(message) < 4000 and "\n" not in message, message
            message.encode()
            tally["refused"] += 1

    give()
    put(folder / reader.path, reader.whole)
    return dict(tally)


def main(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        print(json.dumps({what: tried(reader, folder, count) for what, reader in READERS.items()}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
