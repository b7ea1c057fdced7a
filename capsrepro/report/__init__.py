"""Writes the report of one scale: report.md for code hosts, and report.html, a self-contained page.

`run_records` reads the numbers and their files, `figure_files` reads the figures. `content` and `ablations` arrange
them in the sections of a `document`, and `markdown` and `page` render it.
"""

from pathlib import Path

from capsrepro.core import files
from capsrepro.core.params import Params
from capsrepro.evidence.scale import home
from capsrepro.report import content, markdown, page


def write(known: Params, folder: Path, scale: str, strict: bool = False) -> tuple[Path, Path]:
    """Writes report.md and report.html to `folder`/`scale`, each atomically; equal results give equal bytes.

    In a folder without results of the scale, the report is on the published ones (`scale.home`).

    Args:
        known: the parameter file.
        folder: holds paper.csv and a folder for each scale.
        scale: name of the scale.
        strict: whether `results.check` must pass.

    Returns:
        The paths of the two files.

    Raises:
        Error: the scale is unknown and has no folder, or one of its files is malformed; the message names the file.
        OSError: a file is not readable, the disk is full or the folder is not writable.
    """
    report = content.build(known, home(folder, scale), scale, strict)
    texts = {"report.md": markdown.render(report), "report.html": page.render(report)}
    paths = tuple(folder / scale / name for name in texts)
    for path, text in zip(paths, texts.values(), strict=True):
        files.write_text(path, text)
    return paths[0], paths[1]
