"""Runs that train in a second: a CapsNet and a baseline with dropout, of a few digits."""

from capsrepro.core.params import RunConfig

CAPSNET = RunConfig(
    "mnist", "capsnet", routing=3, reconstruction=True, conv_channels=(4,), primary_types=1, dense_units=(8, 8),
    batch_size=8, steps=7, decay_steps=5, checkpoint_steps=2,
)  # fmt: skip
BASELINE = RunConfig(
    "mnist", "mnist_baseline", recipe="paper", loss="softmax", padding="same", dropout=0.5, conv_channels=(2, 2, 2),
    dense_units=(8, 8), batch_size=8, steps=7, decay_steps=5, checkpoint_steps=2,
)  # fmt: skip
