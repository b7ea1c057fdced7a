"""Writes the judged claims of one scale as tables: Markdown, CSV and LaTeX."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from capsrepro.core import files
from capsrepro.evidence import claim_results, latex, lined
from capsrepro.evidence.claim_results import Judged

SHOWN = ("claim", "statement", "where", "the paper", "ours", "95 % interval", "verdict")
ALIGNMENT = ("left", "left", "left", "right", "right", "right", "left")
MEASURED = ("claim", "compared", "seeds", "images", "test", "p", "p (Holm)", "detectable")
MEASURED_ALIGNMENT = ("left", "left", "right", "right", "left", "right", "right", "right")
UNITS = (
    "The effect is the value of the first run minus that of the second, in percentage points of test error (affNIST: "
    "of accuracy); for losses and logits it is the log10 of a ratio. Rules and margins: `results/claims.csv`."
)
WORDS = (
    "*holds*: the whole interval is on the side that the paper claims, as far there as the claim's rule asks; *does "
    "not hold*: none of it is, or all of it lies within the margin of no effect; *cannot tell*: neither, or the "
    "networks were not trained equally; *stale*, *not reached*, *changed*: as for the numbers; *pictures*: not judged. "
    "In brackets: what else differs from the paper. *one seed*: the interval covers other test images, but not other "
    "trainings. *not after Holm's correction*: corrected for all claims in this table, the p of this verdict is 0.05 "
    "or more."
)
HOW = (
    "How each claim was measured. p: of the test for no effect; p (Holm): corrected for all claims in this table; "
    "detectable: a true effect of this size is found with a probability of 0.90, given the spread over these seeds."
)


def build(judged: Sequence[Judged]) -> pd.DataFrame:
    """Builds a line for each claim; cells without a value are empty, and effects have four decimals."""
    lines = [_line(one) for one in judged]
    return pd.DataFrame(lines).astype(dict.fromkeys(("seeds", "images"), "Int64"))


def shared(judged: Sequence[Judged]) -> str:
    """A sentence on what all measured claims differ in from the paper; empty: fewer than two, or nothing."""
    words = ", ".join(claim_results.shared(judged))
    return words and f"All measured claims: {words}."


def display(judged: Sequence[Judged]) -> list[list[str]]:
    """Formats claims and verdicts for reading: text in the columns `SHOWN`; what `shared` says is left out."""
    common = claim_results.shared(judged)
    return [
        [
            one.claim.id,
            one.claim.statement,
            one.claim.where,
            lined.signed(one.claim.paper_effect),
            lined.signed(one.effect.effect) if one.effect else "",
            _span(one),
            one.told(common),
        ]
        for one in judged
    ]


def measured(judged: Sequence[Judged]) -> list[list[str]]:
    """Formats the measurement of each claim that has an effect: text in the columns `MEASURED`."""
    lines = []
    for one in judged:
        if one.effect is not None:
            images = "" if one.images is None else str(one.images)
            ps = [_p(one.effect.p), _p(one.p_holm)]
            found = "" if one.effect.detectable is None else f"{one.effect.detectable:.2f}"
            compared = " minus ".join(one.claim.runs)
            lines.append([one.claim.id, compared, str(one.seeds), images, one.effect.test, *ps, found])
    return lines


def markdown(judged: Sequence[Judged], scale: str) -> str:
    """Both tables in Markdown, with a heading, the units and the meaning of the verdicts."""
    blocks = [f"# Claims at scale `{scale}`", UNITS, WORDS, *filter(None, [shared(judged)])]
    blocks.append(lined.table(display(judged), SHOWN, ALIGNMENT))
    if lines := measured(judged):
        blocks += [HOW, lined.table(lines, MEASURED, MEASURED_ALIGNMENT)]
    return "\n\n".join(blocks) + "\n"


def write(judged: Sequence[Judged], folder: Path, scale: str) -> None:
    """Writes claims.md, .csv and .tex, and claims-appendix.tex to `folder`/`scale`, each atomically.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    texts = {
        "claims.md": markdown(judged, scale),
        "claims.csv": build(judged).to_csv(index=False, lineterminator="\n"),
        "claims.tex": latex.effects(judged, scale),
        "claims-appendix.tex": latex.all_effects(judged, scale),
    }
    for name, text in texts.items():
        files.write_text(folder / scale / name, text)


def _line(one: Judged) -> dict[str, Any]:
    claim, effect = one.claim, one.effect
    return {
        "id": claim.id,
        "statement": claim.statement,
        "where": claim.where,
        "measure": claim.measure,
        "run": claim.run,
        "against": claim.against,
        "paper_effect": claim.paper_effect,
        "effect": _rounded(effect.effect) if effect else None,
        "interval_low": _rounded(effect.low) if effect else None,
        "interval_high": _rounded(effect.high) if effect else None,
        "margin": claim.margin,
        "seeds": one.seeds if effect else None,
        "images": one.images,
        "test": effect.test if effect else None,
        "p": float(f"{effect.p:.4g}") if effect and effect.p is not None else None,
        "p_holm": float(f"{one.p_holm:.4g}") if one.p_holm is not None else None,
        "detectable": _rounded(effect.detectable) if effect and effect.detectable is not None else None,
        "verdict": one.verdict,
        "remarks": ", ".join(one.remarks),
    }


def _rounded(value: float) -> float | None:
    return round(value, 4) + 0.0 if math.isfinite(value) else None


def _span(one: Judged) -> str:
    if one.effect is None or not math.isfinite(one.effect.low):
        return ""
    return f"{lined.signed(one.effect.low)} to {lined.signed(one.effect.high)}"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.0001" if value < 1e-4 else f"{value:.2g}"
