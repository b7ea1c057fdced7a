"""Which precision `auto` is, on CPUs and GPUs that are made up."""

import dataclasses
import platform
import types
from pathlib import Path
from typing import Any

import keras
import pytest

from capsrepro.core.params import RunConfig
from capsrepro.network import devices
from tests.support.commands import run_code


def cpu(flags: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    monkeypatch.setattr(devices, "CPUINFO", folder / "cpuinfo")
    (folder / "cpuinfo").write_text(f"model name\t: abacus\nflags\t\t: fpu {flags} rdpid\n")


def gpus(backend: str, capabilities: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the backend see a GPU for each capability, each told as that backend tells it."""
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: [f"gpu:{n}" for n in range(len(capabilities))])
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    cards = [types.SimpleNamespace(compute_capability=one) for one in capabilities]
    details = types.SimpleNamespace(
        get_device_details=lambda card: (
            {"compute_capability": card.compute_capability} if card.compute_capability else {"device_name": "other"}
        )
    )
    config = types.SimpleNamespace(experimental=details, list_physical_devices=lambda kind: cards)
    modules = {
        "tensorflow": types.SimpleNamespace(config=config),
        "jax": types.SimpleNamespace(devices=lambda kind: cards),
    }
    monkeypatch.setattr(devices.importlib, "import_module", modules.__getitem__)


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16"])
def test_a_precision_that_is_named_stays_on_any_device(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flags in ("avx512f", "avx512_bf16"):
        cpu(flags, tmp_path, monkeypatch)
        assert devices.precision(name) == name


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx2 avx512f", "float32"),
        ("avx512_bf16", "mixed_bfloat16"),
        ("amx_bf16 amx_int8", "mixed_bfloat16"),
        ("avx512_bf16_not", "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_cpu_has_it(
    flags: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu(flags, tmp_path, monkeypatch)
    assert devices.precision("auto") == expected


def test_a_run_gets_the_precision_and_keeps_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu("avx512_bf16", tmp_path, monkeypatch)
    run = RunConfig("mnist", "capsnet", routing=3)
    assert devices.resolved(run) == run
    given: Any = {"precision": "auto"}
    assert devices.resolved(dataclasses.replace(run, **given)) == dataclasses.replace(run, precision="mixed_bfloat16")


def test_auto_is_float32_where_the_cpu_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "none")
    assert devices.precision("auto") == "float32"


@pytest.mark.parametrize(
    ("backend", "capabilities", "expected"),
    [
        ("tensorflow", [(9, 0)], "mixed_bfloat16"),
        ("tensorflow", [(8, 0)], "mixed_bfloat16"),
        ("tensorflow", [(7, 5)], "float32"),
        ("tensorflow", [(9, 0), (7, 5)], "float32"),  # the slowest decides
        ("tensorflow", [None], "float32"),  # another maker's
        ("jax", ["10.0"], "mixed_bfloat16"),
        ("jax", ["8.6"], "mixed_bfloat16"),
        ("jax", ["7.5"], "float32"),
        ("jax", ["gfx90a"], "float32"),
    ],
)
def test_auto_asks_the_gpus_where_there_are_any(
    backend: str,
    capabilities: list[Any],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu("avx512_bf16", tmp_path, monkeypatch)  # which then says nothing
    gpus(backend, capabilities, monkeypatch)
    assert devices.precision("auto") == expected


def test_the_number_of_threads_must_be_set_before_tensorflow_runs() -> None:
    pytest.importorskip("tensorflow")
    code = (
        "from capsrepro.network.devices import use_threads; import tensorflow as tf; use_threads(1); tf.zeros(1);"
        "print(tf.config.threading.get_intra_op_parallelism_threads()); use_threads(None); use_threads(2)"
    )
    done = run_code(code, KERAS_BACKEND="tensorflow")
    assert done.stdout.split() == ["1"]
    assert "Error: threads: 2 cannot be set once TensorFlow runs" in done.stderr


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep what is freed")
def test_a_step_gets_the_memory_of_the_last_one() -> None:
    """Counted in page faults: 64 MiB of new memory are 16,384 small pages or 32 large ones."""
    code = """
import resource
import numpy as np
from capsrepro.network import devices
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**24, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = [faults() for step in range(3)]
devices.keep_freed_memory()
kept = [faults() for step in range(3)]
print(given_back[-1], kept[-1])
"""
    given_back, kept = map(int, run_code(code).stdout.split())
    assert kept < 20 < given_back
