"""Records against files that the released code wrote, and against what its readers made of them (data/released)."""

from pathlib import Path

import numpy as np
import pytest

from capsrepro.released import records
from tests.support.digits import needs_tensorflow

DATA = Path(__file__).parent / "data" / "released"
READERS = np.load(DATA / "readers.npz")
pytestmark = needs_tensorflow("read and write Examples in TFRecords")


def everything(spec: str) -> dict[str, np.ndarray]:
    read = records.Records(f"{DATA}/{spec}")
    return read.read(range(len(read)))


@pytest.mark.parametrize("name", ["single_shift2_pad0", "single_shift6_pad6"])
def test_single_digits_are_read_as_the_released_writer_wrote_them(name: str) -> None:
    golden = np.load(DATA / f"{name}.npz")
    read = records.Records(DATA / f"{name}.tfrecords")
    assert read.image_shape == (golden["height"][0], golden["width"][0], golden["depth"][0])
    features = everything(f"{name}.tfrecords")
    assert set(features) == {"image_raw", "label"}
    assert np.array_equal(features["image_raw"], golden["images"][..., None])
    assert np.array_equal(features["label"], golden["labels"])


def test_pairs_are_read_as_the_released_writer_wrote_them() -> None:
    golden = np.load(DATA / "multi_ragged.npz")
    features = everything("multi_ragged@3")
    assert set(features) == {"image_raw_1", "image_raw_2", "merged_raw", "label_1", "label_2"}
    for name, values in features.items():
        expected = np.concatenate([golden[f"shard{shard}/{name}"] for shard in range(3)])
        assert np.array_equal(values, expected if name.startswith("label") else expected[..., None])


@pytest.mark.parametrize(("name", "shift", "pad"), [("single_shift2_pad0", 2, 0), ("single_shift6_pad6", 6, 6)])
def test_single_digits_are_written_as_by_the_released_writer(tmp_path: Path, name: str, shift: int, pad: int) -> None:
    """From the digits that its file holds unshifted, in the middle of each one's records."""
    golden = everything(f"{name}.tfrecords")
    copies = (2 * shift + 1) ** 2
    inner = slice(pad, pad + 28)
    images = golden["image_raw"][copies // 2 :: copies, inner, inner]
    labels = golden["label"][::copies]
    path = tmp_path / "single.tfrecords"
    made = records.every_shift(images, labels, shift=shift, pad=pad)
    assert records.write(path, records.SINGLE, made) == len(golden["label"]) == len(labels) * copies
    read = records.Records(path)
    ours = read.read(range(len(read)))
    assert all(np.array_equal(ours[feature], golden[feature]) for feature in golden)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("single_shift6_pad6.tfrecords", records.SINGLE),
        ("multi_ragged@3", records.PAIRS),
        ("norb/trainduo.tfrecords", records.SMALLNORB),
    ],
)
def test_what_was_read_is_written_with_the_same_content(tmp_path: Path, spec: str, kind: records.Kind) -> None:
    golden = everything(spec)
    records.write(tmp_path / "again", kind, [golden])
    again = records.Records(tmp_path / "again")
    assert again.kind == kind
    read = again.read(range(len(again)))
    assert read.keys() == golden.keys()
    assert all(np.array_equal(read[feature], golden[feature]) for feature in golden)


@pytest.mark.parametrize(
    ("spec", "reader"),
    [
        ("mnist/test_0shifted_mnist.tfrecords", "mnist_test"),
        ("mnist/train_2shifted_mnist.tfrecords", "mnist_train_inorder"),
        ("mnist/multitest_4shifted_mnist.tfrecords@2", "multi_test"),
        ("mnist/multitrain_4shifted_mnist.tfrecords@3", "multi_train_inorder"),
    ],
)
def test_digits_are_what_the_released_reader_yields(spec: str, reader: str) -> None:
    data = records.load(f"{DATA}/{spec}", name=reader)
    batch = data.batch(np.arange(len(data)))
    golden = {name: READERS[f"{reader}/{name}"] for name in ("images", "labels", "recons_image", "recons_label")}
    assert np.array_equal(batch.images.reshape(golden["images"].shape), golden["images"])
    assert np.array_equal(batch.targets[:, 0].reshape(golden["recons_image"].shape), golden["recons_image"])
    assert np.array_equal(batch.labels[:, 0], golden["recons_label"])
    assert np.array_equal(np.eye(10)[batch.labels].sum(axis=1), golden["labels"])
    if data.digits == 2:
        assert np.array_equal(batch.targets[:, 1].reshape(len(data), -1), READERS[f"{reader}/spare_image"])
        assert np.array_equal(batch.labels[:, 1], READERS[f"{reader}/spare_label"])


def test_smallnorb_is_what_the_released_reader_yields() -> None:
    data = records.load(DATA / "norb" / "trainduo.tfrecords", name="smallnorb-train")
    batch = data.batch(np.arange(len(data)))
    reader = "norb_train_testtime_inorder"
    for name in ("images", "recons_image"):  # channels first there
        ours = batch.images if name == "images" else batch.targets[:, 0]
        assert np.abs(np.moveaxis(ours, -1, 1) - READERS[f"{reader}/{name}"]).max() < 1e-5
    assert np.array_equal(np.eye(5)[batch.labels[:, 0]], READERS[f"{reader}/labels"])
    assert np.array_equal(batch.labels[:, 0], READERS[f"{reader}/recons_label"])


def test_raw_smallnorb_comes_back(tmp_path: Path) -> None:
    """The golden's bytes before preprocessing; the released file that they were read from is not among the goldens."""
    images = np.moveaxis(READERS["norb_raw/image_chw"], 1, -1)
    written = {"image_raw": images, "label": READERS["norb_raw/label"], "meta": READERS["norb_raw/meta"]}
    records.write(tmp_path / "duo", records.SMALLNORB, [written])
    read = records.Records(tmp_path / "duo").read(range(6))
    assert all(np.array_equal(read[feature], written[feature]) for feature in written)
