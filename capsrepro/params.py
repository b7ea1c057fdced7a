"""`params.yaml` as frozen dataclasses; an unknown key or a wrong type is an error that names it."""

import dataclasses
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from capsrepro.errors import Error

Recipe = Literal["paper", "released"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One row of the paper: what is trained, on what, and how. The defaults are the paper's MNIST CapsNet (section 4).

    What a scale may set comes second; what the row *is* comes first and is the same at every scale.
    """

    data: Literal["mnist", "multimnist", "affnist", "cifar10", "smallnorb", "svhn"]
    model: Literal["capsnet", "mnist_baseline", "multimnist_baseline"]
    recipe: Recipe = "released"  # where paper and released code disagree, which one is followed
    loss_recipe: Recipe | None = None  # the same of the loss alone: its weight or its target; None: as `recipe`
    layers_recipe: Recipe | None = None  # and of the layers: the primary capsules' share, the baseline's first kernel
    loss: Literal["margin", "softmax", "sigmoid"] = "margin"
    routing: int | None = None  # iterations of routing; None where there are no capsules
    reconstruction: bool = False
    leaky: bool = False  # leaky routing: a capsule may belong to none of the classes
    padding: Literal["valid", "same"] = "valid"
    primary_atoms: int = 8
    digit_atoms: int = 16
    dropout: float = 0.0
    shift: int = (
        2  # MNIST: training images are shifted by up to so many pixels each way; MultiMNIST: both digits, always
    )
    base_shift: Literal["per_pair", "per_image"] = "per_pair"  # MultiMNIST: the released code shifts a base digit once
    validate: bool = False  # train on the last 50,000 images and test on the first 10,000 training images
    members: int = 1  # networks that are trained one after the other and whose class scores are added up
    batch_size: int = 128
    learning_rate: float = 0.001
    decay_rate: float = 0.96

    conv_channels: tuple[int, ...] = (256,)
    primary_types: int = 32
    dense_units: tuple[int, ...] = (512, 1024)  # CapsNet: the decoder's hidden layers; baselines: those before the last
    steps: int = 300_000
    decay_steps: int = 2000  # the rate falls by decay_rate in so many steps
    checkpoint_steps: int = 1500  # a backup and a line of history every so many steps
    precision: Literal["float32", "mixed_bfloat16", "auto"] = "float32"  # auto: bfloat16 where it is fast (`devices`)
    train_examples: int | None = None  # only the first so many training images; None: all
    stop_pct: float | None = None  # affNIST: train until this accuracy on the expanded MNIST test set, or for `steps`
    average: float | None = (
        None  # momentum of the moving average that becomes the weights in the end; None: the last ones
    )
    test_pairs: int = 1000  # MultiMNIST: pairs of each test digit; 1,000 are the paper's 10 million

    @property
    def recipe_of_loss(self) -> Recipe:
        """Which recipe the loss follows."""
        return self.loss_recipe or self.recipe

    @property
    def recipe_of_layers(self) -> Recipe:
        """Which recipe the layers follow."""
        return self.layers_recipe or self.recipe


SCALE_MAY_SET = (
    "conv_channels",
    "primary_types",
    "dense_units",
    "steps",
    "decay_steps",
    "checkpoint_steps",
    "precision",
    "train_examples",
    "test_pairs",
    "stop_pct",
    "average",
)


@dataclasses.dataclass(frozen=True)
class Params:
    """All of `params.yaml`: what is selected, the runs, and what each scale sets for each of them."""

    scales: tuple[str, ...]
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: Mapping[str, Run]
    scale_settings: Mapping[str, Mapping[str, Mapping[str, Any]]]
    figures: tuple[str, ...] = ()

    def settings(self, run: str, scale: str) -> Run:
        """The run as it is trained at a scale.

        Raises:
            Error: there is no such run, no such scale, or the scale says nothing about the run.
        """
        entry: Run = _known(self.runs, run, "run", "runs")
        overrides = _known(
            _known(self.scale_settings, scale, "scale", "scale_settings"), run, "run", f"scale_settings.{scale}"
        )
        return dataclasses.replace(entry, **overrides)


def read(path: Path = Path("params.yaml")) -> Params:
    """Reads and checks a parameter file.

    Raises:
        Error: the file is missing or no YAML, a key is unknown or missing, or a value is of a wrong type or too small.
    """
    content = _parsed(path)
    fields = {field.name: field.default for field in dataclasses.fields(Params)}
    required = [name for name, default in fields.items() if default is dataclasses.MISSING]
    top = _checked(content, dict.fromkeys(fields, Any), f"{path}: ", required)
    runs = {}
    for name, entry in _mapping(top["runs"], f"{path}: runs").items():
        where = f"{path}: runs.{name}"
        runs[name] = _run(_checked(entry, _RUN_TYPES, f"{where}."), where)
    scales = {
        scale: _scale(entries, runs, f"{path}: scale_settings.{scale}")
        for scale, entries in _mapping(top["scale_settings"], f"{path}: scale_settings").items()
    }
    params = Params(
        scales=_value(top["scales"], tuple[str, ...], f"{path}: scales"),
        rows=_value(top["rows"], tuple[str, ...], f"{path}: rows"),
        seeds=_value(top["seeds"], tuple[int, ...], f"{path}: seeds"),
        runs=runs,
        scale_settings=scales,
        figures=_value(top["figures"], tuple[str, ...], f"{path}: figures") if top.get("figures") else (),
    )
    for scale in params.scales:
        for row in params.rows:
            try:
                params.settings(row, scale)
            except Error as fault:
                raise Error(f"{path}: {fault}") from fault
    return params


_MOST_NODES = 10_000  # of YAML, those behind an alias counted each time
_LARGEST = 2**63  # numbers are below it: what computes with them has 64 bits
_RUN_TYPES = typing.get_type_hints(Run)
_SCALE_TYPES = {name: _RUN_TYPES[name] for name in SCALE_MAY_SET}
_AT_LEAST = {
    "routing": 1,
    "primary_types": 1,
    "primary_atoms": 1,
    "digit_atoms": 1,
    "shift": 0,
    "batch_size": 1,
    "members": 1,
    "steps": 1,
    "decay_steps": 1,
    "checkpoint_steps": 1,
    "train_examples": 1,
    "test_pairs": 1,
    "conv_channels": 1,
    "dense_units": 1,
}


def _parsed(path: Path) -> Any:
    """What is in a YAML file; nothing of it is run, and it is not larger than it looks."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        _expanded(yaml.compose(text, yaml.SafeLoader), {})
        return yaml.safe_load(text)
    except OSError as fault:
        raise Error(f"{path}: not readable ({fault.strerror}); run from the root of the project") from fault
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as fault:
        # The others: of values such as `2001-99-99`, `!!int x` or `!!bool x`, and of what is nested too deeply.
        raise Error(f"{path}: not YAML ({' '.join(str(fault).split())})") from fault


def _expanded(node: Any, known: dict[int, int]) -> int:
    """How many nodes there are with each alias written out, which must be few; a key stands once in a mapping."""
    if id(node) not in known:
        known[id(node)] = _MOST_NODES  # for an alias within what it stands for
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in parts if isinstance(key, yaml.ScalarNode)]
            if repeated := [key for key in keys if keys.count(key) > 1]:
                raise ValueError(f"the key {repeated[0]!r} stands twice in {node.start_mark}")
            parts = [part for pair in parts for part in pair]
        known[id(node)] = 1 + sum(_expanded(part, known) for part in parts)
    if known[id(node)] >= _MOST_NODES:
        raise ValueError(f"{_MOST_NODES} values or more, or an alias within itself, in {node.start_mark}")
    return known[id(node)]


