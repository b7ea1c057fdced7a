"""What a node of a cluster does for `experiments.sweep`: a stage of the pipeline in a clone of its own."""

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from capsrepro.core.errors import Error

READ = ("fetch", "build")  # the stages whose outputs trainings read
TOLD = 1000  # characters of a command's last words


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a clone is made of."""

    bundle: bytes  # git's, of HEAD: a node reaches no repository
    lock: bytes  # dvc.lock, which knows the outputs of READ
    environment: Mapping[str, str]  # variables that mean something to the project
    cache: str  # folder of DVC's cache, for nodes that see it
    remote: str = ""  # name of the DVC remote, for those that do not


def trained(stage: str, origin: Origin) -> str:
    """Runs a stage, into DVC's run-cache; gives what went wrong, or nothing."""
    # Ray sets OMP_NUM_THREADS, a part of the arithmetic; it is the user's to set.
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment = inherited | dict(origin.environment)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        Path(folder, "bundle").write_bytes(origin.bundle)
        try:
            call("git", "clone", "--quiet", f"{folder}/bundle", str(clone), cwd=Path(folder))
            (clone / "dvc.lock").write_bytes(origin.lock)
            if origin.remote:
                dvc("pull", "--remote", origin.remote, *READ, cwd=clone, environment=environment)
            else:
                dvc("cache", "dir", "--local", origin.cache, cwd=clone)
                dvc("checkout", *READ, cwd=clone, environment=environment)
            dvc("repro", "--single-item", stage, cwd=clone, environment=environment)
            if origin.remote:
                dvc("push", "--remote", origin.remote, "--run-cache", stage, cwd=clone, environment=environment)
        except Error as fault:
            return str(fault)
    return ""


def take_over(stage: str, remote: str) -> None:
    """Brings what a clone made of a stage to where `dvc repro` has it: DVC's run-cache gives it, nothing is trained."""
    if remote:
        dvc("fetch", "--remote", remote, "--run-cache", stage)
    dvc("repro", "--single-item", stage)


def dvc(*words: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What DVC prints; the `python` of the pipeline's commands is the one that runs this.

    Raises:
        Error: it failed.
    """
    environment = environment or os.environ
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    return call(sys.executable, "-m", "dvc", *words, cwd=cwd, environment={**environment, "PATH": path})


def call(*words: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
        Error: it failed; the message ends with its last words.
    """
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())[-TOLD:]
        raise Error(f"`{' '.join(words[:6])}` failed, mend what it says: {said}")
    return done.stdout
