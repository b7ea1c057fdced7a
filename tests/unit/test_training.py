"""Training goes on exactly where it was stopped, and never from another training's backup."""

import dataclasses
import shutil
import signal
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from capsrepro.core import files
from capsrepro.core.errors import Error, Stopped
from capsrepro.core.params import RunConfig
from capsrepro.data.mnist import Mnist
from capsrepro.network import devices, evaluation, models, routing
from capsrepro.network.weights import load_weights, save_weights, weights_sha256
from capsrepro.training import callback, fitting, loop, provenance, scanning
from tests.support.digits import Digits, few_of
from tests.support.runs import BASELINE, CAPSNET
from tests.support.spoiled import spoiled_at

AHEAD = keras.backend.backend() == "jax"  # the draws of an interval are made before the one before is saved


class Killed(Exception):
    """Stands in for a kill."""


def train(run: RunConfig, few: Mnist, state: Path, seed: int = 0) -> loop.Trained:
    return loop.train(run, few, seed, state=state, verbose=0)


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the batch of a step the last thing that a training asks for."""
    asked = loop.Stream.draws

    def draws(self: loop.Stream, start: int, stop: int) -> Any:
        if stop > step:
            raise Killed("Killed")  # TensorFlow raises an error of its own, which cites this one
        return asked(self, start, stop)

    monkeypatch.setattr(loop.Stream, "draws", draws)


class Whole(NamedTuple):
    """An uninterrupted training and the folder with its backups; no test changes either."""

    trained: loop.Trained
    folder: Path

    def backups(self, state: Path) -> Path:
        """Its backups in a folder where they may be changed."""
        return shutil.copytree(self.folder, state)


@pytest.fixture(scope="module")
def capsnet(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("capsnet")
    return Whole(train(CAPSNET, few_of(digits), folder), folder)


@pytest.fixture(scope="module")
def baseline(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("baseline")
    return Whole(train(BASELINE, few_of(digits), folder), folder)


def goes_on_after(run: RunConfig, few: Mnist, state: Path, seed: int = 0) -> int:
    """The step that a training resumes after; it is not trained further."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit", lambda *_, **__: None)
        patch.setattr(scanning, "train", lambda *_: None)
        return train(run, few, state, seed).resumed_at


