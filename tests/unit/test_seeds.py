"""Seeds that train together end as they would alone, each with its own backups, files and end."""

import argparse
import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas
import pytest
import yaml

from capsrepro.core.errors import Error, Stopped
from capsrepro.core.params import RunConfig
from capsrepro.core.paths import RunPaths
from capsrepro.data import loading
from capsrepro.data.batches import Stream
from capsrepro.data.mnist import Mnist
from capsrepro.network.weights import weights_sha256
from capsrepro.training import callback, fitting, loop, scanning
from capsrepro.training.backups import Backups
from experiments import train as script
from tests.support.digits import Digits, few_of
from tests.support.runs import CAPSNET
from tests.support.spoiled import spoiled_at

SEEDS = (3, 4, 5)
RUN = dataclasses.replace(CAPSNET, steps=20, checkpoint_steps=10)
WITH_JAX = keras.backend.backend() == "jax"
needs_jax = pytest.mark.skipif(not WITH_JAX, reason="needs KERAS_BACKEND=jax: other backends train one after the other")


def together(run: RunConfig, data: Mnist, folder: Path, **options: Any) -> list[loop.Trained | Error]:
    states = {seed: folder / str(seed) for seed in SEEDS}
    return loop.train_together(run, data, states, **{"verbose": 0, **options})


def finished(results: list[loop.Trained | Error]) -> list[loop.Trained]:
    return [loop.finished(result) for result in results]


def weights(trained: loop.Trained) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in trained.model.weights]


@pytest.fixture(scope="module")
def whole(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> list[loop.Trained]:
    """Three seeds that were trained together, without interruption."""
    return finished(together(RUN, few_of(digits), tmp_path_factory.mktemp("whole")))


def test_each_seed_ends_as_it_would_alone(whole: list[loop.Trained], few: Mnist, tmp_path: Path) -> None:
    for seed, ours in list(zip(SEEDS, whole, strict=True))[:2]:
        alone = loop.train(RUN, few, seed, state=tmp_path / str(seed), verbose=0)
        assert [line["step"] for line in ours.history] == [10, 20]
        for line, expected in zip(ours.history, alone.history, strict=True):
            assert line == pytest.approx(expected, abs=1e-5)
        for array, other in zip(weights(ours), weights(alone), strict=True):
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-4)
        assert (weights_sha256(ours.model) == weights_sha256(alone.model)) or WITH_JAX
    assert len({weights_sha256(trained.model) for trained in whole}) == len(SEEDS)


def test_the_seeds_that_shared_a_program_are_told(whole: list[loop.Trained]) -> None:
    assert {trained.together for trained in whole} == {SEEDS if WITH_JAX else ()}


@needs_jax
def test_two_hundred_steps_have_the_losses_of_keras_fit(few: Mnist, tmp_path: Path) -> None:
    run = dataclasses.replace(CAPSNET, steps=200, checkpoint_steps=50)
    ours = loop.train(run, few, 3, state=tmp_path, verbose=0)
    model, expected = loop.compiled(run, few, 3), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: expected.append(callback.named(logs)))
    fitting.fit(model, Stream(few, run.batch_size, 3), run, 0, callbacks=[note], verbose=0)
    assert len(ours.history) == 4
    for line, logs in zip(ours.history, expected, strict=True):
        assert {name: line[name] for name in logs} == pytest.approx(logs, abs=1e-5)


@needs_jax
def test_seeds_killed_between_two_backups_go_on_from_different_steps(
    whole: list[loop.Trained], few: Mnist, tmp_path: Path
) -> None:
    saved = []

    def save(self: Backups, model: keras.Model, step: int, record: dict[str, Any]) -> None:
        if len(saved) == 1:
            raise RuntimeError("Killed")
        saved.append(step)
        asked(self, model, step, record)

    with pytest.MonkeyPatch.context() as patch:
        asked = Backups.save
        patch.setattr(Backups, "save", save)
        with pytest.raises(RuntimeError, match="Killed"):
            together(RUN, few, tmp_path)
    again = finished(together(RUN, few, tmp_path))
    assert [trained.resumed_at for trained in again] == [10, 0, 0]
    for ours, expected in zip(again, whole, strict=True):
        assert ours.history == expected.history
        assert weights_sha256(ours.model) == weights_sha256(expected.model)


