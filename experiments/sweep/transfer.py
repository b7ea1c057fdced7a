"""Packs what the clones of `experiments.sweep` need, and takes over what their trainings return."""

import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from capsrepro.core import files
from capsrepro.core.errors import Error
from . import clone

PASSED = ("CAPSREPRO_", "JAX_", "KERAS_", "OMP_", "TF_", "XLA_")  # prefixes of variables passed to each task


def packed(remote: str) -> clone.Origin:
    """Packs everything that clones need, after running the stages that all trainings depend on.

    Raises:
        Error: a change is not committed, so that a clone would lack it.
    """
    if changed := clone.call("git", "status", "--porcelain", "--", ".", ":!results", f":!{clone.LOCK}").splitlines():
        raise Error(f"{changed[0][3:]}: differs from HEAD, which is what is trained; commit the change or undo it")
    clone.dvc("repro", *clone.READ)
    environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    if remote:
        clone.dvc("push", "--remote", remote, *clone.READ)
    else:  # backups outlive the clones, so that trainings resume
        environment["CAPSREPRO_STATE"] = str(Path(os.environ.get("CAPSREPRO_STATE", "state")).absolute())
    with tempfile.TemporaryDirectory() as folder:
        clone.call("git", "bundle", "create", "--quiet", f"{folder}/bundle", "HEAD")
        bundle = Path(folder, "bundle").read_bytes()
    return clone.Origin(bundle, Path(clone.LOCK).read_bytes(), environment, clone.dvc("cache", "dir").strip(), remote)


def take_over(stage: str, entry: dict[str, Any], outputs: dict[str, bytes]) -> None:
    """Writes the outputs of a training to their places, and its entry into dvc.lock.

    Raises:
        Error: the code or the settings have changed since, so that the training is not of what is here now.
    """
    for name, content in outputs.items():
        with files.replacing(Path(name)) as temporary:
            temporary.write_bytes(content)
    path = Path(clone.LOCK)
    with files.exclusive(path.parent):
        lock = yaml.safe_load(files.read_text(path))
        lock["stages"][stage] = entry
        files.write_text(path, yaml.safe_dump(lock, sort_keys=False))
    clone.dvc("commit", stage)  # refuses a stage whose dependencies have changed
