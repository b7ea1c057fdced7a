"""A run of one's own in the pipeline: added, run alone with two seeds, compared, and taken back."""

from collections.abc import Callable

import pytest

from tests.support.clones import BUILT, ROWS, Clone, ran

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
LIKE = ROWS[1]


def test_own_row_is_trained_alone_compared_and_taken_back(clone: Callable[[], Clone]) -> None:
    one = clone()
    before = (one.folder / "params.yaml").read_text()
    one.python("experiments", "new", "my-row", "--like", LIKE, "routing=1")
    stages = [f"evaluate@quick-my-row-{seed}" for seed in (0, 1)]
    trained = set(ran(one.python("dvc", "exp", "run", "--set-param", "trainings.quick.seeds=[0,1]", *stages)))
    data = {"fetch", *(f"build@quick-{name}" for name in BUILT)}
    assert trained - data == {*stages, *(stage.replace("evaluate", "train") for stage in stages)}
    assert "| not run" in one.python("experiments.table")
    shown = one.python("dvc", "metrics", "show")
    assert "README" not in shown
    for name in ("quick/metrics/my-row-seed1", f"full/metrics/{LIKE}-seed2"):
        assert f"results/{name}.json" in shown
    below = one.python("experiments.table").partition("## Other runs")[2]
    assert f"| my-row | {LIKE} | routing 1 (3) | " in " ".join(below.split())
    assert "my-row" in one.python("dvc", "exp", "show", "--only-changed", "--md")
    one.call("git", "stash", "--include-untracked")
    one.python("dvc", "checkout", check=False)  # complains of what was never made in this clone
    assert (one.folder / "params.yaml").read_text() == before
    assert one.call("git", "status", "--porcelain") == ""
    assert "my-row" not in one.python("experiments.table")
