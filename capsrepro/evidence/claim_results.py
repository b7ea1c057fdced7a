"""Judges the paper's claims at one scale: effect, interval and verdict of each."""

import dataclasses
import math
import statistics
from collections.abc import Collection, Mapping, Sequence

from capsrepro.core import paths
from capsrepro.evidence import claims, clusters, deviations, paired, plan
from capsrepro.evidence.claims import Claim
from capsrepro.evidence.deviations import is_narrow, is_partial, is_stale, smaller
from capsrepro.evidence.paired import Count, Effect
from capsrepro.evidence.paper import DATA
from capsrepro.evidence.results import Result
from capsrepro.evidence.scale import Scale
from capsrepro.evidence.verdicts import Verdict

GAP = "affnist-gap"
ALPHA = 0.05
_LOGITS = ("logit_change_5", "logit_change_2")  # columns of a history: the mean change at these passes
ONE_SEED, NO_HOLM = "one seed", "not after Holm's correction"
_OTHER_IMAGES = "lacks both runs on the same test images"
Sides = tuple[list[Result], ...]  # the results of a claim's runs with the seeds that all of them have


@dataclasses.dataclass(frozen=True)
class Judged:
    """A judged claim. `effect` is None if there is nothing to compare; `p_holm` is corrected over all judged claims."""

    claim: Claim
    verdict: str
    remarks: tuple[str, ...] = ()
    effect: Effect | None = None
    seeds: int = 0
    images: int | None = None  # of one seed
    p_holm: float | None = None

    def told(self, common: Collection[str]) -> str:
        """The verdict with its remarks in brackets, but for those that all claims have in common."""
        return str(Verdict(self.verdict, tuple(word for word in self.remarks if word not in common)))

    @property
    def is_tentative(self) -> bool:
        """Whether other trainings, or the other claims, may well change the verdict."""
        return any(word in (ONE_SEED, NO_HOLM) or word.endswith(plan.UNFINISHED) for word in self.remarks)


def judge_all(scale: Scale, known: Mapping[str, Claim]) -> list[Judged]:
    """Judges all claims and corrects their p values together (Holm).

    A verdict that depends on excluding no effect, and that would not survive the correction, gets a remark.

    Raises:
        Error: stored predictions or a history are damaged; the message names the file.
    """
    judged = [judge(scale, claim) for claim in known.values()]
    corrected = paired.holm([one.effect.p if one.effect else None for one in judged])
    return [_corrected(one, p) for one, p in zip(judged, corrected, strict=True)]


def shared(judged: Sequence[Judged]) -> tuple[str, ...]:
    """The remarks that all measured claims have; none if fewer than two are measured."""
    each = [one.remarks for one in judged if one.effect is not None]
    return tuple(word for word in each[0] if all(word in other for other in each)) if len(each) > 1 else ()


def gap(scale: Scale) -> str:
    """The verdict on the claim about affNIST, which the rows of affNIST need; `not run` without a file of claims."""
    path = paths.found(scale.folder / "claims.csv")
    claim = claims.read(path).get(GAP) if path.is_file() else None
    return judge(scale, claim).verdict if claim else "not run"


def judge(scale: Scale, claim: Claim) -> Judged:
    """Judges one claim: `not run`, `stale`, `not reached` or `changed`, as for rows, or the verdict of `decide`.

    Raises:
        Error: stored predictions or a history are damaged; the message names the file.
    """
    if claim.measure == claims.PICTURES:
        return Judged(claim, claims.PICTURES)
    found, missing = _found(scale, claim)
    if missing:
        return Judged(claim, "not run", (missing,))
    everything = [result for side in found for result in side]
    for word, applies in (
        ("stale", any(is_stale(result, scale.settings.get(result.run)) for result in everything)),
        ("not reached", not all(result.stop_reached for result in everything)),
    ):
        if applies:
            return Judged(claim, word)
    changed = [
        f"{side[0].run}: {words}"
        for side in found
        if side[0].run in scale.rows and claim.images != "validation"
        for words in deviations.changed(scale.rows[side[0].run], side)
    ]
    if changed:
        return Judged(claim, "changed", tuple(changed))
    effect, remarks = _effect(scale, claim, found)
    if effect is None:
        return Judged(claim, "not run", remarks)
    verdict = claims.decide(claim, effect.low, effect.high)
    if broken := _premise(claim, found):
        verdict, remarks = claims.OPEN, (broken, *remarks)
    if math.isinf(effect.low):
        remarks = ("no spread over seeds to judge by", *remarks)
    elif len(found[0]) == 1:
        remarks = (*remarks, ONE_SEED)
    if word := _smaller(scale, claim, everything):
        remarks = (word, *remarks)
    images = None if claim.images == "training" else found[0][0].examples
    remarks += _remarks(scale, found, lengths=not broken.startswith("unequal steps"))
    return Judged(claim, verdict, remarks, effect, len(found[0]), images)


