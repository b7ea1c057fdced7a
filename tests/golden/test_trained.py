"""A small CapsNet trained on MNIST, restored: it is wrong as often as it was, and its activations are what they were.

`KERAS_BACKEND=tensorflow python -m pytest tests/golden/test_trained.py --regen=write` makes golden.json anew from the
weights; data/trained/params.yaml says how those were made.
"""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from capsrepro.core import files, params
from capsrepro.data.batches import Stream
from capsrepro.data.mnist import Mnist
from capsrepro.network import evaluation, models
from capsrepro.network.weights import load_weights
from capsrepro.training import loop
from tests.golden.test_built import checksum

FOLDER = Path(__file__).parent / "data" / "trained"
WEIGHTS, GOLDEN, PROVENANCE = (FOLDER / name for name in ("weights.weights.h5", "golden.json", "provenance.json"))
RUN, SCALE = "mnist-capsnet-r3-recon", "quick"
MAKER = "tensorflow"
MOST_BYTES = 3_000_000
EXAMPLES = 10_000
# Of which test images the activations are. The last is a 6 that is taken for a 0, so that its drawing tells the mask of
# the true class from that of the longest capsule.
LENGTHS_OF, ATOMS_OF, DRAWN = 0, 1, 259
PIXELS = [(row, column) for row in (9, 14, 18) for column in (12, 16)]

Digits = tuple[np.ndarray, np.ndarray]


def settings() -> params.RunConfig:
    return params.read(FOLDER / "params.yaml").settings(RUN, SCALE)


def dataset(digits: Digits) -> Mnist:
    return Mnist(*digits, name="mnist-test", sha256="", shift=settings().shift)


def restored() -> keras.Model:
    model = models.build(settings(), (28, 28, 1))
    load_weights(model, WEIGHTS)
    return model


def activations(digits: Digits) -> dict[str, list[float]]:
    """32 numbers: ten class lengths, the sixteen atoms of a true class, six reconstructed pixels."""
    model, data = restored(), dataset(digits)
    inputs, _ = loop.tensors(data.batch(np.array([LENGTHS_OF, ATOMS_OF, DRAWN])), data.classes, decoder=True)
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
    return evaluation.evaluate(restored(), dataset(digits)).wrong


def first_batch(digits: Digits) -> dict[str, str]:
    """Checksums of a training batch of these settings, of the test digits since those are at hand."""
    batch = Stream(dataset(digits), settings().batch_size, seed=0).batch(0)
    return {name: checksum(array) for name, array in batch._asdict().items()}


@pytest.fixture(scope="module")
def golden(digits: Digits, request: pytest.FixtureRequest) -> dict[str, Any]:
    if regen := request.config.getoption("--regen"):
        assert keras.backend.backend() == MAKER, f"the golden is made with KERAS_BACKEND={MAKER}"
        ours = {"wrong": wrong(digits), "activations": activations(digits), "first_batch": first_batch(digits)}
        text = json.dumps(ours, indent=1) + "\n"
        print(f"\n{GOLDEN.name} {'is now' if regen == 'write' else 'would be'}:\n{text}")
        if regen == "write":
            GOLDEN.write_text(text)
    return json.loads(GOLDEN.read_text())


def check_activations(digits: Digits, golden: dict[str, Any]) -> None:
    """Each to 1e-4 of itself; backends and processors were seen to differ by some 1e-6, and none is below 0.01."""
    ours, expected = activations(digits), golden["activations"]
    assert {name: len(values) for name, values in expected.items()} == {"lengths": 10, "atoms": 16, "pixels": 6}
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, err_msg=name)


def check_wrong(digits: Digits, golden: dict[str, Any]) -> None:
    """Within two images, as processors differ in the last digits."""
    assert abs(wrong(digits) - golden["wrong"]) <= 2


def check_first_batch(digits: Digits, golden: dict[str, Any]) -> None:
    assert first_batch(digits) == golden["first_batch"]


def test_golden_has_all_its_parts(golden: dict[str, Any]) -> None:
    assert golden.keys() == {"wrong", "activations", "first_batch"}


def test_activations_are_the_stored_ones(digits: Digits, golden: dict[str, Any]) -> None:
    check_activations(digits, golden)


def test_as_many_of_all_10_000_images_are_wrong(digits: Digits, golden: dict[str, Any]) -> None:
    assert len(digits[0]) == EXAMPLES
    check_wrong(digits, golden)


def test_first_training_batch_is_the_stored_one(digits: Digits, golden: dict[str, Any]) -> None:
    """Order, shift and scale, to the last bit: they come from integers and one product."""
    check_first_batch(digits, golden)


def test_weights_are_those_that_the_provenance_tells_of() -> None:
    message = json.loads(PROVENANCE.read_text())
    assert message["weights"] == {"bytes": WEIGHTS.stat().st_size, "sha256": files.sha256(WEIGHTS)}
    assert message["weights"]["bytes"] <= MOST_BYTES


def test_provenance_names_command_commit_seed_and_machine() -> None:
    message = json.loads(PROVENANCE.read_text())
    assert (message["run"], message["scale"], message["seed"], message["git_dirty"]) == (RUN, SCALE, 0, False)
    assert re.fullmatch("[0-9a-f]{40}", message["git_revision"])
    assert message["device"]
    command = (
        f"python -m experiments.train {RUN} --scale {SCALE} --seed 0 --params tests/golden/data/trained/params.yaml"
    )
    assert message["command"] == command
    assert command in (FOLDER / "params.yaml").read_text()


def test_the_parameter_file_holds_the_settings_of_the_training() -> None:
    """A setting that is newer than the weights has its default, or is not what they were trained with."""
    now, message = (
        settings().as_json(),
        json.loads(PROVENANCE.read_text())["settings"],
    )
    defaults = {field.name: field.default for field in dataclasses.fields(params.RunConfig)}
    assert {**{name: defaults[name] for name in now.keys() - message.keys()}, **message} == now
