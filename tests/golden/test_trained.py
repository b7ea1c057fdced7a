"""A small CapsNet trained on MNIST, restored: it is wrong as often as it was, with the activations that it had."""

import dataclasses
import json
import re

from capsrepro.core import files, params
from tests.support import trained_golden
from tests.support.digits import Digits
from tests.support.trained_golden import FOLDER, RUN, SCALE, WEIGHTS

PROVENANCE = FOLDER / "provenance.json"
MOST_BYTES = 3_000_000
EXAMPLES = 10_000


def test_golden_has_all_its_parts() -> None:
    assert trained_golden.golden().keys() == {"wrong", "activations", "first_batch"}


def test_activations_are_the_stored_ones(digits: Digits) -> None:
    trained_golden.check_activations(digits)


def test_as_many_of_all_10_000_images_are_wrong(digits: Digits) -> None:
    assert len(digits[0]) == EXAMPLES
    trained_golden.check_wrong(digits)


def test_first_training_batch_is_the_stored_one(digits: Digits) -> None:
    trained_golden.check_first_batch(digits)


def test_weights_are_those_that_the_provenance_tells_of() -> None:
    facts = json.loads(PROVENANCE.read_text())
    assert facts["weights"] == {"bytes": WEIGHTS.stat().st_size, "sha256": files.sha256(WEIGHTS)}
    assert facts["weights"]["bytes"] <= MOST_BYTES


def test_provenance_names_command_commit_seed_and_machine() -> None:
    facts = json.loads(PROVENANCE.read_text())
    assert (facts["run"], facts["scale"], facts["seed"], facts["git_dirty"]) == (RUN, SCALE, 0, False)
    assert re.fullmatch("[0-9a-f]{40}", facts["git_revision"])
    assert facts["device"]
    command = (
        f"python -m experiments.train {RUN} --scale {SCALE} --seed 0 --params tests/golden/data/trained/params.yaml"
    )
    assert facts["command"] == command
    assert command in (FOLDER / "params.yaml").read_text()


def test_the_parameter_file_holds_the_settings_of_the_training() -> None:
    """A setting that is newer than the weights has its default, or is not what they were trained with."""
    now, then = trained_golden.settings().as_json(), json.loads(PROVENANCE.read_text())["settings"]
    defaults = {field.name: field.default for field in dataclasses.fields(params.RunConfig)}
    assert {**{name: defaults[name] for name in now.keys() - then.keys()}, **then} == now
