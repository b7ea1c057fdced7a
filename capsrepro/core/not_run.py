"""Reads and writes `not_run.json`: the reasons why runs of a scale have no result."""

from pathlib import Path

from capsrepro.core import files
from capsrepro.core.validation import Text, validated


def read(results: Path, scale: str) -> dict[str, str]:
    """Reads the reasons why runs of a scale have no result, by run; empty if there is no `not_run.json`.

    Raises:
        Error: the file is malformed; the message names file and key.
    """
    path = results / scale / "not_run.json"
    content = files.read_json(path) if path.exists() else {}
    reasons: dict[str, str] = validated(dict[str, Text], content, str(path))
    return reasons


def write(results: Path, scale: str, run: str, reason: str | None) -> None:
    """Records the reason why a run has no result in `not_run.json` of its scale; None removes the entry."""
    path = results / scale / "not_run.json"

    def change(before: dict[str, str]) -> dict[str, str]:
        reasons: dict[str, str] = validated(dict[str, Text], before, str(path))
        kept = {name: text for name, text in reasons.items() if name != run}
        return kept | ({run: reason} if reason else {})

    if reason or path.exists():  # nothing to remove from a file that is not there: no folder is made
        files.change_json(path, change)
