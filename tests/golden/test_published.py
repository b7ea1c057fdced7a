"""Published weights are worth what their metrics say, restore to what dvc.lock knows, and have a card that is true.

Each results/SCALE/weights/RUN-seedN.weights.h5 has beside it the recount of `experiments.publish`.
"""

import argparse
import functools
import hashlib
import json
from pathlib import Path

import keras
import pytest
import yaml

from capsrepro.core import files, params, paths
from capsrepro.data.mnist import Mnist
from capsrepro.evidence import model_card
from capsrepro.network import evaluation, models
from capsrepro.network.weights import load_weights
from experiments import publish
from tests.support import ROOT
from tests.support.digits import Digits

RESULTS = ROOT / "results"
PUBLISHED = sorted(RESULTS.glob("*/weights/*.weights.h5"))
if not PUBLISHED:
    pytest.skip("no weights are published yet", allow_module_level=True)

each = pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.relative_to(RESULTS).as_posix())


def where(path: Path) -> paths.RunPaths:
    """Whose weights they are; the paths of it are relative to the root of the project."""
    run, _, seed = path.name.removesuffix(".weights.h5").rpartition("-seed")
    return paths.RunPaths(path.parents[1].name, run, int(seed))


@functools.cache
def restored(path: Path) -> keras.Model:
    place = where(path)
    model = models.build(params.read(ROOT / "params.yaml").settings(place.run, place.scale), (28, 28, 1))
    load_weights(model, path)
    return model


def recount(path: Path) -> dict[str, int | str]:
    return json.loads((ROOT / where(path).publication).read_text())


def wrong(path: Path, digits: Digits, examples: int) -> int:
    return evaluation.evaluate(restored(path), Mnist(*digits, name="mnist-test", sha256=""), examples=examples).wrong


def test_weights_and_recounts_are_pairs() -> None:
    names = {path.with_name(path.name.removesuffix(".weights.h5")) for path in PUBLISHED}
    assert names == {path.with_suffix("") for path in RESULTS.glob("*/weights/*.json")}


@each
def test_the_file_is_the_one_that_was_counted(path: Path) -> None:
    message = recount(path)
    assert set(message) == {"wrong", f"wrong_of_first_{publish.FIRST}", "bytes", "sha256", "note"}
    assert message["bytes"] == path.stat().st_size <= publish.MOST_BYTES
    assert message["sha256"] == files.sha256(path)
    assert message["wrong"] == json.loads((ROOT / where(path).metrics).read_text())["wrong"]


@each
def test_the_card_says_what_the_files_say(path: Path) -> None:
    """If not, `python -m experiments.publish` writes it anew; it needs the weights that `--restore` brings back."""
    known = params.read(ROOT / "params.yaml")
    place = where(path)
    assert (ROOT / place.card).read_text() == model_card.render(known, RESULTS, place.scale)


@each
def test_restored_weights_are_those_that_dvc_lock_knows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = where(path)
    monkeypatch.chdir(tmp_path)
    place.published.parent.mkdir(parents=True)
    place.published.symlink_to(path)
    arguments = argparse.Namespace(run=place.run, scale=place.scale)
    publish.restore(arguments, params.read(ROOT / "params.yaml"), place)
    stages = yaml.load((ROOT / "dvc.lock").read_text(), yaml.CSafeLoader)["stages"].values()
    known = [out["md5"] for stage in stages for out in stage.get("outs", []) if out["path"] == str(place.weights)]
    assert known == [hashlib.md5(place.weights.read_bytes(), usedforsecurity=False).hexdigest()]


@each
def test_as_many_of_the_first_images_are_wrong(path: Path, digits: Digits) -> None:
    """Within two images, as processors differ in the last digits. test_recount.py counts all 10,000 with NumPy."""
    assert abs(wrong(path, digits, publish.FIRST) - recount(path)[f"wrong_of_first_{publish.FIRST}"]) <= 2
