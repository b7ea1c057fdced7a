"""Writes the report of one scale: report.md for code hosts, and report.html, a self-contained page.

`run_records` reads the numbers and their files, `figure_files` reads the figures. `forest`, `curves` and `digits` are
drawn on the page: the verdicts, the trainings, the wrong digits. `content` and its neighbours arrange all of it in the
sections of a `document`, and `markdown` and `page` render it.
"""

from pathlib import Path

from capsrepro.core import files
from capsrepro.core.params import Params
from capsrepro.evidence.scale import home
from capsrepro.report import content, markdown, page


def write(known: Params, folder: Path, scale: str, strict: bool = False, data: Path | None = None) -> tuple[Path, Path]:
    """Writes report.md and report.html to `folder`/`scale`, each atomically; equal results give equal bytes.

    In a folder without results of the scale, the report is on the published ones (`scale.home`).

    Args:
        known: the parameter file.
        folder: holds paper.csv and a folder for each scale.
        scale: name of the scale.
        strict: whether `results.check` must pass.
        data: holds MNIST's files in `mnist`, for the gallery of wrong digits; without them it is left out.

    Returns:
        The paths of the two files.

    Raises:
        Error: the scale is unknown and has no folder, or one of its files is malformed; the message names the file.
        OSError: a file is not readable, the disk is full or the folder is not writable.
    """
    report = content.build(known, home(folder, scale), scale, strict, data)
    texts = {"report.md": markdown.render(report), "report.html": page.render(report)}
    paths = tuple(folder / scale / name for name in texts)
    for path, text in zip(paths, texts.values(), strict=True):
        files.write_text(path, text)
    return paths[0], paths[1]
