"""Where paper and released code disagree: what the two sides change, what is trained, kept and concluded."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from capsrepro.ablations import cases, comparison, trainings
from capsrepro.ablations.cases import CASES
from capsrepro.ablations.trainings import Count
from capsrepro.core import files, params
from capsrepro.core.errors import Error
from capsrepro.data import loading
from capsrepro.data.mnist import EveryShift, Mnist
from capsrepro.network import models
from capsrepro.training import loop
from experiments import ablations as command
from tests.support import ROOT, result_files
from tests.support.commands import run_module
from tests.support.digits import Digits, philox

KNOWN = params.read(ROOT / "params.yaml")
ROWS = {row.name: row for row in CASES}
# What the sides' trainings have, where they differ, at the scale `quick`.
DIFFERENCES: dict[str, dict[str, tuple[Any, Any]]] = {
    "margin-loss": {"loss_recipe": ("paper", None)},  # None: the run's recipe is `released` already
    "margin-loss-alone": {"loss_recipe": ("paper", None)},
    "primary-capsules": {"layers_recipe": ("paper", None)},
    "recipe": {"recipe": ("paper", "released")},
    "multimnist-shift": {"shift": (4, 6)},
    "multimnist-test-shift": {},
    "multimnist-base-shift": {"base_shift": ("per_pair", "per_image")},
    "multimnist-decay": {"decay_steps": (87, 9)},  # of 1,300 steps: 15 and 150 periods, as of 300,000
    "multimnist-baseline": {"layers_recipe": (None, "released"), "padding": ("same", "valid")},
    "multimnist-baseline-target": {"loss_recipe": (None, "released")},
    "mnist-shift": {},
    "none-of-the-above": {"leaky": (True, False)},
}


def sides(name: str, scale: str = "quick") -> tuple[trainings.Training, trainings.Training]:
    row = ROWS[name]
    first, second = (trainings.training_of(KNOWN, scale, row.run, side) for side in row.sides)
    return first, second


# The list, and what it turns


def test_each_ablation_has_a_row() -> None:
    # Margin loss, primary capsules, MultiMNIST's shift and its base digit's, its baseline, its decay, MNIST's shifts;
    # there is no released baseline for MNIST.
    assert {*DIFFERENCES, "mnist-baseline"} == set(ROWS)
    assert len(ROWS) == len(CASES)
    assert [row.name for row in CASES if not row.sides] == ["mnist-baseline"]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_sides_differ_in_exactly_the_named_settings(name: str) -> None:
    paper, released = (dataclasses.asdict(side.settings) for side in sides(name))
    assert {key: (paper[key], released[key]) for key in paper if paper[key] != released[key]} == DIFFERENCES[name]


def test_what_is_no_setting_of_a_training_differs_too() -> None:
    paper, released = sides("mnist-shift")
    assert (paper.changed, released.changed) == ({}, {"every_shift": True})
    paper, released = sides("multimnist-test-shift")
    assert paper.name == released.name
    assert [test.shift for side in (paper, released) for test in side.tests.values()] == [4, 6]


@pytest.mark.parametrize("name", sorted(set(DIFFERENCES) - {"multimnist-test-shift"}))
def test_both_sides_are_tested_alike(name: str) -> None:
    paper, released = sides(name)
    assert paper.tests == released.tests


def test_the_decay_is_the_papers_and_the_released_codes_at_their_length() -> None:
    assert [side.settings.decay_steps for side in sides("multimnist-decay", "paper")] == [20_000, 2_000]


def test_equal_sides_are_trained_once_and_tested_in_every_way() -> None:
    every = trainings.trainings(KNOWN, "quick", CASES)
    assert len(every) == len({one.name for one in every}) == 16
    (shifts,) = [len(one.tests) for one in every if one.name == "multimnist-capsnet-r1-recon"]
    assert shifts == 2
    shown = trainings.trainings(KNOWN, "quick", [ROWS["multimnist-shift"]])
    assert [len(one.tests) for one in shown] == [2, 1]
    assert shown[1].name == "multimnist-capsnet-r1-recon+shift=6"


@pytest.mark.parametrize(("recipe", "loss", "times"), [("released", "paper", 20), ("paper", "released", 1 / 20)])
def test_the_recipe_of_the_loss_alone_must_weigh_only_the_loss(
    digits: Digits, recipe: Any, loss: Any, times: float
) -> None:
    run = params.RunConfig("mnist", "capsnet", recipe, routing=1, conv_channels=(2,), primary_types=4)
    truth, scores = np.eye(10, dtype=np.float32)[:3], np.full((3, 10), 0.4, np.float32)
    data = Mnist(digits[0][:8], digits[1][:8], name="few", sha256="")
    whole, part = (loop.compiled(one, data, 0) for one in (run, dataclasses.replace(run, loss_recipe=loss)))
    ours, theirs = (float(model.loss["scores"](truth, scores)[0]) for model in (part, whole))
    assert ours == pytest.approx(times * theirs, rel=1e-6)
    assert part.get_layer("primary_capsules").kernel_scale == whole.get_layer("primary_capsules").kernel_scale


def test_the_recipe_of_the_layers_alone_must_set_kernel_scale_and_kernel_size() -> None:
    run = params.RunConfig("mnist", "capsnet", "released", routing=1, conv_channels=(2,), primary_types=4)
    scales = {
        recipe: models.build(dataclasses.replace(run, layers_recipe=recipe), (28, 28, 1)).layers[2].kernel_scale
        for recipe in ("paper", "released", None)
    }
    assert scales == {"paper": 1.0, "released": 0.25, None: 0.25}
    run = params.RunConfig("mnist", "multimnist_baseline", "paper", layers_recipe="released", conv_channels=(2, 2))
    assert models.build(run, (28, 28, 1)).get_layer("conv1").kernel_size == (5, 5)


def test_a_list_of_shifts_has_each_digit_at_each_once() -> None:
    images = np.zeros((2, 9, 9, 1), np.uint8)
    images[0, 4, 4], images[1, 4, 4] = 255, 51
    listed = EveryShift(images, np.array([3, 8]), name="two", sha256="")
    assert len(listed) == 50
    batch = listed.distorted(np.arange(50), philox(0))
    where = [tuple(np.argwhere(image[..., 0])[0]) for image in batch.images]
    assert where == 2 * [(row, column) for row in range(2, 7) for column in range(2, 7)]
    assert batch.images.max(axis=(1, 2, 3)).tolist() == pytest.approx([1.0] * 25 + [0.2] * 25)
    assert batch.labels.ravel().tolist() == [3] * 25 + [8] * 25
    assert np.array_equal(batch.targets[:, 0], batch.images)


# What is concluded


def counts(*wrong: int) -> list[Count]:
    return [Count(number, 10_000) for number in wrong]


def test_the_interval_over_seeds_is_students() -> None:
    # Differences -2, -1, -3 points: their mean -2, standard deviation 1, t(2) = 4.3027; the counts' is narrower.
    low, high = comparison.interval(counts(100, 110, 120), counts(300, 210, 420))
    assert (low, high) == pytest.approx((-2 - 4.302653 / 3**0.5, -2 + 4.302653 / 3**0.5), abs=1e-5)


def test_the_interval_of_counts_is_newcombes() -> None:
    # His example of 1998: 56 of 70 against 48 of 80, method 10; seeds that agree have no spread.
    low, high = comparison.interval(2 * [Count(28, 35)], 2 * [Count(24, 40)])
    assert (low, high) == pytest.approx((5.24, 33.39), abs=0.005)


@pytest.mark.parametrize(
    ("paper", "released", "words"),
    [
        ((100, 101, 102), (300, 302, 304), "paper's lower"),
        ((300, 302, 304), (100, 101, 102), "released lower"),
        ((100, 110, 120), (120, 120, 150), "quick scale cannot tell"),  # seeds differ too much
        ((100, 110, 120), (103, 113, 123), "quick scale cannot tell"),  # seeds agree by chance, on three images
        ((100,), (900,), "quick scale cannot tell"),  # of one seed nobody knows
    ],
)
def test_a_difference_must_stand_out_against_seeds_and_images(
    paper: tuple[int, ...], released: tuple[int, ...], words: str
) -> None:
    assert comparison.verdict(*comparison.interval(counts(*paper), counts(*released)), "quick") == words


def test_a_line_tells_errors_counts_and_difference() -> None:
    shown = comparison.line(ROWS["margin-loss"], "quick", counts(100, 110, 120), counts(300, 210, 420))
    assert {key: shown[key] for key in list(shown)[6:14]} == {
        "seeds": "3",
        "paper_error_pct": "1.10 ± 0.10",
        "released_error_pct": "3.10 ± 1.05",
        "paper_wrong": "330/30000",
        "released_wrong": "930/30000",
        "difference": "-2.00",
        "interval": "-4.48 to +0.48",
        "verdict": "quick scale cannot tell",
    }
    alone = comparison.line(ROWS["margin-loss"], "quick", counts(100), counts(300))
    assert (alone["paper_error_pct"], alone["interval"]) == ("1.00", "")
    assert comparison.line(ROWS["margin-loss"], "quick")["verdict"] == "not run"
    assert comparison.line(ROWS["mnist-baseline"], "quick")["verdict"] == "nothing to compare"


# What is trained, and what is kept


def arguments(**changed: Any) -> argparse.Namespace:
    given = {"only": ["margin-loss-alone"], "seeds": [0, 1], "scale": "quick", "params": ROOT / "params.yaml"}
    return argparse.Namespace(**{**given, "data": Path("data"), **changed})


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the trainings asked for, in a folder of its own; each of them errs on 100 and so many images."""
    asked: list[str] = []

    def measure(one: trainings.Training, seed: int, given: argparse.Namespace) -> dict[str, Any]:
        path = one.path(Path("results", given.scale), seed)
        asked.append(path.stem)
        tests = {name: {"wrong": 100 + len(asked), "examples": 10_000} for name in one.tests}
        content = {"tests": tests, "settings": one.settings.as_json()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return content

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "measure", measure)
    return asked