def _found(scale: Scale, claim: Claim) -> tuple[Sides, str]:
    """The results of each run with the seeds that all have, and what is missing, in words."""
    validation = claim.images == "validation"
    sides = [
        [one for one in scale.of(run) if bool(one.settings.get("validate", False)) == validation] for run in claim.runs
    ]
    where = " on validation images" if validation else ""
    absent = [run for run, side in zip(claim.runs, sides, strict=True) if not side]
    if absent:
        reasons = sorted({scale.reasons[run] for run in absent if run in scale.reasons})
        return (), "; ".join([f"lacks {', '.join(absent)}{where}", *reasons])
    common = set.intersection(*({one.seed for one in side} for side in sides))
    if not common:
        return (), f"lacks a seed that {' and '.join(claim.runs)} both have{where}"
    return tuple([one for one in side if one.seed in common] for side in sides), ""


def _effect(scale: Scale, claim: Claim, found: Sides) -> tuple[Effect | None, tuple[str, ...]]:
    """The effect, or None, and remarks about how it was found."""
    if claim.measure in ("loss", "logit_change"):
        return _of_histories(scale, claim, found)
    effect, remarks = difference(scale, *found)
    if effect is not None and claim.measure == "test_accuracy_pct":  # counts are of what was wrong
        effect = effect._replace(effect=-effect.effect, low=-effect.high, high=-effect.low)
    return effect, remarks


def difference(
    scale: Scale, first: Sequence[Result], second: Sequence[Result]
) -> tuple[Effect | None, tuple[str, ...]]:
    """The test error of one run minus that of another with the same seeds, in points, and remarks on how it was found.

    Raises:
        Error: kept answers are damaged; the message names the file.
    """
    if len({one.examples for one in (*first, *second)}) > 1:
        return None, ("lacks both runs on equally many images",)
    if len({one.test_sha256 for one in (*first, *second)} - {""}) > 1:
        return None, (_OTHER_IMAGES,)
    if len(first) > 1:
        return paired.over_seeds(*([100 * one.wrong / one.examples for one in side] for side in (first, second))), ()
    return _of_images(scale, first[0], second[0])


def _of_images(scale: Scale, first: Result, second: Result) -> tuple[Effect | None, tuple[str, ...]]:
    """The error of one training minus that of another, image for image if both have stored predictions."""
    data = str(first.settings.get("data"))
    counts = [Count(one.wrong, one.examples) for one in (first, second)]
    clustered = clusters.share_digits(data, first.examples)
    unpaired = paired.unpaired_clusters if clustered else paired.unpaired
    kept = [scale.predictions(one) for one in (first, second)]
    if kept[0] is None or kept[1] is None:
        return unpaired(*counts), ("unpaired",)
    if not (kept[0].labels == kept[1].labels).all():
        return None, (_OTHER_IMAGES,)
    ours, theirs = kept[0].right, kept[1].right
    if clustered:
        difference = theirs.astype(float) - ours.astype(float)  # the first error minus the second
        by_digit = clusters.by_digit(kept[0].labels, difference)
        if by_digit is None:
            return unpaired(*counts), ("unpaired: digits unknown",)
        return paired.bootstrap(by_digit), ()
    return paired.mcnemar(int((~ours & theirs).sum()), int((ours & ~theirs).sum()), first.examples), ()


