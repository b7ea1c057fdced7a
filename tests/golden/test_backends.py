"""Twenty steps of training on this backend against those of TensorFlow, on the same digits from the same weights.

`KERAS_BACKEND=tensorflow python -m pytest tests/golden/test_backends.py --regen=write` makes the golden anew.
"""

import importlib.metadata
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from capsrepro.core.params import RunConfig
from capsrepro.data.mnist import Mnist
from capsrepro.training import callback, loop

GOLDEN = Path(__file__).parent / "data" / "backends.json"
MAKER = "tensorflow"
STEPS = 20
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
            uniform = np.random.Generator(np.random.Philox(number)).random(variable.shape)
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
        logs = model.train_on_batch(*loop.tensors(batch, 10, decoder=run.reconstruction), return_dict=True)
        for name, value in callback.named(logs).items():
            if name.endswith("loss"):
                found.setdefault(name, []).append(value)
    return found


@pytest.fixture(scope="module")
def ours(digits: tuple[np.ndarray, np.ndarray]) -> dict[str, list[float]]:
    return {f"{run}/{name}": each for run in RUNS for name, each in losses(RUNS[run], *digits).items()}


def test_losses_of_20_steps_are_those_of_tensorflow(
    ours: dict[str, list[float]], request: pytest.FixtureRequest
) -> None:
    regen = request.config.getoption("--regen")
    if regen:
        assert keras.backend.backend() == MAKER, f"the golden is made with KERAS_BACKEND={MAKER}"
        versions = {name: importlib.metadata.version(name) for name in ("keras", "numpy", MAKER)}
        text = json.dumps({"backend": MAKER, "versions": versions, "losses": ours}, indent=1) + "\n"
        print(f"\n{GOLDEN.name} {'is now' if regen == 'write' else 'would be'}:\n{text}")
        if regen == "write":
            GOLDEN.write_text(text)
    golden = json.loads(GOLDEN.read_text())
    assert golden["backend"] == MAKER
    names = ("baseline/loss", *(f"capsnet-r3-recon/{part}loss" for part in ("", "classification_", "reconstruction_")))
    assert golden["losses"].keys() == ours.keys() == set(names)
    for name, expected in golden["losses"].items():
        assert len(expected) == STEPS
        np.testing.assert_allclose(ours[name], expected, rtol=1e-4, err_msg=f"{name} with {keras.backend.backend()}")


def test_those_steps_learn(ours: dict[str, list[float]]) -> None:
    """Otherwise two backends agree on little."""
    for name, found in ours.items():
        assert np.mean(found[-5:]) < 0.9 * np.mean(found[:5]), name
