"""How measurements are named, told and compared; what they are is no matter here, and no test asserts a time."""

import re
import subprocess
import time
import types
from pathlib import Path
from typing import Any

import keras
import pytest

import benchmarks
from benchmarks import __main__ as script
from benchmarks import rows, startup
from benchmarks.__main__ import compare
from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.network import devices
from tests.support.commands import run_code, run_module
from tests.support.digits import needs_tensorflow

MEMORY = "memory_evaluate_cifar10_capsnet"  # needs no data


def row(name: str = "load_mnist", unit: str = "images/s", ratio: float | None = 2.0) -> dict[str, Any]:
    if ratio is None:
        return {"name": name, "value": rows.NOT_MEASURED, "unit": unit, "bound": None, "ratio": None}
    return {"name": name, "value": 20_000 * ratio, "unit": unit, "bound": 20_000.0, "ratio": ratio}


def case(monkeypatch: pytest.MonkeyPatch, answer: Any, bar: float | None = None) -> None:
    cases = {"load_mnist": rows.Case("loading", "images/s", lambda folder: answer, bar)}
    monkeypatch.setattr(rows, "CASES", cases)


def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_module("benchmarks", *words, **variables)


def test_works_take_turns_after_each_has_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only the works move: a takes 100 s to warm up, then 1, 5 and 2 s, and b always 3 s."""
    now, log = [0.0], []
    seconds = {"a": iter([100.0, 1.0, 5.0, 2.0]), "b": iter([3.0] * 4)}
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work(name: str) -> None:
        log.append(name)
        now[0] += next(seconds[name])

    assert benchmarks.medians([lambda: work("a"), lambda: work("b")], 3) == [2.0, 3.0]
    assert log == ["a", "b"] * 4
    seconds["a"] = iter([100.0, 1.0, 5.0, 2.0])
    assert benchmarks.rates(lambda: work("a"), 10, repeats=3) == (10.0, 5.0)


@pytest.mark.parametrize(
    ("answer", "bar", "expected"),
    [
        (30_000.0, 20_000.0, (30_000.0, 20_000.0, 1.5)),
        ((99.4567, 44.8123), None, (99.46, 44.81, 2.219)),
        (None, None, (rows.NOT_MEASURED, None, None)),
    ],
)
def test_a_row_has_the_value_its_bound_and_the_ratio(
    answer: Any, bar: float | None, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case(monkeypatch, answer, bar)
    found = rows.measured("load_mnist", Path())
    assert list(found) == ["name", "value", "unit", "bound", "ratio"]
    assert (found["value"], found["bound"], found["ratio"]) == expected


def test_bfloat16_is_not_measured_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_bfloat16", lambda: False)
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    found = rows.measured("train_mnist_capsnet_mixed_bfloat16", Path("no data are needed for that"))
    assert found["value"] == "not measured"


@pytest.mark.parametrize(
    ("backend", "name"), [("jax", "train_mnist_capsnet_float32"), ("tensorflow", "steps_scan_five_seeds")]
)
def test_what_a_backend_does_not_do_is_not_measured(backend: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert rows.measured(name, Path("no data are needed for that"))["value"] == "not measured"


@pytest.mark.parametrize(("installed", "expected"), [(True, "jax"), (False, "tensorflow")])
def test_what_only_jax_does_is_measured_with_it_where_it_is_installed(
    installed: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: installed or None)
    asked = {}

    def run(command: list[str], env: dict[str, str], check: bool) -> types.SimpleNamespace:
        asked[command[command.index("--only") + 1]] = env["KERAS_BACKEND"]
        files.write_json(Path(command[-1]), [row()])
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(script.subprocess, "run", run)
    for name in ("steps_scan", "steps_fit"):
        assert script.in_new_process(name, Path("data")) == row()
    assert asked == {"steps_scan": expected, "steps_fit": "tensorflow"}


def test_what_got_slower_is_said_and_nothing_else() -> None:
    before = [
        row(ratio=2.0),
        row("start_table", "s", 0.5),
        row("start_help", "s", 0.5),
        row("gone"),
        row("load_multimnist"),
    ]
    now = [
        row(ratio=1.0),  # half as fast
        row("start_table", "s", 1.0),  # twice as long
        row("start_help", "s", 0.54),  # noise
        row("load_multimnist", ratio=4.0),
        row("new"),
        row("start_repro", "s", None),
    ]
    message = rows.slower(now, before)
    assert [line.partition(":")[0] for line in message] == ["load_mnist", "start_table"]
    expected = "load_mnist: 20,000 images/s, 1 times its bound of 20,000; it was 2 times: 100 % worse"
    assert message[0] == expected
    assert rows.comparable(now, before) == ["load_mnist", "start_table", "start_help", "load_multimnist"]
    assert rows.slower(now, []) == []
    assert rows.slower(now, [row(ratio=None)]) == []


def test_a_case_has_its_own_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    for tolerance, expected in ((0.1, 1), (0.3, 0)):
        monkeypatch.setattr(rows, "CASES", {"load_mnist": rows.Case("loading", "images/s", float, 1.0, tolerance)})
        assert len(rows.slower([row(ratio=1.6)], [row(ratio=2.0)])) == expected


def test_a_comparison_fails_if_something_is_slower_or_nothing_is_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = Path("before.json")
    compare([row(ratio=1.9), row("start_table", "s", 0.5)], [row(ratio=2.0)], path)
    assert capsys.readouterr().out == "not compared: start_table: not measured now, or not in before.json\n"
    with pytest.raises(Error, match="1 of 1 measurements are slower than in before.json"):
        compare([row(ratio=1.0)], [row(ratio=2.0)], path)
    assert capsys.readouterr().out.startswith("slower: load_mnist: ")
    for found, before in (([row(ratio=None)], [row()]), ([row()], [row(ratio=None)]), ([row()], [])):
        with pytest.raises(Error, match="before.json: nothing could be compared"):
            compare(found, before, path)


def test_the_table_goes_between_the_markers_and_only_there(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{rows.MARKERS[0]}\nold\n{rows.MARKERS[1]}\n\nafter\n")
    found = [row(), row("train_mnist_capsnet_mixed_bfloat16", ratio=None)]
    assert rows.insert_table(readme, found)
    text = readme.read_text()
    assert re.fullmatch(r"before\n\n<!-- benchmark -->\n\n\| .*\|\n\n<!-- /benchmark -->\n\nafter\n", text, re.DOTALL)
    assert "| MNIST training batches, one core | 40,000 images/s | 20,000 | 2.00 |" in text
    assert "| not measured |  |  |" in text
    assert rows.insert_table(readme, found)
    assert readme.read_text() == text
    readme.write_text("none\n")
    assert not rows.insert_table(readme, found)
    assert readme.read_text() == "none\n"


@pytest.mark.parametrize("content", [None, "{", "3", "[3]", '{"a": 1}', '[{"name": "load_mnist"}]'])
def test_a_file_that_is_no_benchmark_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Error, match="before.json: not a benchmark's file"):
        rows.read(path)


def test_an_unknown_name_and_missing_data_are_told_in_a_line(tmp_path: Path) -> None:
    assert "invalid choice: 'nothing'" in command("--only", "nothing").stderr
    done = command("--only", "load_mnist", "--data", str(tmp_path), "--output", str(tmp_path / "out.json"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}")
    assert "experiments.fetch mnist" in done.stderr
    assert not (tmp_path / "out.json").exists()


def test_a_repro_that_has_something_to_do_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder is no project of DVC's, so that its status is not clean; nothing may be run there."""
    monkeypatch.setattr(startup, "ROOT", tmp_path)
    assert startup.repro(tmp_path) is None


