"""Measures the peak memory of training and evaluation in addition to TensorFlow's own; one measurement per process."""

import re
import tempfile
from pathlib import Path

STATUS = Path("/proc/self/status")  # Linux only
IMAGES = 300  # random images, since memory does not depend on their content
BATCH = 100


def of_training(folder: Path) -> float:
    """Peak memory of training the full MNIST CapsNet with decoder, float32, batch 128, backups included; 10^9 bytes."""
    loaded = _loaded()
    from capsrepro.core.params import RunConfig
    from capsrepro.data import mnist
    from capsrepro.network import devices
    from capsrepro.training import loop

    run = RunConfig("mnist", "capsnet", routing=3, reconstruction=True, steps=8, checkpoint_steps=4)
    dataset = mnist.load(folder / "mnist", "train")
    devices.share_gpus()
    with tempfile.TemporaryDirectory() as temporary:
        loop.train(run, dataset, 0, state=Path(temporary), verbose=0)
    return _gigabytes("VmHWM") - loaded


def of_evaluating(folder: Path) -> float:
    """Peak memory of evaluating CIFAR-10's CapsNet in 10^9 bytes.

    It has 64 primary types, SAME padding, leaky routing, 24x24x3 inputs and batch 100.
    """
    loaded = _loaded()
    import numpy as np

    from capsrepro.core.params import RunConfig
    from capsrepro.data.cifar10 import Cifar10
    from capsrepro.network import evaluation, models

    run = RunConfig("cifar10", "capsnet", routing=3, leaky=True, padding="same", primary_types=64)
    noise = np.random.Generator(np.random.Philox(0))
    images = noise.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8)
    dataset = Cifar10(images, np.arange(IMAGES) % 10, name="noise", sha256="")
    evaluation.evaluate(models.build(run, dataset.image_shape), dataset, BATCH)
    return _gigabytes("VmHWM") - loaded


def _loaded() -> float:
    import tensorflow  # noqa: F401

    return _gigabytes("VmRSS")


def _gigabytes(name: str) -> float:
    """The memory of this process in 10^9 bytes: `VmRSS`, resident now, or `VmHWM`, its peak."""
    [kibibytes] = re.findall(rf"^{name}:\s*(\d+) kB", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    return int(kibibytes) * 1024 / 1e9
