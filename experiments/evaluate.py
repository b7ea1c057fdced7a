"""Evaluates the trained weights of one run on the whole test split and writes its metrics."""

import argparse
from typing import Any

from experiments import run, run_arguments


def main(arguments: argparse.Namespace) -> None:
    """Restores, counts and writes."""
    from capsrepro import params, paths

    settings = params.read(arguments.params).settings(arguments.run, arguments.scale)
    where = paths.Run(arguments.scale, arguments.run, arguments.seed)

    from capsrepro import checkpoints, evaluation, files, models, training
    from capsrepro.data import loading
    from capsrepro.data.affnist import AffNist

    training.share_gpus()
    dataset = loading.load(settings, "test", arguments.data, arguments.scale)
    shape = {"classes": dataset.classes, "digits": dataset.digits}
    members = [models.build(settings, dataset.image_shape, **shape) for _ in range(settings.members)]
    model = models.ensemble(members)
    checkpoints.load_weights(model, where.weights)
    score = evaluation.evaluate(model, dataset)
    low, high = score.interval_pct
    names: dict[str, Any] = {"run": arguments.run, "seed": arguments.seed, "scale": arguments.scale}
    if isinstance(dataset, AffNist):
        stop = evaluation.evaluate(model, loading.load(settings, "stop", arguments.data, arguments.scale))
        names |= {"built": dataset.built, "stop_accuracy_pct": 100.0 - stop.error_pct}
    files.write_json(where.metrics, names | evaluation.metrics(score, settings, model))
    print(
        f"{arguments.run}: {score.wrong} of {score.examples} wrong, {score.error_pct:.2f} % ({low:.2f} to {high:.2f} %)"
    )


if __name__ == "__main__":
    run(main, run_arguments(__doc__))
