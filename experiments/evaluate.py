"""Evaluates the trained weights of one run on the whole test split and writes its metrics."""

import argparse

from experiments import run, run_arguments


def main(arguments: argparse.Namespace) -> None:
    """Restores, counts and writes."""
    from capsrepro import params, paths

    settings = params.read(arguments.params).settings(arguments.run, arguments.scale)
    where = paths.Run(arguments.scale, arguments.run, arguments.seed)

    from capsrepro import checkpoints, evaluation, files, models
    from capsrepro.data import loading

    dataset = loading.load(settings, "test", arguments.data)
    model = models.build(settings, dataset.image_shape, classes=dataset.classes, digits=dataset.digits)
    checkpoints.load_weights(model, where.weights)
    score = evaluation.evaluate(model, dataset)
    low, high = score.interval_pct
    metrics = {
        "run": arguments.run,
        "seed": arguments.seed,
        "scale": arguments.scale,
        "recipe": settings.recipe,
        "routing": settings.routing,
        "reconstruction": settings.reconstruction,
        "wrong": score.wrong,
        "examples": score.examples,
        "test_error_pct": score.error_pct,
        "wilson_low_pct": round(low, 4),
        "wilson_high_pct": round(high, 4),
        "parameters": model.count_params(),
        "steps": settings.steps,
        "weights_sha256": checkpoints.weights_sha256(model),
    }
    files.write_json(where.metrics, metrics)
    print(
        f"{arguments.run}: {score.wrong} of {score.examples} wrong, {score.error_pct:.2f} % ({low:.2f} to {high:.2f} %)"
    )


if __name__ == "__main__":
    run(main, run_arguments(__doc__))
