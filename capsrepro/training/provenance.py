"""What a result came from: the code, the machine, the versions, the data, and how long it took."""

import dataclasses
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Dataset
from capsrepro.network import devices
from capsrepro.training.loop import Trained

ARITHMETIC = (
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "OMP_NUM_THREADS",
)


def describe(run: RunConfig, dataset: Dataset, trained: Sequence[Trained]) -> dict[str, Any]:
    """The provenance of a training, as JSON can hold it.

    Args:
        run: its settings; `settings` repeats them, so that a table can tell when params.yaml has moved on.
        dataset: what it was trained on.
        trained: what came out, one for each member.

    Returns:
        Among others `steps_done` (of all members), `stop_reached`, `train_seconds`, `images_per_second`,
        `peak_memory_mb` (resident, of this process), `device`, `versions`, `git_revision` (empty outside a repository)
        and `git_dirty`.
    """
    steps, seconds = sum(one.steps for one in trained), sum(one.seconds for one in trained)
    return {
        **facts(run, dataset, len(dataset)),
        "steps_done": steps,
        "stop_reached": all(one.stop_reached for one in trained),
        "train_seconds": round(seconds, 1),
        "images_per_second": round(steps * run.batch_size / seconds, 1) if seconds else 0.0,
        "peak_memory_mb": round(peak_memory_mb()),
        "arithmetic": {name: os.environ[name] for name in ARITHMETIC if name in os.environ},
    }


def facts(run: RunConfig, dataset: Dataset, train_examples: int) -> dict[str, Any]:
    """What is known of weights that others trained, too: settings, data, and with what they were trained or tested.

    Args:
        run: the settings that they were trained with.
        dataset: what they were trained on; where others did that, what they were tested on.
        train_examples: how many images they were trained on.
    """
    return {
        "settings": dataclasses.asdict(devices.resolved(run)),
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "train_examples": train_examples,
        "device": device(),
        "backend": keras.backend.backend(),
        "versions": {
            **{name: _version(name) for name in ("keras", keras.backend.backend(), "numpy")},
            "python": platform.python_version(),
        },
        **revision(),
    }


def device() -> str:
    """The processor, or the GPUs, that the backend uses, with the number of cores."""
    if gpus := devices.gpus():
        return f"{len(gpus)} x {_gpu_name()}"
    return f"{_processor()}, {os.cpu_count()} cores"


def revision(folder: Path = Path()) -> dict[str, Any]:
    """The git commit of `folder` and whether a tracked file differs from it: `git_revision` and `git_dirty`.

    Where the code was copied to a machine without its repository, `CAPSREPRO_REVISION` names the clean commit it is of.
    """
    if copied := os.environ.get("CAPSREPRO_REVISION"):
        return {"git_revision": copied, "git_dirty": False}

    def git(*words: str) -> str:
        command = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
        return command.stdout.strip() if command.returncode == 0 else ""

    # Results change while they are made; code and parameters are what a commit has to vouch for.
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results", ":!dvc.lock")
    return {"git_revision": git("rev-parse", "HEAD"), "git_dirty": bool(dirty)}


def peak_memory_mb() -> float:
    """The most that this process has had in memory, in 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    """The processor's model name, which `platform.processor` does not give on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu_name() -> str:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "GPU"
    return (answer.stdout.splitlines() or ["GPU"])[0].strip()
