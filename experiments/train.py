"""Trains one run at one scale with one seed, resuming if interrupted; writes weights, history and provenance."""

import argparse
import os
import sys
from pathlib import Path

from experiments import FETCHED, run_arguments, run_cli
from experiments.fetch import fetch_for

HELD_OUT = ("mnist", "cifar10")  # with `validate` their test split is 10,000 training images; it is watched


def main(arguments: argparse.Namespace) -> None:
    """Trains and writes three files, the weights last; only then the backups are removed."""
    from capsrepro.core import params, paths

    settings = params.read(arguments.params).settings(arguments.run, arguments.scale)
    where = paths.RunPaths(arguments.scale, arguments.run, arguments.seed)

    import pandas

    from capsrepro.core import files
    from capsrepro.data import loading
    from capsrepro.network import devices, models
    from capsrepro.network.weights import Origin, save_weights
    from capsrepro.training import loop, provenance
    from capsrepro.training.callback import VALIDATION
    from capsrepro.training.tried import listed_if_unfinished

    devices.share_gpus()
    if settings.data in FETCHED:
        fetch_for(where, [settings.data], arguments.data)
    dataset = loading.load(settings, "train", arguments.data, arguments.scale)
    stop = loading.load(settings, "stop", arguments.data, arguments.scale) if settings.stop_pct else None
    watch = {}
    if settings.validate and settings.data in HELD_OUT:
        watch[VALIDATION] = loading.load(settings, "test", arguments.data, arguments.scale)
    state = Path(os.environ.get("CAPSREPRO_STATE", "state")) / where.name
    with listed_if_unfinished(where, settings):
        trained = [
            loop.train(
                settings,
                dataset,
                arguments.seed * settings.members + member,  # unique over all seeds and members
                state=state / str(member),
                stop=stop,
                watch=watch,
                logs=where.logs / str(member),
                verbose=1 if sys.stdout.isatty() else 2,
            )
            for member in range(settings.members)
        ]
    facts = provenance.describe(settings, dataset, trained)
    history = [{"member": number, **line} for number, one in enumerate(trained) for line in one.history]
    files.write_text(where.history, pandas.DataFrame(history).to_csv(index=False, float_format="%.6g"))
    files.write_json(
        where.provenance, {"run": arguments.run, "scale": arguments.scale, "seed": arguments.seed, **facts}
    )
    resolved = devices.resolved(settings)
    origin = Origin(arguments.run, arguments.scale, arguments.seed, facts["steps_done"], resolved)
    save_weights(models.ensemble([one.model for one in trained]), where.weights, origin=origin)
    for one in trained:
        one.backups.clear()
    message = f"{facts['steps_done']} steps in {facts['train_seconds']} s, {facts['images_per_second']} images/s"
    print(f"{where.weights}: {message}")


if __name__ == "__main__":
    run_cli(main, run_arguments(__doc__))
