"""`experiments.publish`: weights in half precision with a card that says what the files say, and the way back."""

import argparse
import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import yaml

from capsrepro.core import files, params, paths
from capsrepro.core.errors import Error
from capsrepro.data import loading
from capsrepro.data.mnist import Mnist
from capsrepro.evidence import model_card
from capsrepro.network import evaluation, models
from capsrepro.network.weights import load_weights, weights_sha256
from capsrepro.training import seeds
from experiments import evaluate, publish, train
from tests.support import ROOT
from tests.support.commands import run_module
from tests.support.digits import Digits

RUN = "mnist-capsnet-r3-recon"
WHERE = paths.RunPaths("quick", RUN, 0)
ENTRY = {"data": "mnist", "model": "capsnet", "routing": 3, "reconstruction": True, "batch_size": 20, "shift": 0}
TINY = {
    "conv_channels": [8], "primary_types": 2, "dense_units": [16, 16], "steps": 60, "decay_steps": 100,
    "checkpoint_steps": 30,
}  # fmt: skip
FEWER = {**TINY, "steps": 20, "checkpoint_steps": 20}
PARAMS = {
    "trainings": {"quick": {"rows": [RUN], "seeds": [0]}},
    "runs": {RUN: ENTRY, "pairs": {**ENTRY, "data": "multimnist"}},
    "scale_settings": {"quick": {RUN: TINY, "pairs": TINY}},
}


def few(digits: Digits, count: int = 300) -> Mnist:
    return Mnist(digits[0][:count], digits[1][:count], name="mnist-test", sha256="cd" * 32, shift=0)


def arguments(**others: object) -> argparse.Namespace:
    message = {
        "run": RUN,
        "scale": "quick",
        "seed": 0,
        "seeds": None,
        "unless_noted": False,
        "params": Path("params.yaml"),
        "data": Path("data"),
    }
    return argparse.Namespace(**{**message, "restore": False, "note": "A note.", **others})