def lines() -> dict[str, dict[str, Any]]:
    table = pandas.read_csv("results/quick/studies/ablations/table.csv", dtype=str, keep_default_na=False)
    return {line["ablation"]: dict(line) for line in table.to_dict("records")}


def test_what_is_kept_must_not_be_trained_again(trained: list[str]) -> None:
    command.main(arguments(seeds=[0]))
    assert trained == ["mnist-capsnet-r3+loss_recipe=paper-seed0", "mnist-capsnet-r3-seed0"]
    command.main(arguments())
    assert trained[2:] == ["mnist-capsnet-r3+loss_recipe=paper-seed1", "mnist-capsnet-r3-seed1"]
    command.main(arguments(seeds=[1]))
    assert len(trained) == 4
    shown = lines()
    assert set(shown) == set(ROWS)
    assert (shown["margin-loss-alone"]["seeds"], shown["margin-loss-alone"]["paper_wrong"]) == ("2", "204/20000")
    assert shown["margin-loss"]["verdict"] == "not run"


def test_what_was_trained_with_other_settings_must_be_trained_again(trained: list[str], tmp_path: Path) -> None:
    command.main(arguments(seeds=[0]))
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("steps: 600, decay_steps: 12", "steps: 601, decay_steps: 12"))
    command.main(arguments(seeds=[0], params=tmp_path / "params.yaml"))
    assert trained[2:] == trained[:2]


