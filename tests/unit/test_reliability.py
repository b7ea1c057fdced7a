"""What hostile input, failing disks and unfriendly machines do to the project; docs/reliability.md has the counts.

`python -m pytest tests/unit/test_reliability.py --force-regen` writes the table into the page.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tabulate
import yaml
from PIL import Image

from capsrepro.core import files, new_run, params
from capsrepro.core.errors import Error
from capsrepro.data import picture_files, pictures
from capsrepro.evidence import comparison, predictions, scale, tables
from capsrepro.sources import archives
from capsrepro.sources.hashes import Hashes
from capsrepro.sources.parts import File
from capsrepro.sources.published import Source
from tests.support import ROOT
from tests.support.archives import tarred
from tests.support.commands import run_code, run_module
from tests.support.watched_files import ERRORS, Watch

PAGE = ROOT / "docs" / "reliability.md"
EACH = 200  # damaged files for each reader
KNOWN = {
    "trainings": {"quick": {"rows": ["caps"], "seeds": [0]}},
    "runs": {"caps": {"data": "mnist", "model": "capsnet", "routing": 3, "reconstruction": True}},
    "scale_settings": {"quick": {"caps": {"steps": 5, "primary_types": 8, "conv_channels": [16]}}},
}

Row = tuple[str, int, int]  # what was tried, how often, and how often it held


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    """The lines of the page's table that the tests of this module add; the page has to have them all."""
    found: list[Row] = []
    yield found
    if len(found) < EXPECTED:  # not all tests ran
        return
    lines = [[what, f"{tried:,}", f"{held:,}"] for what, tried, held in sorted(found)]
    table = tabulate.tabulate(
        lines, ["what was tried", "cases", "held"], "pipe", disable_numparse=True, colalign=("left", "right", "right")
    )
    page = PAGE.read_text(encoding="utf-8")
    start, end = (page.index(mark) for mark in ("<!-- tried -->\n\n", "\n\n<!-- /tried -->"))
    start += len("<!-- tried -->\n\n")
    if request.config.getoption("force_regen"):
        PAGE.write_text(page[:start] + table + page[end:], encoding="utf-8")
    assert page[start:end] == table, f"copy this table, or run this test with --force-regen:\n{table}"


# Readers


