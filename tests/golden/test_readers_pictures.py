"""CIFAR-10 and smallNORB as the authors' released readers see them (tests/golden/data/released/readers.npz)."""

from pathlib import Path

import numpy as np

from capsrepro.data import cifar10, smallnorb
from tests.support.digits import needs_tensorflow

RELEASED = Path(__file__).parent / "data" / "released"
GOLDEN = np.load(RELEASED / "readers.npz")


def test_cifar10_records_are_the_released_readers() -> None:
    images, labels = cifar10.read_binary(RELEASED / "cifar-10-batches-bin" / "test_batch.bin", 10)
    assert np.array_equal(images, GOLDEN["cifar_raw/image_hwc"])
    assert np.array_equal(labels, GOLDEN["cifar_raw/label"][:, 0])


def test_cifar10_test_images_are_the_released_crop_and_formula() -> None:
    """Record 0 is of one colour, record 1 nearly: the deviation's lower bound is at work."""
    images, labels = cifar10.read_binary(RELEASED / "cifar-10-batches-bin" / "test_batch.bin", 10)
    ours = cifar10.Cifar10(images, labels, name="golden", sha256="").batch(np.arange(10)).images
    crops = GOLDEN["cifar_raw/image_hwc"][:, 4:28, 4:28].astype(np.float64)
    means, deviations = (of(crops, axis=(1, 2, 3), keepdims=True) for of in (np.mean, np.std))
    np.testing.assert_allclose(ours, (crops - means) / np.maximum(deviations, 1 / np.sqrt(24 * 24 * 3)), atol=1e-5)
    assert np.isfinite(ours).all()
    assert not ours[0].any()


@needs_tensorflow("read Examples in TFRecords")
def test_smallnorb_test_images_are_the_released_readers() -> None:
    """The golden is the training records on the way of the test images (`norb_raw` has other records)."""
    import tensorflow as tf

    records = tf.data.TFRecordDataset(str(RELEASED / "norb" / "trainduo.tfrecords"))
    features = [tf.train.Example.FromString(record.numpy()).features.feature for record in records]
    planes = np.stack([np.frombuffer(feature["image_raw"].bytes_list.value[0], np.uint8) for feature in features])
    pairs = np.moveaxis(planes.reshape(6, 2, 96, 96), 1, -1)
    labels = np.array([feature["label"].int64_list.value[0] for feature in features])
    batch = smallnorb.SmallNorb(smallnorb.halved(pairs), labels, name="golden", sha256="").batch(np.arange(6))
    released = "norb_train_testtime_inorder"
    np.testing.assert_allclose(batch.images, np.moveaxis(GOLDEN[f"{released}/images"], 1, -1), atol=1e-5)
    np.testing.assert_allclose(batch.targets[:, 0], np.moveaxis(GOLDEN[f"{released}/recons_image"], 1, -1), atol=1e-5)
    assert np.array_equal(np.eye(5)[batch.labels[:, 0]], GOLDEN[f"{released}/labels"])
