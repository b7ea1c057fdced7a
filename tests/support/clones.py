"""Clones of the project in which its pipeline runs: two narrow networks, a few steps, no network.

They learn from MNIST's test files, six times over under the training files' names; the two hashes in the clones' table
of sources say so.
"""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from capsrepro.core import files
from tests.support import ROOT
from tests.support.commands import tracked_files
from tests.support.digits import idx, unpacked

PUBLISHED = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
}
ROWS = ("mnist-baseline", "mnist-capsnet-r3-recon")
BUILT = ("affnist", "expanded", "multimnist")
EVERY_SCALE = "scale: [quick, medium, full, paper]"  # of claims, tables and reports, half a minute of each clone
SMALL = {"steps": 6, "decay_steps": 5, "checkpoint_steps": 4}


@dataclasses.dataclass(frozen=True)
class Clone:
    """A repository of its own with the tracked files of this one, as they are now, and no results."""

    folder: Path
    digits: Path  # the folder of MNIST's files

    def copied(self, folder: Path) -> "Clone":
        """Another, with all that this one has."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Clone(folder, self.digits)

    def call(self, *words: str, check: bool = True) -> str:
        """Runs a command in it and gives what that printed."""
        state = {
            "CAPSREPRO_STATE": str(self.folder / "state"),
            "CAPSREPRO_DATA": str(self.digits),
            "CAPSREPRO_OFFLINE": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # the pipeline calls `python`
        }
        names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
        environment = os.environ | state | dict.fromkeys(names, "tests@example.org")
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def python(self, module: str, *words: str, check: bool = True) -> str:
        """Runs `python -m MODULE WORDS` in it."""
        return self.call(sys.executable, "-m", module, *words, check=check)

    def repro(self, *words: str) -> list[str]:
        """Runs `dvc repro WORDS` in it; gives the stages that it ran."""
        return ran(self.python("dvc", "repro", *words))

    def result(self, kind: str, row: str) -> dict[str, Any]:
        """The metrics or the provenance of a row."""
        return files.read_json(self.folder / "results" / "quick" / kind / f"{row}-seed0.json")


def cloned(folder: Path, digits: Path, hashes: dict[str, str]) -> Clone:
    """A new clone; `hashes` are those of MNIST's files that are not the published ones."""
    for path in tracked_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for old in (folder / "results" / "quick").glob("*/*-seed*"):
        if old.parent.name in ("metrics", "provenance", "history", "predictions", "evaluations"):
            old.unlink()
    (folder / "dvc.lock").unlink(missing_ok=True)
    table = folder / "capsrepro" / "sources" / "published.py"
    text = table.read_text()
    for name, published in PUBLISHED.items():
        assert published in text
        text = text.replace(published, hashes[name])
    table.write_text(text)
    pipeline = folder / "dvc.yaml"
    text = pipeline.read_text()
    assert EVERY_SCALE in text
    pipeline.write_text(text.replace(EVERY_SCALE, "scale: [quick]"))
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params |= {"figures": []}
    params["trainings"]["quick"]["rows"] = list(ROWS)
    params["scale_settings"]["quick"] = {
        ROWS[0]: SMALL | {"conv_channels": [2, 2, 2], "dense_units": [4, 4]},
        ROWS[1]: SMALL | {"conv_channels": [4], "primary_types": 1},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    clone = Clone(folder, digits)
    clone.call("git", "init", "-q")
    clone.call("git", "add", "-A")
    clone.call("git", "commit", "-qm", "clone")
    return clone


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran, not those that it skipped or took from its run-cache."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def write_digits(folder: Path) -> dict[str, str]:
    """Writes MNIST's four files; gives the hashes of the two that are not the published ones."""
    folder.mkdir()
    hashes = {}
    for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        (folder / f"t10k-{name}").write_bytes(unpacked(f"t10k-{name}"))
        header = 16 if "images" in name else 8
        shape = (60_000, 28, 28) if "images" in name else (60_000,)
        content = idx(np.frombuffer(unpacked(f"t10k-{name}")[header:] * 6, np.uint8).reshape(shape))
        (folder / f"train-{name}").write_bytes(content)
        hashes[f"train-{name}"] = hashlib.sha256(content).hexdigest()
    return hashes
