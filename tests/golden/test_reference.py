"""What the released code left no numbers of, against a NumPy version of it."""

import pytest

from tests.support import reference_goldens


@pytest.mark.parametrize("leaky", [False, True])
def test_primary_capsules_are_divided_by_their_types_and_one_more_if_leaky(leaky: bool) -> None:
    reference_goldens.check_scores(leaky)


def test_a_decoder_of_two_channels_draws_them_one_after_the_other() -> None:
    reference_goldens.check_two_channels()


@pytest.mark.parametrize("average", [None, 0.9])
def test_adam_adds_an_epsilon_of_1e_8_with_averaged_weights_too(average: float | None) -> None:
    reference_goldens.check_adam(average)
