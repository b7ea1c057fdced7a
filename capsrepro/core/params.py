"""Reads and checks the settings in `params.yaml`; errors name the unknown key or the wrong value."""

import dataclasses
import json
import typing
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from capsrepro.core import paths, yaml_files
from capsrepro.core.errors import Error
from capsrepro.core.validation import CONFIG, Count, Flag, Name, validated

MOST_SEED = 100_000  # a layer's seed is below (MOST_SEED + 1) * MOST_MEMBERS * 1000, and has to be below 2**32
MOST_MEMBERS = 32
TITLES = {
    "mnist": "MNIST",
    "multimnist": "MultiMNIST",
    "affnist": "affNIST",
    "cifar10": "CIFAR-10",
    "smallnorb": "smallNORB",
    "svhn": "SVHN",
}
FROM_MNIST = ("mnist", "multimnist", "affnist")  # data that need no source but MNIST

Recipe = Literal["paper", "released"]
RoutingUpdate = Literal["accumulate", "replace"]
Width = Annotated[int, Field(strict=True, ge=1, le=65_536)]  # of a layer, or a number of examples in memory
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]  # YAML has lists
Iterations = Annotated[int, Field(strict=True, ge=1, le=100)]
Steps = Annotated[int, Field(strict=True, ge=1, le=10**9)]
Pixels = Annotated[int, Field(strict=True, ge=0, le=28)]  # a larger shift leaves nothing of a digit
Threads = Annotated[int, Field(strict=True, ge=1, le=1024)]
Members = Annotated[int, Field(strict=True, ge=1, le=MOST_MEMBERS)]
Pairs = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Seed = Annotated[int, Field(strict=True, ge=0, le=MOST_SEED)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Percentage = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
Rate = Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)]
Factor = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True, config=CONFIG)
class RunConfig:
    """The settings of a run: network, data and training. The defaults are the paper's MNIST CapsNet (section 4).

    The first group of fields defines the row of the paper and is the same at every scale. A scale may override the
    second group.
    """

    data: Literal["mnist", "multimnist", "affnist", "cifar10", "smallnorb", "svhn"]
    model: Literal["capsnet", "mnist_baseline", "multimnist_baseline"]
    recipe: Recipe = "released"  # which one to follow where paper and released code differ
    loss_recipe: Recipe | None = None  # `recipe` for the loss only: its weight or target; None: same as `recipe`
    layers_recipe: Recipe | None = None  # for the layers only: scale of primary capsules, first kernel of baselines
    loss: Literal["margin", "softmax", "sigmoid"] = "margin"
    routing: Iterations | None = None  # routing iterations; None for networks without capsules
    routing_update: RoutingUpdate = "accumulate"  # of the logits by the agreement: b <- b + a, or b <- a (`replace`)
    reconstruction: Flag = False
    leaky: Flag = False  # leaky routing: a capsule may be routed to no class
    padding: Literal["valid", "same"] = "valid"
    primary_atoms: Width = 8
    digit_atoms: Width = 16
    dropout: Share = 0.0
    shift: Pixels = 2  # largest shift in pixels; MNIST: training images only; MultiMNIST: both digits, also in tests
    base_shift: Literal["per_pair", "per_image"] = "per_pair"  # MultiMNIST; per_image: as the released code does
    validate: Flag = False  # train on the last 50,000 images and test on the first 10,000 training images
    members: Members = 1  # ensemble: this many networks are trained in turn, and their class scores are added
    learning_rate: Rate = 0.001
    decay_rate: Factor = 0.96

    batch_size: Width = 128
    conv_channels: Widths = (256,)
    primary_types: Width = 32
    dense_units: Widths = (512, 1024)  # hidden dense layers: of a CapsNet's decoder, or of a baseline
    steps: Steps = 300_000
    decay_steps: Steps = 2000  # the learning rate falls by the factor decay_rate in this many steps
    checkpoint_steps: Steps = 1500  # steps from one backup and line of history to the next
    precision: Literal["float32", "mixed_bfloat16", "auto"] = "float32"  # auto: bfloat16 where it is fast (`devices`)
    train_examples: Count | None = None  # use only the first training images, this many; None: all
    stop_pct: Percentage | None = None  # affNIST: stop at this accuracy on the expanded MNIST test set, at most `steps`
    average: Share | None = None  # momentum of a moving average of the weights, which is the result; None: no average
    test_pairs: Pairs = 1000  # MultiMNIST: pairs per test digit; the paper's 10 million are 1,000
    threads: Threads | None = None  # CPU threads; their number decides the order of sums, so the last digits; None: all

    @property
    def recipe_of_loss(self) -> Recipe:
        """The recipe that the loss follows."""
        return self.loss_recipe or self.recipe

    @property
    def recipe_of_layers(self) -> Recipe:
        """The recipe that the layers follow."""
        return self.layers_recipe or self.recipe

    def as_json(self) -> dict[str, Any]:
        """The settings as JSON values: lists in place of tuples."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


@dataclass(frozen=True, config=CONFIG)
class RunEntry(RunConfig):
    """An entry under `runs`: the settings of a run and, if it is no row of the paper, the run that it derives from."""

    like: Name | None = None  # compared with it in the table "Other runs"; no setting of the training

    @property
    def settings(self) -> RunConfig:
        """The settings alone."""
        return RunConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(RunConfig)})


SCALE_MAY_SET = (
    "batch_size",
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
    "threads",
)
_HINTS = typing.get_type_hints(RunConfig, include_extras=True)
ScaleSettings = TypedDict("ScaleSettings", {name: _HINTS[name] for name in SCALE_MAY_SET}, total=False)  # type: ignore[misc]
ScaleSettings.__pydantic_config__ = CONFIG  # type: ignore[attr-defined]


@dataclass(frozen=True, config=CONFIG)
class Selection:
    """What `dvc repro` trains at one scale: each row with each seed."""

    rows: tuple[Name, ...]  # none: nothing is trained at this scale
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]


@dataclass(frozen=True, config=CONFIG)
class Further:
    """One training on data that is fetched besides MNIST, and the source that has it."""

    scale: Name
    run: Name
    seed: Seed
    source: Name


@dataclass(frozen=True, config=CONFIG)
class Params:
    """The content of `params.yaml`: the selection, the runs, and the settings of each scale for each run."""

    trainings: dict[Name, Selection]
    runs: dict[Name, RunEntry]
    scale_settings: dict[Name, dict[Name, ScaleSettings]]
    built: tuple[Name, ...] = ()  # scales whose test sets are built
    figures: tuple[Name, ...] = ()  # scales whose figures are drawn
    sources: tuple[Name, ...] = ()  # fetched besides MNIST
    further: tuple[Further, ...] = ()
    together: Flag = False  # train all seeds of a run in one program, with JAX

    def companions(self, scale: str, seeds: Collection[int]) -> tuple[int, ...]:
        """The seeds that are trained in one program with `seeds` at a scale; none unless `together` says so."""
        selected = self.trainings[scale].seeds if scale in self.trainings else ()
        return selected if self.together and set(seeds) <= set(selected) else ()

    def of_scale(self, scale: str) -> Mapping[str, Mapping[str, Any]]:
        """The settings of a scale by run; an Error names the known scales if it is none of them."""
        found: Mapping[str, Mapping[str, Any]] = _known(self.scale_settings, scale, "scale", "scale_settings")
        return found

    def settings(self, run: str, scale: str) -> RunConfig:
        """The settings of a run at a scale.

        Raises:
            Error: the run or the scale is unknown, or the scale has no settings for the run.
        """
        config: RunConfig = _known(self.runs, run, "run", "runs").settings
        return dataclasses.replace(config, **_known(self.of_scale(scale), run, "run", f"scale_settings.{scale}"))


def same_settings(trained: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a run was trained with the settings of `now`, both as JSON holds them.

    A setting that was added after the training counts as its default, which keeps the earlier behaviour. A precision of
    `auto` matches any, since the device decides it.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    known = {name: json.loads(json.dumps(trained.get(name, defaults.get(name)))) for name in now}
    different = [name for name, value in now.items() if known[name] != value and (name, value) != ("precision", "auto")]
    return trained.keys() <= now.keys() and not different


def read(path: Path = Path("params.yaml")) -> Params:
    """Reads and checks a parameter file; in a folder without one, the `params.yaml` of the package (`paths.found`).

    Raises:
        Error: the file is missing or not YAML, a key is unknown or missing, or a value has a wrong type or is out of
            range.
    """
    content = yaml_files.read(paths.found(path))
    known = [field.name for kind in (RunEntry, Selection, Params) for field in dataclasses.fields(kind)]
    params: Params = validated(Params, content, str(path), known=known)
    try:
        for name, run in params.runs.items():
            _check(name, run, content["runs"][name])
            if run.like is not None:
                _known(params.runs, run.like, "run", f"runs.{name}.like")
            if run.like == name:
                raise Error(f"runs.{name}.like: the run itself; name the one that it derives from")
        for scale, entries in params.scale_settings.items():
            for name in entries:
                _known(params.runs, name, "run", f"scale_settings.{scale}")
                _check_layers(f"scale_settings.{scale}.{name}", params.settings(name, scale))
        for key in ("built", "figures"):
            for scale in getattr(params, key):
                _known(params.scale_settings, scale, "scale", f"{key} and scale_settings")
        _check_once(params.sources, "sources")
        for scale, selected in params.trainings.items():
            _check_once(selected.rows, f"trainings.{scale}.rows")
            _check_once(selected.seeds, f"trainings.{scale}.seeds")
            for row in selected.rows:
                if (data := params.settings(row, scale).data) not in FROM_MNIST:
                    remedy = "use `sources` and `further` for it"
                    raise Error(f"trainings.{scale}.rows: {row} needs {data}, which is not made from MNIST; {remedy}")
        for further in params.further:
            params.settings(further.run, further.scale)
            _check_source(further, params)
    except Error as fault:
        raise Error(f"{path}, {fault}") from fault
    return params


def _check(name: str, run: RunConfig, entry: Mapping[str, Any]) -> None:
    """Checks settings that depend on each other."""
    if run.data == "multimnist" and "shift" not in entry:
        raise Error(f"runs.{name}.shift: missing; a MultiMNIST run has to say how far its digits move: 4 in the paper")
    if (run.model == "capsnet") != (run.routing is not None):
        need = "a capsnet needs a number of iterations and a baseline none"
        raise Error(f"runs.{name}.routing: {need}, received {run.routing}; correct it")
    if run.routing is None and run.routing_update != "accumulate":
        raise Error(f"runs.{name}.routing_update: a baseline has no routing, received {run.routing_update}; remove it")


def _check_once(items: Collection[object], where: str) -> None:
    """Checks that nothing stands twice in a list, as DVC would have two stages of one name."""
    if twice := [item for item, count in Counter(items).items() if count > 1]:
        raise Error(f"{where}: {twice[0]} stands twice; name it once")


def _check_source(further: Further, params: Params) -> None:
    """Checks that the source of a row is the one of its run, and is fetched."""
    data = params.runs[further.run].data
    if further.source != data:
        raise Error(f"further, {further.run}: expected {data!r}, its data, as source, received {further.source!r}")
    if data not in params.sources:
        raise Error(f"further, {further.run}: {data} is not fetched; add it to `sources`")


def _check_layers(where: str, run: RunConfig) -> None:
    """Checks the number of convolutions, which the settings of a scale may change."""
    needed = {"capsnet": 1, "multimnist_baseline": 2}.get(run.model, len(run.conv_channels))
    if len(run.conv_channels) != needed:
        received = f"{needed} convolutions, received {len(run.conv_channels)}"
        raise Error(f"{where}.conv_channels: a {run.model} has {received}; give each its channels")


def _known(entries: Mapping[str, Any], name: str, kind: str, where: str) -> Any:
    if name not in entries:
        raise Error(f"unknown {kind} {name!r} in {where}; known: {', '.join(entries) or 'none'}")
    return entries[name]
