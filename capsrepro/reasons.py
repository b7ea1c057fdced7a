"""Why a run has no result: `not_run.json` in the folder of its scale."""

import reprlib
from pathlib import Path

from capsrepro import files
from capsrepro.errors import Error


def read(results: Path, scale: str) -> dict[str, str]:
    """Reads `not_run.json` in the folder of a scale: by run, why it was not run; nothing where there is no such file.

    Raises:
        Error: it is malformed; the message names file and key.
    """
    path = results / scale / "not_run.json"
    content = files.read_json(path) if path.exists() else {}
    for name, reason in content.items():
        if not isinstance(reason, str):
            where = name if name.isprintable() else repr(name)
            raise Error(f"{path}, {where}: expected the reason as text, received {reprlib.repr(reason)}; correct it")
    return content


def write(results: Path, scale: str, run: str, reason: str | None) -> None:
    """Writes why a run has no result into `not_run.json` in the folder of its scale, or takes that back."""
    reasons = read(results, scale)
    told = {name: text for name, text in reasons.items() if name != run} | ({run: reason} if reason else {})
    if told != reasons:
        files.write_json(results / scale / "not_run.json", told)
