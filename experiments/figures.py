"""Draws figures into results/SCALE/figures; `data` draws labelled samples of each available data set, as PNG."""

import argparse
from pathlib import Path
from typing import Any

from capsrepro import sources
from capsrepro.core.errors import Error
from . import FETCHED, NAME, run_cli

NAMES = ("mnist", "multimnist", "affnist", "expanded", *FETCHED)


def data(arguments: argparse.Namespace) -> None:
    """Draws all data sets before writing any figure, and reports those that are not available."""
    from capsrepro.figures import drawing

    drawn = {}
    for name in arguments.names or NAMES:
        if name not in FETCHED or sources.is_fetched(name, arguments.data):
            drawn[name] = picture(name, arguments.data, arguments.scale)
            continue
        missing = f"data-{name}: not drawn, {arguments.data / name} lacks files; run python -m experiments.fetch {name}"
        if arguments.names:
            raise Error(missing)
        print(missing, flush=True)
    for name, figure in drawn.items():
        path = arguments.results / arguments.scale / "figures" / f"data-{name}.png"
        drawing.save(figure, path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def data_set_name(text: str) -> str:
    """An argparse type for the name of a data set; `choices` would not allow an empty list of names."""
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(NAMES)}, received {text!r}")
    return text


def picture(name: str, folder: Path, scale: str) -> Any:
    """Draws one data set, after verifying its files, as a matplotlib Figure."""
    from capsrepro.core import params
    from capsrepro.data import loading
    from capsrepro.figures import data as sheets

    def load(which: Any, split: loading.Split) -> Any:
        # The paper's shifts; one pair per digit, as in the built index, so that its pair i is drawn.
        shift = 4 if which == "multimnist" else 2
        settings = params.RunConfig(data=which, model="capsnet", shift=shift, test_pairs=1)
        return loading.load(settings, split, folder, scale)

    if name == "affnist":
        return sheets.affnist(load("affnist", "test"), load("mnist", "test"))
    if name == "expanded":
        return sheets.expanded(load("affnist", "train"), load("affnist", "stop"))
    return getattr(sheets, name)(load(name, "train"), load(name, "test"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    samples = commands.add_parser(
        "data", help="labelled samples", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    names = f"{', '.join(NAMES)}; if not given: all available"
    samples.add_argument("names", nargs="*", metavar="NAME", type=data_set_name, help=names)
    samples.set_defaults(draw=data)
    for command in commands.choices.values():
        command.add_argument(
            "--scale", type=NAME, default="quick", help="the scale of the built files and of the figures"
        )
        command.add_argument("--data", type=Path, default=Path("data"), help="the folder of the data sets")
        command.add_argument("--results", type=Path, default=Path("results"), help="holds a folder for each scale")
    run_cli(lambda arguments: arguments.draw(arguments), parser)