@needs_jax
def test_a_limit_of_time_saves_all_seeds_which_go_on_from_there(
    whole: list[loop.Trained], few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within an interval of ten steps, which has looks at every fourth."""
    monkeypatch.setattr(scanning, "STEPS_ON_CPU", 4)
    with pytest.MonkeyPatch.context() as patch:
        asked = Stream.draws

        def draws(self: Stream, start: int, stop: int) -> Any:
            if start == 4:  # drawn while the device makes the first four
                signal.raise_signal(signal.SIGALRM)
            return asked(self, start, stop)

        patch.setattr(Stream, "draws", draws)
        patch.setattr(signal, "raise_signal", once(signal.raise_signal))
        with pytest.raises(Stopped, match="step 4 is saved in .*; the next start resumes there") as stop:
            together(RUN, few, tmp_path)
        assert stop.value.signal == signal.SIGALRM
    again = finished(together(RUN, few, tmp_path))
    assert [trained.resumed_at for trained in again] == [4, 4, 4]
    for ours, expected in zip(again, whole, strict=True):
        assert [line["step"] for line in ours.history] == [10, 20]
        for array, other in zip(weights(ours), weights(expected), strict=True):
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-4)


def once(function: Any) -> Any:
    calls: list[int] = []

    def call(number: int) -> None:
        calls.append(number)
        if len(calls) == 1:
            function(number)

    return call


def test_a_seed_that_fails_does_not_end_the_others(whole: list[loop.Trained], few: Mnist, tmp_path: Path) -> None:
    first, second, third = together(RUN, spoiled_at(14, few, SEEDS[1]), tmp_path)
    assert isinstance(second, Error)
    assert "step 15: the loss is nan" in str(second)
    assert max((tmp_path / str(SEEDS[1])).rglob("*.npz")).name == "00000010.npz"
    for ours, expected in ((first, whole[0]), (third, whole[2])):
        for array, other in zip(weights(loop.finished(ours)), weights(expected), strict=True):
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-4)


def test_each_seed_stops_at_its_own_accuracy(few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accuracies are made up: the second seed reaches the wanted one after the first interval."""
    of_seed = {0: iter([10.0, 10.0]), 1: iter([60.0]), 2: iter([10.0, 70.0])}
    order: dict[int, int] = {}

    def accuracy(self: callback.TrainingCallback, split: Mnist) -> float:
        return next(of_seed[order.setdefault(id(self), len(order))])

    monkeypatch.setattr(callback.TrainingCallback, "_accuracy_pct", accuracy)
    run = dataclasses.replace(RUN, stop_pct=50.0)
    trained = finished(together(run, few, tmp_path, stop=few))
    assert [one.steps for one in trained] == [20, 10, 20]
    assert [one.stop_reached for one in trained] == [False, True, True]
    monkeypatch.undo()
    again = finished(together(run, few, tmp_path, stop=few))
    assert [one.resumed_at for one in again] == [20, 10, 20]
    for ours, expected in zip(again, trained, strict=True):
        assert weights_sha256(ours.model) == weights_sha256(expected.model)


@needs_jax
def test_seeds_together_need_at_most_half_as_much_memory_again_as_each_of_them_alone(few: Mnist) -> None:
    """Their intermediate results are computed in another order: three were seen to need 1.15 times the sum."""

    def bytes_of(count: int) -> int:
        lanes = []
        for seed in SEEDS[:count]:
            model, stream = loop.compiled(RUN, few, seed), Stream(few, RUN.batch_size, seed)
            progress = callback.TrainingCallback(Backups(Path("none"), {}), RUN, few, None)
            lanes.append(scanning.Lane(model, stream, RUN, progress, 0))
        program = scanning.Program(lanes)
        program(program.state(), scanning.drawn(lanes, [0] * count, 2))
        return scanning.memory(program._compiled[2])

    one = bytes_of(1)
    variables = 3 * 4 * loop.compiled(RUN, few, 0).count_params()  # weights and Adam's two moments
    assert variables < one
    assert bytes_of(3) <= 1.5 * 3 * one


@needs_jax
def test_seeds_that_do_not_fit_into_the_device_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    class Device:
        def memory_stats(self) -> dict[str, int]:
            return {"bytes_limit": 2_000_000_000}

    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    monkeypatch.setattr(scanning, "memory", lambda compiled: compiled)
    scanning.check_memory(1_999_999_999, 5)
    with pytest.raises(Error, match=r"5 seed\(s\) together need 2.5 GB of the device, which has 2.0; train fewer"):
        scanning.check_memory(2_500_000_000, 5)


@pytest.fixture
def project(tmp_path: Path, few: Mnist, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run the script in, on few digits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load", lambda *_: few)
    settings = {name: getattr(CAPSNET, name) for name in ("steps", "checkpoint_steps", "decay_steps")}
    settings |= {"conv_channels": [4], "primary_types": 1, "dense_units": [8, 8]}
    run = {"data": "mnist", "model": "capsnet", "routing": 3, "reconstruction": True, "batch_size": 8}
    content = {"trainings": {"quick": {"rows": ["capsnet"], "seeds": [0, 1]}}, "together": True}
    content |= {"runs": {"capsnet": run}, "scale_settings": {"quick": {"capsnet": settings}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def call(**options: Any) -> None:
    words = {"run": "capsnet", "scale": "quick", "seed": 0, "seeds": None, "unless_noted": False, "data": Path("data")}
    script.main(argparse.Namespace(**{**words, "params": Path("params.yaml"), **options}))


def check_files(seed: int, *, shared: bool) -> None:
    where = RunPaths("quick", "capsnet", seed)
    assert where.weights.is_file()
    assert pandas.read_csv(where.history)["step"].tolist() == [2, 4, 6, 7]
    content = json.loads(where.training.read_text())
    assert content["seed"] == seed
    assert content.get("together") == ([0, 1] if shared and WITH_JAX else None)


def test_the_script_writes_the_files_of_every_seed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(seeds=[0, 1])
    printed = capsys.readouterr().out
    for seed in (0, 1):
        check_files(seed, shared=True)
        assert f"checkpoints/quick/capsnet-seed{seed}.weights.h5: 7 steps in" in printed
    assert not list(project.glob("state/**/*.npz"))


def test_the_first_stage_trains_all_seeds_and_the_next_finds_its_own_trained(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(seed=0)
    check_files(0, shared=True)
    assert not RunPaths("quick", "capsnet", 1).weights.exists()
    kept = [path.name for path in sorted(project.glob("state/quick/capsnet-seed1/0/*/*.npz"))]
    assert kept == (["00000006.npz", "00000007.npz"] if WITH_JAX else [])
    if WITH_JAX:
        monkeypatch.delattr(scanning, "train")
    call(seed=1)
    check_files(1, shared=True)


def test_a_seed_that_fails_is_named_and_listed_and_the_others_have_their_files(
    project: Path, few: Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load", lambda *_: spoiled_at(4, few, 1))
    with pytest.raises(Error, match="1 of 2 seeds not trained to their end: step 5: the loss is nan"):
        call(seeds=[0, 1])
    check_files(0, shared=True)
    assert not RunPaths("quick", "capsnet", 1).weights.exists()
    [line] = pandas.read_csv("results/quick/studies/tried.csv").to_dict("records")
    assert (line["run"], line["seed"], line["steps done"]) == ("capsnet", 1, 5)
