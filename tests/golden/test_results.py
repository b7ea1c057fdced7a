"""The committed results against goldens, so that none moves unnoticed; at paper scale against the paper."""

import functools
import math

import pandas as pd
import pytest

from capsrepro.ablations import comparison, trainings
from capsrepro.ablations.cases import CASES
from capsrepro.core import params
from capsrepro.evidence import comparison as numbers
from capsrepro.evidence import paper, results
from capsrepro.evidence import scale as scales
from tests.support import ROOT, committed_results
from tests.support.committed_results import COUNTED, EXACT, GOLDEN

RESULTS = ROOT / "results"
# Known misses by scale and row, each with its reason; one that no longer misses fails.
MISSES = {
    ("full", "multimnist-capsnet-r3-recon"): "trained for 30,000 steps, and tested on 100,000 pairs of 10 million",
}
# Of the machine and the moment, or what follows from the rest.
LEFT_OUT = {
    "test_error_pct", "wilson_low_pct", "wilson_high_pct", "weights_sha256", "data_sha256", "built", "device",
    "train_seconds", "images_per_second", "git_revision",
}  # fmt: skip


def band(wrong: int) -> int:
    """How far the count of another machine or version may lie: three standard deviations of a count, of either run."""
    return math.ceil(3 * math.sqrt(2 * wrong))


def test_committed_results_are_the_goldens() -> None:
    ours = committed_results.read()
    assert set(ours.columns) == {*EXACT, *COUNTED, *LEFT_OUT}
    golden = pd.read_csv(GOLDEN)
    assert list(golden.columns) == [*EXACT, *COUNTED]
    pd.testing.assert_frame_equal(ours[EXACT], golden[EXACT])
    for (_, mine), expected in zip(ours.iterrows(), golden["wrong"], strict=True):
        assert abs(mine["wrong"] - expected) <= band(expected), (
            f"{mine['run']}: {mine['wrong']} wrong, {expected} before"
        )


@pytest.mark.parametrize("scale", ["quick", "full", "paper"])
def test_committed_metrics_name_the_steps_really_done(scale: str) -> None:
    """Not the limit, where a training stops at an accuracy before it."""
    for result in results.read(RESULTS, scale):
        assert result.steps == result.steps_trained, result.name


@pytest.mark.parametrize("scale", ["quick", "full", "paper"])
def test_committed_predictions_are_small_and_give_the_committed_counts(scale: str) -> None:
    """What `experiments.table --check` recounts; larger files are left out of the repository."""
    scales.load(params.read(ROOT / "params.yaml"), RESULTS, scale, strict=True)
    kept = sorted((RESULTS / scale / "predictions").glob("*.npz"))
    assert not [path for path in kept if path.stat().st_size > 300_000]
    assert all((RESULTS / scale / "metrics" / f"{path.stem}.json").is_file() for path in kept)


@functools.cache
def verdicts(scale: str) -> dict[str, str]:
    """The word for each row of the paper at a scale."""
    known = params.read(ROOT / "params.yaml")
    table = numbers.with_released(known, RESULTS, scales.load(known, RESULTS, scale))
    return dict(zip(table["id"], table["verdict"], strict=True))


@pytest.mark.parametrize(
    ("scale", "row"),
    [
        pytest.param(scale, row, marks=[pytest.mark.xfail(reason=MISSES[scale, row])] if (scale, row) in MISSES else [])
        for scale in ("full", "paper")
        for row in paper.read(RESULTS / "paper.csv")
    ],
)
def test_a_committed_result_of_the_true_architecture_does_not_miss_the_paper(scale: str, row: str) -> None:
    """`reproduced`, `better`, `inconclusive`, or no result yet."""
    assert verdicts(scale)[row] != "missed"


def test_quick_pairs_are_both_right_more_often_than_not() -> None:
    """The bar of the narrow nets on MultiMNIST; half right is wrong."""
    ours = committed_results.read()
    pairs = ours[(ours["scale"] == "quick") & ours["run"].str.startswith("multimnist-capsnet")]
    assert len(pairs) >= 2
    assert (pairs["wrong"] / pairs["examples"] < 0.5).all()


def test_the_committed_ablations_are_what_their_trainings_say() -> None:
    """Each point that has two sides was tried with three seeds at least, from commits without changes.

    The one on CIFAR-10, which has to be fetched, may be `not run`, or have fewer seeds while its plan goes on.
    """
    known, folder = params.read(ROOT / "params.yaml"), RESULTS / "quick"
    table = pd.read_csv(folder / trainings.FOLDER / "table.csv", dtype=str, keep_default_na=False)
    found = trainings.found(known, folder, "quick")
    assert table.to_dict("records") == comparison.table(known, "quick", found)
    assert list(table["ablation"]) == [case.name for case in CASES]
    tried = table[table["verdict"] != comparison.NONE]
    few = tried[(tried["verdict"] == comparison.NOT_RUN) | (tried["seeds"].astype(int) < 3)]
    assert set(few["ablation"]) <= {"none-of-the-above"}
    wanted = trainings.trainings(known, "quick", CASES)
    assert set(found) == {training.name for training in wanted}
    kept = [one for seeds in found.values() for one in seeds.values()]
    own = [one for one in kept if one.path.parent == folder / trainings.FOLDER]  # the others are runs of params.yaml
    assert len(own) == len(list((folder / trainings.FOLDER).glob("*.json")))
    assert len(kept) >= 3 * (len(wanted) - 2 * len(few))
    assert not [one.path for one in kept if one.content["git_dirty"] or len(one.content["git_revision"]) != 40]


def test_every_row_of_the_paper_is_a_run_at_each_scale() -> None:
    known = params.read(ROOT / "params.yaml")
    for row in paper.read(RESULTS / "paper.csv"):
        for scale in ("quick", "medium", "full", "paper"):
            assert known.settings(row, scale).steps > 0
