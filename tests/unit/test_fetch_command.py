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