@pytest.mark.parametrize(("name", "run"), [("capsnet", CAPSNET), ("baseline", BASELINE)], ids=["capsnet", "baseline"])
def test_a_stopped_training_ends_with_the_weights_of_an_uninterrupted_one(
    name: str,
    run: RunConfig,
    few: Mnist,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = request.getfixturevalue(name).trained
    with monkeypatch.context() as patch:
        stop_at(5, patch)
        with pytest.raises(Exception, match="Killed"):
            train(run, few, tmp_path / "state")
    assert "resumed" not in capsys.readouterr().out
    again = train(run, few, tmp_path / "state")
    assert f"resumed at step {2 if AHEAD else 4} of 7\n" in capsys.readouterr().out
    assert (whole.resumed_at, again.resumed_at) == (0, 2 if AHEAD else 4)
    assert weights_sha256(again.model) == weights_sha256(whole.model)
    assert again.history == whole.history
    assert [line["step"] for line in whole.history] == [2, 4, 6, 7]


def test_the_history_has_the_total_loss_and_its_parts(capsnet: Whole, baseline: Whole) -> None:
    lines = capsnet.trained.history
    changes = {f"logit_change_{number}" for number in range(1, 6)}
    parts = {"classification_loss", "reconstruction_loss"}
    assert set(lines[0]) == {"step", "learning_rate", "loss", "right"} | parts | changes
    for line in lines:
        assert line["loss"] == pytest.approx(line["classification_loss"] + line["reconstruction_loss"], rel=1e-5)
    assert set(baseline.trained.history[0]) == {"step", "learning_rate", "loss", "right"}


def test_the_history_has_the_changes_of_the_update_that_the_run_routes_with(few: Mnist, tmp_path: Path) -> None:
    trained = train(dataclasses.replace(CAPSNET, routing_update="replace"), few, tmp_path)
    digit = trained.model.get_layer("digit_capsules")
    below = keras.Model(trained.model.input["image"], digit.input)(few.batch(np.arange(32)).images)
    replaced, summed = (
        np.array(routing.logit_changes(digit.votes(below), digit.bias, 5, update=update))
        for update in ("replace", "accumulate")
    )
    seen = [trained.history[-1][f"logit_change_{number}"] for number in range(1, 6)]
    assert np.allclose(seen, replaced, rtol=1e-4)
    assert not np.allclose(seen, summed, rtol=1e-2)


def test_the_rate_is_the_released_schedule(capsnet: Whole) -> None:
    lines = capsnet.trained.history
    assert [line["learning_rate"] for line in lines] == pytest.approx([0.001 * 0.96 ** (s / 5) for s in (2, 4, 6, 7)])
    assert float(loop.Decay(0.001, 2000, 0.96)(1_000_000)) == pytest.approx(1e-6)


@pytest.mark.parametrize(
    "change",
    [{"routing": 1}, {"routing_update": "replace"}, {"recipe": "paper"}, {"learning_rate": 0.002}, {"steps": 9}],
)
def test_a_backup_of_other_settings_is_set_aside(
    capsnet: Whole, few: Mnist, tmp_path: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    state = capsnet.backups(tmp_path / "state")
    assert goes_on_after(dataclasses.replace(CAPSNET, **change), few, state) == 0
    assert "1 backup(s) of other settings, data or code are set aside, not resumed" in caplog.text
    assert goes_on_after(CAPSNET, few, state) == 7  # the first is still there


def test_a_backup_of_another_seed_or_other_data_is_set_aside(capsnet: Whole, few: Mnist, tmp_path: Path) -> None:
    state = capsnet.backups(tmp_path / "state")
    assert goes_on_after(CAPSNET, few, state, seed=1) == 0
    few.sha256 = "of others"
    assert goes_on_after(CAPSNET, few, state) == 0


def test_backups_of_several_trainings_lie_side_by_side(baseline: Whole, few: Mnist, tmp_path: Path) -> None:
    state = baseline.backups(tmp_path / "state")
    other = dataclasses.replace(BASELINE, learning_rate=0.002)
    assert train(other, few, state).resumed_at == 0
    assert [goes_on_after(run, few, state) for run in (BASELINE, other)] == [7, 7]


def test_two_backups_are_kept_and_cleared_with_the_weights_in_place(capsnet: Whole, few: Mnist, tmp_path: Path) -> None:
    assert [path.name for path in sorted(capsnet.folder.rglob("*.npz"))] == ["00000006.npz", "00000007.npz"]
    state = capsnet.backups(tmp_path / "state")
    train(CAPSNET, few, state).backups.clear()
    assert not list(state.rglob("*.npz"))


def test_a_damaged_newest_backup_gives_way_to_the_one_before(
    baseline: Whole, few: Mnist, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = baseline.backups(tmp_path / "state")
    newest = max(state.rglob("*.npz"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(bytes(content))
    again = train(BASELINE, few, state)
    assert again.resumed_at == 6
    assert "00000007.npz: this backup cannot be read" in caplog.text
    assert weights_sha256(again.model) == weights_sha256(baseline.trained.model)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_last_good_backup(
    few: Mnist, tmp_path: Path
) -> None:
    with pytest.raises(Error, match="step 5: the loss is nan; the last good weights are in"):
        train(CAPSNET, spoiled_at(4, few), tmp_path)
    assert max(tmp_path.rglob("*.npz")).name == "00000004.npz"


def test_a_second_training_says_who_holds_the_first(few: Mnist, tmp_path: Path) -> None:
    with (
        files.locked(tmp_path, "training"),
        pytest.raises(Error, match="training is already under way by process"),
    ):
        train(CAPSNET, few, tmp_path)


def test_weights_are_the_same_bytes_on_rerun_and_come_back_exactly(capsnet: Whole, few: Mnist, tmp_path: Path) -> None:
    trained = capsnet.trained
    for name in ("one", "other"):
        save_weights(trained.model, tmp_path / f"{name}.weights.h5")
    assert (tmp_path / "one.weights.h5").read_bytes() == (tmp_path / "other.weights.h5").read_bytes()
    fresh = models.build(CAPSNET, few.image_shape, seed=5)
    load_weights(fresh, tmp_path / "one.weights.h5")
    assert weights_sha256(fresh) == weights_sha256(trained.model)
    assert evaluation.evaluate(fresh, few) == evaluation.evaluate(trained.model, few)


def test_weights_of_another_network_or_none_are_refused(few: Mnist, tmp_path: Path) -> None:
    model = models.build(CAPSNET, few.image_shape)
    with pytest.raises(Error, match="no such weights"):
        load_weights(model, tmp_path / "none.weights.h5")
    (tmp_path / "text.weights.h5").write_text("not weights")
    with pytest.raises(Error, match="not a Keras weights file"):
        load_weights(model, tmp_path / "text.weights.h5")
    other = models.build(dataclasses.replace(CAPSNET, primary_types=2), few.image_shape)
    save_weights(other, tmp_path / "other.weights.h5")
    with pytest.raises(Error, match="not the weights of this capsnet"):
        load_weights(model, tmp_path / "other.weights.h5")


def test_evaluation_counts_every_image_once(few: Mnist) -> None:
    model = models.build(CAPSNET, few.image_shape)
    scores = models.classifier(model).predict_on_batch(few.batch(np.arange(50)).images)
    wrong = int((scores.argmax(axis=1) != few.labels).sum())
    for size in (7, 50, 500):
        assert evaluation.evaluate(model, few, batch_size=size) == evaluation.Score(wrong, 50, wrong)


def test_a_network_that_yields_nan_is_broken_not_wrong(few: Mnist) -> None:
    model = models.build(CAPSNET, few.image_shape)
    kernel = model.get_layer("digit_capsules").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(Error, match="on few, images from 0: a score is not finite"):
        evaluation.evaluate(model, few)


def test_weights_that_are_not_finite_are_refused_though_a_relu_would_hide_them(few: Mnist, tmp_path: Path) -> None:
    model = models.build(CAPSNET, few.image_shape)
    kernel = model.get_layer("conv1").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    save_weights(model, tmp_path / "bad.weights.h5")
    with pytest.raises(Error, match=r"bad.weights.h5: a weight is not finite"):
        load_weights(models.build(CAPSNET, few.image_shape), tmp_path / "bad.weights.h5")


def test_averaged_weights_are_the_moving_average_however_often_the_training_was_stopped(
    few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    momentum = 0.5
    run = dataclasses.replace(BASELINE, average=momentum, checkpoint_steps=1)  # JAX has the weights after an interval
    seen = []
    with monkeypatch.context() as patch:
        ended = callback.TrainingCallback.on_train_batch_end

        def note(self: callback.TrainingCallback, number: int, logs: Any = None) -> None:
            seen.append(self.model.get_layer("conv1").kernel.numpy())
            ended(self, number, logs)

        patch.setattr(callback.TrainingCallback, "on_train_batch_end", note)
        whole = train(run, few, tmp_path / "whole")
    average = seen[0]
    for kernel in seen[1:]:
        average = momentum * average + (1 - momentum) * kernel
    assert np.allclose(whole.model.get_layer("conv1").kernel, average, rtol=1e-5, atol=1e-7)
    assert not np.allclose(average, seen[-1], rtol=1e-5, atol=1e-7)
    with monkeypatch.context() as patch:
        stop_at(5, patch)
        with pytest.raises(Exception, match="Killed"):
            train(run, few, tmp_path / "state")
    again = train(run, few, tmp_path / "state")
    finished = train(run, few, tmp_path / "state")  # nothing left to do but the average
    for other in (again, finished):
        assert weights_sha256(other.model) == weights_sha256(whole.model)


def test_a_training_ends_at_its_accuracy_and_stays_ended(few: Mnist, tmp_path: Path) -> None:
    """Section 5.2: stopped at an accuracy; started again, it has nothing to do and the same weights."""
    run = dataclasses.replace(BASELINE, stop_pct=1.0)
    first = loop.train(run, few, 0, state=tmp_path, stop=few, verbose=0)
    reached = [line["stop_accuracy_pct"] >= 1.0 for line in first.history]
    assert reached == [False] * (len(reached) - 1) + [True]
    assert (first.stop_reached, first.steps) == (True, first.history[-1]["step"])
    assert first.history[-1]["stop_accuracy_pct"] == 100.0 - evaluation.evaluate(first.model, few).error_pct
    again = loop.train(run, few, 0, state=tmp_path, stop=few, verbose=0)
    assert (again.resumed_at, again.history) == (first.steps, first.history)
    assert weights_sha256(again.model) == weights_sha256(first.model)


def test_a_training_that_ends_at_an_accuracy_needs_data_to_measure_it_on(few: Mnist, tmp_path: Path) -> None:
    run = dataclasses.replace(BASELINE, stop_pct=0.0)
    with pytest.raises(Error, match=r"^stop_pct is 0\.0, but no data are given to measure it on; give `stop`"):
        loop.train(run, few, 0, state=tmp_path, verbose=0)
    assert not list(tmp_path.iterdir())
    assert loop.train(run, few, 0, state=tmp_path, stop=few, verbose=0).steps == run.checkpoint_steps


def test_an_accuracy_that_is_not_reached_is_told(few: Mnist, tmp_path: Path) -> None:
    run = dataclasses.replace(CAPSNET, stop_pct=100.0, steps=2)
    trained = loop.train(run, few, 0, state=tmp_path, stop=few, verbose=0)
    assert (trained.stop_reached, trained.steps) == (False, 2)


def test_an_ensemble_is_one_network_whose_scores_are_the_sum(few: Mnist, tmp_path: Path) -> None:
    members = [models.build(CAPSNET, few.image_shape, seed=seed) for seed in (1, 2)]
    both = models.ensemble(members)
    images = few.batch(np.arange(5)).images
    alone = [models.classifier(member).predict_on_batch(images) for member in members]
    assert np.allclose(models.classifier(both).predict_on_batch(images), alone[0] + alone[1], rtol=1e-6)
    save_weights(both, tmp_path / "both.weights.h5")
    fresh = models.ensemble([models.build(CAPSNET, few.image_shape, seed=seed) for seed in (3, 4)])
    load_weights(fresh, tmp_path / "both.weights.h5")
    assert np.array_equal(
        models.classifier(fresh).predict_on_batch(images), models.classifier(both).predict_on_batch(images)
    )
    assert models.ensemble(members[:1]) is members[0]


def test_a_signal_stops_at_the_end_of_a_step_and_the_next_start_goes_on(
    baseline: Whole, few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an interval, too; the weights are those of an uninterrupted training."""
    with monkeypatch.context() as patch:
        asked = loop.Stream.draws

        def draws(self: loop.Stream, start: int, stop: int) -> Any:
            if start <= 3 < stop:
                signal.raise_signal(signal.SIGTERM)
            return asked(self, start, stop)

        patch.setattr(loop.Stream, "draws", draws)
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(Stopped, match=r"step \d is saved in .*; the next start resumes there") as stop:
            train(BASELINE, few, tmp_path / "state")
        assert stop.value.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == before
    again = train(BASELINE, few, tmp_path / "state")
    assert again.resumed_at > 0
    assert weights_sha256(again.model) == weights_sha256(baseline.trained.model)
    assert [line["step"] for line in again.history] == [2, 4, 6, 7]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX has a loop of its own, see test_seeds.py")
def test_a_step_is_traced_once(few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second trace would take as long as the first; TensorFlow makes it where the first one creates variables."""
    traced: list[Any] = []
    step = keras.Model.train_step

    def train_step(self: keras.Model, data: Any) -> Any:
        traced.append(self)
        return step(self, data)

    monkeypatch.setattr(keras.Model, "train_step", train_step)
    train(dataclasses.replace(BASELINE, average=0.9), few, tmp_path)
    assert len(traced) == 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX has a loop of its own, see test_seeds.py")
def test_several_steps_in_a_call_of_tensorflow_give_the_same_weights_history_and_backups(
    baseline: Whole, few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; also after a stop between two backups."""
    looks: list[int] = []
    looked = callback.TrainingCallback.on_train_batch_end

    def look(self: callback.TrainingCallback, batch: int, logs: Any = None) -> None:
        looks.append(self._first + batch + 1)
        looked(self, batch, logs)

    monkeypatch.setattr(callback.TrainingCallback, "on_train_batch_end", look)
    monkeypatch.setattr(fitting, "_tensorflow_on_gpu", lambda: True)
    with monkeypatch.context() as patch:
        stop_at(5, patch)
        with pytest.raises(Exception, match="Killed"):
            train(BASELINE, few, tmp_path / "state")
    several = train(BASELINE, few, tmp_path / "state")
    assert looks[-2:] == [6, 7]
    assert set(looks) == {2, 4, 6, 7}
    assert weights_sha256(several.model) == weights_sha256(baseline.trained.model)
    assert several.history == baseline.trained.history


def test_a_training_that_stays_at_chance_is_given_up() -> None:
    run = dataclasses.replace(CAPSNET, batch_size=128, checkpoint_steps=100)
    guessing = [{"step": 100.0 * number, "right": 0.1135} for number in range(1, 4)]  # always the most frequent digit
    with pytest.raises(
        Error, match=r"step 300: training accuracy stays at chance \(11.3 %, 11.3 %, 11.3 %; chance is 10.0 %"
    ):
        callback.check_above_chance(guessing, run, 10)
    callback.check_above_chance(guessing[:2], run, 10)  # too early to say
    callback.check_above_chance([*guessing[:2], {"step": 300.0, "right": 0.13}], run, 10)
    callback.check_above_chance(guessing, dataclasses.replace(run, checkpoint_steps=10), 10)
    callback.check_above_chance(guessing, run, 10, digits=2)  # chance is one of 45 pairs of classes
    with pytest.raises(Error, match=r"chance is 2.2 %"):
        callback.check_above_chance([{**line, "right": 0.022} for line in guessing], run, 10, digits=2)


def test_auto_is_told_by_the_provenance_and_by_the_backups(
    capsnet: Whole, few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training in float32 resumes where it is that, too; in the other precision it is another training."""
    run = dataclasses.replace(CAPSNET, precision="auto")
    state = capsnet.backups(tmp_path / "state")
    for fast, expected, resumed_at in ((True, "mixed_bfloat16", 0), (False, "float32", 7)):
        monkeypatch.setattr(devices, "has_bfloat16", lambda fast=fast: fast)
        assert models.build(run, few.image_shape).get_layer("conv1").dtype_policy.name == expected
        assert provenance.facts(run, few, len(few))["settings"]["precision"] == expected
        assert goes_on_after(run, few, state) == resumed_at
