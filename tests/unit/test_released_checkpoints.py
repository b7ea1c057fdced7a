"""TF1 checkpoints both ways: exact, complete, and refused with all that is wrong."""

import dataclasses
import resource
from pathlib import Path

import keras
import numpy as np
import pytest

from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data.mnist import Mnist
from capsrepro.network import models
from capsrepro.network.weights import uncompiled, weights_sha256
from capsrepro.released import checkpoints
from capsrepro.released import evaluation as released_evaluation
from capsrepro.training import feeding, loop
from tests.support.digits import needs_tensorflow

CAPSNET = RunConfig(
    "mnist", "capsnet", routing=3, reconstruction=True, conv_channels=(4,), primary_types=2, dense_units=(8, 8),
    batch_size=8,
)  # fmt: skip
BASELINE = RunConfig(
    "mnist", "multimnist_baseline", loss="softmax", conv_channels=(3, 2), dense_units=(8,), batch_size=8
)  # fmt: skip
with_checkpoints = needs_tensorflow("read and write the released code's checkpoints")


def steps(model: keras.Model, run: RunConfig, few: Mnist, first: int, last: int) -> None:
    stream = loop.Stream(few, run.batch_size, seed=0)
    for step in range(first, last):
        model.train_on_batch(*feeding.tensors(stream.batch(step), 10, decoder=run.reconstruction))


@with_checkpoints
@pytest.mark.parametrize("run", [CAPSNET, BASELINE], ids=["capsnet", "baseline"])
def test_training_goes_on_exactly_where_the_checkpoint_stopped(run: RunConfig, few: Mnist, tmp_path: Path) -> None:
    model = loop.compiled(run, few, seed=0)
    steps(model, run, few, 0, 3)
    prefix = checkpoints.save_released(model, tmp_path / "model.ckpt", 3)
    assert prefix == tmp_path / "model.ckpt-3"
    steps(model, run, few, 3, 5)
    again = loop.compiled(run, few, seed=1)
    assert checkpoints.restore_released(again, prefix) == 3
    steps(again, run, few, 3, 5)
    assert weights_sha256(again) == weights_sha256(model)
    assert [path.name for path in tmp_path.glob("[!m]*")] == []  # nothing but the checkpoint's two files


@with_checkpoints
def test_slots_are_not_needed_and_not_in_the_way(few: Mnist, tmp_path: Path) -> None:
    model = loop.compiled(CAPSNET, few, seed=0)
    steps(model, CAPSNET, few, 0, 2)
    with_slots = checkpoints.save_released(model, tmp_path / "with", 2)
    bare = checkpoints.save_released(uncompiled(model), tmp_path / "bare", 2)
    for prefix in (with_slots, bare):
        plain = models.build(CAPSNET, few.image_shape, seed=1)
        assert checkpoints.restore_released(plain, prefix) == 2
        assert weights_sha256(plain) == weights_sha256(uncompiled(model))
    fresh = loop.compiled(CAPSNET, few, seed=1)
    assert checkpoints.restore_released(fresh, bare) == 2
    assert (
        int(fresh.optimizer.iterations) == 2
    )  # the step decides the learning rate and the name of the next checkpoint
    assert float(fresh.optimizer.learning_rate) == float(model.optimizer.learning_rate) < CAPSNET.learning_rate


def test_members_of_an_ensemble_are_found_whatever_else_is_in_the_path(tmp_path: Path) -> None:
    pattern = tmp_path / "{seed}" / "model{}.ckpt-5"
    for number in (1, 2):
        prefix = Path(str(pattern).replace("{}", str(number)))
        prefix.parent.mkdir(exist_ok=True)
        Path(f"{prefix}.index").touch()
    found = released_evaluation.members(str(pattern), 2)
    assert found == [tmp_path / "{seed}" / f"model{number}.ckpt-5" for number in (1, 2)]
    assert released_evaluation.members(str(pattern), 1) == [tmp_path / "{seed}" / "model0.ckpt-5"]


