"""Answers that are kept: what is written comes back, equal answers give equal bytes, and no damaged file is read."""

import io
import re
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from capsrepro.core.errors import Error
from capsrepro.evidence import predictions
from capsrepro.evidence.predictions import Predictions
from tests.support import ROOT
from tests.support.bad_input import REFUSED, answer, damaged, often, put, tell

LABELS = np.array([3, 0, 9, 4])
ANSWERS = np.array([3, 1, 9, 4])
SCORES = np.zeros((4, 10), np.float32)


@pytest.fixture(scope="module", autouse=True)
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    tell(request)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


def written(folder: Path, predicted: Any = ANSWERS, labels: Any = LABELS, scores: Any = SCORES) -> Path:
    path = folder / "caps-seed0.npz"
    predictions.write(path, np.asarray(predicted), np.asarray(labels), scores)
    return path


def test_answers_must_come_back_with_their_count(tmp_path: Path) -> None:
    found = predictions.read(written(tmp_path))
    assert (found.predicted.tolist(), found.labels.tolist()) == ([3, 1, 9, 4], [3, 0, 9, 4])
    assert (found.predicted.dtype, found.labels.dtype, found.lengths) == (np.uint8, np.uint8, None)
    assert found.right.tolist() == [True, False, True, True]
    assert predictions.wrong(found) == 1


def test_one_answer_an_example_may_stand_in_a_column(tmp_path: Path) -> None:
    found = predictions.read(written(tmp_path, ANSWERS[:, None], LABELS[:, None]))
    assert (found.predicted.shape, predictions.wrong(found)) == ((4,), 1)


def test_pairs_must_be_sorted_and_right_only_with_both_digits(tmp_path: Path) -> None:
    found = predictions.read(written(tmp_path, [[7, 2], [2, 7], [7, 3], [0, 1]], [[2, 7], [2, 7], [2, 7], [5, 6]]))
    assert found.predicted.tolist() == [[2, 7], [2, 7], [3, 7], [0, 1]]
    assert found.right.tolist() == [True, True, False, False]
    assert predictions.wrong(found) == 2


def test_ten_thousand_examples_must_keep_their_scores(tmp_path: Path) -> None:
    count = predictions.LENGTHS_OF
    scores = np.linspace(0, 1, count * 3, dtype=np.float32).reshape(count, 3)
    scores[0] = 1e6, -1e6, 0.5  # a baseline's scores may leave half precision
    found = predictions.read(written(tmp_path, np.zeros(count), np.zeros(count), scores))
    assert found.lengths is not None
    assert (found.lengths.dtype, found.lengths.shape) == (np.float16, (count, 3))
    np.testing.assert_allclose(found.lengths[1:], scores[1:], atol=5e-4)
    assert found.lengths[0].tolist() == [65504, -65504, 0.5]
    fewer = predictions.read(written(tmp_path, np.zeros(count - 1), np.zeros(count - 1), scores[1:]))
    assert fewer.lengths is None


def test_equal_answers_must_give_equal_bytes(tmp_path: Path) -> None:
    first = written(tmp_path).read_bytes()
    assert written(tmp_path).read_bytes() == first
    assert written(tmp_path, LABELS).read_bytes() != first


@pytest.mark.parametrize(
    ("predicted", "labels", "scores", "message"),
    [
        (ANSWERS[:3], LABELS, SCORES, "as many predictions as labels"),
        (ANSWERS, LABELS, SCORES[:3], "as many predictions as labels"),
        (np.zeros((4, 2)), LABELS, SCORES, "as many predictions as labels"),
        (ANSWERS + 256, LABELS, SCORES, "from 0 to 255"),
        (ANSWERS - 4, LABELS, SCORES, "from 0 to 255"),
    ],
)
def test_arrays_that_do_not_go_together_must_not_be_written(
    tmp_path: Path, predicted: Any, labels: Any, scores: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path, predicted, labels, scores)
    assert not list(tmp_path.iterdir())


