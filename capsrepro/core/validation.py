"""Checks the content of YAML, JSON and CSV files with pydantic; the first fault becomes a one-line error."""

import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from capsrepro.core.errors import Error
from capsrepro.core.text import one_line

CONFIG = ConfigDict(extra="forbid")  # an unknown key is an error

# Types are strict: "3" is not a number and 1 is not a boolean. Numbers must fit into the 64 bits of tables and arrays.
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, lt=2**63)]
Natural = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Number = Annotated[float, Field(strict=True, gt=-(2.0**63), lt=2.0**63, allow_inf_nan=False)]
# A name becomes part of the names of files: it leads to no other folder, and is read as it is by Markdown and a shell.
Name = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+=-]*$", max_length=100)]

# pydantic's error types and our descriptions of the expected value; `{ge}` and the like are filled in from its details.
_EXPECTED = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 64 bits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "string_type": "text",
    "string_too_short": "text",
    "string_pattern_mismatch": "a name of letters, digits and . _ + = -",
    "string_too_long": "a name of at most {max_length} letters, digits and . _ + = -",
    "too_long": "a list of at most {max_length}",
    "tuple_type": "a list",
    "too_short": "a list that is not empty",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "dataclass_type": "a mapping",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}


def validated(
    kind: Any,
    content: Any,
    where: str,
    *,
    known: Iterable[str] = (),
    expected: Mapping[str, str] | None = None,
    remedy: str = "correct it",
) -> Any:
    """Checks content against a type and returns it as that type.

    Args:
        kind: a type that pydantic supports, such as a dataclass with the configuration `CONFIG` and the types above.
        content: the parsed content of a file.
        where: the file, and optionally the line, for the message.
        known: all valid keys, for the message about an unknown one.
        expected: descriptions of the expected values by key, which replace pydantic's.
        remedy: the advice at the end of the message.

    Raises:
        Error: the content does not fit; one line that names the place, the key, and the expected and received values.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        words = (expected or {}).get(str(first["loc"][-1])) if first["loc"] else None
        raise Error(f"{where}{_place(first)}: {_message(first, list(known), words)}; {remedy}") from None
    except RecursionError as fault:
        raise Error(f"{where}: nested too deeply; {remedy}") from fault


def shown(value: Any) -> str:
    """Formats a received value briefly, on one line."""
    if isinstance(value, dict | list | tuple | set):
        return f"{type(value).__name__} of {len(value)}"
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to format integers of more than 4,300 digits
        return "a huge number"


def _place(fault: ErrorDetails) -> str:
    """Formats the key of a fault: `, runs.caps.conv_channels[0]`; empty if the whole content is at fault."""
    path = ""
    for part in fault["loc"]:
        name = one_line(part if str(part).isprintable() else repr(part))
        path += f"[{part}]" if isinstance(part, int) else f".{name}" if path else name
    return f", {path}" if path else ""


def _message(fault: ErrorDetails, known: list[str], words: str | None) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in {"missing", "missing_argument"}:
        return f"missing; fill in {words}" if words else "missing"
    if kind in _UNKNOWN:
        return f"unknown key; known: {', '.join(known)}" if known else "unknown key"
    if kind == "value_error" and not words:
        return str(context["error"])
    if words is None and kind == "literal_error":
        words = "one of " + re.sub(r"'([^']*)'", r"\1", str(context["expected"])).replace(" or ", ", ")
    words = words or _EXPECTED.get(kind, fault["msg"].removeprefix("Input should be ")).format(**context)
    hint = ""
    if kind == "float_type" and isinstance(fault["input"], str):
        hint = " (YAML reads 1e-5 as text: write 1.0e-5)"
    return f"expected {words}, received {shown(fault['input'])}{hint}"
