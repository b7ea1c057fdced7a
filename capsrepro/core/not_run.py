"""The reason why a run has no result. It stands where the result would: what depends on that sees it."""

from pathlib import Path

from capsrepro.core import files
from capsrepro.core.paths import RunPaths
from capsrepro.core.text import MOST_OF_MESSAGE, one_line
from capsrepro.core.validation import Text, validated

KEY = "not_run"  # of a metrics or provenance file that holds a reason
UNREACHABLE = "source unreachable"
_NOTE = "unreachable.txt"  # in the folder of a source


def read(results: Path, scale: str) -> dict[str, str]:
    """Reads the reasons why runs of a scale have no result, by run.

    Raises:
        Error: a metrics file is malformed; the message names file and key.
    """
    reasons = {}
    for path in sorted((results / scale / "metrics").glob("*.json")):
        content = files.read_json(path)
        if KEY in content:
            named = validated(dict[str, Text], {key: content.get(key) for key in ("run", KEY)}, str(path))
            reasons[named["run"]] = named[KEY]
    return reasons


def write(where: RunPaths, reason: str) -> None:
    """Writes the reason in place of the results of a run; those that are there are kept."""
    content = {"run": where.run, "seed": where.seed, "scale": where.scale, KEY: reason}
    for path in (where.training, where.provenance, where.metrics):
        if not path.exists() or KEY in files.read_json(path):
            files.write_json(path, content)


def clear(where: RunPaths) -> None:
    """Removes a reason that no longer holds; results are kept."""
    for path in (where.training, where.provenance, where.metrics):
        if path.exists() and KEY in files.read_json(path):
            path.unlink()


def note(source: Path, message: str) -> None:
    """Notes in the folder of a source why it could not be reached; an empty message removes the note."""
    if message:
        files.write_text(source / _NOTE, f"{message}\n")
    else:
        (source / _NOTE).unlink(missing_ok=True)


def noted(source: Path) -> str:
    """The note in the folder of a source; empty if there is none."""
    path = source / _NOTE
    if not path.is_file():
        return ""
    content = files.regular(path, files.MOST_TEXT).read_text(encoding="utf-8", errors="backslashreplace")
    return one_line(content, MOST_OF_MESSAGE)


def because_of(where: RunPaths, source: Path) -> str:
    """The note in the folder of a run's source, after writing the reason in place of the run's results.

    Returns:
        One line; empty, and nothing is written, if there is no note.
    """
    if found := noted(source):
        write(where, UNREACHABLE)
    return found
