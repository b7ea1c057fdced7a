"""bfloat16 is to be faster, not worse: the same runs in both precisions."""

import dataclasses
import statistics
from pathlib import Path

import pytest

from capsrepro.core.params import RunConfig
from capsrepro.data.mnist import Mnist
from capsrepro.network import devices, evaluation
from capsrepro.training import loop
from tests.support.digits import Digits, needs_tensorflow

QUICK = RunConfig(
    "mnist", "capsnet", routing=3, reconstruction=True, conv_channels=(32,), primary_types=8, steps=300, decay_steps=6,
    checkpoint_steps=300,
)  # fmt: skip
HALF = 5000  # of the digits are trained on, the others tested
SEEDS = (0, 1, 2)


@pytest.mark.slow
@needs_tensorflow("take minutes; XLA's convolutions in bfloat16 on a CPU take hours")
@pytest.mark.timeout(1800)
def test_bfloat16_changes_the_errors_by_less_than_another_seed_does(digits: Digits, tmp_path: Path) -> None:
    """Around 10 % are wrong after so few steps; seeds differ by tens of images, precisions by a few."""
    if not devices.has_bfloat16():
        pytest.skip("this device only emulates bfloat16, which takes hours")
    images, labels = digits
    seen = Mnist(images[HALF:], labels[HALF:], name="seen", sha256="of seen")
    unseen = Mnist(images[:HALF], labels[:HALF], name="unseen", sha256="of unseen")

    def wrong(precision: str, seed: int) -> int:
        run = dataclasses.replace(QUICK, precision=precision)
        state = tmp_path / f"{precision}-{seed}"
        return evaluation.evaluate(loop.train(run, seen, seed, state=state, verbose=0).model, unseen).wrong

    float32 = [wrong("float32", seed) for seed in SEEDS]
    bfloat16 = [wrong("mixed_bfloat16", seed) for seed in SEEDS]
    spread = statistics.stdev(float32)
    message = f"float32 {float32}, bfloat16 {bfloat16}, standard deviation of the seeds {spread:.0f}"
    assert max(float32) < 0.2 * HALF, message
    assert max(abs(one - other) for one, other in zip(float32, bfloat16, strict=True)) <= spread, message
