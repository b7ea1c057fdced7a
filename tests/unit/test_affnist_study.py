"""The closer look at affNIST: other baselines, every later check, accuracy by position and rotation."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from capsrepro.ablations import affnist
from capsrepro.core import params, paths
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data import loading
from capsrepro.data.affnist import save
from capsrepro.evidence import predictions
from capsrepro.training import loop
from experiments import affnist as command
from tests.support import ROOT
from tests.support.digits import Digits, few_of
from tests.support.runs import BASELINE, CAPSNET


def test_four_baselines_differ_from_the_tables_in_what_they_are_named_for() -> None:
    known = params.read(ROOT / "params.yaml")
    capsnet, table, *others = affnist.variants(known, "full").items()
    assert (capsnet[0], table[0]) == ("capsnet", "baseline")
    for name, settings in (capsnet, table):
        run = f"affnist-{name}"
        assert settings == dataclasses.replace(known.settings(run, "full"), stop_pct=None)
    before = table[1].as_json()
    changed = {
        name: {key: value for key, value in settings.as_json().items() if value != before[key]}
        for name, settings in others
    }
    assert changed == {
        "baseline, first kernel 5x5": {"layers_recipe": "released"},
        "baseline, half the channels": {"conv_channels": [256, 128]},
        "baseline, no dropout": {"dropout": 0.0},
    }
    assert affnist.stops(known, "full") == {"affnist-capsnet": 99.23, "affnist-baseline": 99.22}


def test_the_crossing_is_the_first_check_at_the_accuracy() -> None:
    history = [{affnist.STOP: accuracy, "step": step} for step, accuracy in enumerate((98.0, 99.3, 99.1, 99.4))]
    assert affnist.crossing(history, 99.2) == history[1]
    assert affnist.crossing(history, 99.3) == history[1]
    assert affnist.crossing(history, 99.5) is None


def placed(*maps: tuple[float, float, float]) -> np.ndarray:
    """Parameters of images with these rotations and translations down and right."""
    return np.array([(rotation, 0, 1, 1, down, right) for rotation, down, right in maps], np.float32)


def test_accuracy_is_told_by_the_larger_offset_and_by_the_size_of_the_rotation() -> None:
    parameters = placed((0, 0, 0), (-20, -7, 1), (20, 3, 6), (4.9, 0, -12.5), (5, 2, 2))
    right = np.array([True, False, True, True, False])
    lines = pd.DataFrame(affnist.by_place(parameters, right))
    distance, rotation = (lines[lines["by"] == name] for name in ("pixels from the middle", "degrees of rotation"))
    assert list(zip(distance["from"], distance["images"], distance["right"], strict=True)) == [
        (0.0, 1, 1), (2.0, 1, 0), (4.0, 0, 0), (6.0, 2, 1), (8.0, 1, 1),
    ]  # fmt: skip
    assert list(zip(rotation["from"], rotation["images"], rotation["right"], strict=True)) == [
        (0.0, 2, 2), (5.0, 1, 0), (10.0, 0, 0), (15.0, 2, 1),
    ]  # fmt: skip
    assert list(distance["accuracy_pct"])[:2] == [100.0, 0.0]
    assert distance["accuracy_pct"].isna().tolist() == [False, False, True, False, False]


@pytest.fixture
def project(tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which two networks learn fifty digits in a second, and whose table kept its predictions."""
    few = few_of(digits)
    variants = {"capsnet": CAPSNET, "baseline, small": BASELINE}
    monkeypatch.setattr(affnist, "variants", lambda *_: variants)
    monkeypatch.setattr(affnist, "stops", lambda *_: {affnist.CAPSNET: 0.0, affnist.BASELINE: 101.0})
    monkeypatch.setattr(loading, "load", lambda *_: few)
    monkeypatch.setenv("CAPSREPRO_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    parameters = placed(*[(0, 0, 0)] * 30, *[(0, 9, 9)] * 20)
    images = np.zeros((50, 40, 40, 1), np.uint8)
    save(tmp_path / "data" / "built" / "quick" / "affnist.npz", images, few.labels, parameters)
    answers = (few.labels + (np.arange(50) >= 30)) % 10
    for run in (affnist.CAPSNET, affnist.BASELINE):
        predictions.write(paths.RunPaths("quick", run, 0).predictions, answers, few.labels, np.zeros((50, 10)))
    return tmp_path


def test_the_command_writes_every_check_the_crossings_and_the_places(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"scale": "quick", "params": Path("params.yaml"), "data": Path("data"), "seeds": [0]}
    command.main(argparse.Namespace(**words))
    folder = project / "results" / "quick" / "studies"
    checks, compared, places = (
        pd.read_csv(folder / f"affnist-{name}.csv") for name in ("checks", "baselines", "places")
    )
    assert list(zip(checks["network"], checks["step"], strict=True)) == [
        (name, step) for name in ("capsnet", "baseline, small") for step in (2, 4, 6, 7)
    ]
    assert (checks[affnist.STOP] == checks[affnist.TEST]).all()  # both splits are the same digits here
    crossed, never = compared.to_dict("records")
    assert (crossed["step_at_stop"], crossed["step_at_end"]) == (2, 7)  # trained on after its accuracy was reached
    assert np.isnan(never["step_at_stop"])
    assert never["step_at_end"] == 7
    assert len(places) == 2 * (len(affnist.DISTANCES) + len(affnist.ROTATIONS) - 2)
    far = places[(places["from"] == 8) & (places["by"] == "pixels from the middle")]
    assert far[["images", "right"]].to_numpy().tolist() == [[20, 0], [20, 0]]

    def batch(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(loop.Stream, "batch", batch)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    command.main(argparse.Namespace(**words))  # from the backups, without training
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, r"data/built/quick/affnist\.npz: not readable .*experiments\.build affnist"),
        (20, r"predictions/affnist-capsnet-seed0\.npz: 50 predictions, but .*affnist\.npz has 20 images; evaluate"),
    ],
)
def test_files_that_do_not_fit_are_refused_before_the_training(
    project: Path, monkeypatch: pytest.MonkeyPatch, images: int | None, message: str
) -> None:
    path = project / "data" / "built" / "quick" / "affnist.npz"
    if images:
        labels = np.zeros(images, np.uint8)
        save(path, np.zeros((images, 40, 40, 1), np.uint8), labels, placed(*[(0, 0, 0)] * images))
    else:
        path.unlink()
    monkeypatch.setattr(command, "train", lambda *_: pytest.fail("trained"))
    words = {"scale": "quick", "params": Path("params.yaml"), "data": Path("data"), "seeds": [0]}
    with pytest.raises(Error, match=message):
        command.main(argparse.Namespace(**words))


def test_a_scale_without_the_accuracy_is_refused() -> None:
    known = params.read(ROOT / "params.yaml")
    del known.scale_settings["quick"]["affnist-baseline"]["stop_pct"]
    with pytest.raises(Error, match=r"^scale_settings\.quick\.affnist-baseline\.stop_pct: missing; "):
        affnist.stops(known, "quick")


def test_the_networks_are_those_of_the_table_at_every_scale() -> None:
    known = params.read(ROOT / "params.yaml")
    for scale in ("quick", "full", "paper"):
        assert all(isinstance(settings, RunConfig) for settings in affnist.variants(known, scale).values())
        assert len(affnist.variants(known, scale)) == 5
