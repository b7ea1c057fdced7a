"""Writes the report of one scale: report.md for code hosts, report.html as a self-contained page with sortable rows."""

import argparse
from pathlib import Path

from capsrepro import report
from capsrepro.core import params
from . import run_cli
from .table import command_line


def main(arguments: argparse.Namespace) -> None:
    """Writes the report and prints path and size of each file."""
    known = params.read(arguments.params)
    for path in report.write(known, arguments.results, arguments.scale, arguments.check, arguments.data):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="holds mnist, for the gallery of wrong digits")
    run_cli(main, parser)
