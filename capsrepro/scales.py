"""One scale as a whole: its results and the published checkpoints' beside the paper's numbers, for table and report."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from capsrepro import paper, reasons, tables
from capsrepro.errors import Error
from capsrepro.params import Params
from capsrepro.verdicts import Result


def assemble(known: Params, folder: Path, scale: str, strict: bool = False) -> tuple[pd.DataFrame, list[Result]]:
    """Everything of one scale, and after it the lines of the authors' published checkpoints, which are in every table.

    Args:
        known: the parameter file.
        folder: holds paper.csv and a folder for each scale.
        scale: which one.
        strict: whether `tables.check` has to pass.

    Returns:
        The table of `tables.build` and the results of the scale.

    Raises:
        Error: nothing knows of the scale, a file is malformed, or `tables.check` refuses.
    """
    if scale not in known.scale_settings and not (folder / scale).is_dir():
        names = ", ".join(known.scale_settings)
        raise Error(f"unknown scale {scale!r}; known to the parameter file: {names}")
    rows = paper.read(folder / "paper.csv")
    results = tables.read_results(folder, scale)
    if strict:
        tables.check(results, scale)
    in_paper = settings(known, "paper")
    table = tables.build(rows, results, settings(known, scale), in_paper, reasons.read(folder, scale))
    theirs = settings(known, "released")
    marked = {
        name: dataclasses.replace(rows[name], what=f"{rows[name].what}, released checkpoint")
        for name in theirs
        if name in rows
    }
    if marked:
        published = tables.read_results(folder, "released"), theirs, in_paper, reasons.read(folder, "released")
        table = pd.concat([table, tables.build(marked, *published)], ignore_index=True)
    return table, results


def settings(known: Params, scale: str) -> dict[str, dict[str, Any]]:
    """What params.yaml says of each run at a scale, as JSON holds it; a run that the scale has not is left out."""
    runs = [name for name in known.runs if name in known.scale_settings.get(scale, {})]
    return {name: json.loads(json.dumps(dataclasses.asdict(known.settings(name, scale)))) for name in runs}
