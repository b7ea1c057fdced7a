"""Draws the paper's figures from trained networks into results/SCALE/figures, as PNG and PDF."""

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import Any

from capsrepro.core.errors import Error
from experiments import run_cli, scale_arguments

ONCE, THRICE, PAIRS = "mnist-capsnet-r1-recon", "mnist-capsnet-r3-recon", "multimnist-capsnet-r3-recon"
FILES = {"3": "figure3", "4": "figure4", "5": "figure5", "a1": "figure-a1", "a2": "figure-a2"}
FILES |= {name: name for name in ("confusion", "confusion-multimnist")}


def main(arguments: argparse.Namespace) -> None:
    """Draws all requested figures before writing any."""
    from capsrepro.figures import charts, drawing, reconstructions

    network = functools.cache(functools.partial(restored, arguments))
    past = functools.partial(history, arguments)
    losses = (charts.RATE, charts.LOSS)
    draw = {
        "3": lambda: reconstructions.figure3(*network(THRICE)),
        "4": lambda: reconstructions.figure4(*network(THRICE)[:2]),
        "5": lambda: reconstructions.figure5(*network(PAIRS)),
        "a1": lambda: charts.figure_a1(past(THRICE, *charts.CHANGES), "MNIST, 3 routing iterations"),
        "a2": lambda: charts.figure_a2({1: past(ONCE, *losses), 3: past(THRICE, *losses)}, "MNIST"),
        "confusion": lambda: charts.confusion(network(THRICE)[2], "MNIST"),
        "confusion-multimnist": lambda: charts.confusion(network(PAIRS)[2], "MultiMNIST"),
    }
    drawn = {name: draw[name]() for name in dict.fromkeys(arguments.only or FILES)}
    for name, figure in drawn.items():
        path = Path("results", arguments.scale, "figures", f"{FILES[name]}.png")
        drawing.save(figure, path, path.with_suffix(".pdf"))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB, and as PDF", flush=True)


def restored(arguments: argparse.Namespace, name: str) -> tuple[Any, Any, Any]:
    """A run's trained network, its test split (MultiMNIST: one pair per digit), and its predictions on it."""
    from capsrepro.core import params
    from capsrepro.data import loading
    from capsrepro.network import devices, evaluation, models
    from capsrepro.network.weights import evaluation_settings, load_weights

    weights = existing_file(arguments, name, "weights")
    settings = evaluation_settings(weights, params.read(arguments.params).settings(name, arguments.scale))
    devices.share_gpus()
    dataset = loading.load(dataclasses.replace(settings, test_pairs=1), "test", arguments.data, arguments.scale)
    model = models.build(settings, dataset.image_shape, classes=dataset.classes, digits=dataset.digits)
    load_weights(model, weights)
    return model, dataset, evaluation.answers(model, dataset)


def history(arguments: argparse.Namespace, name: str, *columns: str) -> Any:
    """The history of a run's training, as a DataFrame."""
    from capsrepro.figures import charts

    return charts.history(existing_file(arguments, name, "history"), *columns)


def existing_file(arguments: argparse.Namespace, name: str, kind: str) -> Path:
    """The path of a run's file; raises an Error with instructions if it does not exist."""
    from capsrepro.core import paths

    path: Path = getattr(paths.RunPaths(arguments.scale, name, arguments.seed), kind)
    if not path.is_file():
        command = f"python -m experiments.train {name} --scale {arguments.scale} --seed {arguments.seed}"
        raise Error(f"{path}: not there; run `{command}` or add {name} to `rows` and run `dvc repro`")
    return path


if __name__ == "__main__":
    parser = scale_arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=FILES, metavar="FIGURE", help=f"some of {', '.join(FILES)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the trainings")
    run_cli(main, parser)
