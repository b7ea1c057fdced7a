"""Clones of the project for the tests of the pipeline and of the sweep."""

from collections.abc import Callable

import pytest

from tests.support.clones import Clone, cloned, write_digits


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Clone]:
    """Makes another clone each time that it is called; nothing has run in it, and its cache is its own."""
    folder = tmp_path_factory.mktemp("pipeline")
    hashes = write_digits(folder / "digits")
    names = iter("abcdefgh")

    def clone() -> Clone:
        return cloned(folder / next(names), folder / "digits", hashes)

    return clone
