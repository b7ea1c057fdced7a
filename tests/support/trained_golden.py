"""A small CapsNet trained on MNIST, restored: how often it is wrong, some activations, and its first training batch.

tests/golden/data/trained/params.yaml says how its weights were made. With KERAS_BACKEND=tensorflow,
`python -m tests.support.trained_golden` writes golden.json anew from them; the diff says what has changed.
"""

import json
import sys
from typing import Any

import keras
import numpy as np

from capsrepro.core import files, params
from capsrepro.data.batches import Stream
from capsrepro.data.mnist import Mnist
from capsrepro.network import evaluation, models
from capsrepro.network.weights import load_weights
from capsrepro.training import feeding
from tests.support import ROOT
from tests.support.arrays import checksum
from tests.support.digits import Digits, mnist_digits

FOLDER = ROOT / "tests" / "golden" / "data" / "trained"
WEIGHTS, GOLDEN = FOLDER / "weights.weights.h5", FOLDER / "golden.json"
RUN, SCALE = "mnist-capsnet-r3-recon", "quick"
MAKER = "tensorflow"
# Of which test images the activations are. The last is a 6 that is taken for a 0, so that its drawing tells the mask of
# the true class from that of the longest capsule.
LENGTHS_OF, ATOMS_OF, DRAWN = 0, 1, 259
PIXELS = [(row, column) for row in (9, 14, 18) for column in (12, 16)]


def settings() -> params.RunConfig:
    """Those that the weights were trained with."""
    return params.read(FOLDER / "params.yaml").settings(RUN, SCALE)


def dataset(digits: Digits) -> Mnist:
    """MNIST's test digits, as the settings shift them."""
    return Mnist(*digits, name="mnist-test", sha256="", shift=settings().shift)


def restored() -> keras.Model:
    """The network with its weights."""
    model = models.build(settings(), (28, 28, 1))
    load_weights(model, WEIGHTS)
    return model


def activations(digits: Digits) -> dict[str, list[float]]:
    """32 numbers: ten class lengths, the sixteen atoms of a true class, six reconstructed pixels."""
    model, data = restored(), dataset(digits)
    inputs, _ = feeding.tensors(data.batch(np.array([LENGTHS_OF, ATOMS_OF, DRAWN])), data.classes, decoder=True)
    inner = {"capsules": model.get_layer("digit_capsules").output, **model.output}
    found = {name: np.asarray(value) for name, value in keras.Model(model.input, inner)(inputs).items()}
    pixels = found["reconstruction"].reshape(3, 28, 28)[2]
    taken = {
        "lengths": found["scores"][0],
        "atoms": found["capsules"][1, data.labels[ATOMS_OF]],
        "pixels": np.array([pixels[place] for place in PIXELS]),
    }
    return {name: [float(f"{one:.9g}") for one in values] for name, values in taken.items()}  # float32 in nine digits


def wrong(digits: Digits) -> int:
    """How many of all test images are wrong."""
    return evaluation.evaluate(restored(), dataset(digits)).wrong


def first_batch(digits: Digits) -> dict[str, str]:
    """Checksums of a training batch of these settings, of the test digits since those are at hand."""
    batch = Stream(dataset(digits), settings().batch_size, seed=0).batch(0)
    return {name: checksum(array) for name, array in batch._asdict().items()}


def golden() -> dict[str, Any]:
    """What is stored."""
    content: dict[str, Any] = json.loads(GOLDEN.read_text())
    return content


def check_activations(digits: Digits) -> None:
    """Each to 1e-4 of itself; backends and processors were seen to differ by some 1e-6, and none is below 0.01."""
    ours, expected = activations(digits), golden()["activations"]
    assert {name: len(values) for name, values in expected.items()} == {"lengths": 10, "atoms": 16, "pixels": 6}
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, err_msg=name)


def check_wrong(digits: Digits) -> None:
    """Within two images, as processors differ in the last digits."""
    assert abs(wrong(digits) - golden()["wrong"]) <= 2


def check_first_batch(digits: Digits) -> None:
    """Order, shift and scale, to the last bit: they come from integers and one product."""
    assert first_batch(digits) == golden()["first_batch"]


def write(digits: Digits) -> None:
    """Makes what this library gives the golden."""
    ours = {"wrong": wrong(digits), "activations": activations(digits), "first_batch": first_batch(digits)}
    files.write_text(GOLDEN, json.dumps(ours, indent=1) + "\n")


if __name__ == "__main__":
    if keras.backend.backend() != MAKER:
        sys.exit(f"error: the golden is made with KERAS_BACKEND={MAKER}")
    write(mnist_digits())
