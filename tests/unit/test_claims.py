"""The paper's claims: tests against published and hand-counted values, each word of the rule, results made up here."""

import csv
import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from capsrepro.core.errors import Error
from capsrepro.evidence import (
    claim_results,
    claim_tables,
    claims,
    clusters,
    intervals,
    lined,
    paired,
    paper,
    predictions,
    results,
)
from capsrepro.evidence.claim_results import GAP, Judged
from capsrepro.evidence.claims import Claim
from capsrepro.evidence.paired import Count
from capsrepro.evidence.scale import Scale
from tests.support import ROOT, result_files
from tests.support.commands import run_code, run_module

ROWS = paper.read(ROOT / "results" / "paper.csv")
CLAIMS = claims.read(ROOT / "results" / "claims.csv")
LOWER = CLAIMS["reconstruction-r3"]
RUN, AGAINST = "mnist-capsnet-r3-recon", "mnist-capsnet-r3"
CAPSNET, BASELINE = "affnist-capsnet", "affnist-baseline"


# The statistics


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [  # twice the tail of tosses of a coin
        (1, 6, 2 * (1 + 7) / 2**7),
        (0, 6, 2 / 2**6),
        (10, 10, 1.0),
        (3, 9, 2 * (1 + 12 + 66 + 220) / 2**12),
    ],
)
def test_mcnemar_must_be_the_exact_test_of_a_coin(only_first: int, only_second: int, p: float) -> None:
    found = paired.mcnemar(only_first, only_second, 10_000)
    assert found.p == pytest.approx(p)
    assert found.effect == pytest.approx((only_first - only_second) / 100)
    assert paired.mcnemar(only_second, only_first, 10_000)[:3] == pytest.approx(
        (-found.effect, -found.high, -found.low), abs=1e-12
    )


@pytest.mark.parametrize("count", [0, 1, 7, 34, 99, 100])
def test_clopper_and_pearsons_interval_must_be_scipys(count: int) -> None:
    for trials in (100, 10_000):
        expected = scipy.stats.binomtest(count, trials).proportion_ci(0.95)
        assert intervals.clopper_pearson(count, trials) == pytest.approx(tuple(expected), rel=1e-9)


def test_mcnemar_must_agree_with_a_published_table() -> None:
    """Agresti, Categorical Data Analysis, table 10.1: 1,600 voters, 150 and 86 changed their minds; difference -4 %.

    Its interval of large samples is -5.9 to -2.1 %, its z is -4.17.
    """
    found = paired.mcnemar(86, 150, 1600)
    assert found.effect == pytest.approx(-4.0)
    assert (found.low, found.high) == pytest.approx((-5.9, -2.1), abs=0.05)
    assert found.p == pytest.approx(2 * 1.5e-5, rel=0.3)


@pytest.mark.parametrize("counts", [(0, 5), (0, 6), (1, 8), (20, 37), (20, 38), (5, 5), (0, 0), (30, 31)])
def test_mcnemars_interval_must_shut_out_no_effect_exactly_where_the_test_does(counts: tuple[int, int]) -> None:
    found = paired.mcnemar(*counts, 10_000)
    assert found.low <= found.effect <= found.high
    assert found.p is not None
    assert (found.high < 0) == (found.p < 0.05)