def _of_histories(scale: Scale, claim: Claim, found: Sides) -> tuple[Effect | None, tuple[str, ...]]:
    """The effect on losses, or on changes of the logits, at the end of training: log10, seed by seed."""
    columns = ("loss",) if claim.measure == "loss" else _LOGITS
    ends = [[scale.last_line(one, columns) for one in side] for side in found]
    logarithms = []
    for side in ends:
        values = [line for line in side if line is not None and all(0 < number < math.inf for number in line)]
        if len(values) < len(side):
            return None, (f"lacks histories with {', '.join(columns)}",)
        logarithms.append([math.log10(line[0] / (line[1] if len(line) > 1 else 1.0)) for line in values])
    if claim.measure == "loss" and len({one.steps_trained for side in found for one in side}) > 1:
        return None, ("lacks both runs after equally many steps",)
    return paired.over_seeds(logarithms[0], logarithms[1] if len(logarithms) > 1 else [0.0] * len(logarithms[0])), ()


def _premise(claim: Claim, found: Sides) -> str:
    """Describes an unmet condition of the comparison, equal accuracy or equal training; empty if there is none.

    A network that was trained for longer may be better for that reason alone.
    """
    if claim.equal_within is None:
        lengths = [sorted({one.images_trained for one in side}) for side in found]
        if all(length == lengths[0] for length in lengths):
            return ""
        steps = [deviations.thousands(side[0].steps_trained) for side in found]
        return f"unequal steps: {' and '.join(steps)}"
    each = [[one.stop_accuracy_pct for one in side if one.stop_accuracy_pct is not None] for side in found]
    if any(len(values) < len(side) for values, side in zip(each, found, strict=True)):
        return "accuracy on expanded MNIST not known"
    means = [statistics.fmean(values) for values in each]
    if max(means) - min(means) <= claim.equal_within + 1e-9:
        return ""
    return f"unequal accuracy on expanded MNIST: {' and '.join(f'{mean:.2f}' for mean in means)} %"


def _remarks(scale: Scale, found: Sides, *, lengths: bool) -> tuple[str, ...]:
    """The deviations of the runs, each once: steps first (if `lengths`), and those of `plan.remarks` last."""
    steps, others = [], []
    for side in found:
        settings = scale.paper_settings.get(side[0].run)
        own = deviations.steps(side, settings)
        steps += [word.removesuffix(" steps") for word in own]
        others += [word for word in deviations.remarks(side, settings) if word not in own]
    first = [f"{' and '.join(dict.fromkeys(steps))} steps"] if steps and lengths else []
    return tuple(dict.fromkeys([*first, *others, *plan.remarks(scale.plans, [one for side in found for one in side])]))


def _smaller(scale: Scale, claim: Claim, results: list[Result]) -> str:
    """See `deviations.smaller`."""

    def is_part(result: Result) -> bool:
        data, training = str(result.settings.get("data")), claim.images == "training"
        validation = claim.images == "validation"
        return data in DATA and is_partial(data, result, validation=validation, tested=not training)

    narrow = (is_narrow(scale.rows.get(result.run), result, scale.paper_settings.get(result.run)) for result in results)
    return smaller(results, narrow=any(narrow), partial=any(is_part(result) for result in results))


def _corrected(one: Judged, p: float | None) -> Judged:
    """Adds Holm's p, and a remark if the verdict would not survive it."""
    weak = False
    if one.effect is not None and p is not None and one.verdict in (claims.HOLDS, claims.FAILS):
        low, high, margin = one.effect.low, one.effect.high, one.claim.margin or 0.0
        equal = -margin <= low and high <= margin  # in practice; that verdict does not depend on a test of no effect
        of_no_effect = one.claim.least is None and one.claim.direction != "not lower"  # as the test of p
        weak = p >= ALPHA and not equal and of_no_effect and (low > 0 or high < 0)
    return dataclasses.replace(one, p_holm=p, remarks=(*one.remarks, *([NO_HOLM] if weak else [])))
