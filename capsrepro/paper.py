"""The numbers of the paper, read from results/paper.csv, and the sizes of the data sets they are about."""

import csv
import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capsrepro.errors import Error


class DataSet(NamedTuple):
    """A data set as the paper uses it: how it is written, and how many images are the whole of it."""

    title: str
    train: int
    test: int


DATA: Mapping[str, DataSet] = {
    "mnist": DataSet("MNIST", 60_000, 10_000),
    "multimnist": DataSet("MultiMNIST", 60_000_000, 10_000_000),  # 1,000 pairs a digit
    "affnist": DataSet("affNIST", 60_000, 320_000),  # trained on MNIST digits; tested on 32 versions of each test digit
    "cifar10": DataSet("CIFAR-10", 50_000, 10_000),
    "smallnorb": DataSet("smallNORB", 24_300, 24_300),
    "svhn": DataSet("SVHN", 73_257, 26_032),  # without the 531,131 `extra` images
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One number of the paper.

    `value`, `std` and `margin` are in percentage points. `std` is the standard deviation over `n` trials; both are None
    where the paper gives none. `parameters`: None where PAPER.md gives none. `routing`: iterations, None for a net
    without capsules. `decoder`: whether it was trained with reconstruction, None where PAPER.md does not say.
    """

    id: str
    where: str
    what: str
    data: str
    measure: str
    value: float
    std: float | None
    n: int | None
    margin: float
    margin_reason: str
    parameters: int | None
    routing: int | None
    decoder: bool | None

    @property
    def is_accuracy(self) -> bool:
        """Whether more is better."""
        return self.measure == "test_accuracy_pct"


def read(path: Path = Path("results/paper.csv")) -> dict[str, Row]:
    """Reads and checks the paper's numbers.

    Returns:
        The rows by id, in the order of the file.

    Raises:
        Error: the file is not readable, a column is unknown or missing, a value is missing or of the wrong type, or an
            id stands twice. The message names the line and the column.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            _check_header(next(reader, []), path)
            rows: dict[str, Row] = {}
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                row = _row(cells, where)
                if row.id in rows:
                    raise Error(f"{where}, id: {row.id!r} stands in an earlier line too; give each row its own")
                rows[row.id] = row
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise Error(f"{path}: not readable as CSV ({fault}); restore it with `git checkout {path}`") from fault
    return rows


def _check_header(names: list[str], path: Path) -> None:
    for name in names:
        if name not in _COLUMNS or names.count(name) > 1:
            raise Error(f"{path}, line 1: unknown or repeated column {name!r}; known, each once: {', '.join(_COLUMNS)}")
    if names != list(_COLUMNS):
        raise Error(f"{path}, line 1: received the columns {', '.join(names) or 'none'}; write {', '.join(_COLUMNS)}")


def _row(cells: list[str], where: str) -> Row:
    if len(cells) != len(_COLUMNS):
        raise Error(f"{where}: expected {len(_COLUMNS)} values, received {len(cells)}; quote values that hold commas")
    values = {name: _value(name, cell.strip(), where) for name, cell in zip(_COLUMNS, cells, strict=True)}
    if (values["std"] is None) != (values["n"] is None):
        raise Error(f"{where}: std and n go together, received {values['std']} and {values['n']}; fill both or none")
    return Row(**values)


def _value(name: str, cell: str, where: str) -> Any:
    convert, wanted = _COLUMNS[name]
    if not cell:
        if name in _MAY_BE_EMPTY:
            return None
        raise Error(f"{where}, {name}: missing; fill in {wanted}")
    try:
        return convert(cell)
    except ValueError:
        raise Error(f"{where}, {name}: expected {wanted}, received {cell!r}; correct it") from None


def _one_of(*known: str) -> Callable[[str], str]:
    def convert(cell: str) -> str:
        if cell not in known:
            raise ValueError(cell)
        return cell

    return convert


def _percentage(cell: str) -> float:
    number = float(cell)
    if not (math.isfinite(number) and 0 <= number <= 100):
        raise ValueError(cell)
    return number


def _margin(cell: str) -> float:
    if (number := _percentage(cell)) == 0:
        raise ValueError(cell)
    return number


def _count(cell: str) -> int:
    if not 1 <= (number := int(cell)) < 2**63:  # the tables hold it in 64 bits
        raise ValueError(cell)
    return number


def _truth(cell: str) -> bool:
    return _one_of("true", "false")(cell) == "true"


_MEASURES = ("test_error_pct", "test_accuracy_pct")
_MAY_BE_EMPTY = {"std", "n", "parameters", "routing", "decoder"}
_COLUMNS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "id": (str, "the name of a run"),
    "where": (str, "a table or section of the paper"),
    "what": (str, "the method"),
    "data": (_one_of(*DATA), f"one of {', '.join(DATA)}"),
    "measure": (_one_of(*_MEASURES), f"one of {', '.join(_MEASURES)}"),
    "value": (_percentage, "a number from 0 to 100"),
    "std": (_percentage, "a number from 0 to 100"),
    "n": (_count, "a whole number above 0"),
    "margin": (_margin, "a number above 0, in percentage points"),
    "margin_reason": (str, "why this margin"),
    "parameters": (_count, "a whole number above 0"),
    "routing": (_count, "a whole number above 0"),
    "decoder": (_truth, "true or false"),
}
