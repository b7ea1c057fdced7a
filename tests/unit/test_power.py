"""What a verdict could have been: hand-checked counts, PAPER's probabilities, and a direct count of many samples."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsrepro.evidence import paper, power, verdicts
from capsrepro.evidence.intervals import student, wilson

ROWS = paper.read(Path(__file__).parents[2] / "results" / "paper.csv")
R3 = ROWS["mnist-capsnet-r3-recon"]
MNIST = [row for row in ROWS.values() if row.data == "mnist"]


def test_one_seed_must_reproduce_one_mnist_row_at_most_and_with_23_wrong_only():
    """Wilson's interval of 23 in 10,000 is 0.153 to 0.345; of 22 it begins below 0.15, of 24 it ends above 0.35."""
    counts = {row.id: power.reproducing(row, 10_000) for row in MNIST}
    assert list(counts.pop(R3.id)) == [23]
    assert len(counts) == 4
    assert not any(counts.values())
    assert wilson(22, 10_000)[0] < 0.15 < wilson(23, 10_000)[0]
    assert wilson(23, 10_000)[1] < 0.35 < wilson(24, 10_000)[1]


def test_the_probability_of_23_must_be_binomial():
    """Poisson's of 23 at a mean of 25: 25^23 / 23! * e^-25 = 0.0763; the binomial one is a little higher."""
    found = power.of(R3, 10_000, 1, None)
    assert found.probability == pytest.approx(math.comb(10_000, 23) * 0.0025**23 * 0.9975**9_977, rel=1e-9)
    assert (found.probability, found.possible, found.counts) == (pytest.approx(0.0764, abs=5e-5), True, range(23, 24))


def test_a_row_that_cannot_be_reproduced_must_be_impossible():
    found = power.of(ROWS["mnist-capsnet-r1"], 10_000, 1, None)
    assert (found.probability, found.possible) == (0.0, False)


@pytest.mark.parametrize(("seeds", "probability"), [(3, 0.39), (5, 0.90), (10, 1.0)])
def test_several_seeds_must_have_the_probabilities_of_the_rule(seeds, probability):
    assert power.of_seeds(seeds, 0.046, 0.10) == pytest.approx(probability, abs=0.01)


def test_the_seeds_of_full_must_want_five():
    """Spread of 34, 28 and 37 wrong of 10,000: 0.0458 points."""
    spread = float(np.std([0.34, 0.28, 0.37], ddof=1))
    assert power.seeds_needed(spread, 0.10) == 5
    assert power.of(R3, 10_000, 3, spread) == power.Power(pytest.approx(0.3836, abs=5e-5), 5, None)


def test_two_seeds_must_have_the_probability_of_the_plane():
    """Of two seeds, Student's interval is mean ± 12.706 * |difference| / 2. Counted on a fine grid of both values."""
    grid = (np.arange(2000) + 0.5) / 2000 * 12 - 6  # standard deviations
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi) * (12 / 2000)
    first, second = np.meshgrid(grid, grid)
    fits = np.abs(first + second) / 2 + 12.7062 * np.abs(first - second) / 2 <= 0.10 / 0.046
    assert power.of_seeds(2, 0.046, 0.10) == pytest.approx(float((np.outer(density, density) * fits).sum()), abs=5e-4)


def test_four_seeds_must_have_the_share_of_drawn_samples_that_the_rule_reproduces():
    drawn = np.random.Generator(np.random.Philox(1)).normal(0.25, 0.03, (2000, 4))
    words = [verdicts.compare(R3, *student(list(sample))) for sample in drawn]
    assert words.count("reproduced") / 2000 == pytest.approx(power.of_seeds(4, 0.03, 0.10), abs=0.03)


def test_seeds_that_do_not_differ_must_be_certain():
    assert power.of_seeds(2, 0.0, 0.10) == 1.0
    assert power.seeds_needed(0.0, 0.10) == 2


@given(st.integers(2, 40), st.floats(1e-4, 10), st.floats(0.05, 3))
def test_power_must_be_a_probability_that_grows_with_the_margin(seeds, spread, margin):
    found = power.of_seeds(seeds, spread, margin)
    assert 0 <= found <= 1
    assert power.of_seeds(seeds, spread, margin * 1.1) >= found - 1e-9


def test_the_seeds_needed_must_be_the_first_that_reach_it():
    for spread in (0.02, 0.046, 0.09, 0.3):
        needed = power.seeds_needed(spread, 0.10)
        assert round(power.of_seeds(needed, spread, 0.10), 2) >= 0.9
        assert needed == 2 or round(power.of_seeds(needed - 1, spread, 0.10), 2) < 0.9
    assert power.seeds_needed(100.0, 0.10) is None


def test_a_large_test_set_must_need_one_seed():
    """100,000 pairs at 5.2 %: Wilson's interval is ±0.14 points in a band of ±1."""
    found = power.of(ROWS["multimnist-capsnet-r3-recon"], 100_000, 1, None)
    assert (round(found.probability, 6), found.seeds_needed) == (1.0, 1)
    assert wilson(found.counts[0], 100_000)[0] >= 4.2 > wilson(found.counts[0] - 1, 100_000)[0]
    assert wilson(found.counts[-1], 100_000)[1] <= 6.2 < wilson(found.counts[-1] + 1, 100_000)[1]


def test_images_that_share_digits_must_count_for_fewer():
    """2.5 times as wide is as 320,000 / 6.25 = 51,200 independent ones."""
    row = ROWS["affnist-capsnet"]
    assert power.of(row, 320_000, 1, None).counts[0] == pytest.approx(power.reproducing(row, 51_200)[0] * 6.25, abs=7)
    alone = power.of(dataclasses.replace(row, margin=0.4), 320_000, 1, None)
    assert alone.possible  # 79 ± 0.4 holds an interval of ±0.353
    assert not power.of(dataclasses.replace(row, margin=0.35), 320_000, 1, None).possible
