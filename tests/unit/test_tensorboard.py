"""TensorBoard: a folder for each experiment, resumed where it ended, with the validation accuracy beside training's."""

import dataclasses
from pathlib import Path

import keras
import pytest

from capsrepro.core.params import RunConfig
from capsrepro.data.mnist import Mnist
from capsrepro.training import callback, loop
from tests.support.runs import BASELINE, CAPSNET

pytest.importorskip("tensorboard", reason="TensorBoard is not installed, which comes with TensorFlow")
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorBoard's callback needs TensorFlow"),
]


def trained(run: RunConfig, few: Mnist, folder: Path, state: str = "state", **others: object) -> loop.Trained:
    return loop.train(run, few, 0, state=folder / state, logs=folder / "logs", verbose=0, **others)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag to steps and values of all event files in a folder; files of one second are read in any order."""
    read = EventAccumulator(str(folder), size_guidance={TENSORS: 0}).Reload()
    return {
        tag: sorted((event.step, float(make_ndarray(event.tensor_proto))) for event in read.Tensors(tag))
        for tag in read.Tags()["tensors"]
        if tag.startswith("epoch_")
    }


def folders(folder: Path) -> list[Path]:
    return sorted((folder / "logs").iterdir())


def test_other_settings_have_a_folder_of_their_own_and_the_same_ones_a_fresh_one(few: Mnist, tmp_path: Path) -> None:
    trained(CAPSNET, few, tmp_path).backups.clear()
    (first,) = folders(tmp_path)
    assert {path.name for path in first.iterdir()} == {"train"}
    before = curves(first / "train")
    assert [step for step, _ in before["epoch_loss"]] == [0, 1, 2, 3]
    trained(dataclasses.replace(CAPSNET, routing=1), few, tmp_path).backups.clear()
    assert len(folders(tmp_path)) == 2
    trained(CAPSNET, few, tmp_path).backups.clear()
    assert len(folders(tmp_path)) == 2
    assert curves(first / "train")["epoch_loss"] == before["epoch_loss"]  # not drawn twice


def test_a_resumed_training_goes_on_in_its_folder(few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended after its second interval, it has the other two when it is started again."""
    saved = callback.TrainingCallback._save

    def ending(self: callback.TrainingCallback, step: int) -> None:
        saved(self, step)
        if step == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callback.TrainingCallback, "_save", ending)
        with pytest.raises(KeyboardInterrupt):
            trained(CAPSNET, few, tmp_path)
    assert trained(CAPSNET, few, tmp_path).resumed_at == 6
    (only,) = folders(tmp_path)
    assert [step for step, _ in curves(only / "train")["epoch_loss"]] == [0, 1, 3]  # the third ended before its log


@pytest.mark.parametrize("run", [CAPSNET, BASELINE], ids=["two outputs", "one output"])
def test_validation_is_a_curve_beside_training_under_the_same_tag(run: RunConfig, few: Mnist, tmp_path: Path) -> None:
    one = trained(run, few, tmp_path, watch={callback.VALIDATION: few})
    (folder,) = folders(tmp_path)
    training, validation = curves(folder / "train"), curves(folder / "validation")
    (tag,) = validation
    assert tag in training
    assert tag.endswith("right")
    told = [line[callback.VALIDATION] / 100 for line in one.history]
    assert [value for _, value in validation[tag]] == pytest.approx(told, rel=1e-6)
    assert [step for step, _ in validation[tag]] == [step for step, _ in training[tag]]
    assert not any("val" in name for name in one.history[0] if name != callback.VALIDATION)
