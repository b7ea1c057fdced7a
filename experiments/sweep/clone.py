"""Runs a stage of the pipeline in a fresh clone, on a node of the cluster of `experiments.sweep`."""

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from capsrepro.core.errors import Error

READ = ("fetch", "build")  # the stages whose outputs trainings read
TRAINED = ("train", "train-medium", "train-full", "train-paper")  # a stage for each scale
LOCK = "dvc.lock"
MOST_OUTPUT = 1000  # characters of a failed command's output in an error
Outcome = tuple[dict[str, Any], dict[str, bytes]]  # a stage's entry in dvc.lock, and its outputs by path


@dataclasses.dataclass(frozen=True)
class Origin:
    """Everything that a clone is made from."""

    bundle: bytes  # git bundle of HEAD, since nodes may not reach a repository
    lock: bytes  # dvc.lock, with the outputs of READ
    environment: Mapping[str, str]  # environment variables of the project
    cache: str  # folder of DVC's cache, for nodes that share it
    remote: str = ""  # name of the DVC remote, for nodes that do not


def trained(stage: str, origin: Origin) -> Outcome | str:
    """Runs a stage and returns its outcome, or an error message."""
    # Ray sets OMP_NUM_THREADS, which changes the arithmetic; only the user should set it.
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment = inherited | dict(origin.environment)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        Path(folder, "bundle").write_bytes(origin.bundle)
        try:
            call("git", "clone", "--quiet", f"{folder}/bundle", str(clone), cwd=Path(folder))
            (clone / LOCK).write_bytes(origin.lock)
            if origin.remote:
                dvc("pull", "--remote", origin.remote, *READ, cwd=clone, environment=environment)
            else:
                dvc("cache", "dir", "--local", origin.cache, cwd=clone)
                dvc("checkout", *READ, cwd=clone, environment=environment)
            dvc("repro", "--single-item", stage, cwd=clone, environment=environment)
            entry = yaml.safe_load((clone / LOCK).read_text(encoding="utf-8"))["stages"][stage]
            return entry, {output["path"]: (clone / output["path"]).read_bytes() for output in entry["outs"]}
        except Error as fault:
            return str(fault)


def dvc(*words: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Runs DVC and returns its output; `python` in the pipeline's commands is the interpreter that runs this.

    Raises:
        Error: DVC failed.
    """
    environment = environment or os.environ
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    return call(sys.executable, "-m", "dvc", *words, cwd=cwd, environment={**environment, "PATH": path})


def call(*words: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Runs a command and returns its output.

    Raises:
        Error: it failed; the message has the end of its output.
    """
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        output = " ".join((done.stdout + done.stderr).split())[-MOST_OUTPUT:]
        raise Error(f"`{' '.join(words[:6])}` failed, fix what it reports: {output}")
    return done.stdout
