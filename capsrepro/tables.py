"""The results of one scale beside the paper's numbers, in the manner of Table 1: Markdown, CSV and LaTeX."""

import dataclasses
import math
import re
import reprlib
import statistics
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tabulate

from capsrepro import files, verdicts
from capsrepro.errors import Error
from capsrepro.paper import DATA, Row
from capsrepro.verdicts import Result

SHOWN = ("method", "routing", "reconstruction", "measured", "95 % interval", "paper", "difference", "verdict")
UNITS = (
    "Test error in %; affNIST: accuracy in %. One seed: (wrong/examples) and Wilson's interval; several: mean ± "
    "standard deviation (seeds) and Student's interval."
)
WORDS = (
    "*reproduced*: the 95 % interval lies within the paper's value ± the margin in paper.csv; *better*, *missed*: all "
    "of it lies on the better or worse side of that band; *inconclusive*: neither; in brackets: what else it changed; "
    "*quick*: a narrower net or part of the data, so no verdict; *stale*: params.yaml has changed since; "
    "*not reached*: the run never came to its stop; *not run*: no result."
)
ALIGNMENT = ("left", "right", "left", "right", "right", "right", "right", "left")
_TOLD = ("device", "train_seconds", "images_per_second", "git_revision")
_OF_PROVENANCE = ("settings", "data_sha256", "train_examples", "stop_reached", *_TOLD)
_KINDS: Mapping[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "text"),
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    int | None: ((int, type(None)), "a whole number or null"),
    float: ((int, float), "a number"),
    float | None: ((int, float, type(None)), "a number or null"),
    Mapping[str, Any]: ((dict,), "an object"),
}
_LARGEST = 2**63  # numbers are below it: the tables hold them in 64 bits
_ANEW = "run `dvc repro` to write it anew"
_TYPES = typing.get_type_hints(Result)


def read_results(results: Path, scale: str) -> list[Result]:
    """Reads the metrics of a scale and the provenance beside them.

    Args:
        results: the folder that holds a folder for each scale.
        scale: which one.

    Returns:
        In the order of run and seed; none where there are no metrics.

    Raises:
        Error: a file is malformed, or not about the run, seed and scale that its path says; it names file and key.
    """
    paths = sorted((results / scale / "metrics").glob("*.json"))
    read = [_read_result(path, scale) for path in paths]
    return sorted(read, key=lambda result: (result.run, result.seed))


def check(results: Iterable[Result], scale: str) -> None:
    """Refuses what one table must not mix.

    Raises:
        Error: results of different scales, of one run with different recipes, or on different copies of one data set.
    """
    recipes: dict[str, Result] = {}
    copies: dict[str, Result] = {}
    for result in results:
        name = f"{result.run}-seed{result.seed}"
        if result.scale != scale:
            raise Error(f"{name}: of scale {result.scale!r} in a table of scale {scale!r}; make a table for each scale")
        first = recipes.setdefault(result.run, result)
        if result.recipe != first.recipe:
            told = f"recipe {result.recipe!r}, but seed {first.seed} followed {first.recipe!r}"
            raise Error(f"{name}: {told}; run `dvc repro` to train both alike")
        data = str(result.settings.get("data"))
        first = copies.setdefault(data, result)
        if result.data_sha256 != first.data_sha256:
            told = f"sha256 {result.data_sha256[:12]}, but {first.run}-seed{first.seed} {first.data_sha256[:12]}"
            raise Error(f"{name}: trained on {data} of {told}; run `dvc repro` to train both on the same data")


