"""results/paper.csv, and what reading it refuses."""

import math
import re
from pathlib import Path

import pytest

from capsrepro.core.errors import Error
from capsrepro.evidence import paper

COMMITTED = Path(__file__).parents[2] / "results" / "paper.csv"
HEADER = "id,where,what,data,measure,value,std,n,margin,margin_reason,parameters,routing,decoder"
LINE = "mnist-capsnet-r3-recon,Table 1,CapsNet,mnist,test_error_pct,0.25,0.005,3,0.1,noise,8215728,3,true"


def write(folder, *lines):
    path = folder / "paper.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def changed(column, value):
    cells = LINE.split(",")
    cells[HEADER.split(",").index(column)] = value
    return ",".join(cells)


def test_paper_csv_must_hold_the_thirteen_numbers_of_the_paper():
    values = {row.id: (row.value, row.std, row.n) for row in paper.read(COMMITTED).values()}
    assert values == {
        "mnist-baseline": (0.39, None, None),
        "mnist-capsnet-r1": (0.34, 0.032, 3),
        "mnist-capsnet-r1-recon": (0.29, 0.011, 3),
        "mnist-capsnet-r3": (0.35, 0.036, 3),
        "mnist-capsnet-r3-recon": (0.25, 0.005, 3),
        "multimnist-baseline": (8.1, None, None),
        "multimnist-capsnet-r1-recon": (7.5, None, None),
        "multimnist-capsnet-r3-recon": (5.2, None, None),
        "affnist-capsnet": (79, None, None),
        "affnist-baseline": (66, None, None),
        "cifar10-ensemble": (10.6, None, None),
        "smallnorb-capsnet": (2.7, None, None),
        "svhn-capsnet": (4.3, None, None),
    }


def test_paper_csv_must_hold_the_margins_and_counts_of_the_rule():
    rows = paper.read(COMMITTED)
    margins = {"mnist": 0.1, "multimnist": 1.0, "affnist": 3.0, "cifar10": 1.0, "smallnorb": 0.5, "svhn": 0.5}
    assert {row.id: row.margin for row in rows.values()} == {row.id: margins[row.data] for row in rows.values()}
    assert [row.parameters for row in rows.values()][:8] == [
        35445522, 6804384, 8215728, 6804384, 8215728, 24563978, 11361968, 11361968,
    ]  # fmt: skip
    assert {row.parameters for row in list(rows.values())[8:]} == {None}
    assert "section 6 says 5.0" in rows["multimnist-capsnet-r3-recon"].where
    assert [row.id for row in rows.values() if row.is_accuracy] == ["affnist-capsnet", "affnist-baseline"]


def test_standard_errors_told_as_reasons_must_be_binomial():
    for row in paper.read(COMMITTED).values():
        if message := re.match(r"binomial standard error ([\d.]+) points \(([\d,]+) images\)", row.margin_reason):
            images = int(message[2].replace(",", ""))
            assert images == paper.DATA[row.data].test
            error = math.sqrt(row.value * (100 - row.value) / images)
            assert float(message[1]) == pytest.approx(error, abs=0.015)


def test_row_ids_are_told_from_their_names():
    for row in paper.read(COMMITTED).values():
        assert row.id.startswith(row.data)
        if iterations := re.search(r"-r(\d)", row.id):
            assert (row.routing, row.decoder) == (int(iterations[1]), row.id.endswith("-recon"))


def test_a_line_must_become_a_row_with_types(tmp_path):
    row = paper.read(write(tmp_path, HEADER, LINE))["mnist-capsnet-r3-recon"]
    assert (row.value, row.std, row.n, row.parameters, row.routing, row.decoder) == (0.25, 0.005, 3, 8215728, 3, True)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("margin", "", "missing; fill in a number above 0"),
        ("margin", "0", "expected a number above 0, in percentage points, received '0'"),
        ("margin_reason", "", "missing; fill in why this margin"),
        ("value", "O.25", "expected a number from 0 to 100, received 'O.25'"),
        ("value", "nan", "expected a number from 0 to 100, received 'nan'"),
        ("value", "101", "expected a number from 0 to 100, received '101'"),
        ("parameters", "8.2M", "expected a whole number above 0, received '8.2M'"),
        ("routing", "3.0", "expected a whole number above 0, received '3.0'"),
        ("decoder", "yes", "expected true or false, received 'yes'"),
        ("measure", "loss", "expected one of test_error_pct, test_accuracy_pct, received 'loss'"),
        ("data", "imagenet", "expected one of mnist, multimnist, affnist, cifar10, smallnorb, svhn"),
        ("id", "", "missing; fill in the name of a run"),
    ],
)
def test_a_bad_value_must_be_refused_naming_line_and_column(tmp_path, column, value, message):
    path = write(tmp_path, HEADER, LINE.replace("recon", "first"), changed(column, value))
    with pytest.raises(Error) as refused:
        paper.read(path)
    assert str(refused.value).startswith(f"{path}, line 3, {column}: {message}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER + ",year", LINE + ",2017"], "line 1: unknown or repeated column 'year'"),
        ([HEADER.replace("std", "value"), LINE], "line 1: unknown or repeated column 'value'"),
        ([HEADER.replace(",margin,", ","), LINE], "line 1: received the columns id, where"),
        ([""], "line 1: received the columns none"),
        ([HEADER, LINE, LINE], "line 3, id: 'mnist-capsnet-r3-recon' stands in an earlier line too"),
        ([HEADER, LINE + ",more"], "line 2: expected 13 values, received 14"),
        ([HEADER, changed("n", "")], "line 2: std and n go together, received 0.005 and None"),
        ([HEADER, '"' + LINE], "not readable as CSV"),
    ],
)
def test_a_bad_file_must_be_refused_in_one_line(tmp_path, lines, message):
    path = write(tmp_path, *lines)
    with pytest.raises(Error) as refused:
        paper.read(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_must_be_refused_with_what_to_do(tmp_path):
    with pytest.raises(Error, match="git checkout"):
        paper.read(tmp_path / "paper.csv")
