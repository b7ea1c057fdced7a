"""What the backend computes on, and in which precision it does so fastest."""

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import keras

from capsrepro.core.params import RunConfig

CPUINFO = Path("/proc/cpuinfo")
CPU_FLAGS = {"avx512_bf16", "amx_bf16"}  # of CPUs that multiply bfloat16
AMPERE = 8  # compute capability of the first of NVIDIA's GPUs that do


def gpus() -> list[str]:
    """The GPUs that the backend sees, such as `gpu:0`; JAX raises where it is asked for them by name and has none."""
    return [name for name in keras.distribution.list_devices() if name.startswith("gpu")]


def share_gpus() -> None:
    """Lets TensorFlow take a GPU's memory as it needs it, so that two jobs share one; to be called before any other.

    The released code's first job took all of it, so that evaluating beside a training needed a second GPU.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        for gpu in tensorflow.config.list_physical_devices("GPU"):
            tensorflow.config.experimental.set_memory_growth(gpu, True)


def precision(name: str) -> str:
    """Keras's name of a run's precision: `auto` is `mixed_bfloat16` where that is fast and `float32` elsewhere."""
    if name != "auto":
        return name
    return "mixed_bfloat16" if has_bfloat16() else "float32"


def resolved(run: RunConfig) -> RunConfig:
    """The run with the precision that it has here: what its network is built with and its provenance tells."""
    here: Any = precision(run.precision)
    return dataclasses.replace(run, precision=here)


def has_bfloat16() -> bool:
    """Whether the GPUs, or where there are none the CPU, multiply bfloat16; those that only emulate it are slow."""
    if gpus():
        return min(_capabilities(), default=0) >= AMPERE
    if not CPUINFO.is_file():
        return False
    return not CPU_FLAGS.isdisjoint(CPUINFO.read_text(encoding="utf-8").split())


def _capabilities() -> list[int]:
    """The first number of each GPU's compute capability; 0 where the backend gives none, as for other makers' GPUs."""
    backend = importlib.import_module(keras.backend.backend())  # Keras has loaded it; no backend is named here
    if keras.backend.backend() == "jax":
        capabilities = [str(getattr(gpu, "compute_capability", "")) for gpu in backend.devices("gpu")]  # "9.0"
        return [int(first[0]) if (first := re.match(r"\d+", one)) else 0 for one in capabilities]
    config = backend.config
    details = [config.experimental.get_device_details(gpu) for gpu in config.list_physical_devices("GPU")]
    return [one.get("compute_capability", (0,))[0] for one in details]  # (9, 0)
