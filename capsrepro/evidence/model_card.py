"""Renders the model card of a scale's published weights; every number is read from the result files."""

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from capsrepro.core import files, text, training_history
from capsrepro.core.errors import Error
from capsrepro.core.params import Params
from capsrepro.core.paths import RunPaths
from capsrepro.evidence import comparison, paper
from capsrepro.evidence import results as evidence
from capsrepro.evidence import scale as scales
from capsrepro.evidence.results import Result

EPOCH = paper.DATA["mnist"].train

_HEAD = """\
# Model card: the published weights of scale `{{ scale }}`

Written by `python -m experiments.publish`. Each number is from the metrics, provenance and history beside this file, or
from the recount in `weights`.
"""
# `_wrapped` wraps the paragraphs after the values are filled in.
_CARD = """\
## {{ result.run }}, seed {{ result.seed }}

**What.** A network of *Dynamic Routing Between Capsules* for MNIST of {{ result.parameters|count }} parameters
{%- if result.routing %}, {{ result.routing }} iterations of routing{% endif %}
{%- if result.reconstruction %}, with decoder{% endif %}. It takes one grey digit, 28x28 in [0, 1], light on dark, and
gives a score for each of the ten classes
{%- if result.reconstruction %}; asked for a class, it draws the digit{% endif %}. `weights/{{ where.published.name }}`,
{{ publication.bytes|megabytes }} MB in half precision, sha256 `{{ publication.sha256|code }}`.

| | |
|---|---|
{% for measure, value in numbers %}
| {{ measure }} | {{ value|literal }} |
{% endfor %}

**Training.** `{{ variables }}python -m experiments.train {{ arguments }}`, at commit
`{{ result.git_revision|code or "unknown" }}`{{ " with changes" if result.git_dirty else "" }}:
{{ result.steps|count }} steps of {{ settings.batch_size }} images, {{ epochs|fixed(1) }} epochs of {{ epoch|count }};
recipe `{{ result.recipe }}`; Adam, its rate
{{ settings.learning_rate }}, times {{ settings.decay_rate }} every {{ settings.decay_steps|count }} steps;
{{ settings.precision }}
{%- if settings.average is not none %}; a moving average of the weights with momentum {{ settings.average }}{% endif %}.
{{ (seconds / epochs)|fixed(1) }} seconds an epoch, {{ seconds|fixed(0) }} in all, on {{ result.device|literal }};
{{ versions|literal }}.
{%- if publication.note %} {{ publication.note|literal }}{% endif %}


**Data.** MNIST, sha256 of its files `{{ result.data_sha256|code }}`: {{ result.train_examples|count }} training images,
shifted by up to {{ settings.shift }} pixels, and {{ result.examples|count }} test images. These are the
weights at the end of the training, not those with the best count.

**Use.** `python -m experiments.predict PICTURE... {{ flags }}`, or in Python:

```python
import capsrepro
network = capsrepro.load("{{ result.run }}", scale="{{ result.scale }}", seed={{ result.seed }})
digits = network.classify(network.prepare("PICTURE"))
```

It loads these weights, unless `checkpoints` in the current folder has others of this run. `network.scores(images)` maps
images `(N, 28, 28, 1)` to scores `(N, 10)`. To put the weights where the
pipeline has them: `python -m experiments.publish {{ arguments }} --restore`.

**Limits.** The error is that on MNIST's test images: one digit, centred and scaled as MNIST does it. What has no digit
in it gets an answer too. Nothing was measured on other writing or on attacks; the purpose is the comparison with the
paper, no other.

**Licence.** Apache-2.0, as the code. MNIST is by LeCun, Cortes and Burges, CC BY-SA 3.0.
"""


