"""The losses against values that one can work out by hand."""

import numpy as np
import pytest

from capsrepro.network import losses

TRUTH = np.array([[1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], np.float32)
SCORES = np.array([[0.5, 0.3, 0.1, 0.05, 0, 0, 0, 0, 0, 0.95]], np.float32)


def test_margin_loss_is_equation_4_summed_over_the_classes() -> None:
    # (0.9 - 0.5)^2 + 0.5 * ((0.3 - 0.1)^2 + (0.95 - 0.1)^2)
    assert float(losses.margin_loss(TRUTH, SCORES)[0]) == pytest.approx(0.16 + 0.5 * (0.04 + 0.7225), rel=1e-6)


def test_the_released_margin_loss_is_a_twentieth_of_the_papers() -> None:
    paper, released = (losses.margin_loss(TRUTH, SCORES, recipe=recipe) for recipe in ("paper", "released"))
    assert float(paper[0]) == pytest.approx(20 * float(released[0]), rel=1e-6)


def test_a_sure_and_right_answer_costs_nothing() -> None:
    assert float(losses.margin_loss(TRUTH, 0.9 * TRUTH + 0.1 * (1 - TRUTH))[0]) == 0.0


def test_reconstruction_is_a_sum_over_pixels_not_a_mean() -> None:
    targets, drawn = np.zeros((2, 1, 784), np.float32), np.full((2, 1, 784), 0.5, np.float32)
    assert np.allclose(losses.reconstruction_loss(targets, drawn), 0.0005 * 784 * 0.25)
    both = np.repeat(targets, 2, axis=1), np.repeat(drawn, 2, axis=1)
    assert np.allclose(losses.reconstruction_loss(*both), 2 * 0.0005 * 784 * 0.25)


def test_softmax_and_sigmoid_losses_of_even_scores() -> None:
    even = np.zeros((1, 10), np.float32)
    assert float(losses.softmax_loss(TRUTH, even)[0]) == pytest.approx(np.log(10), rel=1e-6)
    assert float(losses.sigmoid_loss(TRUTH, even)[0]) == pytest.approx(np.log(2), rel=1e-6)


def test_the_released_sigmoid_aims_at_half_the_label() -> None:
    scores = np.where(TRUTH > 0, 3.0, -30.0).astype(np.float32)
    sigmoid = 1 / (1 + np.exp(-3.0))
    aimed = -(0.5 * np.log(sigmoid) + 0.5 * np.log(1 - sigmoid)) / 10
    assert float(losses.sigmoid_loss(TRUTH, scores, recipe="released")[0]) == pytest.approx(aimed, rel=1e-5)


@pytest.mark.parametrize(
    ("scores", "right"),
    [([0.9, 0.8, 0.1], 1.0), ([0.8, 0.9, 0.1], 1.0), ([0.9, 0.1, 0.8], 0.0), ([0.1, 0.2, 0.9], 0.0)],
)
def test_half_right_is_wrong(scores: list[float], right: float) -> None:
    truth = np.array([[1, 1, 0]], np.float32)
    assert float(losses.both_right(truth, np.array([scores], np.float32), digits=2)[0]) == right


def test_of_equal_scores_the_lower_class_counts_as_higher() -> None:
    even = np.zeros((2, 3), np.float32)
    truth = np.eye(3, dtype=np.float32)[:2]
    assert np.array(losses.both_right(truth, even)).tolist() == [1.0, 0.0]
