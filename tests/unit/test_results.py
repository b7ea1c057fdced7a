"""What a metrics file says of a score, and that it is read back as it was written."""

from pathlib import Path

import pytest

from capsrepro.core import files
from capsrepro.core.params import RunConfig
from capsrepro.evidence import results
from capsrepro.network.evaluation import Score
from tests.support import result_files

RUN = RunConfig("mnist", "capsnet", recipe="paper", routing=3, reconstruction=True)


def test_metrics_of_one_digit_are_the_count_its_error_and_wilsons_interval() -> None:
    assert results.metrics(RUN, Score(wrong=23, examples=10_000, none_right=23), 100, 5, "ab" * 32) == {
        "recipe": "paper",
        "routing": 3,
        "reconstruction": True,
        "wrong": 23,
        "examples": 10_000,
        "test_error_pct": 0.23,
        "wilson_low_pct": 0.1533,
        "wilson_high_pct": 0.3449,
        "parameters": 100,
        "steps": 5,
        "weights_sha256": "ab" * 32,
    }


def test_metrics_of_pairs_count_digits_too() -> None:
    """On 411 of 1,000 images a digit is wrong, on 64 of these both are: 475 digits of 2,000."""
    score = Score(wrong=411, examples=1000, none_right=64, digits=2)
    found = results.metrics(RUN, score, 100, 5, "ab" * 32)
    assert (found["test_error_pct"], found["digits_wrong"], found["digit_error_pct"]) == (41.1, 475, 23.75)


def test_metrics_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    score = Score(wrong=23, examples=10_000, none_right=23)
    path = tmp_path / "quick" / "metrics" / "caps-seed4.json"
    origin = result_files.provenance(RUN.as_json())
    facts = results.metrics(RUN, score, 100, 5, "ab" * 32)
    files.write_json(path, {"run": "caps", "seed": 4, "scale": "quick", **facts})
    files.write_json(path.parents[1] / "provenance" / path.name, origin)
    (found,) = results.read(tmp_path, "quick")
    assert {name: getattr(found, name) for name in facts} == facts
    assert (found.name, found.scale) == ("caps-seed4", "quick")
    assert (found.settings, found.data_sha256) == (RUN.as_json(), origin["data_sha256"])


@pytest.mark.parametrize("wrong", [0, 10_000])
def test_metrics_have_an_interval_where_nothing_or_all_is_wrong(wrong: int) -> None:
    found = results.metrics(RUN, Score(wrong=wrong, examples=10_000, none_right=wrong), 100, 5, "ab" * 32)
    assert found["wilson_low_pct"] <= found["test_error_pct"] <= found["wilson_high_pct"]
    assert found["wilson_high_pct"] - found["wilson_low_pct"] == pytest.approx(0.0384)