@pytest.fixture(scope="module")
def trained(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a tiny net, trained for moments by the pipeline's own scripts on what it is tested on."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "results").mkdir()
    (folder / "results" / "paper.csv").write_bytes((ROOT / "results" / "paper.csv").read_bytes())
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(loading, "load", lambda *_: few(digits))
        train.main(arguments())
        evaluate.main(arguments())
    return folder


@pytest.fixture
def project(trained: Path, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project to work in, MNIST being its 300 digits."""
    for path in trained.rglob("*"):
        if path.is_file() and "logs" not in path.parts and "state" not in path.parts:
            copy = tmp_path / path.relative_to(trained)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load", lambda *_: few(digits))
    return tmp_path


def built() -> keras.Model:
    return models.build(params.read().settings(RUN, "quick"), (28, 28, 1), seed=3)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_published_is_what_was_counted(project: Path, digits: Digits) -> None:
    publish.main(arguments())
    message = json.loads(WHERE.publication.read_text())
    counts = ["wrong", "wrong_of_first_1000", "bytes", "sha256", "note"]
    assert list(message) == [*counts, "trained_sha256", "rounded_sha256"]
    assert message["bytes"] == WHERE.published.stat().st_size < 0.6 * WHERE.weights.stat().st_size
    assert message["sha256"] == hashlib.sha256(WHERE.published.read_bytes()).hexdigest()
    model = built()
    load_weights(model, WHERE.published)
    assert evaluation.evaluate(model, few(digits)).wrong == message["wrong"] == message["wrong_of_first_1000"]
    assert json.loads(WHERE.metrics.read_text())["wrong"] == message["wrong"]


def test_a_training_that_cannot_write_its_weights_leaves_no_older_ones_that_pass_for_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (project / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "scale_settings": {"quick": {RUN: FEWER}}}))
    with monkeypatch.context() as patch:
        patch.setattr(seeds, "save_weights", full)
        with pytest.raises(OSError, match="No space left"):
            train.main(arguments())
    assert files.read_json(WHERE.training)["steps_done"] == 20
    with pytest.raises(Error, match="weights of sha256 .* train again"):
        evaluate.main(arguments())
    train.main(arguments())
    evaluate.main(arguments())
    assert files.read_json(WHERE.metrics)["steps"] == 20


def test_publishing_again_changes_nothing(project: Path) -> None:
    publish.main(arguments())
    before = contents(project)
    publish.main(arguments())
    assert contents(project) == before


@pytest.mark.parametrize("most", [20_000_000, 1000])
def test_another_count_or_too_large_a_file_is_refused_and_nothing_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    metrics = json.loads(WHERE.metrics.read_text())
    metrics |= {"wrong": metrics["wrong"] + 1, "test_error_pct": (metrics["wrong"] + 1) / 3}
    WHERE.metrics.write_text(json.dumps(metrics))
    monkeypatch.setattr(publish, "MOST_BYTES", most)
    before = contents(project)
    with pytest.raises(Error, match="nothing published" if most > 1000 else "at most 1000 are committed") as refused:
        publish.main(arguments())
    assert len(str(refused.value).splitlines()) == 1
    assert contents(project) == before
    assert not WHERE.published.parent.exists()


@pytest.mark.parametrize("kind", ["weights", "metrics", "provenance", "history"])
def test_what_is_missing_is_named_and_nothing_written(project: Path, kind: str) -> None:
    path = getattr(WHERE, kind)
    path.unlink()
    with pytest.raises(Error, match=re.escape(str(path))):
        publish.main(arguments())
    assert not WHERE.published.parent.exists()
    assert not WHERE.card.exists()


def test_a_provenance_that_lacks_something_is_named(project: Path) -> None:
    provenance = json.loads(WHERE.provenance.read_text())
    del provenance["versions"]
    WHERE.provenance.write_text(json.dumps(provenance))
    with pytest.raises(Error, match=f"{WHERE.provenance}.*versions"):
        publish.main(arguments())


def test_only_networks_of_mnist_are_published(project: Path) -> None:
    with pytest.raises(Error, match="pairs: only single networks of MNIST"):
        publish.main(arguments(run="pairs"))


def test_restored_weights_are_the_rounded_ones_and_the_same_bytes_each_time(project: Path) -> None:
    publish.main(arguments())
    model = built()
    load_weights(model, WHERE.weights)
    rounded = [keras.ops.convert_to_numpy(one).astype(np.float16).astype(np.float32) for one in model.weights]
    provenance = WHERE.training.read_bytes()
    for path in (WHERE.weights, WHERE.training):
        path.unlink()
    publish.main(arguments(restore=True))
    once = WHERE.weights.read_bytes()
    assert WHERE.training.read_bytes() == provenance
    load_weights(model, WHERE.weights)
    for ours, expected in zip(model.weights, rounded, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), expected)
    WHERE.weights.unlink()
    publish.main(arguments(restore=True))
    assert WHERE.weights.read_bytes() == once
    publish.main(arguments())  # and rounded weights round to themselves


def test_another_process_restores_the_same_bytes(project: Path) -> None:
    publish.main(arguments())
    WHERE.weights.unlink()
    publish.main(arguments(restore=True))
    once = WHERE.weights.read_bytes()
    WHERE.weights.unlink()
    answer = run_module("experiments.publish", RUN, "--restore", cwd=project)
    assert answer.returncode == 0, answer.stderr
    assert WHERE.weights.read_bytes() == once


def test_weights_that_are_there_are_not_written_over(project: Path) -> None:
    publish.main(arguments())
    before = WHERE.weights.read_bytes()
    with pytest.raises(Error, match="is there already"):
        publish.main(arguments(restore=True))
    assert WHERE.weights.read_bytes() == before


def test_what_was_not_published_is_not_restored(project: Path) -> None:
    WHERE.weights.unlink()
    with pytest.raises(Error, match=re.escape(str(WHERE.published))):
        publish.main(arguments(restore=True))
    assert not WHERE.weights.exists()


def test_the_card_says_what_the_files_say(project: Path) -> None:
    for path, changes in (
        (WHERE.metrics, {"wrong": 5, "examples": 10_000, "test_error_pct": 0.05, "wilson_low_pct": 0.0214}),
        (WHERE.metrics, {"wilson_high_pct": 0.117, "steps": 3000}),
        (WHERE.provenance, {"train_seconds": 12.0, "device": "abacus", "git_revision": "0123abc", "git_dirty": True}),
        (WHERE.provenance, {"backend": "jax", "arithmetic": {"XLA_FLAGS": "--a --b"}}),
        (WHERE.provenance, {"train_examples": 60_000, "versions": {"keras": "9.8.7", "python": "3.11"}}),
    ):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    pd.DataFrame({"step": [30, 60], "right": [0.5, 0.99875], "loss": [1.0, 0.00123456]}).to_csv(WHERE.history)
    facts = {"wrong": 6, "wrong_of_first_1000": 1, "bytes": 16_467_364, "sha256": "ef" * 32, "note": "It rained."}
    text = " ".join(model_card.render(params.read(), Path("results"), "quick", {f"{RUN}-seed0": facts}).split())
    for said in (
        "| test error | 0.05 %, 5 of 10,000 wrong; 95 % interval (Wilson) 0.02 to 0.12 % |",
        "| counted again, with the rounded weights | 6 of 10,000 wrong |",
        "| the paper | 0.25 ± 0.005 % (3 trainings), Table 1 |",
        "| verdict, see `table.md` | stale |",  # 3000 steps are not those of params.yaml
        "| end of training | step 60: 99.88 % of the training images right, loss 0.00123 |",
        f"`KERAS_BACKEND=jax XLA_FLAGS='--a --b' python -m experiments.train {RUN} --scale quick --seed 0`, at commit",
        "`0123abc` with changes: 3,000 steps of 20 images, 1.0 epochs of 60,000;",
        "12.0 seconds an epoch, 12 in all, on abacus; keras 9.8.7, python 3.11. It rained.",
        f"MNIST, sha256 of its files `{'cd' * 32}`: 60,000 training images, shifted by up to 0 pixels, and 10,000 test",
        f"`weights/{RUN}-seed0.weights.h5`, 16.5 MB in half precision, sha256 `{'ef' * 32}`.",
    ):
        assert said in text, said


def test_the_card_holds_each_published_file_and_lines_of_at_most_120_letters(project: Path) -> None:
    publish.main(arguments())
    other = paths.RunPaths("quick", RUN, 1)
    for kind in ("metrics", "provenance", "history"):
        text = getattr(WHERE, kind).read_text().replace('"seed": 0', '"seed": 1')
        files.write_text(getattr(other, kind), text)
    files.write_text(other.publication, WHERE.publication.read_text())
    publish.main(arguments())
    lines = WHERE.card.read_text().splitlines()
    assert [line for line in lines if line.startswith("## ")] == [f"## {RUN}, seed 0", f"## {RUN}, seed 1"]
    assert max(map(len, lines)) <= 120
    verdicts = [line for line in lines if line.startswith("| verdict, see `table.md` | quick")]
    assert len(verdicts) == 2
    assert all(line.endswith(", of 2 seeds |") for line in verdicts)


def test_the_lines_of_the_card_load_the_weights(project: Path, digits: Digits) -> None:
    publish.main(arguments())
    shutil.rmtree("checkpoints")
    matplotlib.image.imsave("PICTURE.png", digits[0][0, ..., 0], cmap="gray")
    block = re.search(r"```python\n(.*?)```", WHERE.card.read_text(), re.DOTALL)
    assert block
    names: dict[str, Any] = {}
    exec(block[1].replace('"PICTURE"', '"PICTURE.png"'), names)
    assert names["digits"].shape == (1, 1)
    model = built()
    load_weights(model, WHERE.published)
    assert weights_sha256(names["network"].model) == weights_sha256(model)
