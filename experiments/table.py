"""Compares the results of one scale with the paper's numbers; writes table.md, .csv, .tex, an appendix, runs.csv."""

import argparse
from pathlib import Path

from capsrepro.core import params
from capsrepro.evidence import comparison, other_runs, scale, tables
from . import NAME, run_cli


def main(arguments: argparse.Namespace) -> None:
    """Writes the tables and prints the Markdown one."""
    known = params.read(arguments.params)
    ours = scale.load(known, arguments.results, arguments.scale, arguments.check)
    table, others = comparison.with_released(known, arguments.results, ours), other_runs.markdown(known, ours)
    tables.write(table, ours.results, arguments.results, arguments.scale, others)
    print(tables.markdown(table, arguments.scale, comparison.budgets(ours.results), others), end="")


def command_line(description: str | None) -> argparse.ArgumentParser:
    """The command line of scripts that show the results of a scale."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scale", type=NAME, default="quick", help="an entry under `scale_settings`, such as full")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="holds paper.csv and a folder for each scale"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameter file")
    parser.add_argument(
        "--check",
        action="store_true",
        help="recount stored predictions; refuse to mix scales, recipes of one run, or copies of one data set",
    )
    return parser


if __name__ == "__main__":
    run_cli(main, command_line(__doc__))
