"""The released code's flags mean what they meant; where it broke, ours works."""

from pathlib import Path

import numpy as np
import pytest

from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data import mnist
from capsrepro.released import inputs, records
from capsrepro.released.settings import Hparams, settings
from tests.support.digits import Digits, idx, needs_tensorflow

RELEASED = Path(__file__).parents[1] / "golden" / "data" / "released"
with_examples = needs_tensorflow("read and write Examples in TFRecords")


def run(model: str = "capsule", overrides: str = "", targets: int = 1) -> RunConfig:
    hparams = Hparams.read(overrides)
    return settings(model, hparams, targets=targets, steps=10, save_steps=5)


def test_the_defaults_are_the_released_capsnet() -> None:
    assert run() == RunConfig("mnist", "capsnet", routing=3, reconstruction=True, steps=10, checkpoint_steps=5)


def test_the_cifar10_command_of_the_released_readme() -> None:
    wanted = run(overrides="num_prime_capsules=64,padding=SAME,leaky=true,remake=false")
    assert (wanted.primary_types, wanted.padding, wanted.leaky, wanted.reconstruction) == (64, "same", True, False)


@pytest.mark.parametrize("text", ["true", "True", "1"])
def test_booleans_are_spelled_as_the_released_code_reads_them(text: str) -> None:
    assert Hparams.read(f"leaky={text}").leaky is True
    assert Hparams.read(f"remake={ {'true': 'false', 'True': 'False', '1': '0'}[text] }").remake is False


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("routings=3", "expected key=value with a key of decay_rate, .*received 'routings=3'"),
        ("routing", "received 'routing'"),
        ("routing=three", "routing: expected a whole number, received 'three'"),
        ("routing=0", "routing: expected more than 0, received '0'"),
        ("learning_rate=nan", "learning_rate: expected more than 0"),
        ("leaky=yes", "leaky: expected true, True, 1, false, False, 0; received 'yes'"),
        ("padding=same", "padding: expected VALID, SAME; received 'same'"),
        ("loss_type=hinge", "loss_type: expected margin, softmax, sigmoid; received 'hinge'"),
    ],
)
def test_a_wrong_override_is_named(overrides: str, message: str) -> None:
    with pytest.raises(Error, match=message):
        Hparams.read(overrides)


def test_a_baseline_has_no_margin_loss_unless_it_is_asked_for() -> None:
    """The released code leaves the margin loss, made for lengths below one, on a baseline's unbounded scores."""
    assert run("baseline").loss == "softmax"
    assert run("baseline", targets=2).loss == "sigmoid"
    assert run("baseline", "loss_type=margin").loss == "margin"


@pytest.fixture
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "COUNTS", {"train": 30, "test": 20})
    monkeypatch.setattr(mnist, "VALIDATION", 10)


def idx_files(folder: Path, digits: Digits) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 30), ("test", 20)):
        for name, array in zip(mnist.FILES[split], digits, strict=True):
            (folder / name).write_bytes(idx(array[:count].reshape(array[:count].shape[:3])))


def load(folder: Path, *, train: bool = False, validate: bool = False, targets: int = 1, dataset: str = "mnist"):
    return inputs.load(dataset, str(folder), train=train, validate=validate, targets=targets)


@with_examples
def test_the_published_layout_is_found_before_others() -> None:
    test, train = load(RELEASED / "mnist"), load(RELEASED / "mnist", train=True)
    assert (test.name, train.name) == ("mnist-test", "mnist-train")
    assert int(test.batch(np.arange(1)).labels[0, 0]) == 7
    assert int(train.batch(np.arange(1)).labels[0, 0]) == 5


