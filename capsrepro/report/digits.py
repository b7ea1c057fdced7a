"""The gallery of wrong digits: MNIST's test digits that most networks of a scale get wrong."""

import base64
import dataclasses
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from capsrepro.data import mnist
from capsrepro.evidence.paper import DATA
from capsrepro.evidence.predictions import Predictions
from capsrepro.evidence.scale import Scale

MOST = 60  # digits shown


@dataclasses.dataclass(frozen=True)
class WrongDigit:
    """A test digit with the classes it was taken for, the most frequent first; `image` is a PNG as a data address."""

    number: int
    label: int
    taken_for: str
    networks: int
    image: str


def read(ours: Scale, data: Path | None) -> tuple[list[WrongDigit], str]:
    """The digits that at least one network gets wrong: those that most get wrong first, at most `MOST`.

    Args:
        ours: a scale; the networks are those tested on MNIST whose answers were kept.
        data: holds MNIST's files in `mnist`; None: not looked for.

    Returns:
        The digits, and a sentence that says of how many networks they are, or why there are none.

    Raises:
        Error: kept answers or MNIST's files are damaged.
    """
    given = _answers(ours)
    if not given:
        return [], "No answers on MNIST's test set were kept at this scale."
    wrong = np.sum([~one.right for one in given], axis=0)
    order = np.lexsort((np.arange(len(wrong)), -wrong))[: min(MOST, int((wrong > 0).sum()))]
    networks = f"at least one of {len(given)} networks" if len(given) > 1 else "the one network whose answers were kept"
    count = f"{int((wrong > 0).sum()):,} of {len(wrong):,} test digits are wrong for {networks}"
    if data is None or not (data / "mnist" / mnist.FILES["test"][0]).is_file():
        return [], f"{count}; they are not drawn, as MNIST's files were not there."
    images = mnist.load(data / "mnist", "test").images
    shown = [_digit(number, given, images[number, ..., 0]) for number in map(int, order)]
    first = f"; the first {MOST} are drawn" if len(order) == MOST else ""
    order_told = "; those that most get wrong come first" if len(given) > 1 else ""
    return shown, f"{count}{order_told}{first}."


def _answers(ours: Scale) -> list[Predictions]:
    """The kept answers of all networks on the whole of MNIST's test set."""
    tested = [
        one
        for one in ours.results
        if one.settings.get("data") == "mnist"
        and not one.settings.get("validate")
        and one.examples == DATA["mnist"].test
    ]
    return [kept for kept in map(ours.predictions, tested) if kept is not None]


def _digit(number: int, given: Sequence[Predictions], pixels: np.ndarray) -> WrongDigit:
    label = int(given[0].labels[number])
    taken = Counter(int(one.predicted[number]) for one in given if not one.right[number])
    words = ", ".join(f"{digit} ({count})" if len(given) > 1 else f"{digit}" for digit, count in taken.most_common())
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "PNG")
        address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return WrongDigit(number, label, words, taken.total(), address)