def test_few_discordant_images_must_not_look_like_equality() -> None:
    """With one discordant image of 10,000, up to 5.57 (Poisson's 97.5 %) may be there in another sample."""
    none, one, four = (paired.mcnemar(count, 0, 10_000) for count in (0, 1, 4))
    assert none.high == pytest.approx(0.0369, abs=5e-5)  # 100 * (1 - 0.025^(1/10,000))
    assert one.high == pytest.approx(0.0557 + 0.001, abs=0.003)
    assert none.high < one.high < four.high
    assert four.high > 0.10


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
    ],
)
def test_unpaired_must_be_newcombes_published_intervals(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = paired.unpaired(Count(*first), Count(*second))
    assert (found.low, found.high) == pytest.approx((100 * low, 100 * high), abs=0.006)


def test_unpaired_p_must_be_fishers() -> None:
    """The lady tasting tea: 3 of 4 right against 1 of 4: (16 + 1) / 70 on either side."""
    assert paired.unpaired(Count(3, 4), Count(1, 4)).p == pytest.approx(34 / 70)


def test_images_that_share_digits_must_widen_the_unpaired_interval() -> None:
    first, second = Count(59_908, 320_000), Count(40_448, 320_000)
    plain, wide = paired.unpaired(first, second), paired.unpaired_clusters(first, second)
    assert wide.high - wide.low == pytest.approx(2.5 * (plain.high - plain.low))
    assert wide.effect == plain.effect
    even = paired.unpaired_clusters(Count(100, 320_000), Count(100, 320_000))
    assert even.p == 1.0
    edge = paired.unpaired_clusters(Count(40_000, 320_000), Count(40_000 + 650, 320_000))
    assert edge.p is not None
    assert (edge.high < 0) == (edge.p < 0.05)


def test_seeds_must_be_students_paired_interval() -> None:
    """Differences 0.10, 0.15, 0.05: mean 0.10, s 0.05; t(2) 4.3027: ± 4.3027 * 0.05 / sqrt(3); t 3.4641, p 0.0742."""
    found = paired.over_seeds([0.40, 0.50, 0.45], [0.30, 0.35, 0.40])
    assert found[:3] == pytest.approx((0.10, -0.02421, 0.22421), abs=5e-6)
    assert found.p == pytest.approx(0.0742, abs=5e-5)


def test_a_detectable_effect_must_be_found_nine_times_out_of_ten() -> None:
    """Drawn: 20,000 times five differences with a mean of that size."""
    detectable = paired.over_seeds([0.1, 0.2, 0.3, 0.4, 0.5], [0.0] * 5).detectable  # s 0.158
    assert detectable is not None
    drawn = np.random.default_rng(0).normal(detectable, np.std([0.1, 0.2, 0.3, 0.4, 0.5], ddof=1), (20_000, 5))
    t = drawn.mean(1) / drawn.std(1, ddof=1) * np.sqrt(5)
    assert np.mean(np.abs(t) > 2.7764) == pytest.approx(0.9, abs=0.01)
    assert paired.over_seeds([0.4], [0.3]).detectable is None


@pytest.mark.parametrize(("first", "second"), [([0.4], [0.3]), ([0.4, 0.5], [0.3, 0.4]), ([0.3, 0.3], [0.3, 0.3])])
def test_no_spread_must_give_no_interval(first: list[float], second: list[float]) -> None:
    found = paired.over_seeds(first, second)
    assert (found.low, found.high, found.p) == (-math.inf, math.inf, None)


def test_holm_must_give_the_corrected_values_of_the_textbook_example() -> None:
    """0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 no lower than that; what has no p is not counted."""
    assert paired.holm([0.01, None, 0.04, 0.03, 0.005]) == [pytest.approx(v) if v else None for v in
                                                            (0.03, None, 0.06, 0.06, 0.02)]  # fmt: skip
    assert paired.holm([None, None]) == [None, None]
    assert paired.holm([]) == []


def clustered(right: float, count: int = clusters.DIGITS, versions: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and answers of which this share of digits is right in all versions, the others in none."""
    labels = np.repeat(np.arange(count) % 10, versions).astype(np.uint8)
    return labels, np.repeat(np.arange(count) < right * count, versions)


def test_digits_must_be_told_from_the_order_of_the_labels() -> None:
    labels, right = clustered(0.25)
    shares = clusters.by_digit(labels, right)
    assert shares is not None
    assert shares.tolist() == [1.0] * 2500 + [0.0] * 7500
    turned = np.arange(labels.size).reshape(-1, 32).T.ravel()  # all digits once, then all of them again
    assert np.array_equal(clusters.by_digit(labels[turned], right[turned]), shares)  # type: ignore[arg-type]
    assert clusters.by_digit(np.roll(labels, 1), right) is None
    assert clusters.by_digit(labels[:-1], right[:-1]) is None
    assert clusters.by_digit(labels[: clusters.DIGITS], right[: clusters.DIGITS]) is None


def test_the_bootstrap_must_have_the_standard_error_of_digits_not_of_images() -> None:
    """A quarter of 10,000 digits: ± 1.96 * sqrt(0.25 * 0.75 / 10,000) = 0.0085, whatever their 32 versions."""
    shares = clusters.by_digit(*clustered(0.25))
    assert shares is not None
    low, high = clusters.bootstrap(shares)
    assert (0.25 - low, high - 0.25) == pytest.approx((0.0085, 0.0085), abs=4e-4)
    assert clusters.bootstrap(shares) == (low, high)
    assert clusters.bootstrap(np.full(clusters.DIGITS, 0.5)) == (0.5, 0.5)


# The rule


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [  # the error is to be lower; equal in practice within 0.05
        (-0.20, -0.01, "holds"),
        (-0.20, 0.0, "cannot tell"),
        (-0.20, 0.10, "cannot tell"),
        (-0.05, 0.05, "does not hold"),
        (-0.04, -0.01, "does not hold"),  # lower, but by nothing in practice
        (-0.051, 0.05, "cannot tell"),
        (0.0, 0.20, "does not hold"),
        (0.10, 0.20, "does not hold"),
        (-0.01, 0.20, "cannot tell"),
        (-math.inf, math.inf, "cannot tell"),
    ],
)
def test_a_lower_error_must_be_judged_by_the_whole_interval(low: float, high: float, word: str) -> None:
    assert claims.decide(LOWER, low, high) == word
    higher = dataclasses.replace(LOWER, direction="higher")
    assert claims.decide(higher, -high, -low) == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.05, 0.30, "holds"),  # what three iterations gain is nothing in practice
        (0.10, 0.30, "holds"),
        (-0.04, -0.01, "holds"),
        (-0.06, 0.30, "cannot tell"),
        (-0.06, 0.0, "cannot tell"),
        (-0.06, -0.01, "does not hold"),
        (-math.inf, math.inf, "cannot tell"),
    ],
)
def test_they_do_not_must_be_judged_by_what_they_gain(low: float, high: float, word: str) -> None:
    assert claims.decide(CLAIMS["routing-mnist-plain"], low, high) == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [  # 13 points, less the margins of both rows: 7
        (12, 14, "holds"),
        (7, 9, "holds"),
        (6.9, 9, "cannot tell"),
        (2, 6.9, "does not hold"),
        (-0.5, 0.5, "does not hold"),
        (-7, -5, "does not hold"),
        (-7, 8, "cannot tell"),
    ],
)
def test_the_gap_must_be_as_large_as_the_papers(low: float, high: float, word: str) -> None:
    assert claims.decide(CLAIMS[GAP], low, high) == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-3, -2, "holds"), (-1, -1, "holds"), (-1.5, -0.9, "cannot tell"), (-0.9, -0.5, "does not hold"),
     (0.3, 0.4, "does not hold")],
)  # fmt: skip
def test_logits_must_fall_by_a_power_of_ten(low: float, high: float, word: str) -> None:
    assert claims.decide(CLAIMS["logits-settle"], low, high) == word


# claims.csv


def test_the_committed_claims_must_be_those_of_the_paper() -> None:
    assert list(CLAIMS) == [
        "reconstruction-r3", "reconstruction-r1", "routing-mnist", "routing-mnist-plain", "routing-multimnist",
        "baseline-mnist", "baseline-multimnist", GAP, "optimises-faster", "logits-settle", "more-routing-overfits",
        "none-of-the-above", "dimensions", "segments",
    ]  # fmt: skip
    assert [one.id for one in CLAIMS.values() if one.measure == "pictures"] == ["dimensions", "segments"]


def test_a_papers_effect_must_be_the_difference_of_its_numbers() -> None:
    told = 0
    for claim in CLAIMS.values():
        if claim.measure in ("test_error_pct", "test_accuracy_pct") and set(claim.runs) <= set(ROWS):
            first, second = (ROWS[run] for run in claim.runs)
            if claim.images == "test":
                assert claim.paper_effect == pytest.approx(first.value - second.value)
                told += 1
    assert told == 8
    assert CLAIMS["logits-settle"].paper_effect == pytest.approx(math.log10(1e-5 / 7e-3), abs=0.005)
    assert CLAIMS[GAP].least == 13 - ROWS[CAPSNET].margin - ROWS[BASELINE].margin


def test_margins_of_practical_equality_must_be_those_of_the_rule() -> None:
    expected = {"mnist": 0.05, "multimnist": 0.5, "affnist": 1.0}
    for claim in CLAIMS.values():
        data = (claim.run or "").partition("-")[0]
        if claim.measure.startswith("test_") and data in expected:
            assert claim.margin == expected[data]


HEADER = [field.name for field in dataclasses.fields(Claim)]
CELLS = {
    "id": "one", "statement": "it is lower", "where": "Table 1", "measure": "test_error_pct", "run": "a",
    "against": "b", "images": "test", "direction": "lower", "margin": "0.05", "margin_reason": "noise",
    "test": "a test", "rule": "a rule",
}  # fmt: skip


def claims_file(folder: Path, *changes: dict[str, str]) -> Path:
    path = folder / "claims.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, restval="")
        writer.writeheader()
        writer.writerows(CELLS | change for change in changes)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"statement": ""}, "statement: missing; fill in what the paper claims"),
        ({"rule": ""}, "rule: missing; fill in in words, when it holds"),
        ({"measure": "speed"}, "measure: expected one of test_error_pct, test_accuracy_pct, loss, logit_change"),
        ({"direction": "better"}, "direction: expected one of lower, higher, not lower, received 'better'"),
        ({"margin": "0"}, "margin: expected a number above 0, in the unit of the effect, received '0'"),
        ({"margin": "nan"}, "margin: expected a number above 0"),
        ({"margin": ""}, "test_error_pct needs margin; fill it in"),
        ({"run": "", "test": ""}, "test_error_pct needs run, test; fill it in"),
        ({"against": ""}, "against: errors, accuracies and losses are compared"),
        ({"measure": "logit_change"}, "against: errors, accuracies and losses are compared"),
        ({"measure": "pictures"}, "pictures are not compared"),
        ({"direction": "not lower", "least": "1"}, "least: a claim that there is no gain has no least size"),
        ({"least": "-7"}, "least: expected a number above 0"),
        ({"paper_effect": "much"}, "paper_effect: expected a number: the paper's own difference, received 'much'"),
        ({}, "id: 'one' stands in an earlier line too"),
    ],
)
def test_a_bad_claim_must_be_refused_in_one_line(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = claims_file(tmp_path, {}, {"id": "two"} | change if change else {})
    with pytest.raises(Error) as refused:
        claims.read(path)
    assert str(refused.value).startswith(f"{path}, line 3")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_column_must_be_refused(tmp_path: Path) -> None:
    path = claims_file(tmp_path, {})
    path.write_text(path.read_text().replace("margin_reason", "reason"))
    with pytest.raises(Error, match="line 1: unknown or repeated column 'reason'"):
        claims.read(path)


# Results that are made up


def settings(run: str, **changes: Any) -> dict[str, Any]:
    from capsrepro.core.params import RunConfig

    row = ROWS[run]
    model = "capsnet" if row.routing else "mnist_baseline"
    decoder = bool(row.decoder)
    return RunConfig(row.data, model, "paper", routing=row.routing, reconstruction=decoder).as_json() | changes


def write(
    folder: Path, run: str, wrong: int, seed: int = 0, *, right: np.ndarray | None = None, **changes: Any
) -> None:
    """Metrics and provenance of a run, and its answers if `right` says which were."""
    entry = settings(run, **changes.pop("settings", {}))
    examples = changes.pop("examples", 10_000)
    origin = result_files.provenance(entry) | changes.pop("origin", {})
    facts = result_files.metrics(run, entry, wrong, seed=seed, examples=examples)
    facts |= {"parameters": ROWS[run].parameters or 1, "counted_in": "float32"} | changes
    result_files.write(folder, "full", f"{run}-seed{seed}", facts, origin)
    if right is not None:
        labels = np.repeat(np.arange(10_000) % 10, len(right) // 10_000)
        where = folder / "full" / "predictions" / f"{run}-seed{seed}.npz"
        predictions.write(where, np.where(right, labels, (labels + 1) % 10), labels, np.zeros((len(right), 10)))


def history(folder: Path, run: str, seed: int, **columns: float) -> None:
    path = folder / "full" / "history" / f"{run}-seed{seed}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{','.join(columns)}\n{','.join(map(str, columns.values()))}\n")


def judged(
    folder: Path, claim: str, now: dict[str, Any] | None = None, reasons: dict[str, str] | None = None
) -> Judged:
    found = results.read(folder, "full")
    current = now or {one.run: one.settings for one in found}
    in_paper = {one.run: settings(one.run) for one in found if one.run in ROWS}
    scale = Scale("full", folder, ROWS, found, current, in_paper, reasons or {})
    return claim_results.judge(scale, CLAIMS[claim])


def but(*numbers: int) -> np.ndarray:
    """All of 10,000 right but these."""
    right = np.ones(10_000, bool)
    right[list(numbers)] = False
    return right


def test_one_pair_with_answers_must_be_compared_image_for_image(tmp_path: Path) -> None:
    """Both have ten wrong, the second twenty besides: 0 against 20 is 2 / 2^20, and 0.1 points are surely lower."""
    write(tmp_path, RUN, 10, right=but(*range(10)))
    write(tmp_path, AGAINST, 30, right=but(*range(30)))
    found = judged(tmp_path, "reconstruction-r3")
    assert found.effect is not None
    assert found.effect.effect == pytest.approx(-0.20)
    assert found.effect.p == pytest.approx(2 / 2**20)
    assert (found.verdict, found.seeds, found.images) == ("holds", 1, 10_000)
    assert (found.effect.test, found.remarks) == ("McNemar, exact", ("one seed", "unplanned"))


def test_the_same_counts_without_answers_must_be_unpaired_and_open(tmp_path: Path) -> None:
    write(tmp_path, RUN, 20, right=but(*range(20)))
    write(tmp_path, AGAINST, 30)
    found = judged(tmp_path, "reconstruction-r3")
    assert (found.verdict, found.remarks[0]) == ("cannot tell", "unpaired")
    assert found.effect is not None
    assert found.effect.test == "Newcombe, unpaired"


@pytest.mark.parametrize("how", ["labels", "hash"])
def test_answers_to_other_images_must_not_be_paired(tmp_path: Path, how: str) -> None:
    write(tmp_path, RUN, 20, right=but(*range(20)), test_sha256="ab" * 32)
    write(tmp_path, AGAINST, 30, right=but(*range(30)), test_sha256=("cd" if how == "hash" else "ab") * 32)
    if how == "labels":
        path = tmp_path / "full" / "predictions" / f"{AGAINST}-seed0.npz"
        kept = predictions.read(path)
        predictions.write(path, np.roll(kept.predicted, 1), np.roll(kept.labels, 1), np.zeros((10_000, 10)))
    found = judged(tmp_path, "reconstruction-r3")
    assert (found.verdict, found.remarks) == ("not run", ("lacks both runs on the same test images",))


def test_several_seeds_on_other_images_must_not_be_compared(tmp_path: Path) -> None:
    for seed, (ours, theirs) in enumerate(((25, 35), (26, 38), (24, 32))):
        write(tmp_path, RUN, ours, seed, test_sha256="ab" * 32)
        write(tmp_path, AGAINST, theirs, seed, test_sha256="cd" * 32)
    found = judged(tmp_path, "reconstruction-r3")
    assert (found.verdict, found.remarks) == ("not run", ("lacks both runs on the same test images",))


def test_an_accuracy_must_be_higher_where_its_error_is_lower(tmp_path: Path) -> None:
    for run, wrong in ((CAPSNET, 10), (BASELINE, 30)):
        stopped = {"data": "affnist", "stop_pct": 99.2}
        write(tmp_path, run, wrong, right=but(*range(wrong)), settings=stopped, stop_accuracy_pct=99.25)
    found = judged(tmp_path, GAP)
    assert found.effect is not None
    assert found.effect.effect == pytest.approx(+0.20)
    assert found.effect.low < 0.20 < found.effect.high
    assert found.verdict == "does not hold"  # far from seven points


def gap_of(
    folder: Path, ours: float, theirs: float, answers: bool = True, accuracies: tuple[float, float] = (99.25, 99.25)
) -> Judged:
    """The gap between two nets that are right on these shares of digits, in all of their 32 versions."""
    for run, share, accuracy in ((CAPSNET, ours, accuracies[0]), (BASELINE, theirs, accuracies[1])):
        right = clustered(share)[1]
        write(
            folder, run, int((~right).sum()), right=right if answers else None, examples=320_000,
            settings={"data": "affnist", "stop_pct": 99.2, "steps": 14_000}, stop_accuracy_pct=accuracy,
            origin={"steps_done": 6_600 if run == CAPSNET else 10_500},
        )  # fmt: skip
    return judged(folder, GAP)


def test_the_gap_must_be_a_bootstrap_over_digits(tmp_path: Path) -> None:
    """A tenth of 10,000 digits differs: ± 1.96 * sqrt(0.1 * 0.9 / 10,000) = 0.59 points, of images it were 0.10."""
    found = gap_of(tmp_path, 0.80, 0.70)
    assert found.effect is not None
    assert found.effect[:3] == pytest.approx((10.0, 10 - 0.588, 10 + 0.588), abs=0.06)
    assert (found.verdict, found.effect.test) == ("holds", "bootstrap over digits")
    assert "6.6k and 10.5k steps" in found.remarks


def test_the_gap_without_answers_must_be_widened(tmp_path: Path) -> None:
    found = gap_of(tmp_path, 0.80, 0.70, answers=False)
    assert found.effect is not None
    # 2.5 * 1.96 * sqrt((0.8 * 0.2 + 0.7 * 0.3) / 320,000)
    assert (found.effect.effect - found.effect.low) == pytest.approx(0.5276, abs=0.002)
    assert (found.verdict, found.remarks[0]) == ("holds", "unpaired")


@pytest.mark.parametrize(
    ("accuracies", "verdict"), [((99.28, 99.24), "holds"), ((99.35, 99.25), "holds"), ((99.36, 99.25), "cannot tell")]
)
def test_the_gap_must_be_at_equal_accuracy(tmp_path: Path, accuracies: tuple[float, float], verdict: str) -> None:
    found = gap_of(tmp_path, 0.80, 0.70, answers=False, accuracies=accuracies)
    assert found.verdict == verdict
    if verdict == "cannot tell":
        assert found.remarks[0] == "unequal accuracy on expanded MNIST: 99.36 and 99.25 %"


def test_several_seeds_must_be_compared_seed_by_seed(tmp_path: Path) -> None:
    """Differences -0.10, -0.12, -0.08 points: mean -0.10, s 0.02: ± 4.3027 * 0.02 / sqrt(3) = 0.0497."""
    for seed, (ours, theirs) in enumerate(((25, 35), (26, 38), (24, 32))):
        write(tmp_path, RUN, ours, seed)
        write(tmp_path, AGAINST, theirs, seed)
    write(tmp_path, RUN, 99, 3)  # the other run has no such seed
    found = judged(tmp_path, "reconstruction-r3")
    assert found.effect is not None
    assert found.effect[:3] == pytest.approx((-0.10, -0.1497, -0.0503), abs=1e-4)
    assert (found.verdict, found.seeds, found.effect.test) == ("holds", 3, "Student over seeds")


def test_seeds_that_differ_equally_must_tell_nothing(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path, RUN, 25 + seed, seed)
        write(tmp_path, AGAINST, 35 + seed, seed)
    found = judged(tmp_path, "reconstruction-r3")
    assert (found.verdict, found.remarks[0]) == ("cannot tell", "no spread over seeds to judge by")


def test_a_run_that_was_trained_for_longer_must_not_win_by_that(tmp_path: Path) -> None:
    write(tmp_path, RUN, 10, right=but(*range(10)), settings={"steps": 50_000})
    write(tmp_path, AGAINST, 90, right=but(*range(90)), settings={"steps": 14_000})
    found = judged(tmp_path, "reconstruction-r3")
    assert (found.verdict, found.remarks[0]) == ("cannot tell", "unequal steps: 50k and 14k")
    assert not [remark for remark in found.remarks if remark.endswith("steps")]


def test_what_the_runs_changed_must_stand_beside_the_verdict(tmp_path: Path) -> None:
    change = {"steps": 14_000, "precision": "mixed_bfloat16"}
    write(tmp_path, RUN, 10, settings=change, counted_in="mixed_bfloat16")
    write(tmp_path, AGAINST, 90, settings=change)
    expected = ("unpaired", "one seed", "14k steps", "bfloat16", "counted in bfloat16", "unplanned")
    assert judged(tmp_path, "reconstruction-r3").remarks == expected


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"parameters": 5}, "reduced width"),
        ({"origin": {"train_examples": 50_000}}, "quick"),
        ({"examples": 9_999}, "quick"),
    ],
)
def test_a_narrow_or_partial_run_must_be_told_first(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    write(tmp_path, RUN, 10, **dict(change))
    write(tmp_path, AGAINST, 90, **({"examples": 9_999} if "examples" in change else {}))
    assert judged(tmp_path, "reconstruction-r3").remarks[0] == word


def test_missing_runs_must_be_told_by_name_and_reason(tmp_path: Path) -> None:
    assert judged(tmp_path, "reconstruction-r3").remarks == (f"lacks {RUN}, {AGAINST}",)
    write(tmp_path, RUN, 10)
    found = judged(tmp_path, "reconstruction-r3", reasons={AGAINST: "source unreachable"})
    assert (found.verdict, found.remarks) == ("not run", (f"lacks {AGAINST}; source unreachable",))
    write(tmp_path, AGAINST, 10, seed=1)
    assert judged(tmp_path, "reconstruction-r3").remarks == (f"lacks a seed that {RUN} and {AGAINST} both have",)


def test_a_validation_claim_must_take_validation_runs_only(tmp_path: Path) -> None:
    write(tmp_path, RUN, 10)
    found = judged(tmp_path, "more-routing-overfits")
    assert found.remarks == ("lacks validation-r5, validation-r3 on validation images",)
    write(tmp_path, RUN, 10, settings={"validate": True})
    assert judged(tmp_path, "reconstruction-r3").remarks[0].startswith(f"lacks {RUN}")


def test_what_is_stale_not_reached_or_changed_must_get_no_verdict(tmp_path: Path) -> None:
    write(tmp_path, RUN, 10)
    write(tmp_path, AGAINST, 90)
    now = {RUN: settings(RUN), AGAINST: settings(AGAINST, learning_rate=0.01)}
    assert judged(tmp_path, "reconstruction-r3", now=now).verdict == "stale"
    write(tmp_path, AGAINST, 90, origin={"stop_reached": False})
    assert judged(tmp_path, "reconstruction-r3").verdict == "not reached"
    write(tmp_path, AGAINST, 90, settings={"routing": 1})
    found = judged(tmp_path, "reconstruction-r3")
    assert (found.verdict, found.remarks) == ("changed", (f"{AGAINST}: routing 1, the paper's 3",))


def test_logits_must_be_read_from_the_end_of_the_histories(tmp_path: Path) -> None:
    """Ratios 0.01, 0.01 * 10^0.1 and 0.01 / 10^0.1: log10 -2 ± 4.3027 * 0.1 / sqrt(3) = 0.248."""
    for seed, factor in enumerate((1.0, 10**0.1, 10**-0.1)):
        write(tmp_path, RUN, 10, seed)
        path = tmp_path / "full" / "history" / f"{RUN}-seed{seed}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"step,logit_change_2,logit_change_5\n1,1,1\n2,0.007,{0.00007 * factor}\n")
    found = judged(tmp_path, "logits-settle")
    assert found.effect is not None
    assert found.effect[:3] == pytest.approx((-2, -2.248, -1.752), abs=1e-3)
    assert (found.verdict, found.seeds, found.images) == ("holds", 3, None)
    path.write_text("step,logit_change_2\n1,0.1\n")
    assert judged(tmp_path, "logits-settle").verdict == "not run"
    path.write_text("step,logit_change_2,logit_change_5\n1,0.1,much\n")
    with pytest.raises(Error, match=re.escape(f"{path}: not the history of a training")):
        judged(tmp_path, "logits-settle")


def test_one_history_must_give_no_verdict(tmp_path: Path) -> None:
    write(tmp_path, RUN, 10)
    history(tmp_path, RUN, 0, step=1, logit_change_2=0.007, logit_change_5=0.00001)
    found = judged(tmp_path, "logits-settle")
    assert found.effect is not None
    assert (found.verdict, round(found.effect.effect, 2)) == ("cannot tell", -2.85)


def test_pictures_must_get_no_verdict(tmp_path: Path) -> None:
    assert judged(tmp_path, "dimensions").verdict == "pictures"


def three(folder: Path) -> list[Judged]:
    """Claims with p of 0.04 and of nearly nothing, and the others not run."""
    for run, wrong in ((RUN, 20), (AGAINST, 35), ("mnist-capsnet-r1-recon", 130)):
        first = 1000 if run == AGAINST else 0
        right = but(*range(first, first + wrong))
        write(folder, run, wrong, right=right)
    found = results.read(folder, "full")
    now = {run: settings(run) for run in ROWS}
    return claim_results.judge_all(Scale("full", folder, ROWS, found, now, now), CLAIMS)


def test_a_verdict_that_holms_correction_would_not_let_stand_must_say_so(tmp_path: Path) -> None:
    """20 discordant images against 35 have p 0.0576, more than the other claim's, which counts twice of two."""
    found = {one.claim.id: one for one in three(tmp_path)}
    weak, strong = found["reconstruction-r3"], found["routing-mnist"]
    assert weak.effect is not None
    assert weak.effect.p == pytest.approx(0.0576, abs=5e-4)
    assert weak.p_holm == pytest.approx(weak.effect.p)
    assert (weak.verdict, strong.verdict) == ("cannot tell", "holds")
    assert strong.effect is not None
    assert strong.effect.p is not None
    assert strong.p_holm == pytest.approx(2 * strong.effect.p)
    again = claim_results._corrected(dataclasses.replace(strong, effect=strong.effect._replace(p=0.03)), 0.06)
    assert again.remarks[-1] == "not after Holm's correction"
    assert claim_results._corrected(strong, 0.04).remarks == strong.remarks
    # These rest on a size, or on no gain, and not on the test of no effect that p is of.
    for other in (
        dataclasses.replace(strong.claim, least=0.5),
        dataclasses.replace(strong.claim, direction="not lower"),
    ):
        of_size = dataclasses.replace(strong, claim=other)
        assert claim_results._corrected(of_size, 0.06).remarks == strong.remarks


# Tables and the command


def test_the_tables_must_show_effect_interval_test_and_verdict(tmp_path: Path) -> None:
    found = three(tmp_path)
    assert claim_tables.shared(found) == "All measured claims: one seed, unplanned."
    lines = {line[0]: dict(zip(claim_tables.SHOWN, line, strict=True)) for line in claim_tables.display(found)}
    assert list(lines) == list(CLAIMS)
    strong = lines["routing-mnist"]
    assert (strong["the paper"], strong["ours"], strong["verdict"]) == ("-0.04", "-1.10", "holds")
    assert re.fullmatch(r"-1\.\d\d to -0\.\d\d", strong["95 % interval"])
    how = {line[0]: line[1:] for line in claim_tables.measured(found)}
    assert how["routing-mnist"][:4] == [
        "mnist-capsnet-r3-recon minus mnist-capsnet-r1-recon", "1", "10000", "McNemar, exact",
    ]  # fmt: skip
    assert lines["optimises-faster"]["verdict"] == "not run: lacks cifar10-capsnet-r3, cifar10-capsnet-r1"
    assert (lines["segments"]["verdict"], lines["segments"]["ours"]) == ("pictures", "")
    claim_tables.write(found, tmp_path, "full")
    texts = {path.name: path.read_text() for path in (tmp_path / "full").glob("claims.*")}
    assert set(texts) == {"claims.md", "claims.csv", "claims.tex"}
    with open(tmp_path / "full" / "claims.csv", newline="") as file:
        read = {line["id"]: line for line in csv.DictReader(file)}
    assert [read["routing-mnist"][name] for name in ("effect", "seeds", "images", "margin", "verdict")] == [
        "-1.1", "1", "10000", "0.05", "holds",
    ]  # fmt: skip
    assert [read["segments"][name] for name in ("effect", "seeds", "p", "p_holm")] == [""] * 4
    widths = [line.count("|") for line in texts["claims.md"].splitlines() if line.startswith("|")]
    shown, measured = len(claim_tables.SHOWN) + 1, len(claim_tables.MEASURED) + 1
    assert widths == [shown] * (2 + len(CLAIMS)) + [measured] * (2 + len(how))
    assert (tmp_path / "full" / "claims-appendix.tex").is_file()
    claim_tables.write(found, tmp_path, "full")
    assert {path.name: path.read_text() for path in (tmp_path / "full").glob("claims.*")} == texts


def test_what_only_some_claims_differ_in_must_stand_beside_them(tmp_path: Path) -> None:
    found = [
        dataclasses.replace(one, remarks=(*one.remarks, "averaged weights")) if one.claim.id == "routing-mnist" else one
        for one in three(tmp_path)
    ]
    assert claim_tables.shared(found) == "All measured claims: one seed, unplanned."
    verdicts = {line[0]: line[-1] for line in claim_tables.display(found)}
    assert (verdicts["routing-mnist"], verdicts["reconstruction-r3"]) == ("holds (averaged weights)", "cannot tell")
    alone = [one for one in found if one.claim.id == "routing-mnist"]
    assert claim_tables.shared(alone) == ""
    assert claim_tables.display(alone)[0][-1] == "holds (one seed, unplanned, averaged weights)"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (0.0, "+0.00"), (-0.0, "+0.00"), (-0.00004, "+0.00"), (-0.0009, "-0.0009"), (0.0012, "+0.001"),
     (0.005, "+0.01"), (-13.0, "-13.00")],
)  # fmt: skip
def test_an_effect_that_is_not_0_must_have_its_sign(value: float | None, shown: str) -> None:
    assert lined.signed(value) == shown


