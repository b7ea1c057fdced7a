"""JSON damaged at random: each file is refused by name in one line, or read with values that can be computed with."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsrepro.core import not_run
from capsrepro.core.params import RunConfig
from capsrepro.evidence import results as evidence
from capsrepro.report import run_records
from capsrepro.sources.hashes import Hashes
from capsrepro.sources.parts import File
from capsrepro.sources.published import Source
from tests.support import result_files
from tests.support.bad_input import REFUSED, answer, computable, frugal, often, put, written

pytestmark = pytest.mark.usefixtures("counted")

DEEP = 100_000  # brackets


def to_json(tree: Any) -> str:
    return json.dumps(tree, indent=1)


SETTINGS = RunConfig("mnist", "capsnet", routing=3, reconstruction=True).as_json()
KINDS = {
    "metrics": result_files.metrics("caps", SETTINGS, 23, scale="quick"),
    "provenance": result_files.provenance(SETTINGS),
}


@often
@given(st.sampled_from(sorted(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), written(KINDS[kind], to_json))))
def test_results_are_refused_or_sound(folder: Path, change: tuple[str, bytes | None]) -> None:
    kind, content = change
    for each, tree in KINDS.items():
        (folder / "quick" / each).mkdir(parents=True, exist_ok=True)
        put(folder / "quick" / each / "caps-seed0.json", content if each == kind else json.dumps(tree).encode())
    path = folder / "quick" / kind / "caps-seed0.json"

    def read() -> Any:
        results = evidence.read(folder, "quick")
        return results, run_records.read(folder, "quick", results)

    with frugal(path):
        outcome = answer("metrics and provenance", read, path)
    if outcome is not REFUSED:
        ((result,), (record,)) = outcome
        values = dataclasses.asdict(result)
        values.pop("settings")
        assert computable(values)
        assert (result.run, result.seed, result.scale, record.result) == ("caps", 0, "quick", result)
        assert abs(result.test_error_pct - 100 * result.wrong / result.examples) <= 0.001


REASON = {"run": "cifar10-ensemble", "seed": 0, "scale": "quick", "not_run": "source unreachable"}


@often
@given(written(REASON, to_json))
def test_reasons_are_refused_or_texts(folder: Path, content: bytes | None) -> None:
    path = folder / "reasons" / "metrics" / "cifar10-ensemble-seed0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, content)
    with frugal(path):
        read = answer("reason", lambda: not_run.read(folder, "reasons"), path)
    assert read is REFUSED or all(isinstance(reason, str) for reason in read.values())


HASHES = {"some": {"some.bin": "ab" * 32}, "other": {"a": "cd" * 32, "b": "ef" * 32}}


@often
@given(written(HASHES, to_json))
def test_recorded_hashes_are_refused_or_texts(folder: Path, content: bytes | None) -> None:
    path, file = folder / "lock.json", File("some.bin", 9)
    put(path, content)
    with frugal(path):
        read = answer("recorded hashes", lambda: Hashes(Source((file,), (), True), folder / "some", path), path)
    if read is not REFUSED:
        assert isinstance(read.sha256(file), str | None)
        assert read.faults() == {"some.bin": "missing"}


@pytest.mark.parametrize("text", ["[" * DEEP, '{"some": ' * DEEP + "1" + "}" * DEEP], ids=["lists", "objects"])
def test_json_that_is_nested_too_deeply_is_refused(folder: Path, text: str) -> None:
    path = folder / "deep" / "metrics" / "cifar10-ensemble-seed0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, text.encode())
    assert answer("reason", lambda: not_run.read(folder, "deep"), path) is REFUSED
