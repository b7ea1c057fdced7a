"""The report of one scale: report.md, which a forge renders, and report.html, one page that needs nothing beside it.

`records` reads every number with the file that it stands in, `pictures` the figures; `content`, and `ablations` for the
comparison of paper and released code, put both into sections (`document`), which `markdown` and `page` write down.
"""

from pathlib import Path

from capsrepro.core import files
from capsrepro.core.params import Params
from capsrepro.report import content, markdown, page


def write(known: Params, folder: Path, scale: str, strict: bool = False) -> tuple[Path, Path]:
    """Writes report.md and report.html to `folder`/`scale`, each whole or not at all; equal results give equal bytes.

    Args:
        known: the parameter file.
        folder: holds paper.csv and a folder for each scale.
        scale: which one.
        strict: whether `results.check` has to pass.

    Returns:
        The paths of the two.

    Raises:
        Error: nothing knows of the scale, or what it holds is malformed; the message names the file.
        OSError: a file is not readable, the disk is full or the folder may not be written to.
    """
    report = content.build(known, folder, scale, strict)
    texts = {"report.md": markdown.render(report), "report.html": page.render(report)}
    paths = tuple(folder / scale / name for name in texts)
    for path, text in zip(paths, texts.values(), strict=True):
        files.write_text(path, text)
    return paths[0], paths[1]
