"""The message of each fault that validation finds: one line with file, key, expected, received, remedy."""

import math
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from capsrepro.core.errors import Error
from capsrepro.core.validation import CONFIG, Count, Flag, Natural, Number, Text, shown, validated


@dataclass(frozen=True, config=CONFIG)
class Inner:
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)


@dataclass(frozen=True, config=CONFIG)
class Thing:
    name: Text
    steps: Count = 1
    seed: Natural = 0
    rate: Number = 0.5
    fast: Flag = False
    kind: Literal["capsnet", "baseline"] = "capsnet"
    perhaps: Count | None = None
    inner: Inner = Inner()
    more: dict[Text, Inner] = Field(default_factory=dict)


class Tree(TypedDict):
    within: "Tree | str"


def read(**content: Any) -> Thing:
    return validated(Thing, {"name": "some", **content}, "some.yaml")


def test_what_is_right_is_taken_over_with_defaults_for_the_rest() -> None:
    found = read(steps=3, rate=2, inner={"widths": [4, 5]}, perhaps=None)
    assert found == Thing("some", steps=3, rate=2.0, inner=Inner((4, 5)))
    assert isinstance(found.rate, float)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"steps": "3"}, "steps: expected a whole number, received '3'"),
        ({"steps": 3.0}, "steps: expected a whole number, received 3.0"),
        ({"steps": True}, "steps: expected a whole number, received True"),
        ({"steps": None}, "steps: expected a whole number, received None"),
        ({"steps": 0}, "steps: expected at least 1, received 0"),
        ({"seed": -1}, "seed: expected at least 0, received -1"),
        ({"rate": "1e-5"}, "rate: expected a number, received '1e-5' (YAML reads 1e-5 as text: write 1.0e-5)"),
        ({"rate": True}, "rate: expected a number, received True"),
        ({"rate": math.nan}, "rate: expected a number, received nan"),
        ({"fast": 1}, "fast: expected true or false, received 1"),
        ({"name": 7}, "name: expected text, received 7"),
        ({"kind": "capsule"}, "kind: expected one of capsnet, baseline, received 'capsule'"),
        ({"perhaps": "x"}, "perhaps: expected a whole number, received 'x'"),
        ({"inner": 3}, "inner: expected a mapping, received 3"),
        ({"inner": {"widths": 3}}, "inner.widths: expected a list, received 3"),
        ({"inner": {"widths": []}}, "inner.widths: expected a list that is not empty, received list of 0"),
        ({"inner": {"widths": [1, 2, "x"]}}, "inner.widths[2]: expected a whole number, received 'x'"),
        ({"more": {"caps": {"widths": [0]}}}, "more.caps.widths[0]: expected at least 1, received 0"),
        ({"more": {"a\nb": {"widths": [0]}}}, "more.'a\\nb'.widths[0]: expected at least 1, received 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_what_was_expected(content: dict[str, Any], message: str) -> None:
    with pytest.raises(Error) as fault:
        read(**content)
    assert str(fault.value) == f"some.yaml, {message}; correct it"


@pytest.mark.parametrize("number", [2**63, -(2**64), 10**400])
def test_a_number_of_more_than_64_bits_is_refused(number: int) -> None:
    for name in ("seed", "rate"):
        with pytest.raises(Error, match=rf"^some.yaml, {name}: expected [^\n]*, received [^\n]*; correct it$"):
            read(**{name: number})


def test_a_missing_key_and_an_unknown_one_are_named_with_what_to_do() -> None:
    with pytest.raises(Error, match=r"^some\.yaml, name: missing; correct it$"):
        validated(Thing, {}, "some.yaml")
    with pytest.raises(Error, match=r"^some\.yaml, stepps: unknown key; correct it$"):
        read(stepps=3)
    with pytest.raises(Error, match=r"^some\.yaml, inner\.width: unknown key; known: widths, steps; delete it$"):
        content = {"name": "some", "inner": {"width": [3]}}
        validated(Thing, content, "some.yaml", known=["widths", "steps"], remedy="delete it")


def test_a_reader_may_have_better_words_for_what_it_expects() -> None:
    words = {"steps": "a whole number above 0", "name": "the name of a run"}
    with pytest.raises(Error, match=r"^a\.csv, line 3, steps: expected a whole number above 0, received 0; correct"):
        validated(Thing, {"name": "some", "steps": 0}, "a.csv, line 3", expected=words)
    with pytest.raises(Error, match=r"^a\.csv, line 3, name: missing; fill in the name of a run; correct it$"):
        validated(Thing, {}, "a.csv, line 3", expected=words)


@pytest.mark.parametrize("content", [None, 3, "text", [1, 2]])
def test_content_that_is_no_mapping_is_named_by_the_file_alone(content: Any) -> None:
    with pytest.raises(Error, match=r"^some\.yaml: expected a mapping, received [^\n]*; correct it$"):
        validated(Thing, content, "some.yaml")


def test_content_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = "text"
    for _ in range(100_000):
        deep = {"within": deep}
    with pytest.raises(Error, match=r"^some\.yaml[^\n]*; correct it$"):
        validated(Tree, deep, "some.yaml")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "0.5"),
        ("a\nb", r"'a\nb'"),
        ([1, 2, 3], "list of 3"),
        ({"a": 1}, "dict of 1"),
    ],
)
def test_what_was_received_is_shown_short_and_on_one_line(value: Any, message: str) -> None:
    assert shown(value) == message


def test_what_is_long_is_shown_short() -> None:
    assert len(shown("x" * 1000)) < 50
    assert shown(10**5000) == "a huge number"  # Python itself would not write it
