"""Why a run has no result: `not_run.json` in the folder of its scale."""

from pathlib import Path

from capsrepro.core import files
from capsrepro.core.validation import Text, validated


def read(results: Path, scale: str) -> dict[str, str]:
    """Reads `not_run.json` in the folder of a scale: by run, why it was not run; nothing where there is no such file.

    Raises:
        Error: it is malformed; the message names file and key.
    """
    path = results / scale / "not_run.json"
    content = files.read_json(path) if path.exists() else {}
    reasons: dict[str, str] = validated(dict[str, Text], content, str(path))
    return reasons


def write(results: Path, scale: str, run: str, reason: str | None) -> None:
    """Writes why a run has no result into `not_run.json` in the folder of its scale, or takes that back."""
    reasons = read(results, scale)
    changed = {name: text for name, text in reasons.items() if name != run} | ({run: reason} if reason else {})
    if changed != reasons:
        files.write_json(results / scale / "not_run.json", changed)
