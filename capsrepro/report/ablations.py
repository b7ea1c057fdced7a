"""Builds the report's sections on the ablations: the comparison of both sides, and a list of all trainings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsrepro.ablations import comparison, trainings
from capsrepro.ablations.trainings import Kept
from capsrepro.core.params import Params
from capsrepro.report.document import Cell, Section, aligned, commit, short, text_of

_COLUMNS: Mapping[str, str] = {
    "what": "what",
    "paper": "paper",
    "released": "released code",
    "run": "tried on",
    "seeds": "seeds",
    "paper_error_pct": "paper: error %",
    "released_error_pct": "released: error %",
    "difference": "difference",
    "interval": "95 % interval",
    "verdict": "what it says",
    "limits": "what it leaves open",
}
_EXPLAINED = (
    "On each point one run was trained both ways, all else as that run has it (`python -m experiments.ablations`). The "
    "difference is the paper's error less the released code's, in points: the mean over the seeds, with an interval "
    "that spans Student's, of the seeds, and Newcombe's, of the images. Where it holds 0, this scale cannot tell."
)
_LISTED = (
    "One line a seed and test set; runs are named by what was changed in them. Each file holds settings and machine."
)


def sections(known: Params, folder: Path, scale: str) -> list[Section]:
    """Builds the sections with the table of ablations and the list of their trainings; empty if there are none.

    Args:
        known: the parameter file.
        folder: the folder of the scale.
        scale: name of the scale.

    Raises:
        Error: the file of a training is damaged.
    """
    found = trainings.found(known, folder, scale)
    kept = [(name, seed, one) for name, seeds in found.items() for seed, one in seeds.items()]
    if not kept:
        return []
    lines = [[Cell(line[name]) for name in _COLUMNS] for line in comparison.table(known, scale, found)]
    columns = ("run, and what is changed", "seed", "tested on", "error %", "wrong/examples", "weights", "commit")
    made = [_line(name, seed, test, one, folder) for name, seed, one in kept for test in one.counts]
    return [
        Section(
            "ablations",
            "Ablations: paper against released code",
            (_EXPLAINED,),
            aligned(tuple(_COLUMNS.values()), lines),
        ),
        Section("trainings", "Trainings of the ablations", (_LISTED,), aligned(columns, made)),
    ]


def _line(name: str, seed: int, test: str, kept: Kept, folder: Path) -> list[Cell]:
    content: Mapping[str, Any] = kept.content
    count = kept.counts[test]
    return [
        Cell(name, Path(os.path.relpath(kept.path, folder)).as_posix()),
        Cell(str(seed)),
        Cell(test),
        Cell(text_of(count.error_pct)),
        Cell(f"{count.wrong}/{count.examples}"),
        Cell(short(str(content.get("weights_sha256", "")))),
        Cell(commit(str(content.get("git_revision", "")), content.get("git_dirty"))),
    ]
