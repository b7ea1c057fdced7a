"""What the tests of damaged files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import bad_input


@pytest.fixture(scope="module")
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prints how many files each reader of a module was given, and fails where they were too few."""
    yield
    bad_input.tell(request)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all tests of a module, which write the same files again and again."""
    return tmp_path_factory.mktemp("bad")
