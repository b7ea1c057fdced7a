"""Text files damaged at random: each is refused by name in one line, or read with values that can be computed with."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capsrepro.core import params
from capsrepro.evidence import paper
from capsrepro.figures import charts
from capsrepro.report import run_records
from tests.support import ROOT
from tests.support.bad_input import REFUSED, TREES, answer, computable, damaged, frugal, often, put, written

pytestmark = pytest.mark.usefixtures("counted")


# params.yaml


PARAMS = {
    "trainings": {"quick": {"rows": ["caps", "base"], "seeds": [0, 1]}},
    "built": ["quick"],
    "figures": ["quick"],
    "runs": {
        "caps": {"data": "mnist", "model": "capsnet", "routing": 3, "dropout": 0.5, "conv_channels": [16]},
        "base": {"data": "multimnist", "model": "multimnist_baseline", "loss": "sigmoid", "shift": 4, "stop_pct": 99.2},
    },
    "scale_settings": {
        "quick": {"caps": {"steps": 5, "dense_units": [4]}, "base": {"precision": "float32", "conv_channels": [8, 8]}}
    },
}


def to_yaml(tree: Any) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def sound(read: params.Params) -> bool:
    """Whether all is of the declared types, and can be computed with."""
    runs = [read.settings(row, scale) for scale, one in read.trainings.items() for row in one.rows]
    seeds = [seed for one in read.trainings.values() for seed in one.seeds]
    names = [*read.trainings, *read.built, *read.figures, *read.runs, *read.scale_settings]
    whole = all(type(seed) is int for seed in seeds) and all(type(run.steps) is int for run in runs)
    return whole and computable([dataclasses.asdict(run) for run in runs]) and all(isinstance(n, str) for n in names)


@often
@given(written(PARAMS, to_yaml))
def test_params_are_refused_or_sound(folder: Path, content: bytes | None) -> None:
    path = folder / "params.yaml"
    put(path, content)
    with frugal(path):
        read = answer("params.yaml", lambda: params.read(path), path)
    assert read is REFUSED or sound(read)


GOOD = to_yaml(PARAMS)
HOSTILE = {
    "python object": GOOD + "evil: !!python/object/apply:os.system ['touch sprung']\n",
    "python name": GOOD.replace("- 0", "- !!python/name:os.system"),
    "laughs": "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) or 'x'}]\n" for n in range(12)).replace(
        "*a-1", "x"
    ),
    "itself": "runs: &a [*a]\n",
    "itself as a key": "&a {? *a : 1}\n",
    "merged with itself": "runs: &a {<<: *a}\n",
    "deep lists": "runs: " + "[" * 600,
    "deep mappings": "runs: " + "{a: " * 600 + "}" * 600,
    "twice": GOOD + "built: [full]\n",
    "twice within": GOOD.replace("steps: 5", "steps: 5\n      steps: 6"),
    "no date": GOOD.replace("- 0", "- 2001-99-99"),
    "no integer": GOOD.replace("- 0", "- !!int x"),
    "no truth": GOOD.replace("- 0", "- !!bool x"),
    "no instant": GOOD.replace("- 0", "- !!timestamp x"),
    "empty integer": GOOD.replace("- 0", "- !!int ''"),
    "no digits": GOOD.replace("- 0", "- 0x_"),
    "many digits": GOOD.replace("- 0", "- " + "9" * 5000),
    "many hexadecimal digits": GOOD.replace("- 0", "- 0x" + "f" * 5000),
    "many digits for a name": GOOD.replace("- caps", "- 0x" + "f" * 5000),
    "not a number": GOOD.replace("dropout: 0.5", "dropout: .nan"),
    "infinite": GOOD.replace("dropout: 0.5", "dropout: -.inf"),
    "number as a key": GOOD.replace("  base:\n    data", "  1:\n    data"),
    "null as a key": GOOD.replace("  base:\n    data", "  ~:\n    data"),
    "list as a key": GOOD + "? [a]\n: 1\n",
    "lines in a key": GOOD + '"a\\nb": 1\n',
    "surrogate": GOOD.replace("- caps", '- "\\ud800"'),
    "beyond Unicode": GOOD.replace("- caps", '- "\\UFFFFFFFF"'),
    "no layer": GOOD.replace("- 16", "- 0"),
    "two documents": GOOD + "---\n" + GOOD,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_params_are_refused(folder: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert HOSTILE[what] != GOOD
    path = folder / "params.yaml"
    put(path, HOSTILE[what].encode())
    monkeypatch.chdir(folder)
    with frugal(path):
        assert answer("params.yaml", lambda: params.read(path), path) is REFUSED
    assert not (folder / "sprung").exists()


def test_params_may_have_aliases(folder: Path) -> None:
    path = folder / "params.yaml"
    text = GOOD.replace("  caps:\n    data", "  caps: &caps\n    data").replace(
        "    data: multimnist", "    <<: *caps\n    data: mnist"
    )
    text = text.replace("model: multimnist_baseline", "model: capsnet").replace("loss: sigmoid", "loss: margin")
    text = text.replace("      - 8\n      - 8\n", "      - 8\n")
    put(path, text.encode())
    assert params.read(path).runs["base"].routing == 3


# paper.csv, histories and the tables of a report


PAPER = b"".join((ROOT / "results" / "paper.csv").read_bytes().splitlines(keepends=True)[:4])


@often
@given(damaged(PAPER, 400) | st.tuples(st.integers(0, 12), TREES.map(str)).map(lambda cell: replaced(PAPER, *cell)))
def test_the_papers_numbers_are_refused_or_sound(folder: Path, content: bytes | None) -> None:
    path = folder / "paper.csv"
    put(path, content)
    with frugal(path):
        rows = answer("paper.csv", lambda: paper.read(path), path)
    for name, row in rows.items() if rows is not REFUSED else ():
        assert (row.id, row.data in paper.DATA, computable(list(dataclasses.asdict(row).values()))) == (
            name,
            True,
            True,
        )
        assert 0 <= row.value <= 100 >= row.margin > 0
        assert (row.std is None) == (row.n is None)


def replaced(csv: bytes, column: int, cell: str) -> bytes:
    """A table whose second line has another value."""
    lines = csv.decode().splitlines()
    cells = lines[2].split(",")
    cells[column % len(cells)] = cell
    lines[2] = ",".join(cells)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


HISTORY = b"step,learning_rate,loss,right\n50,0.001,0.5,0.9\n100,0.00096,0.25,0.95\n150,0.0009,0.125,1\n"


@often
@given(damaged(HISTORY, 90) | st.tuples(st.integers(0, 3), TREES.map(str)).map(lambda cell: replaced(HISTORY, *cell)))
def test_a_history_is_refused_or_has_numbers_in_its_columns(folder: Path, content: bytes | None) -> None:
    path = folder / "some-seed0.csv"
    put(path, content)
    with frugal(path):
        read = answer("history", lambda: charts.history(path, "loss", "right"), path)
    if read is not REFUSED:
        assert len(read) > 0
        for name in ("step", "loss", "right"):
            assert all(math.isfinite(value) for value in read[name])


@often
@given(damaged(HISTORY, 90))
def test_a_sheet_of_a_report_is_refused_or_a_table(folder: Path, content: bytes | None) -> None:
    place = folder / "studies"
    place.mkdir(exist_ok=True)
    put(place / "more.csv", content)
    with frugal(place / "more.csv"):
        read = answer("sheet of a report", lambda: run_records.sheets(folder), place / "more.csv")
    for sheet in read if read is not REFUSED else ():
        assert {len(line) for line in sheet.lines} <= {len(sheet.columns)}
