"""Reads the paper's numbers from results/paper.csv; lists the sizes of its data sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from capsrepro.core.validation import CONFIG
from capsrepro.evidence import csv_rows


class DataSet(NamedTuple):
    """A data set as the paper uses it."""

    train: int  # images
    test: int
    shift: int | None = None  # in pixels, of a training image; of both digits of a pair
    members: int = 1  # networks of an ensemble
    leaky: bool = False  # routing to none of the classes
    answers: int = 10  # a guess is right once in so many


DATA: Mapping[str, DataSet] = {
    "mnist": DataSet(60_000, 10_000, shift=2),
    "multimnist": DataSet(60_000_000, 10_000_000, shift=4, answers=45),  # 1,000 pairs a digit
    "affnist": DataSet(60_000, 320_000),  # trained on MNIST; tested on 32 versions of each digit
    "cifar10": DataSet(50_000, 10_000, members=7, leaky=True),
    "smallnorb": DataSet(24_300, 24_300, answers=5),
    "svhn": DataSet(73_257, 26_032),  # without the 531,131 `extra` images
}


def _truth(cell: Any) -> bool:
    known: dict[Any, bool] = {"true": True, "false": False, True: True, False: False}
    if cell not in known:
        raise ValueError(cell)
    return known[cell]


Percentage = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(int), Field(ge=1, lt=2**63)]  # the tables hold it in 64 bits
Truth = Annotated[bool, BeforeValidator(_truth)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Row:
    """One number of the paper: a row of paper.csv.

    `value`, `std` and `margin` are in percentage points. `std` is the standard deviation over `n` trials; both are None
    if the paper does not state them. `parameters` is None if the paper does not determine the count. `routing` is the
    number of routing iterations, None for a network without capsules. `decoder` says whether the network was trained
    with reconstruction, None if the paper does not say.
    """

    id: str
    where: str
    what: str
    data: Literal["mnist", "multimnist", "affnist", "cifar10", "smallnorb", "svhn"]
    measure: Literal["test_error_pct", "test_accuracy_pct"]
    value: Percentage
    std: Percentage | None = None
    n: Count | None = None
    margin: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    margin_reason: str
    parameters: Count | None = None
    routing: Count | None = None
    decoder: Truth | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.std is None) != (self.n is None):
            raise ValueError(f"std and n go together, received {self.std} and {self.n}")
        return self

    @property
    def is_accuracy(self) -> bool:
        """Whether the measure is an accuracy, so that higher is better."""
        return self.measure == "test_accuracy_pct"


def read(path: Path = Path("results/paper.csv")) -> dict[str, Row]:
    """Reads and checks the paper's numbers.

    Returns:
        The rows by id, in the order of the file.

    Raises:
        Error: the file is not readable, a column is unknown or missing, a value is missing or of the wrong type, or an
            id is repeated. The message names the line and the column.
    """
    rows: dict[str, Row] = csv_rows.by_id(csv_rows.read(path, Row, _EXPECTED))
    return rows


_EXPECTED = {
    "id": "the name of a run",
    "where": "a table or section of the paper",
    "what": "the method",
    "data": f"one of {', '.join(DATA)}",
    "measure": "one of test_error_pct, test_accuracy_pct",
    "value": "a number from 0 to 100",
    "std": "a number from 0 to 100",
    "n": "a whole number above 0",
    "margin": "a number above 0, in percentage points",
    "margin_reason": "why this margin",
    "parameters": "a whole number above 0",
    "routing": "a whole number above 0",
    "decoder": "true or false",
}
