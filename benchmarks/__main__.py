"""Measures training, memory, loading and start-up against their bounds; writes JSON and a table in the docs."""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import rows
from capsrepro.core import files
from capsrepro.core.errors import Error
from experiments import run_cli

EVERYTHING = Path("results", "benchmark.json")
PAGE = Path("docs", "performance.md")


def main(arguments: argparse.Namespace) -> None:
    """Measures, writes the results, and reports what became slower."""
    before = rows.read(arguments.compare) if arguments.compare else []
    if arguments.only:
        found = [rows.measured(arguments.only, arguments.data)]
        print(rows.line(found[0]), flush=True)
    else:
        found = [in_new_process(name, arguments.data) for name in rows.CASES]
        if not rows.insert_table(arguments.page, found):
            print(f"{arguments.page}: has no {rows.MARKERS[0]} ... {rows.MARKERS[1]} for the table")
    if output := arguments.output or (None if arguments.only else EVERYTHING):
        files.write_json(output, found)
    if arguments.compare:
        compare(found, before, arguments.compare)


def compare(found: list[rows.Row], before: list[rows.Row], path: Path) -> None:
    """Prints what is slower than before and what was not compared.

    Raises:
        Error: something is slower by more than its tolerance, or nothing could be compared.
    """
    compared, slower = rows.comparable(found, before), rows.slower(found, before)
    for name in (row["name"] for row in found if row["name"] not in compared):
        print(f"not compared: {name}: not measured now, or not in {path}")
    if not compared:
        raise Error(f"{path}: nothing could be compared, as no measurement is in both; measure the same ones again")
    for line in slower:
        print(f"slower: {line}")
    if slower:
        raise Error(f"{len(slower)} of {len(compared)} measurements are slower than in {path}, see above")


def in_new_process(name: str, data: Path) -> dict[str, Any]:
    """Measures one case in a new process, which has not allocated any memory yet, with the backend that it needs."""
    backend = rows.CASES[name].backend
    chosen = {"KERAS_BACKEND": backend} if backend and importlib.util.find_spec(backend) else {}
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary, f"{name}.json")
        words = ["--only", name, "--data", str(data), "--output", str(output)]
        command = [sys.executable, "-m", "benchmarks", *words]
        if subprocess.run(command, env=os.environ | chosen, check=False).returncode:
            raise Error(f"{name}: could not be measured, see above; try again with `--only {name}`")
        return rows.read(output)[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--only", choices=rows.CASES, metavar="NAME", help=f"one of {', '.join(rows.CASES)}")
    parser.add_argument("--output", type=Path, help=f"the JSON file; if not given: {EVERYTHING}, or none with --only")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="exit with 1 if something is slower than in this earlier file"
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds the folder mnist")
    parser.add_argument("--page", type=Path, default=PAGE, help="page for the table of all benchmarks; needs markers")
    run_cli(main, parser)
