"""Reads the paper's claims that are not one number from results/claims.csv, and decides which of them hold.

A claim compares two runs by the difference of their values in percentage points, or by the logarithm of a ratio. The
verdict follows from the interval of that effect. The first rule that applies counts:

- `does not hold`: the whole interval lies within ± margin, so the two runs are equal in practice; or none of it lies on
  the side that the paper claims.
- `holds`: the whole interval lies on the side that the paper claims.
- `cannot tell`: all other cases.

Two kinds of claim have a similar rule of their own:

- No gain (`direction` is `not lower`). `holds`: the whole interval is above -margin, so any gain of the first run is
  negligible. `does not hold`: the whole interval is below 0 and reaches beyond -margin.
- A gap of some size (`least`), such as 13 points. `holds`: the whole interval is at least that far on the claimed side.
  `does not hold`: none of it is that far, or the runs are equal in practice.

The verdict is always `cannot tell` if the runs are not comparable. Their trainings must have seen equally many images.
A claim with `equal_within` (affNIST) compares runs at equal accuracy on expanded MNIST instead, within that difference.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from capsrepro.core.validation import CONFIG
from capsrepro.evidence import csv_rows

HOLDS, FAILS, OPEN, PICTURES = "holds", "does not hold", "cannot tell", "pictures"
Number = Annotated[float, Field(allow_inf_nan=False)]
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Claim:
    """One claim of the paper: a row of claims.csv.

    `measure`: the test error or accuracy in percent; the training loss or the change of the routing logits at the end
    of training (both as log10); or pictures, which are not judged. The effect is the value of `run` minus that of
    `against`. `images`: the set on which the errors are counted. `paper_effect`: the paper's effect, None if it gives
    none. `margin`: of practical equality, in the unit of the effect, with its reason. `least` and `equal_within`: see
    the module. `test` and `rule` describe test and rule in words.
    """

    id: str
    statement: str
    where: str
    measure: Literal["test_error_pct", "test_accuracy_pct", "loss", "logit_change", "pictures"]
    run: str | None = None
    against: str | None = None
    images: Literal["test", "validation", "training"] | None = None
    paper_effect: Number | None = None
    direction: Literal["lower", "higher", "not lower"] | None = None
    margin: Above | None = None
    margin_reason: str | None = None
    least: Above | None = None
    equal_within: Above | None = None
    test: str | None = None
    rule: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        needed = ("run", "images", "direction", "margin", "margin_reason", "test")
        missing = [name for name in needed if getattr(self, name) is None]
        if self.measure != PICTURES and missing:
            raise ValueError(f"{self.measure} needs {', '.join(missing)}; fill it in")
        if self.measure == PICTURES and len(missing) < len(needed):
            raise ValueError("pictures are not compared; leave the columns from run to test empty")
        if (self.against is None) != (self.measure in (PICTURES, "logit_change")):
            raise ValueError("against: errors, accuracies and losses are compared with those of another run")
        if self.direction == "not lower" and self.least is not None:
            raise ValueError("least: a claim that there is no gain has no least size; leave it empty")
        return self

    @property
    def runs(self) -> tuple[str, ...]:
        """The compared runs, `run` first."""
        return tuple(name for name in (self.run, self.against) if name is not None)


def read(path: Path = Path("results/claims.csv")) -> dict[str, Claim]:
    """Reads and checks the claims.

    Returns:
        The claims by id, in the order of the file.

    Raises:
        Error: the file is not readable, a column is unknown or missing, a value is missing or of the wrong type, or an
            id is repeated. The message names the line and the column.
    """
    found: dict[str, Claim] = csv_rows.by_id(csv_rows.read(path, Claim, _EXPECTED))
    return found


def decide(claim: Claim, low: float, high: float) -> str:
    """Applies the rule of the module to an interval of the effect; an infinite end means unknown."""
    if claim.direction is None or claim.margin is None:
        return PICTURES
    low, high = round(low, 9), round(high, 9)
    equal = -claim.margin <= low and high <= claim.margin
    if claim.direction == "not lower":
        if low >= -claim.margin:
            return HOLDS
        return FAILS if high < 0 else OPEN
    least = claim.least or 0.0
    worst, best = (low, high) if claim.direction == "higher" else (-high, -low)  # seen from the side that is claimed
    if equal or best < least or best <= 0:
        return FAILS
    return HOLDS if worst > 0 and worst >= least else OPEN


_EXPECTED = {
    "id": "a name for the claim",
    "statement": "what the paper claims",
    "where": "a table or section of the paper",
    "measure": "one of test_error_pct, test_accuracy_pct, loss, logit_change, pictures",
    "images": "one of test, validation, training",
    "paper_effect": "a number: the paper's own difference",
    "direction": "one of lower, higher, not lower",
    "margin": "a number above 0, in the unit of the effect",
    "least": "a number above 0, in the unit of the effect",
    "equal_within": "a number above 0, in percentage points",
    "rule": "in words, when it holds",
}
