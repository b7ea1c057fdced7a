"""Studies the affNIST comparison: several baselines, accuracy at every check, accuracy by position and rotation."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import pandas

from capsrepro.ablations import affnist
from capsrepro.core import files, params, paths
from capsrepro.core.errors import Error
from capsrepro.data.affnist import read_built
from capsrepro.evidence import predictions
from . import SEED, run_cli, scale_arguments

RESULTS = Path("results")


def main(arguments: argparse.Namespace) -> None:
    """Trains each variant with each seed, then writes three tables into `studies` of the scale."""
    known = params.read(arguments.params)
    folder = RESULTS / arguments.scale / affnist.FOLDER
    stops, placed = affnist.stops(known, arguments.scale), places(arguments)  # may fail, so before hours of training
    checks, compared = [], []
    for name, settings in affnist.variants(known, arguments.scale).items():
        stop = stops[affnist.CAPSNET if name == "capsnet" else affnist.BASELINE]
        for seed in arguments.seeds:
            history, parameters = train(name, settings, seed, arguments)
            first, last = affnist.crossing(history, stop), history[-1]
            columns = ("step", affnist.STOP, affnist.TEST)
            checks += [{"network": name, "seed": seed, **{key: line[key] for key in columns}} for line in history]
            line = {"network": name, "seed": seed, "parameters": parameters, "stop_pct": stop}
            line |= {f"{key}_at_stop": first[key] if first else None for key in columns}
            compared.append(line | {f"{key}_at_end": last[key] for key in columns})
            print(line, flush=True)
    for name, lines in {"baselines": compared, "checks": checks, "places": placed}.items():
        path = folder / f"affnist-{name}.csv"
        files.write_text(path, pandas.DataFrame(lines).to_csv(index=False, float_format="%.6g"))
        print(path)


def train(name: str, settings: params.RunConfig, seed: int, arguments: argparse.Namespace) -> tuple[Any, int]:
    """Trains one network; returns its history, with both accuracies in each line, and its number of parameters."""
    from capsrepro.data import loading
    from capsrepro.network import devices
    from capsrepro.training import loop

    devices.forget_networks()
    devices.prepare(settings.threads)
    load = [loading.load(settings, split, arguments.data, arguments.scale) for split in ("train", "stop", "test")]
    state = Path(os.environ.get("CAPSREPRO_STATE", "state"), arguments.scale, "affnist", paths.stem(name, seed))
    watch = {affnist.STOP: load[1], affnist.TEST: load[2]}
    trained = loop.train(settings, load[0], seed, state=state, watch=watch, verbose=int(sys.stdout.isatty()))
    return trained.history, trained.model.count_params()  # the backup is kept, so that a repeated call does not train


def places(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Accuracy by position and rotation, from the predictions of the table's two networks on the built affNIST."""
    built = arguments.data / "built" / arguments.scale / "affnist.npz"
    _, _, parameters = read_built(built, 6)
    lines = []
    for run in (affnist.CAPSNET, affnist.BASELINE):
        path = paths.RunPaths(arguments.scale, run, 0).predictions
        if path.is_file():
            right = predictions.read(path).right
            if len(right) != len(parameters):
                counts = f"{len(right)} predictions, but {built} has {len(parameters)} images"
                remedy = f"evaluate {run} again without {arguments.data / 'affnist'}, or build that set again"
                raise Error(f"{path}: {counts}; {remedy}")
            lines += [{"network": run, **line} for line in affnist.by_place(parameters, right)]
    return lines


if __name__ == "__main__":
    parser = scale_arguments(__doc__)
    parser.add_argument("--seeds", nargs="+", type=SEED, default=[0, 1, 2], metavar="SEED", help="for each network")
    run_cli(main, parser)
