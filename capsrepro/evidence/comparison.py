"""Compares the results of one scale with the paper's numbers, as a DataFrame with verdicts."""

import dataclasses
import functools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from capsrepro.core.params import TITLES, Params
from capsrepro.evidence import claim_results, clusters, plan, scale, verdicts
from capsrepro.evidence.paper import Row
from capsrepro.evidence.power import Power
from capsrepro.evidence.results import Result
from capsrepro.evidence.scale import Scale
from capsrepro.evidence.verdicts import Verdict

_WHOLE = ("routing", "seeds", "wrong", "examples", "paper_n", "seeds_needed", "parameters", "steps")


def with_released(known: Params, folder: Path, ours: Scale) -> pd.DataFrame:
    """Compares a scale with the paper, and so the authors' published checkpoints, whose rows come last in every table.

    Args:
        known: the parameter file.
        folder: holds a folder for each scale.
        ours: the scale.

    Returns:
        A table as of `build`.

    Raises:
        Error: a file is malformed.
    """
    table = build(ours)
    if "released" in known.scale_settings:
        theirs = scale.load(known, folder, "released")
        rows = {
            run: dataclasses.replace(theirs.rows[run], what=f"{theirs.rows[run].what}, released checkpoint")
            for run in theirs.settings
            if run in theirs.rows
        }
        if rows:
            table = pd.concat([table, build(dataclasses.replace(theirs, rows=rows))], ignore_index=True)
    return table


def build(ours: Scale) -> pd.DataFrame:
    """Compares the results of one scale with the paper's numbers.

    Returns:
        A line for each row of the paper; cells without a value are empty. Percentages and their differences (in points)
        are rounded to four decimals. `wrong` and `examples` are sums over the seeds; `measured` is the mean over them.
        `power`, `seeds_needed` and `reproducing` (the wrong counts of one seed that are `reproduced`) describe the
        power of the verdict, see `power`. Results of runs that are not in the paper are left out.
    """
    lines = [_line(ours, row) for row in ours.rows.values()]
    return pd.DataFrame(lines).astype(dict.fromkeys(_WHOLE, "Int64") | {"reconstruction": "boolean"})


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of the table of `build` as values by column; an empty cell is None."""
    lines: list[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return lines


def verdict(ours: Scale, row: Row) -> Verdict:
    """The verdict of one scale on one number of the paper.

    Raises:
        Error: stored predictions are damaged; the message names the file.
    """
    seeds = ours.of(row.id)
    return verdicts.judge(
        row,
        seeds,
        ours.settings.get(row.id),
        ours.paper_settings.get(row.id),
        ours.reasons.get(row.id, ""),
        by_digit=_by_digit(ours, row, seeds),
        gap=functools.partial(claim_results.gap, ours),
        planned=plan.remarks(ours.plans, seeds),
    )


def budgets(found: Sequence[Result]) -> list[str]:
    """Names, in a sentence for each data set, the rows that were trained for different numbers of images.

    A comparison of such rows is not one of networks alone. Trainings that end at an accuracy, as in the paper, are left
    out.
    """
    sentences = []
    for data, title in TITLES.items():
        runs: dict[float, list[str]] = {}
        for one in found:
            if one.settings.get("data") == data and one.settings.get("stop_pct") is None:
                names = runs.setdefault(one.images_trained, [])
                names += [one.run] if one.run not in names else []
        if len(runs) > 1:
            each = "; ".join(f"{images / 1e6:.2g} million: {', '.join(runs[images])}" for images in sorted(runs))
            sentences.append(f"Unequal budgets on {title}, in images shown: {each}.")
    return sentences


def _by_digit(ours: Scale, row: Row, seeds: Sequence[Result]) -> np.ndarray | None:
    """The fraction of each digit's images that is right, if `verdicts.interval` needs it and it is known."""
    if len(seeds) != 1 or not clusters.share_digits(row.data, seeds[0].examples):
        return None
    kept = ours.predictions(seeds[0])
    return None if kept is None else clusters.by_digit(kept.labels, kept.right)


def _line(ours: Scale, row: Row) -> dict[str, Any]:
    """One line of `build`; its routing and reconstruction are those of our run, not of the paper's."""
    seeds = ours.of(row.id)
    found = verdict(ours, row)
    first = seeds[0] if seeds else None
    values = verdicts.measured(row, seeds)
    mean = statistics.fmean(values) if values else None
    low, high = found.interval or (None, None)
    changed, could = found.word == "changed", found.power
    return {
        "id": row.id,
        "where": row.where,
        "method": f"{row.what}, {TITLES[row.data]}{', changed' if changed else ''}",
        "measure": row.measure,
        "routing": first.routing if first else row.routing,
        "reconstruction": first.reconstruction if first else row.decoder,
        "seeds": len(seeds),
        "wrong": sum(result.wrong for result in seeds) if first else None,
        "examples": sum(result.examples for result in seeds) if first else None,
        "measured": _rounded(mean),
        "std": _rounded(verdicts.spread(row, seeds)),
        "interval_low": _rounded(low),
        "interval_high": _rounded(high),
        "paper": row.value,
        "paper_std": row.std,
        "paper_n": row.n,
        "margin": row.margin,
        "difference": None if mean is None or changed else _rounded(mean - row.value),
        "verdict": found.word,
        "remarks": ", ".join(found.remarks),
        "power": None if could is None else _rounded(could.probability),
        "seeds_needed": None if could is None else could.seeds_needed,
        "reproducing": _counts(could),
        "parameters": first.parameters if first else None,
        "steps": max(result.steps_trained for result in seeds) if first else None,
    }


def _counts(could: Power | None) -> str | None:
    """Formats the counts as `no count`, `23` or `4325 to 6050`; None if there are several seeds."""
    if could is None or could.counts is None:
        return None
    counts = could.counts
    return "no count" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
