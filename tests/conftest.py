"""Shared by all tests: real digits as arrays, and a data set of a few of them."""

import pytest

pytest.register_assert_rewrite("tests.support")  # a failed `assert` there says as much as one in a test

from capsrepro.data.mnist import Mnist  # noqa: E402
from tests.support.digits import Digits, few_of, mnist_digits  # noqa: E402


@pytest.fixture(scope="session")
def digits() -> Digits:
    """MNIST's 10,000 test digits: uint8 (10000, 28, 28, 1) and labels (10000,)."""
    return mnist_digits()


@pytest.fixture
def few(digits: Digits) -> Mnist:
    """The first fifty of them as a data set."""
    return few_of(digits)
