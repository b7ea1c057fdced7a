"""Sets the results of one scale beside the paper's numbers: table.md, .csv, .tex and runs.csv in its folder."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas

from capsrepro import paper, params, tables
from capsrepro.errors import Error
from experiments import run


def main(arguments: argparse.Namespace) -> None:
    """Reads, judges, writes and prints."""
    known = params.read(arguments.params)
    if arguments.scale not in known.scale_settings and not (arguments.results / arguments.scale).is_dir():
        names = ", ".join(known.scale_settings)
        raise Error(f"unknown scale {arguments.scale!r}; known to {arguments.params}: {names}")
    rows = paper.read(arguments.results / "paper.csv")
    results = tables.read_results(arguments.results, arguments.scale)
    if arguments.check:
        tables.check(results, arguments.scale)
    reasons = tables.read_reasons(arguments.results, arguments.scale)
    table = tables.build(rows, results, settings(known, arguments.scale), settings(known, "paper"), reasons)
    table = pandas.concat([table, released(known, rows, arguments.results)], ignore_index=True)
    tables.write(table, results, arguments.results, arguments.scale)
    print(tables.markdown(table, arguments.scale), end="")


def released(known: params.Params, rows: dict[str, paper.Row], results: Path) -> pandas.DataFrame:
    """Lines for the authors' published checkpoints, which are in every table."""
    theirs = settings(known, "released")
    marked = {
        name: dataclasses.replace(rows[name], what=f"{rows[name].what}, released checkpoint")
        for name in theirs
        if name in rows
    }
    read = tables.read_results(results, "released"), theirs, settings(known, "paper")
    return tables.build(marked, *read, tables.read_reasons(results, "released"))


def settings(known: params.Params, scale: str) -> dict[str, dict[str, Any]]:
    """What params.yaml says of each run at a scale, as JSON holds it; a run that the scale has not is left out."""
    runs = [name for name in known.runs if name in known.scale_settings.get(scale, {})]
    return {name: json.loads(json.dumps(dataclasses.asdict(known.settings(name, scale)))) for name in runs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scale", default="quick", help="an entry under `scale_settings`: quick, full or paper")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="holds paper.csv and a folder for each scale"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the parameter file")
    parser.add_argument(
        "--check", action="store_true", help="refuse to mix scales, recipes of one run, or copies of one data set"
    )
    run(main, parser)
