"""Damage to files, drawn by hypothesis, and what a reader may answer to it."""

import collections
import contextlib
import gzip
import io
import json
import math
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from capsrepro.core.errors import Error

EXAMPLES = 200  # files a reader
REFUSED = object()
SLACK = 2 << 20  # bytes that a reader may take whatever the file's size
often = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

_tallies: dict[str, collections.Counter[bool]] = {}  # reader -> whether it refused -> how often


def _zipped() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("member.npy", b"no array")
        return file.getvalue()


def _saved(array: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        np.save(file, array)
        return file.getvalue()


FOREIGN = (
    b"",
    b"\0" * 512,
    b"<html>404: not here</html>\n",
    b"{}",
    b"[1, 2]",
    b"null",
    b"a: 1\n",
    b"step,loss\n1,0.5\n",
    b"\xff\xfe\0x",
    struct.pack(">4I", 0x803, 2**31, 2**31, 2**31),
    struct.pack("<6I", 0x1E3D4C55, 4, *[2**31] * 4),
    struct.pack("<QI", 2**62, 0),
    b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH2I", 0x100, 0x4D49, 15, 2**31) + b"x" * 40,
    b"\x89HDF\r\n\x1a\n" + b"\xff" * 200,
    gzip.compress(b"some"),
    _zipped(),
    _saved(np.arange(4.0)),
    _saved(np.zeros(1, np.uint8)).replace(b"(1,), }        ", b"(4294967296,),}"),  # as if it had so many
)

_NUMBERS = st.sampled_from([0, 1, 2, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1])


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, header: int = 64) -> bytes | None:
    """A file's content, truncated, longer, with bits and bytes changed or numbers overwritten, above all in its header.

    None stands for a folder in the file's place; one in a hundred or so is whole.
    """
    kind = draw(
        st.sampled_from([*["cut", "longer", "flip", "flip", "overwrite", "number", "number", "move"] * 3, "other"])
    )
    if kind == "other":
        return draw(st.sampled_from([None, whole, *FOREIGN]))
    content = bytearray(whole)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 5]))):
        size = len(content)
        place = draw(st.integers(0, max(0, size - 1)) | st.integers(0, max(0, min(size, header) - 1)))
        if kind == "cut":
            del content[place:]
        elif kind == "longer":
            content += draw(st.binary(min_size=1, max_size=40) | st.just(bytes(whole)))
        elif kind == "flip" and size:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "overwrite":
            new = draw(st.binary(min_size=1, max_size=12))
            content[place : place + len(new)] = new
        elif kind == "number":
            width, order = draw(st.sampled_from([1, 2, 4, 4, 8])), draw(st.sampled_from(["little", "big"]))
            number = draw(_NUMBERS) % 256**width
            place -= place % min(4, width)
            content[place : place + width] = number.to_bytes(width, order)
        else:  # a piece is gone, or stands somewhere else too
            piece = bytes(content[place : place + draw(st.integers(1, 64))])
            if draw(st.booleans()):
                del content[place : place + len(piece)]
            else:
                at = draw(st.integers(0, size))
                content[at:at] = piece
    return bytes(content)


def computable(value: Any) -> bool:
    """Whether no number in it is NaN, infinite or of more than 64 bits."""
    if isinstance(value, dict):
        return all(computable(one) for one in (*value, *value.values()))
    if isinstance(value, list | tuple):
        return all(computable(one) for one in value)
    return not isinstance(value, int | float) or abs(value) < 2**63


NUMBERS = st.sampled_from([0, -1, 1, 2**63, 10**25, 10**400, 1e308, math.nan, math.inf, -math.inf, 0.5]) | st.integers()
TEXTS = st.text(max_size=6) | st.sampled_from(["a\nb", "\x00", "\u2028", "true", "1e-5", "2001-01-01", "=", "<<"])
SCALARS = st.none() | st.booleans() | NUMBERS | st.floats() | TEXTS
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@st.composite
def changed(draw: st.DrawFn, whole: Any) -> Any:
    """A tree like `whole` of which one entry is another, is gone, or is new."""
    tree = json.loads(json.dumps(whole))
    place, inside = tree, draw(st.integers(0, 4))
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(keys))
        if not inside or not isinstance(place[key], dict | list) or not place[key]:
            kind = draw(st.sampled_from(["other", "other", "other", "gone", "new"]))
            if kind == "gone":
                del place[key]
            elif kind == "other" or isinstance(place, list):
                place[key] = draw(TREES)
            else:
                place[draw(TEXTS)] = draw(TREES)
            return tree
        place, inside = place[key], inside - 1
    return draw(TREES)


@st.composite
def written(draw: st.DrawFn, whole: Any, write: Callable[[Any], str]) -> bytes | None:
    """A file of a tree that is not what it should be, or a damaged file of one that is."""
    if draw(st.booleans()):
        return draw(damaged(write(whole).encode(), 200))
    text = write(draw(changed(whole)))
    if draw(st.integers(0, 4)) == 0:  # a line twice
        lines = text.splitlines(keepends=True)
        at = draw(st.integers(0, len(lines) - 1))
        text = "".join([*lines[: at + 1], *lines[at:]])
    return text.encode("utf-8", "surrogatepass")


def put(path: Path, content: bytes | None) -> None:
    """Makes `path` a file of this content, or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    if content is None:
        path.unlink(missing_ok=True)
        path.mkdir()
    else:
        path.write_bytes(content)


def answer(reader: str, read: Callable[[], Any], path: Path, named: str = "") -> Any:
    """What `read` returns, or REFUSED where it raises the project's own error: one line that names the file.

    Args:
        reader: what is counted.
        read: reads the file; another exception than the project's comes through and fails the test.
        path: the file.
        named: what the message must have, where that is not the file's name.
    """
    outcome = REFUSED
    try:
        outcome = read()
    except Error as fault:
        message = str(fault)
        assert (named or path.name) in message
        assert len(message.splitlines()) == 1
        message.encode()
    _tallies.setdefault(reader, collections.Counter())[outcome is REFUSED] += 1
    return outcome


@contextlib.contextmanager
def frugal(path: Path) -> Any:
    """Fails where what is inside takes more memory than twice the size of the file."""
    size = path.stat().st_size
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 2 * size + SLACK, f"{path.name}: {peak} bytes of memory for a file of {size}"


def tallied() -> str:
    """How many files each reader was given, a line for each."""
    return "\n".join(f"reader {name}: {tally.total()} files, {tally[True]} refused" for name, tally in _tallies.items())


def tell(request: pytest.FixtureRequest) -> None:
    """Prints how many files each reader of a module was given, captured or not."""
    few = [reader for reader, tally in _tallies.items() if tally.total() < EXAMPLES]
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{tallied()}", flush=True)
    _tallies.clear()
    assert not few, f"fewer than {EXAMPLES} files: {few}"
