"""Lists how a run deviates from the paper's: what makes it another run, and the remarks beside its verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

from capsrepro.core.params import TITLES, same_settings
from capsrepro.evidence.paper import DATA, Row
from capsrepro.evidence.results import Result

WIDTHS = ("conv_channels", "primary_types", "dense_units")  # the settings of a scale that change the architecture
HELD_OUT = 10_000  # training images that `validate` tests on
NOTHING = "learnt nothing"
GUESSED = 1.25  # right so many times as often as a guess: still nothing learnt; always the commonest digit has 1.14
SAMPLES: Mapping[str, int] = {"multimnist": 100_000}  # a random sample of this size counts as the whole test set


def is_stale(result: Result, settings: Mapping[str, Any] | None) -> bool:
    """Whether a result was trained or evaluated with settings other than `settings`, or evaluated with other weights.

    A setting that was added after the training counts as its default in params.py, which keeps the earlier behaviour.
    A precision of `auto` matches any, since the device decides it. Steps are a limit where training stops early.
    """
    if settings is None or result.of_other_weights:
        return True
    evaluated = {name: getattr(result, name) for name in ("recipe", "routing", "reconstruction", "steps")}
    if settings.get("stop_pct") is not None and result.steps <= settings.get("steps", result.steps):
        del evaluated["steps"]
    changed = any(settings.get(name, value) != value for name, value in evaluated.items())
    return changed or not same_settings(result.settings, settings)


def is_narrow(row: Row | None, result: Result, paper_settings: Mapping[str, Any] | None) -> bool:
    """Whether a network is narrower than the paper's.

    Its parameter count is compared with the paper's or, if the paper does not determine that, its widths with those of
    the same run at the scale `paper`.
    """
    if row is not None and row.parameters is not None:
        return result.parameters != row.parameters
    return paper_settings is None or any(result.settings.get(k) != paper_settings.get(k) for k in WIDTHS)


def is_partial(data: str, result: Result, *, validation: bool = False, tested: bool = True) -> bool:
    """Whether a result is from a part of its data set only.

    Args:
        data: the name of the data set.
        result: the result.
        validation: whether it has to be measured on held-out training images instead of the test set.
        tested: whether the size of the test set matters.
    """
    train, test = DATA[data].train, SAMPLES.get(data, DATA[data].test)
    if validation:
        train, test = train - HELD_OUT, HELD_OUT
    held_out = bool(result.settings.get("validate", False))
    return result.train_examples != train or held_out != validation or (tested and result.examples < test)


def smaller(results: Sequence[Result], *, narrow: bool, partial: bool) -> str:
    """What results are called that have no verdict, because a network or its data is smaller than the paper's.

    Returns:
        `reduced width`: only the network is smaller, at another scale than `quick`. `quick`: otherwise. Empty: neither
        is smaller.
    """
    if not narrow and not partial:
        return ""
    return "quick" if partial or any(result.scale == "quick" for result in results) else "reduced width"


def changed(row: Row, results: Sequence[Result]) -> tuple[str, ...]:
    """Describes differences in routing, loss, decoder or ensemble, which make the runs another row than the paper's."""
    words = []
    for routing in sorted({result.routing or 0 for result in results} - {row.routing or 0}):
        words.append(f"routing {routing or 'none'}, the paper's {row.routing or 'none'}")
    expected: dict[str, Any] = {"members": DATA[row.data].members}
    if row.routing:
        expected |= {"routing_update": "accumulate", "leaky": DATA[row.data].leaky, "loss": "margin"}
    for name, value in expected.items():
        words += [f"{name} {shown(other)}, the paper's {shown(value)}" for other in _others(results, name, value)]
    if row.decoder is not None and any(result.reconstruction != row.decoder for result in results):
        words.append("no decoder, the paper has one" if row.decoder else "a decoder, the paper has none")
    return tuple(words)


