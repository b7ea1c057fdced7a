"""Describes the environment of a computation: device, arithmetic switches, versions and commit."""

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras

from capsrepro.network import devices

# Environment variables that change the arithmetic.
ARITHMETIC = (
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "OMP_NUM_THREADS",
)
VECTORS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "avx", "asimd")  # widest first


def describe() -> dict[str, Any]:
    """Device, backend, versions, arithmetic switches and revision of this process, as JSON values."""
    return {
        "device": device(),
        "instructions": instructions(),
        "backend": keras.backend.backend(),
        "versions": versions(),
        "arithmetic": {name: os.environ[name] for name in ARITHMETIC if name in os.environ},
        **revision(),
    }


def device() -> str:
    """The GPUs of the backend, or else the processor and its number of cores."""
    if gpus := devices.gpus():
        return f"{len(gpus)} x {_nvidia_smi('--query-gpu=name', '--format=csv,noheader') or 'GPU'}"
    return f"{_processor()}, {os.cpu_count()} cores"


def instructions() -> str:
    """The widest vector instructions of the processor, such as `avx512_bf16`; empty if unknown.

    oneDNN chooses its kernels by them, so the weights of equal trainings differ slightly between processors.
    """
    if not devices.CPUINFO.is_file():
        return ""
    flags = set(devices.CPUINFO.read_text(encoding="utf-8").split())
    return next((name for name in VECTORS if name in flags), "")


def versions() -> dict[str, str]:
    """Versions of Keras, the backend, NumPy and Python; on a GPU also of CUDA and the driver."""
    backend = keras.backend.backend()
    wanted = dict.fromkeys(("keras", backend, "numpy", *(("jaxlib",) if backend == "jax" else ())))
    found = {name: _version(name) for name in wanted} | {"python": platform.python_version()}
    if devices.gpus():
        cuda = re.search(r"CUDA Version\s*:\s*([\d.]+)", _nvidia_smi("-q", lines=None))
        driver = _nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader")
        found |= {"cuda": cuda[1] if cuda else "unknown", "driver": driver or "unknown"}
    return found


def revision(folder: Path = Path()) -> dict[str, Any]:
    """The commit of the code in `folder`.

    If the code was copied without its repository, the environment variable `CAPSREPRO_REVISION` names the commit.

    Returns:
        `git_revision`: empty outside of a repository. `git_dirty`: whether a tracked file differs from the commit, None
        if unknown. `revision_source`: `git` or `env`.
    """
    if copied := os.environ.get("CAPSREPRO_REVISION"):
        return {"git_revision": copied, "git_dirty": None, "revision_source": "env"}

    def git(*words: str) -> str:
        command = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
        return command.stdout.strip() if command.returncode == 0 else ""

    # Results are left out, since they change during a run; only code and parameters must match the commit.
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results", ":!dvc.lock")
    return {"git_revision": git("rev-parse", "HEAD"), "git_dirty": bool(dirty), "revision_source": "git"}


def peak_memory_mb() -> float:
    """The peak resident memory of this process, in 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux reports KiB, macOS bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    """The model name of the processor; `platform.processor` does not return it on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _nvidia_smi(*words: str, lines: int | None = 1) -> str:
    """The first lines of the output of `nvidia-smi`, or all if `lines` is None; empty if there is no such command."""
    try:
        answer = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "\n".join(answer.stdout.splitlines()[:lines]).strip()
