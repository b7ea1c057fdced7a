"""Lists the benchmarks, formats their results as lines and as a table, and compares them with an earlier run."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks import memory, startup, steps, training
from capsrepro.core import files
from capsrepro.core.errors import Error

NOT_MEASURED = "not measured"
TOLERANCE = 0.1  # relative change of a ratio that counts as noise, unless a case has its own
MARKERS = ("<!-- benchmark -->", "<!-- /benchmark -->")  # around the table in the docs

Row = dict[str, Any]  # name, value, unit, bound, ratio = value / bound


class Case(NamedTuple):
    """A benchmark."""

    what: str
    unit: str  # higher is better for units that end in `/s`, lower for all others
    measure: Callable[[Path], float | tuple[float, float] | None]  # from the data folder to value, or value and bound
    bound: float | None = None  # the bound, unless it is measured
    tolerance: float = TOLERANCE
    backend: str | None = None  # the only one that can be measured, if it is installed


def _loading(name: Literal["mnist", "multimnist"], folder: Path) -> float:
    from benchmarks import data  # imports SciPy, which would make `--help` slower than a second

    return data.on_one_core(name, folder)


_STEPS = "MNIST CapsNet with decoder, batch 128, loading included (GPU: full, bfloat16; CPU: `quick`, float32)"
_PRODUCTS = "bound: the matrix products of its 9×9 convolution"

CASES: Mapping[str, Case] = {
    **{
        f"train_mnist_capsnet_{precision}": Case(
            f"training, MNIST CapsNet with decoder, batch 128, {precision}; bound: its 9×9 convolution alone",
            "images/s",
            partial(training.images_per_second, precision),
        )
        for precision in ("float32", "mixed_bfloat16")
    },
    "steps_fit": Case(f"steps, {_STEPS}, batches from the host and `fit`; {_PRODUCTS}", "steps/s", steps.fit),
    "steps_scan": Case(
        f"steps, {_STEPS}, many in a call of JAX; {_PRODUCTS}", "steps/s", partial(steps.scan, 1), backend="jax"
    ),
    "steps_scan_five_seeds": Case(
        f"steps, {_STEPS}, five seeds together with JAX; {_PRODUCTS}", "steps/s", partial(steps.scan, 5), backend="jax"
    ),
    "memory_train_mnist_capsnet_float32": Case("memory of that training, float32", "GB", memory.of_training, 1.4),
    "memory_evaluate_cifar10_capsnet": Case(
        "memory of evaluating CIFAR-10's CapsNet, batch 100", "GB", memory.of_evaluating, 1.5
    ),
    "load_mnist": Case("MNIST training batches, one core", "images/s", partial(_loading, "mnist"), 20_000),
    "load_multimnist": Case("MultiMNIST training batches, one core", "pairs/s", partial(_loading, "multimnist"), 5_000),
    "start_table": Case("`python -m experiments.table`", "s", startup.table, 1.0),
    "start_help": Case("the slowest `--help`", "s", startup.slowest_help, 1.0),
    "start_evaluate": Case("evaluating a checkpoint, but for the forward passes", "s", startup.evaluation, 8.0),
    "start_repro": Case("`dvc repro` with nothing to do", "s", startup.repro, 5.0),
}


def measured(name: str, folder: Path) -> Row:
    """Measures a case; if it cannot be measured here, its value is `NOT_MEASURED` and bound and ratio are None."""
    case = CASES[name]
    found = case.measure(folder)
    if found is None:
        return {"name": name, "value": NOT_MEASURED, "unit": case.unit, "bound": None, "ratio": None}
    value, bound = found if isinstance(found, tuple) else (found, case.bound or 1.0)
    shown = [float(f"{number:.4g}") for number in (value, bound, value / bound)]
    return {"name": name, "value": shown[0], "unit": case.unit, "bound": shown[1], "ratio": shown[2]}


def read(path: Path) -> list[Row]:
    """Reads the rows of an earlier benchmark.

    Raises:
        Error: the file is missing or not a benchmark's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not all({"name", "value", "unit", "bound", "ratio"} <= row.keys() for row in content):
            raise ValueError("a row lacks a key")
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as fault:
        message = f"not a benchmark's file ({fault})"
        raise Error(f"{path}: {message}; write one with `python -m benchmarks --output FILE`") from fault
    return list(content)


def slower(rows: Sequence[Row], before: Sequence[Row]) -> list[str]:
    """A line for each row whose ratio is worse than before by more than the tolerance of its case.

    Ratios are compared, since a bound that was measured in the same run has the same machine and the same load.
    """
    earlier = {row["name"]: row for row in before}
    lines = []
    for row in rows:
        if row["name"] not in comparable(rows, before):
            continue
        old, tolerance = earlier[row["name"]]["ratio"], CASES[row["name"]].tolerance
        worse = old / row["ratio"] if row["unit"].endswith("/s") else row["ratio"] / old
        if worse > 1 + tolerance:
            lines.append(f"{line(row)}; it was {old:.3g} times: {100 * (worse - 1):.0f} % worse")
    return lines


def comparable(rows: Sequence[Row], before: Sequence[Row]) -> list[str]:
    """The names of the rows that were measured now and before."""
    measured = {row["name"] for row in before if row["ratio"]}
    return [row["name"] for row in rows if row["ratio"] and row["name"] in measured and row["name"] in CASES]


def line(row: Row) -> str:
    """Formats a row as a line."""
    if row["ratio"] is None:
        return f"{row['name']}: {row['value']}"
    return f"{row['name']}: {row['value']:,g} {row['unit']}, {row['ratio']:.3g} times its bound of {row['bound']:,g}"


def table(rows: Sequence[Row]) -> str:
    """Formats the rows as a Markdown table."""
    lines = ["| | measured | bound | ratio |", "|:--|--:|--:|--:|"]
    for row in rows:
        cells = (
            [row["value"], "", ""]
            if row["ratio"] is None
            else [f"{row['value']:,g} {row['unit']}", f"{row['bound']:,g}", f"{row['ratio']:.2f}"]
        )
        lines.append(f"| {CASES[row['name']].what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def insert_table(page: Path, rows: Sequence[Row]) -> bool:
    """Writes the table between the `MARKERS` of a file; returns False if the file lacks them."""
    first, last = map(re.escape, MARKERS)
    text = page.read_text(encoding="utf-8")
    filled, count = re.subn(
        f"{first}.*?{last}", lambda _: "\n\n".join([MARKERS[0], table(rows), MARKERS[1]]), text, flags=re.DOTALL
    )
    if count:
        files.write_text(page, filled)
    return bool(count)
