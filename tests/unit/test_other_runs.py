"""`capsrepro new`, and the table of the runs that are no row of the paper."""

import dataclasses
import difflib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from capsrepro.core import new_run, params
from capsrepro.core.errors import Error
from capsrepro.evidence import other_runs, predictions, scale
from tests.support import ROOT, result_files
from tests.support.commands import run_module

LIKE = "mnist-capsnet-r3-recon"
PAPER = (ROOT / "results" / "paper.csv").read_text(encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    copy = tmp_path / "params.yaml"
    copy.write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "paper.csv").write_text(PAPER)
    return copy


def test_new_adds_lines_and_changes_no_other(path: Path) -> None:
    before = path.read_text()
    scales = [f"scale_settings.{name}" for name in ("quick", "medium", "full", "paper")]
    added = new_run.add(path, "my-row", LIKE, {"routing": "2", "steps": "100"})
    assert added == ["runs", *scales, "trainings.quick.rows"]
    changes = [line for line in difflib.ndiff(before.splitlines(), path.read_text().splitlines()) if line[0] in "+-"]
    assert not [line for line in changes if line[0] == "-"]
    known, entry = params.read(path), params.read(ROOT / "params.yaml").settings(LIKE, "full")
    assert known.trainings["quick"].rows[-1] == "my-row"
    assert known.runs["my-row"].like == LIKE
    assert known.settings("my-row", "full") == dataclasses.replace(entry, routing=2, steps=100)
    assert "like" not in known.settings("my-row", "full").as_json()  # it would be part of the fingerprint


def test_new_may_be_like_a_new_run_and_put_rows_into_a_list_in_one_line(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    first = lines.index("    rows:\n")
    last = max(number for number, line in enumerate(lines[:40]) if line.startswith("      - "))
    path.write_text("".join([*lines[:first], "    rows: [] # none\n", *lines[last + 1 :]]))
    new_run.add(path, "alone", "mnist-baseline", {})
    new_run.add(path, "a", "mnist-baseline", {})
    new_run.add(path, "b", "a", {"dropout": "0.25"})
    known = params.read(path)
    assert known.trainings["quick"].rows == ("alone", "a", "b")
    assert known.settings("b", "quick") == dataclasses.replace(known.settings("a", "quick"), dropout=0.25)
    assert "rows: [alone, a, b] # none\n" in path.read_text()


def test_new_selects_the_run_at_the_first_scale_that_has_settings_for_it(path: Path) -> None:
    added = new_run.add(path, "my-row", "validation-r3", {"routing": "2"})
    assert added == ["runs", "scale_settings.medium", "built", "trainings.medium.rows"]
    known = params.read(path)
    assert known.trainings["medium"].rows == ("my-row",)
    assert known.built == ("quick", "medium")  # the stages of a scale that has rows need its test sets
    path.write_text(path.read_text().replace("medium: {rows: [my-row]", "low: {rows: []"))
    with pytest.raises(
        Error, match=r"trainings: expected one of the scales .* for validation-r3: medium; received qui"
    ):
        new_run.add(path, "other", "validation-r3", {})


@pytest.mark.parametrize("sources", ["sources: [svhn]", ""])
def test_new_selects_a_run_on_other_data_by_its_source(path: Path, sources: str) -> None:
    path.write_text(path.read_text().replace("sources: []", sources).replace("seeds: [0]", "seeds: [0, 4]", 1))
    added = new_run.add(path, "my-row", "svhn-capsnet", {})
    assert added[-1] == "further"
    known = params.read(path)
    assert known.sources == ("svhn",)
    assert [(one.scale, one.run, one.seed, one.source) for one in known.further] == [
        ("quick", "my-row", seed, "svhn") for seed in (0, 4)
    ]
    assert "my-row" not in known.trainings["quick"].rows


@pytest.mark.parametrize(
    ("name", "like", "changed", "message"),
    [
        (LIKE, LIKE, {}, f"params.yaml, runs.{LIKE}: is there already"),
        ("My_Row", LIKE, {}, "not usable as a name"),
        ("my-row", "capsnet", {}, "unknown run 'capsnet'"),
        ("my-row", LIKE, {"rooting": "2"}, "params.yaml, runs.my-row.rooting: unknown key"),
        ("my-row", LIKE, {"routing": "0"}, "params.yaml, runs.my-row.routing: expected at least 1"),
        ("my-row", LIKE, {"steps": "many"}, "scale_settings.quick.my-row.steps: expected a whole number"),
        ("my-row", LIKE, {"routing": "["}, "routing=[: not YAML"),
        ("my-row", LIKE, {"steps": "&a [*a]"}, "steps=&a [*a]: not YAML, or no plain value"),
        ("my-row", LIKE, {"steps": "2001-99-99"}, "steps=2001-99-99: not YAML"),
        ("my-row", LIKE, {"steps": "2001-01-01"}, "steps=2001-01-01: not YAML"),
        ("my-row", LIKE, {"steps": "!!int x"}, "steps=!!int x: not YAML"),
        ("my-row", LIKE, {"": "3"}, "'': no name of a setting"),
        ("my-row", LIKE, {"a: b": "3"}, "'a: b': no name of a setting"),
        ("my-row", LIKE, {"? \n": "3"}, "no name of a setting"),
    ],
)
def test_new_refuses_in_one_line_and_leaves_the_file_as_it_was(
    path: Path, name: str, like: str, changed: dict[str, str], message: str
) -> None:
    before = path.read_text()
    with pytest.raises(Error) as refusal:
        new_run.add(path, name, like, changed)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value) or "params.yaml" not in message
    assert path.read_text() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["params.yaml", "results"]


