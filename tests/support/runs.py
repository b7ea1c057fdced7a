"""Runs that train in a second, of a few digits, and a network that is built in a moment."""

import keras

from capsrepro.core.params import RunConfig
from capsrepro.network import models

CAPSNET = RunConfig(
    "mnist", "capsnet", routing=3, reconstruction=True, conv_channels=(4,), primary_types=1, dense_units=(8, 8),
    batch_size=8, steps=7, decay_steps=5, checkpoint_steps=2,
)  # fmt: skip
BASELINE = RunConfig(
    "mnist", "mnist_baseline", recipe="paper", loss="softmax", padding="same", dropout=0.5, conv_channels=(2, 2, 2),
    dense_units=(8, 8), batch_size=8, steps=7, decay_steps=5, checkpoint_steps=2,
)  # fmt: skip
TINY = RunConfig("mnist", "capsnet", routing=1, conv_channels=(2,), primary_types=1, dense_units=(4, 4))


def tiny_network(seed: int = 0) -> keras.Model:
    """A CapsNet for images of 20x20 pixels."""
    return models.build(TINY, (20, 20, 1), seed=seed)