def test_an_evaluation_is_measured_with_weights_that_evaluating_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from capsrepro.core.origin import origin_of
    from capsrepro.network import models, ties

    monkeypatch.chdir(tmp_path)
    startup.place_published()
    origin = origin_of(startup.EVALUATED)
    assert ties.load(models.build(origin.for_evaluation, (28, 28, 1)), startup.EVALUATED, origin)


@pytest.mark.slow
@needs_tensorflow("be measured")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read where Linux tells it")
def test_one_measurement_is_written_and_compared(tmp_path: Path) -> None:
    output, before = tmp_path / "out.json", tmp_path / "before.json"
    files.write_text(
        before, '[{"name": "' + MEMORY + '", "value": 0.0015, "unit": "GB", "bound": 1.5, "ratio": 0.001}]'
    )
    code = (
        "import runpy; from benchmarks import memory\nmemory.IMAGES = memory.BATCH = 10\n"
        "runpy.run_module('benchmarks', run_name='__main__', alter_sys=True)"
    )
    words = ("--only", MEMORY, "--output", str(output), "--compare", str(before))
    done = run_code(code, *words, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert done.stderr.endswith(f"error: 1 of 1 measurements are slower than in {before}, see above\n")
    [found] = rows.read(output)
    assert (found["name"], found["unit"], found["bound"]) == (MEMORY, "GB", 1.5)
    assert found["value"] > 0.05  # the network has 90 MB of weights
    assert found["ratio"] == pytest.approx(found["value"] / 1.5, rel=1e-3)
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{MEMORY}: ")
    assert last.startswith(f"slower: {MEMORY}: ")