def test_no_spread_must_leave_its_cells_empty(tmp_path: Path) -> None:
    write(tmp_path, RUN, 10)
    history(tmp_path, RUN, 0, logit_change_2=0.007, logit_change_5=0.00001)
    one = judged(tmp_path, "logits-settle")
    assert claim_tables.display([one])[0][3:6] == ["-2.85", "-2.85", ""]
    line = claim_tables.build([one]).iloc[0]
    assert line[["interval_low", "interval_high", "p"]].isna().all()


def prepared(folder: Path) -> tuple[Path, tuple[str | Path, ...]]:
    """A results folder with claims.csv and paper.csv, and a parameter file with two runs at one scale."""
    (results_folder := folder / "results").mkdir()
    for name in ("paper.csv", "claims.csv"):
        (results_folder / name).write_bytes((ROOT / "results" / name).read_bytes())
    entries = {
        run: {"data": "mnist", "model": "capsnet", "recipe": "paper", "routing": 3, "reconstruction": run == RUN}
        for run in (RUN, AGAINST)
    }
    scale = {run: {"steps": 300_000} for run in entries}
    tree = {"trainings": {}, "runs": entries, "scale_settings": {"full": scale}}
    (folder / "params.yaml").write_text(json.dumps(tree | {"scale_settings": {"full": scale, "paper": scale}}))
    return results_folder, ("--results", results_folder, "--params", folder / "params.yaml")


