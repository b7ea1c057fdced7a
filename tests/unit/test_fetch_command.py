"""The command `python -m experiments.fetch`, run as a user runs it."""

import re
from pathlib import Path

from capsrepro import sources
from tests.support.commands import run_module


def test_the_help_lists_the_names() -> None:
    answer = run_module("experiments.fetch", "--help")
    assert all(name in answer.stdout for name in sources.NAMES)


def test_the_command_tells_all_faults_in_one_line_and_exits_with_1(tmp_path: Path) -> None:
    offline = {"CAPSREPRO_DATA": "", "CAPSREPRO_OFFLINE": "1"}
    answer = run_module("experiments.fetch", "mnist", "svhn", "--data", tmp_path, **offline)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert re.fullmatch(r"error: [^\n]*/mnist: no mirror [^\n]* \| [^\n]*/svhn: no mirror [^\n]*\n", answer.stderr)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["lock", "lock"]


def test_a_source_is_noted_as_unreachable_and_the_note_is_an_error_later(tmp_path: Path) -> None:
    offline = {"CAPSREPRO_DATA": "", "CAPSREPRO_OFFLINE": "1"}
    note = tmp_path / "svhn" / "unreachable.txt"
    before = run_module("experiments.fetch", "svhn", "--noted", "--data", tmp_path, **offline)
    assert (before.returncode, before.stderr) == (0, "")
    answer = run_module("experiments.fetch", "svhn", "--note", "--data", tmp_path, **offline)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"noted: {note.read_text()}"
    after = run_module("experiments.fetch", "svhn", "--noted", "--data", tmp_path, **offline)
    assert (after.returncode, after.stderr) == (1, f"error: {note.read_text()}")