def test_a_side_that_is_a_run_takes_the_results_of_that_run(trained: list[str]) -> None:
    folder = Path("results/quick")
    for run, wrong in (("cifar10-capsnet-r3", 5000), ("cifar10-plain", 5600)):
        settings = KNOWN.settings(run, "quick").as_json() | {"precision": "mixed_bfloat16"}  # what `auto` was
        for seed in (0, 1):
            score = result_files.metrics(run, settings, wrong + seed, seed=seed, scale="quick")
            result_files.write(Path("results"), "quick", f"{run}-seed{seed}", score, result_files.provenance(settings))
    command.main(arguments(only=["none-of-the-above"], seeds=[0, 1, 2]))
    assert trained == ["cifar10-capsnet-r3-seed2", "cifar10-capsnet-r3+leaky=False-seed2"]
    shown = lines()["none-of-the-above"]
    assert (shown["seeds"], shown["paper_wrong"], shown["released_wrong"]) == ("3", "10102/30000", "11303/30000")
    plain = trainings.found(KNOWN, folder, "quick")["cifar10-capsnet-r3+leaky=False"][1]
    assert (plain.path, plain.content["git_revision"]) == (folder / "metrics" / "cifar10-plain-seed1.json", "0123" * 10)
    result_files.write(Path("results"), "quick", "cifar10-plain-seed0", {"run": "cifar10-plain", "not_run": "away"}, {})
    assert 0 not in trainings.found(KNOWN, folder, "quick")["cifar10-capsnet-r3+leaky=False"]


