"""Evaluates the trained weights of one run on the whole test split and writes its metrics."""

import argparse
from typing import Any

from experiments import run_arguments, run_cli


def main(arguments: argparse.Namespace) -> None:
    """Restores, counts and writes."""
    from capsrepro.core import params, paths

    settings = params.read(arguments.params).settings(arguments.run, arguments.scale)
    where = paths.RunPaths(arguments.scale, arguments.run, arguments.seed)

    from capsrepro.core import files
    from capsrepro.data import loading
    from capsrepro.data.affnist import AffNist
    from capsrepro.evidence import results
    from capsrepro.evidence.intervals import wilson
    from capsrepro.network import devices, evaluation, models
    from capsrepro.network.weights import load_weights, weights_sha256

    devices.share_gpus()
    dataset = loading.load(settings, "test", arguments.data, arguments.scale)
    shape = {"classes": dataset.classes, "digits": dataset.digits}
    members = [models.build(settings, dataset.image_shape, **shape) for _ in range(settings.members)]
    model = models.ensemble(members)
    load_weights(model, where.weights)
    score = evaluation.evaluate(model, dataset)
    names: dict[str, Any] = {"run": arguments.run, "seed": arguments.seed, "scale": arguments.scale}
    if isinstance(dataset, AffNist):
        stop = evaluation.evaluate(model, loading.load(settings, "stop", arguments.data, arguments.scale))
        names |= {"built": dataset.built, "stop_accuracy_pct": 100.0 - stop.error_pct}
    parameters = model.count_params() // settings.members
    metrics = results.metrics(settings, score, parameters, weights_sha256(model))
    files.write_json(where.metrics, names | metrics)
    low, high = wilson(score.wrong, score.examples)
    counted = f"{score.wrong} of {score.examples} wrong, {score.error_pct:.2f} %"
    print(f"{arguments.run}: {counted} ({low:.2f} to {high:.2f} %)")


if __name__ == "__main__":
    run_cli(main, run_arguments(__doc__))
