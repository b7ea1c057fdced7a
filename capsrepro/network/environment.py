"""The environment of a computation: device, precision switches, versions and the commit of the code."""

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

# Variables that change the arithmetic.
ARITHMETIC = (
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "OMP_NUM_THREADS",
)
VECTORS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "avx", "asimd")  # the widest first


def describe() -> dict[str, Any]:
    """Device, backend, versions, arithmetic switches and revision of this process, as JSON can hold them."""
    return {
        "device": device(),
        "instructions": instructions(),
        "backend": keras.backend.backend(),
        "versions": versions(),
        "arithmetic": {name: os.environ[name] for name in ARITHMETIC if name in os.environ},
        **revision(),
    }


def device() -> str:
    """The processor, or the GPUs, that the backend uses, with the number of cores."""
    if gpus := devices.gpus():
        return f"{len(gpus)} x {_nvidia_smi('--query-gpu=name', '--format=csv,noheader') or 'GPU'}"
    return f"{_processor()}, {os.cpu_count()} cores"


def instructions() -> str:
    """The widest vector instructions of the processor, such as `avx512_bf16`; empty where the system does not say.

    oneDNN chooses its kernels by them, so that the same training ends with other last digits on another processor.
    """
    if not devices.CPUINFO.is_file():
        return ""
    flags = set(devices.CPUINFO.read_text(encoding="utf-8").split())
    return next((name for name in VECTORS if name in flags), "")


def versions() -> dict[str, str]:
    """Versions of Keras, the backend, NumPy and Python; on a GPU also those of CUDA and of the driver."""
    backend = keras.backend.backend()
    wanted = dict.fromkeys(("keras", backend, "numpy", *(("jaxlib",) if backend == "jax" else ())))
    found = {name: _version(name) for name in wanted} | {"python": platform.python_version()}
    if devices.gpus():
        cuda = re.search(r"CUDA Version: *([\d.]+)", _nvidia_smi("-q", lines=None).replace("\t", " "))
        driver = _nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader")
        found |= {"cuda": cuda[1] if cuda else "unknown", "driver": driver or "unknown"}
    return found


def revision(folder: Path = Path()) -> dict[str, Any]:
    """The commit of the code in `folder`.

    Where the code was copied to a machine without its repository, `CAPSREPRO_REVISION` names the commit.

    Returns:
        `git_revision`, empty outside of a repository; `git_dirty`, whether a tracked file differs from it, None where
        nobody looked; `revision_source`, `git` or `env`.
    """
    if copied := os.environ.get("CAPSREPRO_REVISION"):
        return {"git_revision": copied, "git_dirty": None, "revision_source": "env"}

    def git(*words: str) -> str:
        command = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
        return command.stdout.strip() if command.returncode == 0 else ""

    # Results change while they are made; a commit has to vouch for code and parameters.
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results", ":!dvc.lock")
    return {"git_revision": git("rev-parse", "HEAD"), "git_dirty": bool(dirty), "revision_source": "git"}


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


def _nvidia_smi(*words: str, lines: int | None = 1) -> str:
    """The first lines of the answer of `nvidia-smi`, all with None; empty where there is no such command."""
    try:
        answer = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "\n".join(answer.stdout.splitlines()[:lines]).strip()
