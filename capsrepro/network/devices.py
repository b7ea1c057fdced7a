"""Finds the devices of the backend and their fastest precision."""

import ctypes
import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import keras

from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig

CPUINFO = Path("/proc/cpuinfo")
CPU_FLAGS = {"avx512_bf16", "amx_bf16"}  # of CPUs with bfloat16 multiplication
AMPERE = 8  # compute capability of NVIDIA's first GPUs with bfloat16 multiplication
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def gpus() -> list[str]:
    """The GPUs of the backend, such as `gpu:0`."""
    # Filtered from all devices, since JAX raises when asked for GPUs and there are none.
    return [name for name in keras.distribution.list_devices() if name.startswith("gpu")]


def prepare(threads: int | None) -> None:
    """Sets up the process for a training or its evaluation; call it first. What it raises, `use_threads` says."""
    share_gpus()
    keep_freed_memory()
    use_threads(threads)


def share_gpus() -> None:
    """Makes TensorFlow allocate a GPU's memory as needed, so that two jobs can share it; call it first.

    The released code's first job took all the memory, so that evaluation during training needed a second GPU.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        for gpu in tensorflow.config.list_physical_devices("GPU"):
            tensorflow.config.experimental.set_memory_growth(gpu, True)


def keep_freed_memory() -> None:
    """Makes the C library keep the memory of a training step for the next; call it first.

    By default glibc gives large blocks back to the system, which then clears the same pages at each step. Other C
    libraries are left as they are.
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(M_MMAP_MAX, 0)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)  # bytes


def use_threads(threads: int | None) -> None:
    """Limits TensorFlow to this many CPU threads; call it before the first operation.

    The number of threads decides in which order sums are made, so that weights are the same bit for bit only with the
    same number. JAX takes it from `XLA_FLAGS` alone.

    Args:
        threads: None leaves TensorFlow's choice, one for each core.

    Raises:
        Error: TensorFlow runs already, with another number.
    """
    if threads is None or keras.backend.backend() != "tensorflow":
        return
    import tensorflow

    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as fault:
        raise Error(f"threads: {threads} cannot be set once TensorFlow runs; start a new process") from fault


def forget_networks() -> None:
    """Frees the memory of all networks that are no longer in use."""
    keras.backend.clear_session()


def precision(name: str) -> str:
    """Keras's name of a run's precision: `auto` becomes `mixed_bfloat16` where that is fast, else `float32`."""
    if name != "auto":
        return name
    return "mixed_bfloat16" if has_bfloat16() else "float32"


def resolved(run: RunConfig) -> RunConfig:
    """The run with `auto` replaced by this machine's precision, for its network and its provenance."""
    here: Any = precision(run.precision)
    return dataclasses.replace(run, precision=here)


def has_bfloat16() -> bool:
    """Whether all GPUs, or the CPU if there are none, multiply bfloat16 in hardware; emulation is slow."""
    if gpus():
        return min(_capabilities(), default=0) >= AMPERE
    if not CPUINFO.is_file():
        return False
    return not CPU_FLAGS.isdisjoint(CPUINFO.read_text(encoding="utf-8").split())


def _capabilities() -> list[int]:
    """The major compute capability of each GPU; 0 if unknown, as for GPUs of other makers."""
    backend = importlib.import_module(keras.backend.backend())  # by name: the library imports no backend
    if keras.backend.backend() == "jax":
        capabilities = [str(getattr(gpu, "compute_capability", "")) for gpu in backend.devices("gpu")]  # "9.0"
        return [int(first[0]) if (first := re.match(r"\d+", one)) else 0 for one in capabilities]
    config = backend.config
    details = [config.experimental.get_device_details(gpu) for gpu in config.list_physical_devices("GPU")]
    return [one.get("compute_capability", (0,))[0] for one in details]  # (9, 0)
