"""Trains one run at one scale with one seed or several, resuming if interrupted; writes the files of each seed."""

import argparse
import os
import sys
from pathlib import Path

from . import SEED, run_arguments, run_cli

HELD_OUT = ("mnist", "cifar10")  # with `validate` their test split is 10,000 training images; it is watched


def main(arguments: argparse.Namespace) -> None:
    """Trains, and writes three files for each seed, the weights last; only then the backups are removed."""
    from capsrepro.core import not_run, params, paths

    chosen = params.read(arguments.params)
    settings, seeds = chosen.settings(arguments.run, arguments.scale), arguments.seeds or [arguments.seed]
    places, together = (
        [paths.RunPaths(arguments.scale, arguments.run, seed) for seed in dict.fromkeys(group)]
        for group in (seeds, chosen.companions(arguments.scale, seeds))
    )
    if arguments.unless_noted and not_run.because_of(places[0], arguments.data / settings.data):
        print(f"{places[0].name}: not trained, {not_run.UNREACHABLE}")
        return

    from capsrepro.data import loading

    splits: list[loading.Split] = ["train"]
    splits += ["stop"] if settings.stop_pct is not None else []
    splits += ["test"] if settings.validate and settings.data in HELD_OUT else []
    loaded = {split: loading.load(settings, split, arguments.data, arguments.scale) for split in splits}
    from capsrepro.network import devices  # takes seconds, errors come before
    from capsrepro.training.callback import VALIDATION
    from capsrepro.training.seeds import train_and_save

    devices.prepare(settings.threads)
    train_and_save(
        settings,
        loaded["train"],
        places,
        state=Path(os.environ.get("CAPSREPRO_STATE", "state")),
        together=together,
        stop=loaded.get("stop"),
        watch={VALIDATION: loaded["test"]} if "test" in loaded else {},
        verbose=1 if sys.stdout.isatty() else 2,
    )


if __name__ == "__main__":
    parser = run_arguments(__doc__)
    parser.add_argument("--unless-noted", action="store_true", help="if `fetch --note` noted the source, write that")
    parser.add_argument("--seeds", type=SEED, nargs="+", metavar="SEED", help="several seeds, in place of --seed")
    run_cli(main, parser)
