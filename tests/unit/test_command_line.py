"""What all commands do with their output, with Ctrl-C and with what a machine lacks."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.commands import run_code, run_module

DIGIT = ("tests/data/t10k-images-idx3-ubyte.gz", "--first", "1")
LENGTHS = pytest.mark.parametrize("length", [10, 10**6], ids=["a line", "more than is buffered"])


def printing(length: int, output: int) -> subprocess.Popen[str]:
    """Starts a command that prints this many characters."""
    code = (
        "import argparse, sys; from experiments import run_cli\n"
        "length = int(sys.argv.pop())\n"
        "run_cli(lambda _: print('x' * length), argparse.ArgumentParser())"
    )
    command = [sys.executable, "-c", code, str(length)]
    environment = os.environ | {"PYTHONUNBUFFERED": ""}  # without a buffer, an error does not say of what it is
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.PIPE, text=True)


@LENGTHS
def test_a_reader_that_has_seen_enough_is_no_error(length: int) -> None:
    process = printing(length, subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, message = process.communicate()
    assert (process.returncode, message) == (128 + signal.SIGPIPE, "")


@LENGTHS
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_an_output_that_cannot_be_written_is_told_in_one_line(length: int) -> None:
    with open("/dev/full", "w") as full:
        process = printing(length, full.fileno())
    _, message = process.communicate()
    assert process.returncode == 1
    told = "standard output: No space left" if length < 8192 else r"\[Errno 28\] No space left"  # within `print`
    assert re.fullmatch(f"error: {told} on device; free some space and run it again\n", message)


def test_too_little_memory_is_told_in_one_line() -> None:
    code = (
        "import argparse; from experiments import run_cli\n"
        "def main(_): raise MemoryError\n"
        "run_cli(main, argparse.ArgumentParser())"
    )
    done = run_code(code)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: not enough memory; close other programs, or ask for less at once\n"


def test_ctrl_c_while_a_command_starts_ends_it_without_a_line() -> None:
    """That is while its modules are imported, before `run_cli`."""
    done = run_code("import experiments; raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert "ValueError: another" in run_code("import experiments; raise ValueError('another')").stderr


def test_an_unknown_backend_is_named_with_the_known_ones() -> None:
    done = run_module("experiments.predict", *DIGIT, KERAS_BACKEND="nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: KERAS_BACKEND: Unable to import backend : nope; choose tensorflow or jax\n"
