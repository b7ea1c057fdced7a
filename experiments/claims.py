"""Judges the paper's claims at one scale: claims.md, .csv, .tex and an appendix in its folder."""

import argparse

from capsrepro.core import params, paths
from capsrepro.evidence import claim_results, claim_tables, claims, scale
from . import run_cli
from .table import command_line


def main(arguments: argparse.Namespace) -> None:
    """Reads, judges, writes and prints."""
    ours = scale.load(params.read(arguments.params), arguments.results, arguments.scale, arguments.check)
    judged = claim_results.judge_all(ours, claims.read(paths.found(arguments.results / "claims.csv")))
    claim_tables.write(judged, arguments.results, arguments.scale)
    print(claim_tables.markdown(judged, arguments.scale), end="")


if __name__ == "__main__":
    run_cli(main, command_line(__doc__))
