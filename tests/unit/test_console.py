"""Nothing of TensorFlow's on the console, unless it is asked for."""

import os
import sys

import pytest

from capsrepro.core import console
from tests.support.commands import run_code
from tests.support.digits import needs_tensorflow

IMPORT = (
    "from capsrepro.network import devices; devices.share_gpus(); import tensorflow; print(int(tensorflow.ones(())))"
)


@needs_tensorflow("be quiet")
def test_tensorflow_is_loaded_and_used_without_a_line() -> None:
    answer = run_code(f"import os; os.environ.pop({console.LEVEL!r}, None); {IMPORT}")
    assert (answer.stdout, answer.stderr) == ("1\n", "")


@needs_tensorflow("be loud")
def test_its_own_setting_asks_for_its_lines() -> None:
    answer = run_code(IMPORT, **{console.LEVEL: "0"})
    assert answer.stdout == "1\n"
    assert answer.stderr


def test_what_was_written_is_shown_after_a_failure_and_is_not_lost_after_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(console.LEVEL, console.QUIET)
    with console.quiet():
        os.write(2, b"noise\n")
    with pytest.raises(ImportError), console.quiet():
        os.write(2, b"the reason\n")
        raise ImportError
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "the reason\nafter\n"
