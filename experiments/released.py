"""Evaluates the authors' published checkpoints on the whole test set; their rows are part of every table."""

import argparse
from pathlib import Path

from capsrepro import sources
from capsrepro.core import files, params, paths
from capsrepro.core.errors import Error
from capsrepro.evidence.paper import DATA
from . import run_cli
from .fetch import fetch_for

SCALE = "released"
# For each run: the archive, the pattern of its checkpoints, and their number.
PUBLISHED = {
    "mnist-capsnet-r3-recon": ("released-mnist-checkpoints", "mnist_checkpoint/model.ckpt-1.index", 1),
    "cifar10-ensemble": ("released-cifar-checkpoints", "cifar*/model.ckpt-600000.index", 7),
}


def main(arguments: argparse.Namespace) -> None:
    """Fetches and evaluates the checkpoints of one run; an unreachable archive is recorded as the row's reason."""
    settings = params.read(arguments.params).settings(arguments.run, SCALE)
    archive, pattern, count = PUBLISHED[arguments.run]
    where = paths.RunPaths(SCALE, arguments.run, 0)
    fetch_for(where, [settings.data, archive], arguments.data)
    folder = sources.unpacked(archive, arguments.data)
    prefixes = find(folder, pattern, count)

    from capsrepro.data import loading
    from capsrepro.evidence import results
    from capsrepro.network import devices, evaluation
    from capsrepro.network.weights import weights_sha256
    from capsrepro.released.evaluation import restored
    from capsrepro.training import provenance

    devices.share_gpus()
    dataset = loading.load(settings, "test", arguments.data, SCALE)
    model = restored(settings, dataset, prefixes)
    score = evaluation.evaluate(model, dataset)
    names = {"run": arguments.run, "seed": 0, "scale": SCALE}
    known = provenance.facts(settings, dataset, DATA[settings.data].train)
    checkpoints = {
        "checkpoints": [path.relative_to(folder).as_posix() for path in prefixes],
        "archive_sha256": folder.name,
    }
    files.write_json(where.provenance, names | known | checkpoints)
    parameters = model.count_params() // settings.members
    metrics = results.metrics(settings, score, parameters, settings.steps, weights_sha256(model))
    files.write_json(where.metrics, names | metrics)
    print(f"{arguments.run}: {score.wrong} of {score.examples} wrong, {score.error_pct:.2f} %")


def find(folder: Path, pattern: str, count: int) -> list[Path]:
    """The checkpoints in an unpacked archive.

    Raises:
        Error: their number is not `count`.
    """
    prefixes = sorted(path.with_suffix("") for path in folder.rglob(pattern))
    if len(prefixes) != count:
        raise Error(f"{folder}: expected {count} of {pattern}, found {len(prefixes)}; look what the archive holds")
    return prefixes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("run", choices=PUBLISHED, help=", ".join(PUBLISHED))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameter file")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder of the data sets and archives")
    run_cli(main, parser)