@with_checkpoints
def test_a_tf1_saver_restores_what_is_saved_here(few: Mnist, tmp_path: Path) -> None:
    """A TF1 graph with the released names and shapes, made here by hand, takes every variable with its value."""
    import tensorflow as tf

    model = loop.compiled(CAPSNET, few, seed=0)
    steps(model, CAPSNET, few, 0, 2)
    prefix = checkpoints.save_released(model, tmp_path / "model.ckpt", 2)
    shapes = {
        "conv1/weights": [9, 9, 1, 4], "conv1/biases": [4],
        "conv_capsule1/weights": [9, 9, 4, 16], "conv_capsule1/biases": [2, 8, 1, 1],
        "capsule2/weights": [72, 8, 160], "capsule2/biases": [10, 16],
        "recons/recons_1/weights": [160, 8], "recons/recons_1/biases": [8],
        "recons/recons_2/weights": [8, 8], "recons/recons_2/biases": [8],
        "recons/recons_3/weights": [8, 784], "recons/recons_3/biases": [784],
    }  # fmt: skip
    shapes |= {f"{name}/{slot}": shape for name, shape in shapes.items() for slot in ("Adam", "Adam_1")}
    shapes |= {"beta1_power": [], "beta2_power": [], "global_step": []}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            name: tf.compat.v1.get_variable(
                name, shape, tf.float32, tf.compat.v1.zeros_initializer(), use_resource=False
            )
            for name, shape in shapes.items()
        }
        tf.compat.v1.train.Saver(list(variables.values())).restore(session, str(prefix))
        values = session.run(variables)
    assert values["global_step"] == 2
    assert values["beta1_power"] == np.float32(0.9) * np.float32(0.9) * np.float32(0.9)
    kernel = np.asarray(model.get_layer("digit_capsules").kernel)  # (C, I, a, D)
    assert values["capsule2/weights"][5, 3, 7 * 16 + 2] == kernel[7, 5, 3, 2]
    assert values["conv_capsule1/biases"][1, 3, 0, 0] == np.asarray(model.get_layer("primary_capsules").bias)[11]
    assert np.abs(values["conv1/weights/Adam"]).max() > 0
    ours = checkpoints._read_released(str(prefix))
    assert all(np.array_equal(ours[name], values[name]) for name in shapes)


@with_checkpoints
def test_a_checkpoint_read_and_written_again_is_the_same(tmp_path: Path) -> None:
    """Bit for bit, Adam's slots and powers included: the released code's own checkpoint after 40 steps."""
    theirs = Path(__file__).parents[1] / "golden" / "data" / "cases" / "capsnet_slim_adam" / "model.ckpt-40"
    run = RunConfig("mnist", "capsnet", routing=3, primary_types=1)
    model = loop.compiled(run, Mnist(np.zeros((1, 20, 20, 1)), np.zeros(1), name="", sha256=""), 0)
    assert checkpoints.restore_released(model, theirs) == 40
    again = checkpoints._read_released(str(checkpoints.save_released(model, tmp_path / "model.ckpt", 40)))
    original = checkpoints._read_released(str(theirs))
    assert again.keys() == original.keys()
    assert all(np.array_equal(again[name], original[name]) for name in original)


def test_beta_powers_vanish_as_in_tf1() -> None:
    """0.9^N multiplied up in float32 would stay at the smallest subnormal number; TensorFlow flushes it to zero."""
    assert checkpoints._power(0.9, 300_001) == 0.0
    assert checkpoints._power(0.999, 1001) == pytest.approx(0.999**1001, rel=1e-4)


def written(tmp_path: Path, **changes: np.ndarray | None) -> Path:
    """A checkpoint of CAPSNET with some variables dropped (None), replaced or added; `__` stands for the slash."""
    import tensorflow as tf

    values = checkpoints._read_released(
        str(checkpoints.save_released(models.build(CAPSNET, (28, 28, 1)), tmp_path / "m", 0))
    )
    values |= {name.replace("__", "/"): value for name, value in changes.items()}
    kept = {name: value for name, value in values.items() if value is not None}
    prefix = str(tmp_path / "changed")
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=[*kept], shape_and_slices=[""] * len(kept), tensors=[*kept.values()])
    return Path(prefix)


