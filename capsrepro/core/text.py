"""Makes text from elsewhere safe to show: names and cells of files, answers of servers, members of archives.

Such text may hold line breaks, terminal escapes, marks of Markdown or HTML, or half of a surrogate pair, and may have
any length.
"""

import errno
import io
import os
import re
from typing import TextIO

MOST = 160  # characters shown of one foreign text
MOST_OF_MESSAGE = 4000  # of a whole message, whose parts were shortened before

# Markdown leaves an underscore within a word as it is, so names need no escape.
_SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def one_line(text: object, most: int = MOST) -> str:
    """Formats foreign text as one line of at most about `most` printable characters.

    White space becomes a single space. Other characters that a terminal would not print as they are, such as escapes,
    marks that turn the direction of writing, and lone surrogates, are shown as Python escapes. Of a longer text the
    beginning and the end are shown.
    """
    whole = str(text)
    if longer := len(whole) > 8 * most:  # a line of a megabyte is not converted to be shortened then
        whole = f"{whole[: 4 * most]} {whole[-4 * most :]}"
    words = " ".join(whole.split())
    shown = "".join(character if character.isprintable() else _escape(character) for character in words)
    if len(shown) <= most and not longer:
        return shown
    half = (most - 3) // 2
    return f"{shown[: most - 3 - half]}...{shown[len(shown) - half :]}"


def whole_line(text: object) -> str:
    """As `one_line`, but nothing is cut off."""
    return one_line(text, most=10 * len(str(text)) + MOST)


def markdown(text: object) -> str:
    """Escapes foreign text, so that Markdown and HTML show it literally, on one line; nothing is cut off."""
    shown = whole_line(text)
    for character, entity in _ENTITIES.items():
        shown = shown.replace(character, entity)
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", shown)


def code(text: object) -> str:
    """Foreign text for a code span of Markdown: on one line, without backticks; nothing is cut off."""
    return whole_line(text).replace("`", "'")


def message(fault: BaseException) -> str:
    """The message of an exception as one line; that of a system error names the file and says what to do."""
    told: object = fault
    if isinstance(fault, OSError):
        known = fault.filename is not None and fault.strerror is not None
        remedy = "free some space" if fault.errno in (errno.ENOSPC, errno.EDQUOT) else "fix that"
        told = f"{os.fsdecode(fault.filename)}: {fault.strerror}" if known else fault
        told = f"{told}; {remedy} and run it again"
    return one_line(told, MOST_OF_MESSAGE)


def encode_anything(*streams: TextIO) -> None:
    """Has streams of text show as Python escapes what their encoding lacks, such as a Chinese name under LANG=C."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