def test_new_runs_that_are_added_at_once_are_all_there(path: Path) -> None:
    """A lock belongs to an open folder, so that threads wait for each other as processes do."""
    names = [f"many-{number}" for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda name: new_run.add(path, name, LIKE, {}), names))
    assert set(names) <= params.read(path).runs.keys()


def test_new_keeps_a_link_the_rights_and_the_ends_of_lines(path: Path) -> None:
    elsewhere = path.parent / "elsewhere.yaml"
    path.rename(elsewhere)
    path.symlink_to(elsewhere.name)
    elsewhere.chmod(0o640)
    elsewhere.write_bytes(elsewhere.read_bytes().replace(b"\n", b"\r\n"))
    new_run.add(path, "my-row", LIKE, {})
    assert path.is_symlink()
    assert elsewhere.stat().st_mode & 0o777 == 0o640
    assert elsewhere.read_bytes().count(b"\n") == elsewhere.read_bytes().count(b"\r\n")
    assert "my-row" in params.read(path).runs


def test_new_command_takes_settings_before_and_after_its_options(path: Path) -> None:
    words = ("my-row", "dropout=0.5", "--like", "mnist-baseline", "batch_size=64")
    answer = run_module("experiments", "new", *words, cwd=path.parent)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert (
        answer.stdout
        == "params.yaml: my-row added to runs, scale_settings.quick, scale_settings.medium, scale_settings.full, "
        "scale_settings.paper, trainings.quick.rows\n"
    )
    assert params.read(path).settings("my-row", "quick").batch_size == 64


def test_like_must_name_a_run(path: Path) -> None:
    path.write_text(path.read_text().replace(f"like: {LIKE}", "like: nothing"))
    with pytest.raises(Error, match=r"unknown run 'nothing' in runs\.mnist-capsnet-r5-recon-replace\.like"):
        params.read(path)


def write(path: Path, run: str, wrong: int, seed: int = 0, right: np.ndarray | None = None) -> None:
    """A result of a run with its present settings at the scale quick."""
    settings = params.read(path).settings(run, "quick").as_json()
    results = path.parent / "results"
    score = result_files.metrics(run, settings, wrong, seed=seed, scale="quick")
    result_files.write(results, "quick", f"{run}-seed{seed}", score, result_files.provenance(settings))
    if right is not None:
        labels = np.zeros((len(right), 1), np.int32)
        scores = np.eye(10, dtype=np.float32)[np.where(right, 0, 1)]
        kept = results / "quick" / "predictions" / f"{run}-seed{seed}.npz"
        predictions.write(kept, scores.argmax(axis=1)[:, None], labels, scores)