def test_the_command_must_write_and_print_the_claims_of_a_scale(tmp_path: Path) -> None:
    folder, where = prepared(tmp_path)
    write(folder, RUN, 10, right=but(*range(10)))
    write(folder, AGAINST, 30, right=but(*range(30)))
    answer = run_module("experiments.claims", "--scale", "full", "--check", *where)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == (folder / "full" / "claims.md").read_text()
    assert "| holds (one seed, unplanned) " in answer.stdout


def test_the_command_must_refuse_what_is_damaged_and_leave_nothing(tmp_path: Path) -> None:
    folder, where = prepared(tmp_path)
    write(folder, RUN, 10, right=but(*range(11)))
    write(folder, AGAINST, 30)
    answer = run_module("experiments.claims", "--scale", "full", *where)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]*11 of 10000 wrong, but its metrics say 10 of 10000[^\n]*\n", answer.stderr)
    assert not list((folder / "full").glob("claims.*"))
    (folder / "claims.csv").unlink()
    assert "git checkout" in run_module("experiments.claims", "--scale", "full", *where).stderr


def test_the_command_must_load_no_framework_and_no_statistics_at_once() -> None:
    answer = run_code("import sys, experiments.claims; print(*sys.modules)")
    assert not {"keras", "tensorflow", "jax", "matplotlib", "scipy.stats", "statsmodels"} & set(answer.stdout.split())