@with_checkpoints
def test_all_that_is_wrong_is_told_at_once_and_the_model_stays(tmp_path: Path) -> None:
    prefix = written(
        tmp_path,
        conv1__weights=None,
        capsule2__biases=np.zeros((10, 8), np.float32),
        conv1__biases=np.zeros(4),  # float64
        recons__recons_1__biases=np.full(8, np.nan, np.float32),
        extra=np.zeros(2, np.float32),
    )
    model = models.build(CAPSNET, (28, 28, 1))
    before = weights_sha256(model)
    with pytest.raises(Error) as fault:
        checkpoints.restore_released(model, prefix)
    for part in (
        str(prefix),
        "missing conv1/weights",
        "superfluous extra",
        "misshapen capsule2/biases: expected float32 [10, 16], received float32 [10, 8]",
        "misshapen conv1/biases: expected float32 [4], received float64 [4]",
        "not finite recons/recons_1/biases",
    ):
        assert part in str(fault.value)
    assert "\n" not in str(fault.value)
    assert weights_sha256(model) == before


@with_checkpoints
def test_half_the_slots_are_missing_slots(tmp_path: Path) -> None:
    prefix = written(tmp_path, conv1__biases__Adam=np.zeros(4, np.float32))
    with pytest.raises(Error, match="missing beta1_power; .*missing conv1/biases/Adam_1; "):
        checkpoints.restore_released(models.build(CAPSNET, (28, 28, 1)), prefix)


@with_checkpoints
def test_another_network_is_refused(tmp_path: Path) -> None:
    prefix = checkpoints.save_released(models.build(CAPSNET, (28, 28, 1)), tmp_path / "model.ckpt", 0)
    other = dataclasses.replace(CAPSNET, reconstruction=False)
    with pytest.raises(Error, match="superfluous recons/recons_1/biases; "):
        checkpoints.restore_released(models.build(other, (28, 28, 1)), prefix)
    with pytest.raises(Error, match="missing fc1/biases; "):
        checkpoints.restore_released(models.build(BASELINE, (28, 28, 1)), prefix)
    paper = RunConfig("mnist", "mnist_baseline", loss="softmax", conv_channels=(2, 2, 2), dense_units=(4, 4))
    with pytest.raises(Error, match="no such network"):
        checkpoints.save_released(models.build(paper, (28, 28, 1)), tmp_path / "model.ckpt", 0)


@with_checkpoints
def test_a_checkpoint_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    model = models.build(CAPSNET, (28, 28, 1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as small as the disk of a full one
    try:
        with pytest.raises(Error, match="model.ckpt-7: not written .File too large .Op:SaveV2..; fix that") as fault:
            checkpoints.save_released(model, tmp_path / "model.ckpt", 7)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(fault.value)
    assert not list(tmp_path.iterdir())


@with_checkpoints
def test_a_missing_or_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    model = models.build(CAPSNET, (28, 28, 1))
    prefix = checkpoints.save_released(model, tmp_path / "model.ckpt", 7)
    with pytest.raises(Error, match=r"model.ckpt-8: no such checkpoint; in its folder: model.ckpt-7"):
        checkpoints.restore_released(model, tmp_path / "model.ckpt-8")
    content = Path(f"{prefix}.data-00000-of-00001")
    whole = content.read_bytes()
    damaged = {"flipped": whole[:500] + bytes([whole[500] ^ 1]) + whole[501:], "truncated": whole[:-100], "empty": b""}
    for changed in damaged.values():
        content.write_bytes(changed)
        with pytest.raises(Error, match="model.ckpt-7: damaged"):
            checkpoints.restore_released(model, prefix)
    content.unlink()
    with pytest.raises(Error, match="model.ckpt-7: damaged"):
        checkpoints.restore_released(model, prefix)
    Path(f"{prefix}.index").write_bytes(b"no index")
    with pytest.raises(Error, match="model.ckpt-7: damaged"):
        checkpoints.restore_released(model, prefix)