def npz(path: Path, compression: int = zipfile.ZIP_DEFLATED, **arrays: np.ndarray) -> Path:
    """An archive of these arrays, whatever they are."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            with io.BytesIO() as file:
                np.save(file, array, allow_pickle=True)
                archive.writestr(f"{name}.npy", file.getvalue())
    return path


DIGITS = np.arange(4, dtype=np.uint8)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"predicted": DIGITS},
        {"labels": DIGITS},
        {"predicted": DIGITS, "labels": DIGITS[:3]},
        {"predicted": DIGITS.astype(np.int64), "labels": DIGITS},
        {"predicted": DIGITS, "labels": DIGITS, "more": DIGITS},
        {"predicted": DIGITS, "labels": DIGITS, "lengths": np.zeros((4, 10), np.float16)},  # only of 10,000
        {"predicted": DIGITS[:0], "labels": DIGITS[:0]},
        {"predicted": DIGITS.reshape(1, 4), "labels": DIGITS.reshape(1, 4)},
        {"predicted": np.array(3, np.uint8), "labels": np.array(3, np.uint8)},
        {"predicted": np.zeros(10_000, np.uint8), "labels": np.zeros(10_000, np.uint8)},  # its lengths are missing
        {
            "predicted": np.zeros(10_000, np.uint8),
            "labels": np.zeros(10_000, np.uint8),
            "lengths": np.zeros((10_000, 10), np.float32),
        },
        {
            "predicted": np.zeros(10_000, np.uint8),
            "labels": np.zeros(10_000, np.uint8),
            "lengths": np.zeros(10_000, np.float16),
        },
    ],
)
def test_other_arrays_must_be_refused_in_one_line(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = npz(tmp_path / "caps-seed0.npz", **arrays)
    with pytest.raises(Error, match=f"^{re.escape(str(path))}: expected predicted and labels uint8") as refused:
        predictions.read(path)
    assert "\n" not in str(refused.value)


def test_a_pickle_must_not_be_read(tmp_path: Path) -> None:
    path = npz(tmp_path / "caps-seed0.npz", predicted=np.array([print], dtype=object), labels=DIGITS)
    with pytest.raises(Error, match="not readable"):
        predictions.read(path)


def test_a_small_file_that_holds_much_must_be_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = npz(tmp_path / "caps-seed0.npz", predicted=np.zeros(100 << 20, np.uint8))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(Error, match="claim to hold 104857728 bytes"):
        predictions.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_member_that_is_larger_than_it_claims_must_be_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = npz(tmp_path / "caps-seed0.npz", predicted=np.zeros(100 << 20, np.uint8), labels=DIGITS)
    content = path.read_bytes()
    size = (100 << 20) + 128
    assert content.count(size.to_bytes(4, "little")) == 2  # in front of the member and in the directory
    path.write_bytes(content.replace(size.to_bytes(4, "little"), (132).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(Error, match="not readable"):
        predictions.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_missing_file_must_be_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="not readable"):
        predictions.read(tmp_path / "caps-seed0.npz")


def whole() -> bytes:
    with io.BytesIO() as file:
        np.savez_compressed(file, predicted=ANSWERS.astype(np.uint8), labels=LABELS.astype(np.uint8))
        return file.getvalue()


@often
@given(damaged(whole(), 200))
def test_damaged_answers_are_refused_or_exactly_what_was_written(folder: Path, content: bytes | None) -> None:
    path = folder / "answers.npz"
    put(path, content)
    read = answer("predictions", lambda: predictions.read(path), path)
    assert read is REFUSED or (isinstance(read, Predictions) and predictions.wrong(read) == 1)


def test_no_framework_must_be_loaded() -> None:
    code = "import sys, capsrepro.evidence.predictions; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"keras", "tensorflow", "jax", "pandas", "scipy"} & set(answer.stdout.split())
