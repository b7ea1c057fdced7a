"""What is read from YAML, JSON and CSV, checked by pydantic; the first fault becomes one line."""

import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from capsrepro.core.errors import Error

T = TypeVar("T")

CONFIG = ConfigDict(extra="forbid")  # no key is ignored

# Nothing is converted: "3" is no number, 1 no truth. Numbers fit into 64 bits, since tables and arrays hold them so.
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, lt=2**63)]
Natural = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Number = Annotated[float, Field(strict=True, gt=-(2.0**63), lt=2.0**63, allow_inf_nan=False)]

# What pydantic calls a fault, and what we say was expected; `{ge}` and the like are pydantic's details.
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
    """The content as `kind`, a type that pydantic knows.

    Args:
        kind: such as a dataclass with the configuration `CONFIG` and fields of the types above.
        content: what was read.
        where: the file, and perhaps the line, for the message.
        known: the keys that there are, for the message about one that there is not.
        expected: by key, what its value should be, in better words than pydantic's.
        remedy: what to do about it, for the message.

    Raises:
        Error: it is not of that kind; one line that names the place, the key, what was expected and what was received.
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
    """A short form of what was received, on one line."""
    if isinstance(value, dict | list | tuple | set):
        return f"{type(value).__name__} of {len(value)}"
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a huge number"


def _place(fault: ErrorDetails) -> str:
    """`, runs.caps.conv_channels[0]`; nothing where the whole of the content is at fault."""
    path = ""
    for part in fault["loc"]:
        name = str(part) if str(part).isprintable() else repr(part)
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
