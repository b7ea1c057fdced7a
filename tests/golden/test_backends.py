"""Twenty steps of training on this backend against those of TensorFlow, on the same digits from the same weights.

`KERAS_BACKEND=tensorflow python -m pytest tests/golden/test_backends.py --force-regen` makes the golden anew.
"""

from pathlib import Path

import keras
import numpy as np
import pandas
import pytest
from pytest_regressions.num_regression import NumericRegressionFixture

from capsrepro.core.params import RunConfig
from capsrepro.data.mnist import Mnist
from capsrepro.training import callback, feeding, loop
from tests.support.digits import Digits, philox

GOLDEN = Path(__file__).parent / "data" / "backends.csv"
MAKER = "tensorflow"
STEPS = 20
NAMES = ("baseline/loss", *(f"capsnet-r3-recon/{part}loss" for part in ("", "classification_", "reconstruction_")))
# In float32. The capsules' convolution is the fast one on a CPU. No dropout, since each backend draws its own. A low
# rate for the baseline: at 0.001 its loss leaps at first, which made 1e-2 at the end of 1e-7 in the weights.
RUNS = {
    "capsnet-r3-recon": RunConfig(
        "mnist", "capsnet", routing=3, reconstruction=True, conv_channels=(32,), primary_types=8, dense_units=(64, 128),
        batch_size=16, decay_steps=10,
    ),
    "baseline": RunConfig(
        "mnist", "mnist_baseline", recipe="paper", loss="softmax", padding="same", dropout=0.0,
        conv_channels=(16, 16, 16), dense_units=(64, 32), batch_size=32, decay_steps=10, learning_rate=0.0001,
    ),
}  # fmt: skip


def fill(model: keras.Model) -> None:
    """Puts the same weights into a network on every backend; the initializers of each draw others.

    Kernels are uniform, since such numbers are the generator's bits themselves, the same in every version of NumPy.
    Biases stay at 0.1.
    """
    for number, variable in enumerate(model.trainable_variables):
        if variable.name == "kernel":
            uniform = philox(number).random(variable.shape)
            deviation = np.sqrt(2 / np.prod(variable.shape[:-1]))  # what passes a ReLU keeps its size
            variable.assign(np.float32(deviation * np.sqrt(12) * (uniform - 0.5)))


def losses(run: RunConfig, images: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """The total loss of each step and its parts, digits in their order and unshifted."""
    data = Mnist(images, labels, name="mnist-test", sha256="")
    model = loop.compiled(run, data, seed=0)
    fill(model)
    found: dict[str, list[float]] = {}
    for step in range(STEPS):
        batch = data.batch(np.arange(step * run.batch_size, (step + 1) * run.batch_size))
        model.reset_metrics()  # otherwise the loss is the mean over the steps so far
        logs = model.train_on_batch(*feeding.tensors(batch, 10, decoder=run.reconstruction), return_dict=True)
        for name, value in callback.named(logs).items():
            if name.endswith("loss"):
                found.setdefault(name, []).append(value)
    return found


@pytest.fixture(scope="module")
def ours(digits: Digits) -> dict[str, list[float]]:
    return {f"{run}/{name}": each for run in RUNS for name, each in losses(RUNS[run], *digits).items()}


def test_losses_of_20_steps_are_those_of_tensorflow(
    ours: dict[str, list[float]], num_regression: NumericRegressionFixture, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("force_regen") or request.config.getoption("regen_all"):
        assert keras.backend.backend() == MAKER, f"the golden is made with KERAS_BACKEND={MAKER}"
    assert {name: len(found) for name, found in ours.items()} == dict.fromkeys(NAMES, STEPS)
    num_regression.check(dict(ours), fullpath=GOLDEN, default_tolerance={"rtol": 1e-4, "atol": 0.0})
    assert set(pandas.read_csv(GOLDEN, index_col=0)) == set(NAMES)  # a column that only the golden has would pass


def test_those_steps_learn(ours: dict[str, list[float]]) -> None:
    """Otherwise two backends agree on little."""
    for name, found in ours.items():
        assert np.mean(found[-5:]) < 0.9 * np.mean(found[:5]), name
