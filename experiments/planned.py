"""Runs the trainings of results/plan.csv that have no result yet, the shortest first: fetches, trains, evaluates."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from capsrepro.core import not_run, params, paths
from capsrepro.core.errors import Error
from capsrepro.core.files import read_json
from capsrepro.evidence import plan
from experiments import FETCHED, run_cli, scale_arguments

Command = tuple[str, ...]


def main(arguments: argparse.Namespace) -> None:
    """Runs the commands one after the other, or prints them."""
    known = params.read(arguments.params)
    missing = missing_trainings(known, arguments.scale, arguments.runs)
    commands = dict.fromkeys(command for where in missing for command in commands_of(where, known, arguments))
    for where in missing:
        settings = known.settings(where.run, where.scale)
        length = f"{settings.members} x {settings.steps}" if settings.members > 1 else f"{settings.steps}"
        print(f"{where.name}: at most {length} steps", flush=True)
    for command in commands:
        print(" ".join(("python", *command)), flush=True)
        if not arguments.dry_run and (status := subprocess.run((sys.executable, *command), check=False).returncode):
            raise Error(f"python {' '.join(command)}: ended with status {status}; run this again to go on from there")


def missing_trainings(known: params.Params, scale: str, runs: Sequence[str]) -> list[paths.RunPaths]:
    """The planned runs and seeds of a scale without metrics, those with the fewest steps first; only `runs` if any."""
    plans = [one for one in plan.read(Path("results", "plan.csv")) if one.scale == scale]
    if unknown := sorted(set(runs) - {one.run for one in plans}):
        raise Error(f"results/plan.csv: no line about {unknown[0]} at the scale {scale}; add one, or name another")
    every = [paths.RunPaths(scale, one.run, seed) for one in plans if not runs or one.run in runs for seed in one.seeds]
    lacking = [one for one in every if not one.metrics.is_file() or not_run.KEY in read_json(one.metrics)]

    def length(where: paths.RunPaths) -> tuple[int, int, int]:
        settings = known.settings(where.run, scale)
        return settings.members * settings.steps, settings.routing or 0, where.seed

    return sorted(lacking, key=length)


def commands_of(where: paths.RunPaths, known: params.Params, arguments: argparse.Namespace) -> list[Command]:
    """What makes the result of one training; its data is fetched unless it is made of MNIST, which `dvc repro` does."""
    files = ("--params", str(arguments.params), "--data", str(arguments.data))
    words = (where.run, "--scale", where.scale, "--seed", str(where.seed), *files)
    data = known.settings(where.run, where.scale).data
    fetch = [("-m", "experiments.fetch", data, *files[2:])] if data in FETCHED else []
    is_trained = where.weights.is_file() and where.provenance.is_file()
    train = [] if is_trained else [("-m", "experiments.train", *words)]
    return [*fetch, *train, ("-m", "experiments.evaluate", *words)]


if __name__ == "__main__":
    parser = scale_arguments(__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="only these; if not given: all of the scale")
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    run_cli(main, parser)