@with_examples
@pytest.mark.parametrize("name", ["test_0shifted_mnist_valid.tfrecords", "valid_test_0shifted_mnist.tfrecords"])
def test_both_names_of_the_validation_records_are_read(name: str, tmp_path: Path) -> None:
    """The released reader looks for one, its writer writes the other."""
    content = (RELEASED / "mnist" / "test_0shifted_mnist.tfrecords").read_bytes()
    (tmp_path / name).write_bytes(content)
    (tmp_path / "test_0shifted_mnist.tfrecords").write_bytes(b"not to be read")
    assert load(tmp_path, validate=True).name == "mnist-test-validation"


@with_examples
def test_padded_records_are_read_with_their_size(tmp_path: Path) -> None:
    """The released reader fixes 28 pixels, so that the records of S10 cannot be read there."""
    content = (RELEASED / "single_shift6_pad6.tfrecords").read_bytes()
    (tmp_path / "train_6shifted_mnist.tfrecords").write_bytes(content)
    assert load(tmp_path, train=True).image_shape == (40, 40, 1)
    assert load(tmp_path / "train_6shifted_mnist.tfrecords", train=True).image_shape == (40, 40, 1)


@with_examples
def test_shards_of_pairs_are_two_targets(tmp_path: Path) -> None:
    pairs = load(Path(f"{RELEASED}/multi_ragged@3"), targets=2)
    assert (pairs.digits, len(pairs), pairs.image_shape) == (2, 21, (36, 36, 1))
    with pytest.raises(Error, match="has 2 digit\\(s\\) in an image, but --num_targets=1"):
        load(Path(f"{RELEASED}/multi_ragged@3"))


def test_our_files_are_read_too(digits: Digits, small_splits: None, tmp_path: Path) -> None:
    idx_files(tmp_path / "mnist", digits)
    assert len(load(tmp_path, train=True)) == 30
    assert len(load(tmp_path / "mnist")) == 20
    assert (len(load(tmp_path, train=True, validate=True)), len(load(tmp_path, validate=True))) == (20, 10)
    pairs = load(tmp_path, train=True, targets=2)
    assert (len(pairs), pairs.digits, pairs.image_shape) == (30_000, 2, (36, 36, 1))


@with_examples
def test_smallnorb_records_are_found_and_cifar10_is_not_looked_for_twice() -> None:
    norb = load(RELEASED / "norb", dataset="norb", train=True)
    assert (norb.image_shape, norb.classes, len(norb)) == ((32, 32, 2), 5, 6)
    with pytest.raises(Error, match=r"cifar-10-batches-bin.data_batch_1.bin"):  # once, whatever the number of GPUs
        load(RELEASED, dataset="cifar10", train=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "norb", "validate": True}, "--validate: smallNORB has no validation split"),
        ({"dataset": "cifar10", "targets": 2}, "--num_targets=2: only --dataset=mnist"),
        ({}, "found none of a record file, MNIST's IDX files, test_0shifted_mnist.tfrecords; run"),
        ({"targets": 2}, "found none of a record file, MNIST's IDX files; run"),
    ],
)
def test_what_cannot_be_had_is_said(arguments: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        load(tmp_path, **arguments)


@with_examples
def test_a_pair_of_one_class_has_no_negative_loss(tmp_path: Path) -> None:
    """The released code adds the two labels up to 2, and its margin loss becomes negative."""
    from capsrepro.network import losses
    from capsrepro.training import feeding

    image = np.zeros((1, 36, 36, 1), np.uint8)
    pair = {"merged_raw": image, "image_raw_1": image, "image_raw_2": image, "label_1": [3], "label_2": [3]}
    records.write(tmp_path / "pairs", records.PAIRS, [{name: np.asarray(value) for name, value in pair.items()}])
    batch = load(tmp_path / "pairs", targets=2).batch(np.arange(1))
    _, truths = feeding.tensors(batch, 10, decoder=False)
    assert truths["scores"].max() == 1.0
    for scores in (np.full((1, 10), 0.95, np.float32), np.zeros((1, 10), np.float32)):
        assert float(losses.margin_loss(truths["scores"], scores, recipe="released")[0]) >= 0.0
