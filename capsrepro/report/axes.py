"""Axes of the report's drawings: which numbers are marked, and where a value lies in percent of the axis."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

_MARGIN = 2.0  # percent left free at both ends, so that no mark is cut off
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclasses.dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with marks at `ticks`; `logarithmic`: both are above 0."""

    low: float
    high: float
    ticks: Sequence[float]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, in percent of the length; values beyond an end lie at the end."""
        low, high, value = (math.log(one) if self.logarithmic else one for one in (self.low, self.high, value))
        share = (value - low) / (high - low)
        return round(_MARGIN + (100 - 2 * _MARGIN) * min(max(share, 0.0), 1.0), 2)

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis, not beyond an end."""
        return self.low <= value <= self.high

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Place and number of each tick."""
        return [(self.place(tick), f"{tick:g}".replace("-", "\u2212")) for tick in self.ticks]


def linear(values: Iterable[float], most: int = 6) -> Axis:
    """An axis around values, at least one, with at most so many ticks: 1, 2 or 5 times a power of ten apart."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known), max(known)
    width = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(width / most))
    step = next(factor * power for factor in _STEPS if width / (factor * power) <= most - 1 or factor == _STEPS[-1])
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [round(number * step, 10) + 0.0 for number in range(first, last + 1)]
    return Axis(min(low, *ticks), max(high, *ticks), ticks) if low < high else Axis(low - step, high + step, [low])


def logarithmic(values: Iterable[float]) -> Axis:
    """An axis around values above 0, at least one, marked at powers of ten, or at 1, 2 and 5 if those are few."""
    known = [value for value in values if 0 < value < math.inf]
    low, high = min(known), max(known)
    if low == high:
        low, high = low / 2, high * 2
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [float(f"{factor}e{power}") for power in powers for factor in factors]
        within = [tick for tick in ticks if low <= tick <= high]
        if len(within) > 2:
            break
    return Axis(low, high, within or [low, high], logarithmic=True)
