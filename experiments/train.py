"""Trains one run at one scale with one seed: weights, history, provenance. A killed training goes on where it was."""

import argparse
import os
import sys
from pathlib import Path

from experiments import run, run_arguments


def main(arguments: argparse.Namespace) -> None:
    """Trains and writes the three files, the weights last but for the removal of the backups."""
    from capsrepro import params, paths

    settings = params.read(arguments.params).settings(arguments.run, arguments.scale)
    where = paths.Run(arguments.scale, arguments.run, arguments.seed)

    import pandas

    from capsrepro import checkpoints, files, provenance, training
    from capsrepro.data import loading

    dataset = loading.load(settings, "train", arguments.data, arguments.scale)
    trained = training.train(
        settings,
        dataset,
        arguments.seed,
        state=Path(os.environ.get("CAPSREPRO_STATE", "state")) / where.name,
        logs=where.logs,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    facts = provenance.describe(settings, dataset, seconds=trained.seconds, steps_done=settings.steps)
    files.write_text(where.history, pandas.DataFrame(trained.history).to_csv(index=False, float_format="%.6g"))
    files.write_json(
        where.provenance, {"run": arguments.run, "scale": arguments.scale, "seed": arguments.seed, **facts}
    )
    checkpoints.save_weights(trained.model, where.weights)
    trained.backups.clear()
    print(f"{where.weights}: {settings.steps} steps in {trained.seconds:.0f} s, {facts['images_per_second']} images/s")


if __name__ == "__main__":
    run(main, run_arguments(__doc__))