def test_readers_refuse_damaged_files_or_read_them_within_bounds(rows: list[Row]) -> None:
    done = run_module("tests.support.hostile_readers", EACH, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert all(tally["files"] >= EACH / 2 and 0 < tally["refused"] < tally["files"] for tally in found.values())
    for reader, tally in found.items():
        rows.append((f"reader: {reader}, damaged at random", tally["files"], tally["files"]))


# Writers


def project(folder: Path) -> Path:
    """A folder with a parameter file and the paper's numbers."""
    (folder / "results" / "quick").mkdir(parents=True)
    shutil.copy(ROOT / "results" / "paper.csv", folder / "results" / "paper.csv")
    (folder / "params.yaml").write_text(yaml.safe_dump(KNOWN))
    return folder


def show(folder: Path) -> None:
    known = params.read(folder / "params.yaml")
    ours = scale.load(known, folder / "results", "quick")
    table = comparison.with_released(known, folder / "results", ours)
    tables.write(table, ours.results, folder / "results", "quick")


def shown_again() -> Callable[[Path], None]:
    """Writes tables of two rows that are made once."""
    made: list[Any] = []

    def write(folder: Path) -> None:
        if not made:
            ours = scale.load(params.read(folder / "params.yaml"), folder / "results", "quick")
            made.extend([comparison.build(ours).head(2), ours.results])
        tables.write(*made, folder / "results", "quick")

    return write


def record(folder: Path) -> None:
    file = File("some.bin", 9)
    Hashes(Source((file,), (), True), folder / "some", folder / "lock.json").add({"some.bin": "ab" * 32})


def unpack(folder: Path) -> None:
    archive = folder / "x.tar.gz"
    if not archive.exists():
        archive.write_bytes(tarred({"a/b": b"digits" * 100, "c": b"more"}))
    archives.unpack_all(archive, folder / "unpacked" / "place", 10**6)


def add(folder: Path) -> None:
    """Adds a run, unless it was added before the call that failed."""
    if "mine" not in params.read(folder / "params.yaml").runs:
        new_run.add(folder / "params.yaml", "mine", "caps", {"routing": "2"})


WRITERS: dict[str, Callable[[Path], None]] = {
    "metrics": lambda folder: files.write_json(folder / "metrics.json", {"wrong": 2}),
    "predictions": lambda folder: predictions.write(folder / "a.npz", np.arange(9), np.arange(9), np.zeros((9, 10))),
    "recorded hashes": record,
    "run that is added to params.yaml": add,
    "tables of a scale": shown_again(),
    "unpacked archive": unpack,
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_write_that_fails_names_the_file_and_leaves_nothing_half_written(
    writer: str, tmp_path: Path, rows: list[Row]
) -> None:
    """Each error of the system, at each write, sync, rename and removal."""
    folder, write, tried = project(tmp_path / "project"), WRITERS[writer], 0
    if writer == "unpacked archive":
        (folder / "x.tar.gz").write_bytes(tarred({"a/b": b"digits" * 100, "c": b"more"}))
    before = contents(folder)
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        write(folder)
    whole, calls = contents(folder), len(watch.done)
    assert calls >= 2
    for number in range(1, calls + 1):
        for code in ERRORS:
            shutil.rmtree(folder)
            project(folder)
            for name, content in before.items():
                (folder / name).write_bytes(content)

            def fault(asked: list[str], number: int = number, code: int = code) -> None:
                if len(asked) == number:
                    raise OSError(code, os.strerror(code))

            with pytest.MonkeyPatch.context() as patch:
                Watch(patch, fault)
                with pytest.raises(OSError, match=re.escape(os.strerror(code))) as refused:
                    write(folder)
            assert str(folder) in str(refused.value.filename) or writer == "unpacked archive"
            left = contents(folder)
            assert left.keys() <= whole.keys()
            assert all(content in (whole[name], before.get(name)) for name, content in left.items())
            write(folder)
            assert contents(folder) == whole
            tried += 1
    rows.append((f"writer: {writer}, each of {len(ERRORS)} system errors at each call", tried, tried))


def test_many_processes_that_change_one_file_lose_nothing(tmp_path: Path, rows: list[Row]) -> None:
    code = (
        "import sys; from pathlib import Path; from capsrepro.core import files\n"
        "path = Path(sys.argv[1], 'entries.json')\n"
        "for n in range(20): files.change_json(path, lambda before: before | {f'{sys.argv[2]}-{n}': 'no'})"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(number)], env=environment) for number in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    entries = files.read_json(tmp_path / "entries.json")
    assert entries.keys() == {f"{number}-{n}" for number in range(4) for n in range(20)}
    rows.append(("4 processes that change one file at once", 80, 80))


# Files that are no files


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


UNUSUAL: dict[str, Callable[[Path], None]] = {
    "a pipe": pipe,
    "a link to itself": loop,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_what_is_no_file_is_refused_and_never_waited_for(what: str, tmp_path: Path, rows: list[Row]) -> None:
    reads = {
        "params.yaml": lambda folder: params.read(folder / "params.yaml"),
        "results/paper.csv": show,
        "results/plan.csv": show,
        "results/quick/metrics/caps-seed0.json": show,
        "my-seven.png": lambda folder: pictures.read(folder / "my-seven.png"),
    }
    for number, (name, read) in enumerate(reads.items()):
        folder = project(tmp_path / str(number))
        path = folder / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        UNUSUAL[what](path)
        if what == "a link to itself" and name == "results/plan.csv":
            continue  # which need not exist, and does not
        with pytest.raises(Error, match=re.escape(path.name)) as refused:
            read(folder)
        assert str(refused.value).isprintable()
    rows.append((f"{what} in place of a file", len(reads), len(reads)))


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    for kind in ("PNG", "WEBP", "BMP", "GIF"):
        Image.new("L", (5001, 5000)).save(path, kind)
        with pytest.raises(Error, match=r"large\.png: expected at most 25000000 pixels, received 5001 x 5000"):
            pictures.read(path)


def test_a_scan_in_16_bits_is_reduced_as_other_pictures_are(tmp_path: Path) -> None:
    scan = np.zeros((2400, 2000), np.uint16)
    scan[600:1800, 900:1100] = 65535
    Image.fromarray(scan).save(tmp_path / "scan.png")
    decoded = pictures._decoded(tmp_path / "scan.png")
    assert decoded.shape == (800, 667)
    assert (decoded[400, 333], decoded[10, 10]) == (1, 0)


@pytest.mark.parametrize("name", ["o.jpg", "o", "o.PNG", "o.png/", "seven.png"])
def test_a_drawing_of_another_kind_is_refused_before_anything_is_computed(name: str, tmp_path: Path) -> None:
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    loops = tmp_path / "loop.png"
    loops.symlink_to("loop.png")
    with pytest.raises(Error, match="choose another --output"):
        picture_files.check_output(tmp_path / name, [tmp_path / "seven.png", loops])
    picture_files.check_output(tmp_path / "drawn.png", [tmp_path / "seven.png", loops])


def test_a_name_is_drawn_in_letters_that_the_font_has() -> None:
    assert picture_files.drawable("sieben-ü-\u4e03-\x1b[31m\udcff.png") == "sieben-ü-?-\\x1b[31m\\udcff.png"


# Machines


MACHINES: dict[str, dict[str, str]] = {
    "LANG=C and an ASCII console": {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "no home and no temporary folder": {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"},
    "a home that cannot be written to": {"HOME": "/proc", "XDG_CONFIG_HOME": "/proc"},
}


@pytest.mark.parametrize("what", MACHINES)
def test_the_report_is_written_on_an_unfriendly_machine(what: str, tmp_path: Path, rows: list[Row]) -> None:
    folder = project(tmp_path / "Übung 1, \u4e03 & 'x'")
    place = ("--results", folder / "results", "--params", folder / "params.yaml")
    done = run_module("experiments.report", *place, cwd=folder, **MACHINES[what])
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "report.html" in done.stdout
    assert (folder / "results" / "quick" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    rows.append((f"{what}, in a folder with spaces, umlauts and other letters", 1, 1))


CLOCKS = {"1970": "0.0", "a time before 1970": "-1e9", "2100": "4.1e9", "earlier times with each look": "next(back)"}


def test_a_clock_that_is_wrong_changes_no_table(tmp_path: Path, rows: list[Row]) -> None:
    folder = project(tmp_path)
    assert run_module("experiments.table", cwd=folder).returncode == 0
    before = contents(folder / "results" / "quick")
    os.utime(folder / "results" / "paper.csv", (4.1e9, 4.1e9))
    code = (
        "import itertools, runpy, sys, time\n"
        "sys.argv[0], back = 'table', itertools.count(1e9, -100.0)\n"
        f"for clock in {', '.join(f'lambda: {now}' for now in CLOCKS.values())}:\n"
        "    time.time = clock\n"
        "    runpy.run_module('experiments.table', run_name='__main__')"
    )
    done = run_code(code, cwd=folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert contents(folder / "results" / "quick") == before
    rows.extend((f"a clock that says {what}", 1, 1) for what in CLOCKS)


def test_a_checkout_that_cannot_be_written_to_is_said_in_one_line(tmp_path: Path, rows: list[Row]) -> None:
    """A read-only file system in a name space of its own, which ends with the process; root may write anywhere else."""
    folder = project(tmp_path)
    mounted = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def within(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *command], env=environment, capture_output=True, text=True, check=False)

    if shutil.which("unshare") is None or within("true").returncode:
        pytest.skip("mounting a file system is not permitted here")
    done = within(sys.executable, "-m", "experiments.table")
    assert done.returncode == 1
    assert done.stderr == "error: results/quick/table.md: Read-only file system; fix that and run it again\n"
    rows.append(("a checkout on a read-only file system", 1, 1))


# Numbers


COMMANDS = [
    ("build", "affnist", "--versions", "0"),
    ("build", "affnist", "--versions", "-1"),
    ("build", "affnist", "--versions", "1000000"),
    ("build", "multimnist", "--pairs", "0"),
    ("build", "multimnist", "--pairs", "100000000"),
    ("build", "multimnist", "--seed", "-1"),
    ("train", "caps", "--seed", "-1"),
    ("train", "caps", "--seed", "4294967296"),
    ("mnist_shift", "--shift", "1000"),
    ("mnist_shift", "--pad", "100000"),
    ("mnist_shift", "--num_pairs", "100000000"),
    ("table", "--scale", ".."),
    ("table", "--scale", "a/b"),
    ("claims", "--scale", "../results"),
    ("report", "--scale", "quick\x1b[31m"),
    ("predict", "x.png", "--scale", ".."),
    ("predict", "x.png", "--run", "../x"),
    ("campaign", "--scale", ".."),
    ("campaign", "--minutes", "1e9"),
    ("experiment", "--data_dir", "d", "--summary_dir", "s", "--poll_seconds", "9.2e18"),
    ("train", "caps", "--seed", "1e3"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_number_or_name_out_of_range_is_refused_at_once(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import runpy

    folder = project(tmp_path)
    (folder / "results" / "claims.csv").write_bytes((ROOT / "results" / "claims.csv").read_bytes())
    before = contents(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", list(words))
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"experiments.{words[0]}", run_name="__main__")
    told = str(ended.value.code) if isinstance(ended.value.code, str) else capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"expected .*, received", told), told
    assert told.isprintable()
    assert contents(folder) == before


EXPECTED = 18 + len(WRITERS) + 1 + len(UNUSUAL) + len(MACHINES) + len(CLOCKS) + 1
