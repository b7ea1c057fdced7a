"""Reads YAML in bounded memory and time."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from capsrepro.core.errors import Error
from capsrepro.core.files import read_text, regular
from capsrepro.core.text import one_line

MOST_BYTES = 512 << 10  # of a parameter file; 1,000 runs at three scales take less
MOST_KEYS = 10_000  # of a mapping, with what `<<` merges into it
# What PyYAML raises besides its own errors: for values such as `2001-99-99`, `!!int x` or `!!bool x`, and deep nesting.
FAULTS = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    ArithmeticError,
    RecursionError,
)


def read(path: Path) -> Any:
    """Parses a YAML file of at most `MOST_BYTES`.

    Raises:
        Error: it is missing, too large, or not YAML.
    """
    try:
        return yaml.load(read_text(regular(Path(path), MOST_BYTES)), _Loader)  # a SafeLoader
    except OSError as fault:
        raise Error(f"{path}: not readable ({fault.strerror}); run from the root of the project") from fault
    except FAULTS as fault:
        raise Error(f"{path}: not YAML ({one_line(fault, 300)}); correct it") from fault


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that rejects duplicate keys, of which PyYAML's own silently takes the last one, and many keys.

    A chain of merges (`<<`) doubles the keys with each link.
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_KEYS:
            problem = f"merges more than {MOST_KEYS} keys in {node.start_mark}"
            raise yaml.constructor.ConstructorError(problem=problem)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(keys) > len(set(keys)):
            twice = next(key for number, key in enumerate(keys) if key in keys[:number])
            raise yaml.constructor.ConstructorError(problem=f"the key {twice!r} stands twice in {node.start_mark}")
        return super().construct_mapping(node, deep)