def test_what_was_not_fetched_is_left_out_unless_it_is_named() -> None:
    assert "none-of-the-above" not in {case.name for case in trainings.chosen(KNOWN, [], ["cifar10"])}
    assert "none-of-the-above" in {case.name for case in trainings.chosen(KNOWN, [], ["svhn"])}
    (named,) = trainings.chosen(KNOWN, ["none-of-the-above"], ["cifar10"])
    assert named.run == "cifar10-capsnet-r3"


def test_a_folder_without_the_files_is_not_taken_for_fetched(trained: list[str]) -> None:
    files.write_text(Path("data/cifar10/unreachable.txt"), "no mirror serves it")  # as `fetch --note` does
    command.main(arguments(only=[], seeds=[0]))
    assert trained
    assert not [name for name in trained if name.startswith("cifar10")]


def test_a_seed_must_be_on_both_sides_to_count(trained: list[str]) -> None:
    command.main(arguments())
    Path("results/quick/studies/ablations/mnist-capsnet-r3-seed0.json").unlink()
    shown = comparison.table(KNOWN, "quick", trainings.found(KNOWN, Path("results/quick"), "quick"))
    (alone,) = [line for line in shown if line["ablation"] == "margin-loss-alone"]
    assert (alone["seeds"], alone["paper_wrong"], alone["released_wrong"]) == ("1", "103/10000", "104/10000")


def test_the_command_must_train_test_and_keep(digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = Mnist(digits[0][:50], digits[1][:50], name="few", sha256="of few")
    monkeypatch.setattr(loading, "load", lambda *_: few)
    monkeypatch.chdir(tmp_path)
    run = KNOWN.settings("mnist-capsnet-r3-recon", "quick")
    small = {"conv_channels": (4,), "primary_types": 1, "dense_units": (8, 8), "batch_size": 8, "steps": 2}
    one = trainings.Training("caps", {"every_shift": True}, dataclasses.replace(run, **small), {"as it is": run})
    content = command.measure(one, 3, arguments())
    assert content["data"] == "few, every shift"
    assert (content["train_examples"], content["tests"]["as it is"]["examples"]) == (25 * 50, 50)
    kept = trainings.kept(one, Path("results/quick"), 3)
    assert kept is not None
    assert kept.counts == {"as it is": (content["tests"]["as it is"]["wrong"], 50)}
    assert kept.content["weights_sha256"] == content["weights_sha256"]
    assert not list(tmp_path.rglob("*.npz"))  # the backups are removed


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"tests": {"x": 1}}', '{"tests": {"x": {"wrong": 2, "examples": 1}}}']
)
def test_a_damaged_file_is_named(trained: list[str], damage: str) -> None:
    command.main(arguments(seeds=[0]))
    Path("results/quick/studies/ablations/mnist-capsnet-r3-seed0.json").write_text(damage)
    with pytest.raises(
        Error, match="results/quick/studies/ablations/mnist-capsnet-r3-seed0.json: damaged .*delete it"
    ) as fault:
        command.main(arguments(seeds=[0]))
    assert "\n" not in str(fault.value)


def test_an_unknown_name_lists_the_known_ones(trained: list[str]) -> None:
    with pytest.raises(Error, match="unknown ablation 'margin'; known: margin-loss, "):
        cases.chosen(["margin"])
    with pytest.raises(Error, match="unknown scale 'slow' in scale_settings; known: quick, "):
        command.main(arguments(scale="slow"))
    assert not trained


def test_a_wrong_name_is_one_line_and_exit_code_1() -> None:
    answer = run_module("experiments.ablations", "--only", "margin")
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: unknown ablation 'margin'")
    assert answer.stderr.count("\n") == 1