def render(known: Params, folder: Path, scale: str, fresh: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Renders the model card as Markdown.

    Args:
        known: the parameter file, for the verdict.
        folder: holds paper.csv and a folder for each scale: `results` in the root of the project.
        scale: the scale whose published weights are described.
        fresh: publications that are not written yet, by `run-seedN`, as `experiments.publish` writes them.

    Raises:
        Error: metrics, provenance or history of published weights are missing or malformed.
    """
    written = {path.stem: files.read_json(path) for path in (folder / scale / "weights").glob("*.json")}
    results = evidence.read(folder, scale)
    parts = [_template(_HEAD).render(scale=scale)]
    for name, publication in sorted((written | dict(fresh or {})).items()):
        found = [result for result in results if result.name == name]
        if not found:
            raise Error(f"{folder / scale / 'metrics'}: nothing of {name}; run `python -m experiments.evaluate` first")
        seeds = [result for result in results if result.run == found[0].run]
        parts.append(_card(known, folder, found[0], seeds, publication))
    return "\n".join(parts)


def _card(known: Params, folder: Path, result: Result, seeds: Sequence[Result], publication: Mapping[str, Any]) -> str:
    """The section on one file of weights; `seeds` are the results of its run, which share one verdict."""
    where = RunPaths(result.scale, result.run, result.seed)
    beside = folder / result.scale / "provenance" / where.provenance.name
    history = folder / result.scale / "history" / where.history.name
    flags = f"--scale {result.scale} --seed {result.seed}"
    try:
        card: str = _template(_CARD).render(
            result=result,
            publication=publication,
            where=where,
            numbers=[*_counts(result, publication), *_judged(known, folder, seeds), _seen(history)],
            arguments=f"{result.run} {flags}",
            flags=f"--run {result.run} {flags}",
            variables=_variables(result),
            settings=result.settings,
            seconds=result.train_seconds,
            epoch=EPOCH,
            epochs=result.steps * result.settings["batch_size"] / EPOCH,
            versions=_versions(result),
        )
    except (LookupError, TypeError, AttributeError, jinja2.UndefinedError) as fault:
        raise Error(f"{beside} or {where.publication}: lacks what the card says ({fault}); train again") from fault
    return "\n\n".join(map(_wrapped, card.strip().split("\n\n"))) + "\n"


def _versions(result: Result) -> str:
    """The versions of the training's libraries; LookupError if its provenance lacks them."""
    if not result.versions:
        raise LookupError("versions")
    return ", ".join(f"{name} {version}" for name, version in result.versions.items())


def _variables(result: Result) -> str:
    """The environment variables of the training command: a backend other than the default, and the arithmetic."""
    backend = {} if result.backend == "tensorflow" else {"KERAS_BACKEND": result.backend}
    return "".join(
        f"{text.code(name)}={text.code(shlex.quote(value))} " for name, value in (backend | result.arithmetic).items()
    )


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith(("#", "|", "```")):
        return paragraph
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def _counts(result: Result, publication: Mapping[str, Any]) -> list[tuple[str, str]]:
    low, high = result.wilson_low_pct, result.wilson_high_pct
    counted = f"{result.wrong:,} of {result.examples:,} wrong; 95 % interval (Wilson) {low:.2f} to {high:.2f} %"
    again = f"{publication['wrong']:,} of {result.examples:,} wrong"
    return [
        ("test error", f"{result.test_error_pct:.2f} %, {counted}"),
        ("counted again, with the rounded weights", again),
    ]


def _judged(known: Params, folder: Path, seeds: Sequence[Result]) -> list[tuple[str, str]]:
    """The paper's number and the verdict on it, as in the table; empty if the paper has no such run."""
    run, scale = seeds[0].run, seeds[0].scale
    ours = scales.load(known, folder, scale)
    row = ours.rows.get(run)
    if row is None:
        return []
    spread = "" if row.std is None else f" ± {row.std:g}"
    trials = "" if row.n is None else f" ({row.n} trainings)"
    several = f", of {len(seeds)} seeds" if len(seeds) > 1 else ""
    return [
        ("the paper", f"{row.value:g}{spread} %{trials}, {row.where}"),
        ("verdict, see `table.md`", f"{comparison.verdict(ours, row)}{several}"),
    ]


def _seen(history: Path) -> tuple[str, str]:
    last = training_history.last(history)
    if missing := {"step", "right", "loss"}.difference(last):
        raise Error(f"{history}: its last line has no {', '.join(sorted(missing))}; train again")
    message = f"{100 * last['right']:.2f} % of the training images right, loss {last['loss']:.3g}"
    return "end of training", f"step {last['step']:,.0f}: {message}"


def _template(source: str) -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "literal": text.markdown,
        "code": text.code,
        "fixed": lambda value, digits: f"{value:.{digits}f}",
        "megabytes": lambda size: f"{size / 1e6:.1f}",
    }
    return environment.from_string(source)
