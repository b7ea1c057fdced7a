"""The examples of docs/python.md and the notebook docs/tour.ipynb, run from their first line to their last."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import pytest

from tests.support import ROOT
from tests.support.clones import Clone
from tests.support.digits import Digits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PAGE, TOUR = ROOT / "docs" / "python.md", ROOT / "docs" / "tour.ipynb"


def cells(notebook: Path) -> list[str]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def one(clone: Callable[[], Clone], digits: Digits) -> Clone:
    """A clone whose `full` results are the committed ones; MNIST's files come from a folder, not from the network."""
    made = clone()
    shutil.copy(ROOT / "params.yaml", made.folder / "params.yaml")
    matplotlib.image.imsave(made.folder / "my-seven.png", digits[0][0, ..., 0], cmap="gray")
    return made


def run(clone: Clone, code: str) -> str:
    path = clone.folder / "example.py"
    path.write_text(code, encoding="utf-8")
    return clone.call(
        "env", "-u", "TF_CPP_MIN_LOG_LEVEL", "MPLBACKEND=Agg", f"PYTHONPATH={clone.folder}", "python", path.name
    )


def test_examples_of_the_page_run_and_print_what_they_say(one: Clone) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    printed = run(one, "".join(blocks))
    assert "[[7]]\n" in printed
    assert "5 of 1000 wrong: 0.5 %\n" in printed
    assert "\n6804384\n" in printed
    assert re.search(r"^verdict +inconclusive$", printed, re.MULTILINE)


def test_tour_runs_and_prints_what_it_shows(one: Clone) -> None:
    printed = run(one, "\n".join(cells(TOUR)))
    lines = [line for line in printed.splitlines() if not line.startswith("data/mnist: ")]
    assert lines == [
        "10000 test images; mnist-capsnet-r3-recon: 8,215,728 parameters",
        "labels:     7 2 1 0 4 1 4 9 5 9",
        "classified: 7 2 1 0 4 1 4 9 5 9",
        "5 of the first 1000 wrong",
    ]
