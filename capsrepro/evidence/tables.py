"""Writes the comparison of a scale with the paper as tables like Table 1: Markdown, CSV and LaTeX."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from capsrepro.core import files
from capsrepro.evidence import comparison, latex, lined, verdicts
from capsrepro.evidence.results import Metrics, Result

SHOWN = ("method", "routing", "reconstruction", "measured", "95 % interval", "paper", "difference", "verdict")
UNITS = (
    "Test error in %; affNIST: accuracy in %. One seed: (wrong/examples) and Wilson's interval; several: mean ± "
    "standard deviation (seeds) and Student's interval. Where several affNIST images show one digit, the interval is a "
    "bootstrap over digits or, without stored predictions, Wilson's interval widened 2.5 times."
)
WORDS = (
    "*reproduced*: the 95 % interval lies within the paper's value ± the margin in paper.csv; *better*, *missed*: all "
    "of it lies on the better or worse side of that band; *inconclusive*: neither; *underpowered*: neither, and no "
    "possible result would have been *reproduced*; *changed*: another routing or decoder than the paper's row; "
    "*quick*: a narrower network or a part of the data, so no verdict; *reduced width*: a narrower network on all of "
    "the data, so no verdict; *stale*: params.yaml has changed since; "
    "*not reached*: the training ended before it reached its accuracy; *not run*: no result. In brackets: what else "
    "differs from the paper."
)
POWERED = ("row", "seeds", "reproduced if wrong", "power", "seeds for 0.90")
POWER = (
    "Power: the probability of *reproduced* if the paper's number is right. With one seed it is the probability of the "
    "wrong counts that would be *reproduced*; with several it follows from the measured spread over seeds. The last "
    "column is the number of seeds that makes it 0.90. With a single seed the binomial spread is used, as the spread "
    "over seeds is unknown."
)
POWER_ALIGNMENT = ("left", "right", "right", "right", "right")
ALIGNMENT = ("left", "right", "left", "right", "right", "right", "right", "left")
FACTS = ("train_examples", "data_sha256", "device", "train_seconds", "images_per_second", "git_revision")
# Of metrics; the first stands beside the precision.
_NOT_COUNTS = ("counted_in", "test_sha256", "stop_accuracy_pct", "rounded_from", "digits_wrong", "digit_error_pct")


def display(table: pd.DataFrame) -> pd.DataFrame:
    """Formats the table of `comparison.build` for reading: text in the columns `SHOWN`."""
    lines = [_shown(line) for line in comparison.records(table)]
    return pd.DataFrame(lines, columns=list(SHOWN), dtype=str)


def power(table: pd.DataFrame) -> list[list[str]]:
    """Formats the power of the verdicts in the table of `comparison.build`: text in the columns `POWERED`.

    Rows without a verdict on the paper's number are left out.
    """
    return [
        [
            line["id"] + ("" if line["method"].count(",") == 1 else f" ({line['method'].split(', ')[1]})"),
            str(line["seeds"]),
            "" if line["reproducing"] is None else str(line["reproducing"]),
            f"{line['power']:.2f}",
            "over 1000" if line["seeds_needed"] is None else str(line["seeds_needed"]),
        ]
        for line in comparison.records(table)
        if line["power"] is not None
    ]


def markdown(table: pd.DataFrame, scale: str, notes: Sequence[str] = (), after: Sequence[str] = ()) -> str:
    """Renders the table of `comparison.build` in Markdown, with explanations above it and the power below.

    Args:
        table: of `comparison.build`.
        scale: for the heading.
        notes: sentences above the table, such as those of `comparison.budgets`.
        after: blocks below all tables, such as those of `other_runs.markdown`.
    """
    blocks = [f"# Scale `{scale}`", UNITS, WORDS, *notes]
    blocks.append(lined.table(display(table).to_numpy().tolist(), SHOWN, ALIGNMENT))
    if lines := power(table):
        blocks += [POWER, lined.table(lines, POWERED, POWER_ALIGNMENT)]
    return "\n\n".join([*blocks, *after]) + "\n"


def runs(results: Sequence[Result]) -> pd.DataFrame:
    """A line for each run and seed: its metrics, data, machine and training time."""
    names = [field.name for field in dataclasses.fields(Metrics) if field.name not in _NOT_COUNTS]
    lines = [{name: getattr(result, name) for name in (*names, *FACTS)} for result in results]
    for line, result in zip(lines, results, strict=True):
        line |= {"precision": result.settings.get("precision"), "counted_in": result.counted_precision}
        line["steps"] = result.steps_trained
    return pd.DataFrame(lines, columns=[*names, "precision", "counted_in", *FACTS]).astype({"routing": "Int64"})


def write(table: pd.DataFrame, results: Sequence[Result], folder: Path, scale: str, after: Sequence[str] = ()) -> None:
    """Writes table.md, .csv and .tex, table-appendix.tex and runs.csv to `folder`/`scale`, each atomically.

    Args:
        table: of `comparison.build`.
        results: of the scale.
        folder: holds a folder for each scale.
        scale: its name.
        after: see `markdown`.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    texts = {
        "table.md": markdown(table, scale, comparison.budgets(results), after),
        "table.csv": table.to_csv(index=False, lineterminator="\n"),
        "table.tex": latex.numbers(table, scale),
        "table-appendix.tex": latex.all_numbers(table, scale),
        "runs.csv": runs(results).to_csv(index=False, lineterminator="\n"),
    }
    for name, text in texts.items():
        files.write_text(folder / scale / name, text)


def _shown(line: Mapping[str, Any]) -> dict[str, str]:
    """Formats one line of `comparison.records` for `display`."""
    measured = span = ""
    if line["measured"] is not None:
        measured = f"{line['measured']:.2f} ({line['wrong']}/{line['examples']})"
        span = f"{line['interval_low']:.2f} to {line['interval_high']:.2f}"
    if line["std"] is not None:
        measured = f"{line['measured']:.3f} ± {line['std']:.3f} ({line['seeds']})"
    paper = f"{line['paper']:g}"
    if line["paper_std"] is not None:
        paper += f" ± {line['paper_std']:g} ({line['paper_n']})"
    _, bracket, remark = line["where"].partition(" (")  # `Table 1 (section 6 says 5.0)`
    cells = (
        line["method"],
        "" if line["routing"] is None else str(line["routing"]),
        {None: "", True: "yes", False: "no"}[line["reconstruction"]],
        measured,
        span,
        paper + bracket + remark,
        lined.signed(line["difference"]),
        str(verdicts.Verdict(line["verdict"], tuple(filter(None, [line["remarks"]])))),
    )
    return dict(zip(SHOWN, cells, strict=True))