def remarks(
    results: Sequence[Result], paper_settings: Mapping[str, Any] | None, planned: Sequence[str] = ()
) -> tuple[str, ...]:
    """Describes the deviations that leave the row comparable; the runs have equal settings, as none is stale.

    Args:
        results: of one run, at least one.
        paper_settings: of that run at the scale `paper`; None: it has none there.
        planned: see `always`.
    """
    first = results[0]
    words = [*steps(results, paper_settings), *_ends(first, paper_settings or {})]
    if (pairs := min(result.examples for result in results)) < _whole_test(first):
        words.append(f"{thousands(pairs)} test pairs")
    words += sorted({_short(one.trained_precision) for one in results if one.trained_precision != "float32"})
    if first.settings.get("average") is not None:
        words.append("averaged weights")
    words += _recipe(results)
    if first.recipe != "paper":
        words.append(f"{first.recipe} recipe")
    for part in ("loss", "layers"):
        if (other := first.settings.get(f"{part}_recipe")) not in (None, first.recipe):
            words.append(f"{other} {part}")
    words += sorted({f"counted in {_short(one.counted_precision)}" for one in results if _inexact(one)})
    return (*words, *always(results, planned))


def _ends(first: Result, paper_settings: Mapping[str, Any]) -> list[str]:
    """Another decay of the learning rate or another accuracy at the end than those of the scale `paper`."""
    words = []
    for name, text in (("decay_steps", "decay every {:,} steps"), ("stop_pct", "stopped at {} %")):
        ours, theirs = first.settings.get(name), paper_settings.get(name)
        if None not in (ours, theirs) and ours != theirs:
            words.append(text.format(ours))
    return words


def _recipe(results: Sequence[Result]) -> list[str]:
    """The settings of data and optimizer that are not the paper's, as `shift 6`."""
    data = str(results[0].settings.get("data"))
    expected: dict[str, Any] = {"batch_size": 128, "learning_rate": 0.001, "decay_rate": 0.96}
    if data in DATA and DATA[data].shift is not None:
        expected["shift"] = DATA[data].shift
    if data == "multimnist":
        expected["base_shift"] = "per_pair"
    found = ((name.replace("_", " "), _others(results, name, value)) for name, value in expected.items())
    return [f"{name} {shown(other)}" for name, others in found for other in others]


def always(results: Sequence[Result], planned: Sequence[str] = ()) -> tuple[str, ...]:
    """The remarks beside every verdict.

    These are: a test set that was built, not downloaded; trainings that learnt nothing; `planned`, of `plan.remarks`.
    """
    built = sorted({f"built {_title(result)}" for result in results if result.built})
    failed = [result.name for result in results if learnt_nothing(result)]
    return (*built, *([f"{', '.join(failed)} {NOTHING}"] if failed else []), *planned)


def learnt_nothing(result: Result) -> bool:
    """Whether a network is right hardly more often than a guess, as when none of its units is active any more."""
    data, right = str(result.settings.get("data")), 1 - result.wrong / result.examples
    return data in DATA and right * DATA[data].answers <= GUESSED


def steps(results: Sequence[Result], paper_settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The steps actually done, such as `14k steps`; empty if they are at least those of the scale `paper`."""
    done = sorted({result.steps_trained for result in results})
    if paper_settings is not None and done[0] >= paper_settings.get("steps", 0):
        return ()
    return (" to ".join(thousands(number) for number in dict.fromkeys((done[0], done[-1]))) + " steps",)


def shown(value: Any) -> str:
    """The value of a setting in a table."""
    return {True: "yes", False: "no", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)


def thousands(number: int) -> str:
    """Formats 14,000 as `14k` and 600 as `600`."""
    return f"{number / 1000:g}k" if number >= 1000 else str(number)


def _whole_test(result: Result) -> int:
    """The size of the whole test set if a sample of it is enough, else 0."""
    data = str(result.settings.get("data"))
    return DATA[data].test if data in SAMPLES else 0


def _inexact(result: Result) -> bool:
    return result.counted_precision != "float32"


def _others(results: Sequence[Result], name: str, expected: Any) -> list[Any]:
    """The values of a setting that are not the expected one; a result that lacks it has that."""
    return sorted({result.settings.get(name, expected) for result in results} - {expected})


def _short(precision: str) -> str:
    return precision.removeprefix("mixed_")


def _title(result: Result) -> str:
    data = str(result.settings.get("data"))
    return TITLES.get(data, data)