def _run(entry: dict[str, Any], where: str) -> Run:
    for name in ("data", "model"):
        if name not in entry:
            raise Error(f"{where}: the key {name!r} is missing")
    run = Run(**entry)
    if run.data == "multimnist" and "shift" not in entry:
        raise Error(f"{where}.shift: missing; a MultiMNIST run has to say how far its digits move: 4 in the paper")
    if (run.model == "capsnet") != (run.routing is not None):
        raise Error(
            f"{where}.routing: a capsnet needs a number of iterations and a baseline none, received {run.routing}"
        )
    return run


def _scale(entries: Any, runs: Mapping[str, Run], where: str) -> dict[str, dict[str, Any]]:
    settings = {}
    for name, entry in _mapping(entries, where).items():
        _known(runs, name, "run", where)
        settings[name] = _checked(entry, _SCALE_TYPES, f"{where}.{name}.")
    return settings


def _known(entries: Mapping[str, Any], name: str, kind: str, where: str) -> Any:
    if name not in entries:
        raise Error(f"unknown {kind} {name!r} in {where}; known: {', '.join(entries) or 'none'}")
    return entries[name]


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise Error(f"{where}: expected a mapping, received {_shown(content)}")
    for name in content:
        if not (isinstance(name, str) and name.isprintable()):
            raise Error(f"{where}: expected printable text as a key, received {_shown(name)}")
    return content


def _checked(content: Any, kinds: Mapping[str, Any], where: str, required: Sequence[str] = ()) -> dict[str, Any]:
    entries = _mapping(content, where.rstrip(".: "))
    for name in entries:
        if name not in kinds:
            raise Error(f"{where}{name}: unknown key; known: {', '.join(kinds)}")
    if missing := [name for name in required if name not in entries]:
        raise Error(f"{where}the key {missing[0]!r} is missing")
    return {name: _value(value, kinds[name], f"{where}{name}") for name, value in entries.items()}


def _value(value: Any, kind: Any, where: str) -> Any:
    """The value as `kind` wants it: lists become tuples, whole numbers floats; nothing else is converted."""
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    name = where.rpartition(".")[2]
    if origin is Literal and value in arguments:
        return value
    optional = origin in (types.UnionType, typing.Union)  # the latter is what `Literal[...] | None` is
    if optional and value is None:
        return None
    if optional:
        return _value(value, arguments[0], where)
    if origin is tuple and isinstance(value, list) and value:
        return tuple(_value(item, arguments[0], f"{where}[{index}]") for index, item in enumerate(value))
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST  # NaN is none
    if kind is float and number:
        return float(value)
    if (kind is bool and isinstance(value, bool)) or (kind is str and isinstance(value, str)):
        return value
    if kind is int and isinstance(value, int) and number:
        if value < _AT_LEAST.get(name.partition("[")[0], 0):
            raise Error(f"{where}: expected at least {_AT_LEAST.get(name.partition('[')[0], 0)}, received {value}")
        return value
    wanted = f"one of {', '.join(map(str, arguments))}" if origin is Literal else _spelled(kind)
    hint = "; YAML reads 1e-5 as text: write 1.0e-5" if kind is float and isinstance(value, str) else ""
    raise Error(f"{where}: expected {wanted}, received {_shown(value)}{hint}")


def _shown(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a huge number"


def _spelled(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list of {get_args(kind)[0].__name__}"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
