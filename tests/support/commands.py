"""Commands of the project and code snippets, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT


def run_module(module: str, *words: object, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m MODULE WORDS` in a folder, the project being importable; `variables` are added to ours."""
    return _run("-m", module, *words, cwd=cwd, variables=variables)


def run_code(code: str, *words: object, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -c CODE WORDS`, otherwise as `run_module`."""
    return _run("-c", code, *words, cwd=cwd, variables=variables)


def tracked_files() -> list[Path]:
    """The files that git knows and that exist."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _run(*words: object, cwd: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | variables
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
