"""The command `python -m experiments.fetch`, run as a user runs it."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from capsrepro import sources


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "experiments.fetch", *arguments],
        env={**os.environ, "CAPSREPRO_DATA": "", **environment},
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_the_command_answers_help_at_once_and_lists_the_names():
    began = time.monotonic()
    answer = command("--help")
    assert time.monotonic() - began < 1
    assert all(name in answer.stdout for name in sources.NAMES)


def test_the_command_tells_all_faults_in_one_line_and_exits_with_1(tmp_path):
    answer = command("mnist", "svhn", "--data", str(tmp_path), CAPSREPRO_OFFLINE="1")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert re.fullmatch(r"error: [^\n]*/mnist: no mirror [^\n]* \| [^\n]*/svhn: no mirror [^\n]*\n", answer.stderr)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["lock", "lock"]
