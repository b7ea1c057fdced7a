"""Adds a run of your own to params.yaml: the settings of another run, some of them changed."""

import argparse
from pathlib import Path

from capsrepro.core import new_run
from capsrepro.core.errors import Error
from . import run_cli


def main(arguments: argparse.Namespace) -> None:
    """Writes the entries and prints where they stand."""
    changed = {}
    for words in arguments.settings:
        key, equals, value = words.partition("=")
        if not equals:
            raise Error(f"{words}: expected KEY=VALUE, such as routing=2")
        changed[key] = value
    where = new_run.add(arguments.params, arguments.name, arguments.like, changed)
    print(f"{arguments.params}: {arguments.name} added to {', '.join(where)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("name", help="of the new run")
    parser.add_argument(
        "--like", required=True, metavar="RUN", help="the run that it derives from and is compared with"
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings that differ, such as routing=2")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameter file")
    run_cli(main, parser, intermixed=True)
