"""Trains one run at one scale with one seed or several, resuming if interrupted; writes the files of each seed."""

import argparse
import os
import sys
from pathlib import Path

from experiments import FETCHED, run_arguments, run_cli
from experiments.fetch import fetch_for


def main(arguments: argparse.Namespace) -> None:
    """Trains, and writes three files for each seed, the weights last; only then the backups are removed."""
    from capsrepro.core import params, paths

    chosen = params.read(arguments.params)
    settings, seeds = chosen.settings(arguments.run, arguments.scale), arguments.seeds or [arguments.seed]
    others = chosen.seeds if chosen.together and set(seeds) <= set(chosen.seeds) else ()
    places, together = (
        [paths.RunPaths(arguments.scale, arguments.run, seed) for seed in dict.fromkeys(group)]
        for group in (seeds, others)
    )

    from capsrepro.data import loading
    from capsrepro.network import devices
    from capsrepro.training.seeds import train_and_save

    devices.share_gpus()
    if settings.data in FETCHED:
        fetch_for(places[0], [settings.data], arguments.data)
    train_and_save(
        settings,
        loading.load(settings, "train", arguments.data, arguments.scale),
        places,
        state=Path(os.environ.get("CAPSREPRO_STATE", "state")),
        together=together,
        stop=loading.load(settings, "stop", arguments.data, arguments.scale) if settings.stop_pct else None,
        verbose=1 if sys.stdout.isatty() else 2,
    )


if __name__ == "__main__":
    parser = run_arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="several seeds, in place of --seed")
    run_cli(main, parser)