def build(
    rows: Mapping[str, Row],
    results: Sequence[Result],
    settings: Mapping[str, Mapping[str, Any]],
    paper_settings: Mapping[str, Mapping[str, Any]],
    reasons: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Sets the results of one scale beside the paper's numbers.

    Args:
        rows: the paper's numbers, from `paper.read`.
        results: of one scale; those of a run that the paper has not are left out.
        settings: what params.yaml says now of each run at that scale, as JSON holds it.
        paper_settings: the same at the scale `paper`.
        reasons: by id, why a row was not run.

    Returns:
        A line for each row of the paper, with empty cells where there is nothing. Percentages and their differences in
        points have four decimals. `wrong` and `examples` are summed over the seeds, `measured` is their mean.
    """
    lines = []
    for row in rows.values():
        found = [result for result in results if result.run == row.id]
        verdict = verdicts.judge(
            row, found, settings.get(row.id), paper_settings.get(row.id), (reasons or {}).get(row.id, "")
        )
        lines.append(_line(row, found, verdict))
    whole = dict.fromkeys(("routing", "seeds", "wrong", "examples", "paper_n", "parameters", "steps"), "Int64")
    return pd.DataFrame(lines).astype(whole | {"reconstruction": "boolean"})


def display(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `build` as one reads it: text in the columns `SHOWN`."""
    filled = table.astype(object).where(table.notna(), None)
    lines = [_shown(dict(zip(filled.columns, cells, strict=True))) for cells in filled.itertuples(index=False)]
    return pd.DataFrame(lines, columns=list(SHOWN), dtype=str)


def markdown(table: pd.DataFrame, scale: str) -> str:
    """The table of `build` in Markdown, with a heading and what the words mean."""
    body = _tabulated(table, "pipe")
    return f"# Scale `{scale}`\n\n{UNITS}\n\n{WORDS}\n\n{body}\n"


def latex(table: pd.DataFrame, scale: str) -> str:
    r"""The table of `build` as a LaTeX `tabular`, for `\input`; it wants the package booktabs."""
    body = _tabulated(table, "latex_booktabs").replace("±", r"$\pm$")
    body = re.sub(r"(?<=& )( *)([+-]\d+\.\d+)(?= )", r"\1$\2$", body)
    return f"% Scale {scale}. Wants \\usepackage{{booktabs}}.\n{body}\n"


def runs(results: Sequence[Result]) -> pd.DataFrame:
    """A line for each run and seed: its metrics, and of its provenance the data, the machine and the time."""
    names = [name for name in _TYPES if name not in _OF_PROVENANCE]
    facts = ["train_examples", "data_sha256", *_TOLD]
    lines = [{name: getattr(result, name) for name in (*names, *facts)} for result in results]
    for line, result in zip(lines, results, strict=True):
        line["precision"] = result.settings.get("precision")
    return pd.DataFrame(lines, columns=[*names, "precision", *facts]).astype({"routing": "Int64"})


def write(table: pd.DataFrame, results: Sequence[Result], folder: Path, scale: str) -> None:
    """Writes table.md, table.csv, table.tex and runs.csv to `folder`/`scale`, each whole or not at all.

    Raises:
        OSError: the disk is full or the folder may not be written to.
    """
    texts = {
        "table.md": markdown(table, scale),
        "table.csv": table.to_csv(index=False, lineterminator="\n"),
        "table.tex": latex(table, scale),
        "runs.csv": runs(results).to_csv(index=False, lineterminator="\n"),
    }
    for name, text in texts.items():
        files.write_text(folder / scale / name, text)


def _line(row: Row, results: Sequence[Result], verdict: verdicts.Verdict) -> dict[str, Any]:
    """One line of `build`. What was run is told rather than what the paper ran, where they differ."""
    first = results[0] if results else None
    values = verdicts.measured(row, results)
    mean = statistics.fmean(values) if values else None
    low, high = verdicts.interval(row, results) if results else (None, None)
    return {
        "id": row.id,
        "where": row.where,
        "method": f"{row.what}, {DATA[row.data].title}",
        "measure": row.measure,
        "routing": first.routing if first else row.routing,
        "reconstruction": first.reconstruction if first else row.decoder,
        "seeds": len(results),
        "wrong": sum(result.wrong for result in results) if first else None,
        "examples": sum(result.examples for result in results) if first else None,
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


def _shown(line: Mapping[str, Any]) -> dict[str, str]:
    """One line of `display`, from one of `build` with None in its empty cells."""
    measured = span = difference = ""
    if line["measured"] is not None:
        measured = f"{line['measured']:.2f} ({line['wrong']}/{line['examples']})"
        span = f"{line['interval_low']:.2f} to {line['interval_high']:.2f}"
        difference = f"{round(line['difference'], 2) + 0.0:+.2f}"  # no -0.00
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
        difference,
        str(verdicts.Verdict(line["verdict"], tuple(filter(None, [line["remarks"]])))),
    )
    return dict(zip(SHOWN, cells, strict=True))


def _tabulated(table: pd.DataFrame, style: str) -> str:
    shown = display(table)
    return tabulate.tabulate(
        shown.to_numpy().tolist(), headers=list(SHOWN), tablefmt=style, disable_numparse=True, colalign=ALIGNMENT
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _read_result(path: Path, scale: str) -> Result:
    metrics = files.read_json(path)
    beside = path.parents[1] / "provenance" / path.name
    provenance = files.read_json(beside)
    values = {}
    for field in dataclasses.fields(Result):
        file, content = (beside, provenance) if field.name in _OF_PROVENANCE else (path, metrics)
        if field.name in content or field.default is dataclasses.MISSING:
            values[field.name] = _value(content, field.name, file)
    result = Result(**values)
    if (result.scale, f"{result.run}-seed{result.seed}") != (scale, path.stem):
        found = f"scale {result.scale!r}, run {result.run!r}, seed {result.seed}"
        raise Error(f"{path}: expected the scale, run and seed of its path, received {found}; {_ANEW}")
    if not 0 <= result.wrong <= result.examples or result.examples < 1:
        raise Error(f"{path}, wrong: {result.wrong} of {result.examples} examples cannot be; {_ANEW}")
    if not abs(result.test_error_pct - 100 * result.wrong / result.examples) <= 0.001:  # NaN too
        counted = f"{result.wrong} of {result.examples} wrong"
        raise Error(f"{path}, test_error_pct: {result.test_error_pct} is not {counted}; {_ANEW}")
    for name, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            raise Error(
                f"{beside if name in _OF_PROVENANCE else path}, {name}: expected a number, received nan; {_ANEW}"
            )
    return result


def _value(content: Mapping[str, Any], name: str, path: Path) -> Any:
    """The value of a key, of the type that `Result` wants."""
    if name not in content:
        raise Error(f"{path}, {name}: missing; {_ANEW}")
    value, kind = content[name], _TYPES[name]
    allowed, wanted = _KINDS[kind]
    wrong = not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool)
    if wrong or (isinstance(value, int | float) and abs(value) >= _LARGEST):
        raise Error(f"{path}, {name}: expected {wanted}, received {reprlib.repr(value)}; {_ANEW}")
    return value
