"""Measures start-up times: the table, `--help`, an evaluation, `dvc repro` with nothing to do.

Run as a script, it is `experiments.evaluate`, and prints the seconds spent in forward passes at the end.
"""

import contextlib
import os
import pkgutil
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import medians
from capsrepro.core import paths
from experiments.sweep import clone

ROOT = Path(__file__).parents[1]
REPEATS = 3
EVALUATED = paths.RunPaths("full", "mnist-capsnet-r3-recon", 0)


def table(folder: Path) -> float:
    """Seconds of `experiments.table` on a copy of the results."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "results")
        shutil.copytree(ROOT / "results", copy, ignore=shutil.ignore_patterns("figures"))
        [seconds] = medians([partial(_call, "experiments.table", "--results", str(copy))], REPEATS)
    return seconds


def slowest_help(folder: Path) -> float:
    """Seconds of the slowest `--help` of all commands."""
    names = [one.name for one in pkgutil.iter_modules([str(ROOT / "experiments")]) if one.name != "__main__"]
    return max(medians([partial(_call, f"experiments.{name}", "--help") for name in names], REPEATS))


def evaluation(folder: Path) -> float:
    """Seconds of an evaluation of the full MNIST CapsNet outside of the forward passes."""
    words = [EVALUATED.run, "--scale", EVALUATED.scale]
    words += ["--params", str(ROOT / "params.yaml"), "--data", str(folder.absolute())]
    outside = []
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
        place_published()
        for _ in range(REPEATS):
            began = time.perf_counter()
            message = _call("benchmarks.startup", *words, cwd=Path(temporary))
            outside.append(time.perf_counter() - began - float(message.split()[-1]))
    return statistics.median(outside)


def place_published() -> None:
    """Copies the published weights into the current folder as if they had been trained there."""
    placed = {"published": EVALUATED.weights, "provenance": EVALUATED.training, "publication": EVALUATED.publication}
    for name, path in placed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / getattr(EVALUATED, name), path)


def repro(folder: Path) -> float | None:
    """Seconds of `dvc repro` when nothing has changed; None if it would run a stage."""
    if subprocess.run([sys.executable, "-m", "dvc", "status", "--quiet", "dvc.yaml"], cwd=ROOT, check=False).returncode:
        return None
    return medians([partial(_call, "dvc", "repro")], REPEATS)[0]


def _call(*words: str, cwd: Path = ROOT) -> str:
    """Runs a module as a command and returns its output."""
    return clone.call(sys.executable, "-m", *words, cwd=cwd, environment=os.environ | {"PYTHONPATH": str(ROOT)})


def _timed() -> None:
    """Runs an evaluation and prints the seconds of its forward passes.

    The first pass includes compilation, so it counts as the median.
    """
    import keras

    seconds: list[float] = []
    predict = keras.Model.predict_on_batch

    def timed(model: Any, images: Any) -> Any:
        began = time.perf_counter()
        scores = predict(model, images)
        seconds.append(time.perf_counter() - began)
        return scores

    keras.Model.predict_on_batch = timed
    runpy.run_module("experiments.evaluate", run_name="__main__")
    print(sum(seconds) - seconds[0] + statistics.median(seconds))


if __name__ == "__main__":
    _timed()
