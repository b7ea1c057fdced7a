"""Compares the results of one scale with the paper's numbers, as a DataFrame with verdicts."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from capsrepro.core import not_run
from capsrepro.core.errors import Error
from capsrepro.core.params import Params
from capsrepro.evidence import paper, results, verdicts
from capsrepro.evidence.paper import DATA, Row
from capsrepro.evidence.results import Result


def load_comparison(known: Params, folder: Path, scale: str, strict: bool = False) -> tuple[pd.DataFrame, list[Result]]:
    """Loads the comparison of one scale with the paper, followed by the rows of the authors' published checkpoints.

    The rows of the published checkpoints are part of every table.

    Args:
        known: the parameter file.
        folder: holds paper.csv and a folder for each scale.
        scale: name of the scale.
        strict: whether `results.check` must pass.

    Returns:
        The table of `build` and the results of the scale.

    Raises:
        Error: the scale is unknown and has no folder, a file is malformed, or `results.check` raises.
    """
    if scale not in known.scale_settings and not (folder / scale).is_dir():
        names = ", ".join(known.scale_settings)
        raise Error(f"unknown scale {scale!r}; known to the parameter file: {names}")
    rows = paper.read(folder / "paper.csv")
    found = results.read(folder, scale)
    if strict:
        results.check(found, scale)
    in_paper = settings(known, "paper")
    table = build(rows, found, settings(known, scale), in_paper, not_run.read(folder, scale))
    theirs = settings(known, "released")
    marked = {
        name: dataclasses.replace(rows[name], what=f"{rows[name].what}, released checkpoint")
        for name in theirs
        if name in rows
    }
    if marked:
        published = results.read(folder, "released"), theirs, in_paper, not_run.read(folder, "released")
        table = pd.concat([table, build(marked, *published)], ignore_index=True)
    return table, found


def settings(known: Params, scale: str) -> dict[str, dict[str, Any]]:
    """The settings in params.yaml of each run at a scale, as JSON values; runs that the scale lacks are left out."""
    runs = [name for name in known.runs if name in known.scale_settings.get(scale, {})]
    return {name: known.settings(name, scale).as_json() for name in runs}


def build(
    rows: Mapping[str, Row],
    found: Sequence[Result],
    settings: Mapping[str, Mapping[str, Any]],
    paper_settings: Mapping[str, Mapping[str, Any]],
    reasons: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Compares the results of one scale with the paper's numbers.

    Args:
        rows: the paper's numbers, from `paper.read`.
        found: the results of one scale; results of runs that are not in the paper are left out.
        settings: the current settings in params.yaml of each run at that scale, as JSON values.
        paper_settings: the same at the scale `paper`.
        reasons: why a row was not run, by id.

    Returns:
        A line for each row of the paper; cells without a value are empty. Percentages and their differences (in points)
        are rounded to four decimals. `wrong` and `examples` are sums over the seeds; `measured` is the mean over them.
    """
    lines = []
    for row in rows.values():
        seeds = [result for result in found if result.run == row.id]
        verdict = verdicts.judge(
            row, seeds, settings.get(row.id), paper_settings.get(row.id), (reasons or {}).get(row.id, "")
        )
        lines.append(_line(row, seeds, verdict))
    whole = dict.fromkeys(("routing", "seeds", "wrong", "examples", "paper_n", "parameters", "steps"), "Int64")
    return pd.DataFrame(lines).astype(whole | {"reconstruction": "boolean"})


def _line(row: Row, seeds: Sequence[Result], verdict: verdicts.Verdict) -> dict[str, Any]:
    """One line of `build`; its routing and reconstruction are those of our run, not of the paper's."""
    first = seeds[0] if seeds else None
    values = verdicts.measured(row, seeds)
    mean = statistics.fmean(values) if values else None
    low, high = verdicts.interval(row, seeds) if seeds else (None, None)
    return {
        "id": row.id,
        "where": row.where,
        "method": f"{row.what}, {DATA[row.data].title}",
        "measure": row.measure,
        "routing": first.routing if first else row.routing,
        "reconstruction": first.reconstruction if first else row.decoder,
        "seeds": len(seeds),
        "wrong": sum(result.wrong for result in seeds) if first else None,
        "examples": sum(result.examples for result in seeds) if first else None,
        "measured": _rounded(mean),
        "std": _rounded(statistics.stdev(values)) if len(values) > 1 else None,
        "interval_low": _rounded(low),
        "interval_high": _rounded(high),
        "paper": row.value,
        "paper_std": row.std,
        "paper_n": row.n,
        "margin": row.margin,
        "difference": None if mean is None else _rounded(mean - row.value),
        "verdict": verdict.word,
        "remarks": ", ".join(verdict.remarks),
        "parameters": first.parameters if first else None,
        "steps": first.steps if first else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
