"""Adds a run to a parameter file as text, so that all else in it stays as it is, comments too."""

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from capsrepro.core import files, params, paths, yaml_files
from capsrepro.core.errors import Error
from capsrepro.core.text import one_line

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # a name is part of file names and of DVC's names of stages
AUTHORS = "released"  # the scale of the authors' published checkpoints: nothing is trained at it


def add(path: Path, name: str, like: str, changed: Mapping[str, str]) -> list[str]:
    """Adds a run with the settings of another one, some of them changed, and selects it for `dvc repro`.

    It is selected at the first scale under `trainings` that has settings for it, with all seeds of that scale: in the
    rows or, if its data are not made from MNIST, in `sources` and `further`.

    In a folder without a parameter file, the new file is that of the package with the run added.

    Args:
        path: the parameter file.
        name: of the new run.
        like: the run that it derives from.
        changed: settings by name, as YAML; those that a scale may set are changed at each scale.

    Returns:
        The keys of the file under which it stands now, such as `runs` or `trainings.quick.rows`.

    Raises:
        Error: the name is taken or not usable, the other run is unknown, there is no such scale, or a setting is not
            valid; the file is then as it was.
    """
    with files.exclusive(path.parent):
        return _add(path, name, like, changed)


def _add(path: Path, name: str, like: str, changed: Mapping[str, str]) -> list[str]:
    """As `add`, while no other process may do the same."""
    source = paths.found(path)
    known = params.read(source)
    if not NAME.fullmatch(name):
        raise Error(f"{name!r}: not usable as a name; take lower-case letters and digits with single hyphens between")
    if name in known.runs:
        raise Error(f"{path}, runs.{name}: is there already; choose another name, or edit it there")
    if like not in known.runs:
        raise Error(f"unknown run {like!r}; known: {', '.join(known.runs)}")
    if strange := [key for key in changed if not key.isidentifier()]:
        raise Error(f"{one_line(strange[0])!r}: no name of a setting; write key=value, such as routing=2")
    with source.open(encoding="utf-8") as file:
        text, ends = file.read(), file.newlines or ""
    scales = [scale for scale, runs in known.scale_settings.items() if like in runs and scale != AUTHORS]
    if (selected := next((scale for scale in known.trainings if scale in scales), None)) is None:
        needed = f"one of the scales that have settings for {like}: {', '.join(scales) or 'none'}"
        raise Error(f"{path}, trainings: expected {needed}; received {', '.join(known.trainings) or 'none'}; add one")
    data = _value(changed["data"], "data") if "data" in changed else known.runs[like].data
    additions = _selected(known, selected, name, data)
    for scale in (None, *scales):
        text = _with_entry(text, scale, name, like, changed, str(path))
    for keys, items in additions.items():
        for item in items:
            text = _with_item(text, keys, item)
    with files.replacing(path.resolve()) as temporary:  # of a link, what it leads to
        temporary.write_text(text, encoding="utf-8", newline="\r\n" if "\r\n" in ends else "\n")
        shutil.copymode(source, temporary)
        try:
            params.read(temporary)
        except Error as fault:
            raise Error(str(fault).replace(str(temporary), str(path))) from fault
    return ["runs", *(f"scale_settings.{scale}" for scale in scales), *map(".".join, additions)]


def _selected(known: params.Params, scale: str, name: str, data: str) -> dict[tuple[str, ...], list[str]]:
    """What selects the run at a scale: items of lists, as YAML, by the keys of each list."""
    lists: dict[tuple[str, ...], list[str]] = {}
    if data in params.FROM_MNIST:
        if scale not in known.built:  # the stages of a scale with rows need its test sets
            lists[("built",)] = [scale]
        lists["trainings", scale, "rows"] = [name]
    else:
        if data not in known.sources:
            lists[("sources",)] = [data]
        seeds = known.trainings[scale].seeds
        lists[("further",)] = [f"{{scale: {scale}, run: {name}, seed: {seed}, source: {data}}}" for seed in seeds]
    return lists


def _with_entry(text: str, scale: str | None, name: str, like: str, changed: Mapping[str, str], where: str) -> str:
    """The text with an entry after that of `like`: under `runs`, or under a scale."""
    parts = ["runs"] if scale is None else ["scale_settings", scale]
    parent: Any = yaml.compose(text, yaml.SafeLoader)
    content: Any = yaml.safe_load(text)
    for part in parts:
        parent, content = _pair(parent, part)[1], content[part]
    if parent.flow_style:
        raise Error(f"{where}, {'.'.join(parts)}: stands in one line; write its entries into lines of their own first")
    key, entry = _pair(parent, like)
    mine = {one: _value(words, one) for one, words in changed.items() if (one in params.SCALE_MAY_SET) == bool(scale)}
    settings = {one: value for one, value in content[like].items() if one != "like"} | mine
    margin = " " * key.start_mark.column
    if scale:
        added = [f"{margin}{name}: {{{', '.join(f'{one}: {_yaml(value)}' for one, value in settings.items())}}}"]
    else:
        added = [f"{margin}{name}:"]
        added += [f"{margin}  {one}: {_yaml(value)}" for one, value in ({"like": like} | settings).items()]
    return _after(text, _end(entry), added)


def _with_item(text: str, keys: tuple[str, ...], item: str) -> str:
    """The text with an item at the end of a list; a list that is not there is added to the end of the text."""
    items: Any = yaml.compose(text, yaml.SafeLoader)
    if keys[0] not in [key.value for key, _ in items.value]:
        return f"{text.rstrip()}\n{keys[0]}: [{item}]\n"
    for key in keys:
        items = _pair(items, key)[1]
    if items.flow_style:
        end = items.value[-1].end_mark.index if items.value else items.start_mark.index + 1
        return f"{text[:end]}{', ' if items.value else ''}{item}{text[end:]}"
    return _after(text, _end(items), [f"{' ' * items.start_mark.column}- {item}"])


def _after(text: str, index: int, lines: list[str]) -> str:
    """The text with more lines after the one at this index."""
    end = text.find("\n", index)
    end = len(text) if end < 0 else end
    return "\n".join([text[:end], *lines]) + text[end:]


def _end(node: Any) -> int:
    """The index after the last character of a value; that of a block would be the one of what follows it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _pair(mapping: Any, key: str) -> tuple[Any, Any]:
    """The nodes of a key and of its value."""
    return next((name, value) for name, value in mapping.value if name.value == key)


def _value(words: str, key: str) -> Any:
    try:
        value = yaml.safe_load(words)
        json.dumps(value)  # not every YAML is a value: `[1, &a [*a]]` has no end, and `2001-01-01` is a date
    except yaml_files.FAULTS as fault:
        given = f"{key}={one_line(words)}"
        raise Error(
            f"{given}: not YAML, or no plain value; write key=value, such as routing=2 or conv_channels=[16]"
        ) from fault
    return value


def _yaml(value: Any) -> str:
    """A value in one line."""
    return yaml.safe_dump([value], default_flow_style=True, width=math.inf).strip()[1:-1]
