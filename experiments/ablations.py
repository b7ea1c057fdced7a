"""Trains both sides of each ablation, paper and released code, with several seeds, and compares their test errors."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import pandas

from capsrepro import sources
from capsrepro.ablations import comparison, trainings
from capsrepro.ablations.trainings import Training
from capsrepro.core import files, params
from capsrepro.data import loading
from . import FETCHED, SEED, run_cli, scale_arguments

RESULTS = Path("results")


def main(arguments: argparse.Namespace) -> None:
    """Runs the missing trainings, then writes and prints the comparison of all stored ones."""
    known = params.read(arguments.params)
    folder = RESULTS / arguments.scale
    absent = [name for name in FETCHED if not sources.is_fetched(name, arguments.data)]
    wanted = trainings.trainings(known, arguments.scale, trainings.chosen(known, arguments.only, absent))
    pairs = [(training, seed) for seed in dict.fromkeys(arguments.seeds) for training in wanted]
    missing = [(training, seed) for training, seed in pairs if trainings.kept(training, folder, seed) is None]
    print(f"{len(pairs)} trainings, {len(pairs) - len(missing)} of them kept", flush=True)
    for number, (training, seed) in enumerate(missing, 1):
        content = measure(training, seed, arguments)
        counts = ", ".join(f"{test['wrong']} of {test['examples']} wrong" for test in content["tests"].values())
        print(f"{number}/{len(missing)} {training.name}, seed {seed}: {counts}", flush=True)
    lines = comparison.table(known, arguments.scale, trainings.found(known, folder, arguments.scale))
    path = folder / trainings.FOLDER / "table.csv"
    files.write_text(path, pandas.DataFrame(lines).to_csv(index=False))
    text = (f"{line['ablation']}: {line['difference']} ({line['interval']}): {line['verdict']}" for line in lines)
    print(*text, path, sep="\n")


def measure(training: Training, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs a training with one seed and all of its tests, and writes the counts."""
    dataset = training_set(training, arguments.data, arguments.scale)
    from capsrepro.network import devices, evaluation  # takes seconds, errors come before
    from capsrepro.network.weights import weights_sha256
    from capsrepro.training import loop, provenance

    devices.forget_networks()
    devices.prepare(training.settings.threads)
    path = training.path(RESULTS / arguments.scale, seed)
    state = Path(os.environ.get("CAPSREPRO_STATE", "state")) / arguments.scale / "ablations" / path.stem
    trained = loop.train(training.settings, dataset, seed, state=state, verbose=int(sys.stdout.isatty()))
    tests = {}
    for name, settings in training.tests.items():
        score = evaluation.evaluate(trained.model, loading.load(settings, "test", arguments.data, arguments.scale))
        tests[name] = {"wrong": score.wrong, "examples": score.examples, "test_error_pct": score.error_pct}
    content = {"run": training.run, "changed": training.changed, "scale": arguments.scale, "seed": seed}
    content |= {"tests": tests, "weights_sha256": weights_sha256(trained.model)}
    content |= provenance.describe(training.settings, dataset, [trained])
    del content["peak_memory_mb"]  # it would cover all trainings of this process
    files.write_json(path, content)
    trained.backups.clear()
    return content


def training_set(training: Training, folder: Path, scale: str) -> Any:
    """The training split of a training; `folder` holds the data sets."""
    from capsrepro.data import loading
    from capsrepro.data.mnist import EveryShift, Mnist

    dataset = loading.load(training.settings, "train", folder, scale)
    return EveryShift.of(dataset) if isinstance(dataset, Mnist) and "every_shift" in training.changed else dataset


if __name__ == "__main__":
    parser = scale_arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names of ablations; if not given: all")
    parser.add_argument("--seeds", nargs="+", type=SEED, default=[0, 1, 2], metavar="SEED", help="for each side")
    run_cli(main, parser)