def line(path: Path, run: str = "my-row") -> dict[str, str]:
    known = params.read(path)
    lines = other_runs.lines(known, scale.load(known, path.parent / "results", "quick"))
    cells = next(one for one in lines if one[0] == run)
    return {name: cell for name, cell in zip(other_runs.SHOWN, cells, strict=True) if "interval" not in name}


def test_a_run_without_a_row_is_in_a_table_from_the_start_and_is_compared_once_it_ran(path: Path) -> None:
    new_run.add(path, "my-row", LIKE, {"routing": "2"})
    assert line(path)["verdict"] == "not run"
    write(path, "my-row", 300)
    assert line(path)["verdict"] == f"lacks {LIKE}"
    write(path, LIKE, 200)
    assert line(path) == {
        "run": "my-row",
        "like": LIKE,
        "changed": "routing 2 (3)",
        "measured": "3.00 (300/10000)",
        "of `like`": "2.00 (200/10000)",
        "difference": "+1.00",
        "verdict": "worse (unpaired, unplanned)",
    }


def test_answers_that_were_kept_are_compared_image_for_image(path: Path) -> None:
    new_run.add(path, "my-row", LIKE, {"routing": "2"})
    right = np.ones(10_000, bool)
    right[:200] = False
    write(path, LIKE, 200, right=right)
    right[:15] = True  # 15 better and none worse: McNemar's p is 2^-14
    write(path, "my-row", 185, right=right)
    assert (line(path)["difference"], line(path)["verdict"]) == ("-0.15", "better (unplanned)")


def test_a_run_that_was_trained_for_longer_is_not_called_better(path: Path) -> None:
    new_run.add(path, "my-row", LIKE, {"steps": "99"})
    write(path, "my-row", 100)
    write(path, LIKE, 300)
    assert line(path)["verdict"] == "cannot tell (unpaired, unequal steps, unplanned)"


def test_seeds_of_both_are_compared_pairwise_and_others_left_out(path: Path) -> None:
    new_run.add(path, "my-row", LIKE, {"routing": "2"})
    for seed, (mine, theirs) in enumerate([(200, 201), (210, 208), (190, 191)]):
        write(path, "my-row", mine, seed)
        write(path, LIKE, theirs, seed)
    write(path, "my-row", 900, seed=7)
    assert (line(path)["difference"], line(path)["verdict"]) == ("+0.00", "no difference shown (unplanned)")
    assert line(path)["of `like`"].endswith("(3)")


def test_a_run_whose_settings_changed_is_stale(path: Path) -> None:
    new_run.add(path, "my-row", LIKE, {"routing": "2"})
    for run in ("my-row", LIKE):
        write(path, run, 200)
    path.write_text(path.read_text().replace("    routing: 2\n", "    routing: 4\n"))
    assert line(path)["verdict"] == "stale"


def test_a_run_is_not_compared_with_one_that_saw_other_images_or_missed_its_stop(path: Path) -> None:
    new_run.add(path, "my-row", LIKE, {"validate": "true"})
    for run in ("my-row", LIKE):
        write(path, run, 200)
    assert line(path)["verdict"] == f"tested on other images than {LIKE}"
    new_run.add(path, "stops", LIKE, {})
    write(path, "stops", 200)
    provenance = path.parent / "results" / "quick" / "provenance" / f"{LIKE}-seed0.json"
    provenance.write_text(json.dumps(json.loads(provenance.read_text()) | {"stop_reached": False}))
    assert line(path, "stops")["verdict"] == "not reached"


def test_the_table_command_shows_runs_of_ones_own_below_the_papers(path: Path) -> None:
    new_run.add(path, "my-row", LIKE, {"routing": "2"})
    write(path, "my-row", 300)
    answer = run_module("experiments.table", cwd=path.parent)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == (path.parent / "results" / "quick" / "table.md").read_text()
    _, below = answer.stdout.split(f"\n## {other_runs.TITLE}\n")
    assert "| my-row " in below
    assert "mnist-capsnet-r3-recon |" in below
