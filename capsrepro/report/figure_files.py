"""Finds the figure files of a scale, with titles and captions, and lists the missing ones."""

import dataclasses
import struct
from collections.abc import Mapping
from pathlib import Path

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.params import TITLES

# The paper's figures and ours in the order of the report: title and caption.
KNOWN: Mapping[str, tuple[str, str]] = {
    "figure3": (
        "Figure 3: reconstructions of MNIST",
        "Test digits with label, prediction, reconstruction target and reconstruction; failures among them.",
    ),
    "figure4": (
        "Figure 4: what the dimensions of a capsule mean",
        "Reconstructions while one of a digit's 16 dimensions is changed, step by step.",
    ),
    "figure5": (
        "Figure 5: two digits that overlap",
        "MultiMNIST test pairs and their two reconstructions, each digit in its colour; with mistakes, and with "
        "reconstructions forced from a digit that is not there.",
    ),
    "figure-a1": (
        "Figure A.1: change of the routing logits",
        "The mean change of the routing logits in each iteration of the routing, over training.",
    ),
    "figure-a2": (
        "Figure A.2: training loss, 1 against 3 iterations of routing",
        "The loss over training with 1 and with 3 iterations. The paper's figure is of CIFAR-10; the title in the "
        "picture says what this one is of.",
    ),
    "mistakes": (
        "Misclassified images",
        "The misclassified test images, with number, label, prediction and the lengths of both capsules.",
    ),
    "confusion": ("Confusion matrix", "Which class was taken for which, on the test set."),
}
SAMPLES = "data"
SAMPLE_CAPTION = "Labelled samples of what the network is given."
_TITLES = TITLES | {"expanded": "expanded MNIST"}
MOST_BYTES = 32 << 20  # of one figure

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_VECTOR = (".svg", ".pdf")


@dataclasses.dataclass(frozen=True)
class FigureFile:
    """A PNG file with its title and caption."""

    title: str
    caption: str
    path: str  # from the folder of the report
    vector: tuple[str, ...]  # the same drawing as SVG or PDF
    content: bytes
    width: int  # pixels
    height: int


def read(folder: Path) -> tuple[list[FigureFile], list[str]]:
    """Reads `figures` in the folder of a scale.

    A figure is recognised by its file name: `figure3.png`, or `figure3-mnist-capsnet-r3-recon.png` if there are
    several.

    Returns:
        The figures found: the paper's, then samples of the data, then files with unknown names. And the known names
        without a file.

    Raises:
        Error: a file is not a PNG.
    """
    waiting = sorted((folder / "figures").glob("*.png"), key=lambda path: path.stem)
    found, missing = [], []
    for name in (*KNOWN, SAMPLES):
        paths = [path for path in waiting if path.stem == name or path.stem.startswith(f"{name}-")]
        found += [_read(path, name) for path in paths]
        waiting = [path for path in waiting if path not in paths]
        missing += [] if paths else [name]
    return found + [_read(path, "") for path in waiting], missing


def _read(path: Path, name: str) -> FigureFile:
    content = files.regular(path, MOST_BYTES).read_bytes()
    if len(content) < 24 or not content.startswith(_SIGNATURE):
        raise Error(f"{path}: not a PNG ({len(content)} bytes); run `dvc repro` to draw it anew")
    rest = path.stem.removeprefix(name).removeprefix("-")
    if name == SAMPLES:
        title, caption = f"Data: {_TITLES.get(rest, rest)}", SAMPLE_CAPTION
    else:
        title, caption = KNOWN.get(name, (path.stem, ""))
        title += f" ({_TITLES.get(rest, rest)})" if name and rest else ""
    vector = tuple(f"figures/{path.stem}{kind}" for kind in _VECTOR if path.with_suffix(kind).is_file())
    return FigureFile(title, caption, f"figures/{path.name}", vector, content, *struct.unpack(">II", content[16:24]))
