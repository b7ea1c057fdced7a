"""No weights, metrics or provenance of one training pass for those of another."""

import re
from pathlib import Path
from typing import Any

import keras
import pytest

from capsrepro.core import files, params
from capsrepro.core.errors import Error
from capsrepro.core.origin import Origin
from capsrepro.core.paths import RunPaths
from capsrepro.evidence import results as evidence
from capsrepro.evidence.deviations import is_stale
from capsrepro.network import ties
from capsrepro.network.weights import save_weights, weights_sha256
from tests.support import result_files
from tests.support.runs import TINY, tiny_network

WHERE = RunPaths("quick", "caps", 0)
ORIGIN = Origin("caps", "quick", 0, 40, TINY)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> keras.Model:
    """A network whose weights are those of the run, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    network = tiny_network(seed=1)
    save_weights(network, WHERE.weights, origin=ORIGIN)
    return network


def write(path: Path, **content: Any) -> None:
    files.write_json(path, content)


def test_weights_of_the_provenance_are_loaded(model: keras.Model) -> None:
    sha256 = weights_sha256(model)
    write(WHERE.provenance, **ties.hashes(sha256))
    again = tiny_network(seed=2)
    assert ties.load(again, WHERE, ORIGIN) == sha256 == weights_sha256(again)


def test_older_weights_do_not_pass_for_a_new_training(model: keras.Model) -> None:
    """Writing ended between the new provenance and the new weights: run, seed and even the steps are the same."""
    write(WHERE.provenance, **ties.hashes(weights_sha256(tiny_network(seed=3))), steps_done=40)
    both = f"^{re.escape(str(WHERE.weights))}: weights of sha256 [0-9a-f]{{12}}, but {re.escape(str(WHERE.provenance))}"
    with pytest.raises(Error, match=both + r" is of [0-9a-f]{12}; train again$"):
        ties.load(model, WHERE, ORIGIN)


@pytest.mark.parametrize("change", [{"steps_done": 20}, {"settings": TINY.as_json() | {"learning_rate": 0.5}}])
def test_a_provenance_without_a_hash_has_to_have_the_settings_and_steps_of_the_weights(
    model: keras.Model, change: dict[str, Any]
) -> None:
    older: dict[str, Any] = {"settings": TINY.as_json(), "steps_done": 40}
    write(WHERE.provenance, **older)
    assert ties.load(model, WHERE, ORIGIN) == weights_sha256(model)
    write(WHERE.provenance, **older | change)
    with pytest.raises(Error, match="not of the training that"):
        ties.load(model, WHERE, ORIGIN)


def test_published_weights_in_half_precision_pass_for_those_they_were_made_of_only(model: keras.Model) -> None:
    trained = weights_sha256(model)
    save_weights(model, WHERE.weights, origin=ORIGIN, half=True)
    write(WHERE.provenance, **ties.hashes(trained))
    with pytest.raises(Error, match="train again$"):
        ties.load(model, WHERE, ORIGIN)  # nothing says that these are rounded ones
    write(WHERE.publication, **ties.hashes(trained, model))
    assert ties.load(model, WHERE, ORIGIN) == trained != weights_sha256(model)
    write(WHERE.publication, **ties.hashes("ab" * 32, model))
    with pytest.raises(Error, match="train again$"):
        ties.load(model, WHERE, ORIGIN)


SETTINGS = params.RunConfig("mnist", "capsnet", routing=3, reconstruction=True).as_json()
METRICS = result_files.metrics("caps", SETTINGS, 23, scale="quick")
PROVENANCE = result_files.provenance(SETTINGS) | {"run": "caps", "scale": "quick", "seed": 0}


def read(folder: Path, score: dict[str, Any], origin: dict[str, Any]) -> evidence.Result:
    result_files.write(folder, "quick", "caps-seed0", score, origin)
    (result,) = evidence.read(folder, "quick")
    return result


@pytest.mark.parametrize("other", [{"run": "base"}, {"seed": 1}, {"scale": "full"}])
def test_a_provenance_of_another_run_seed_or_scale_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    assert read(tmp_path, METRICS, PROVENANCE).git_revision
    with pytest.raises(Error, match=r"provenance/caps-seed0\.json: expected the scale, run and seed of its path, rec"):
        read(tmp_path, METRICS, PROVENANCE | other)


def test_metrics_of_other_weights_than_the_provenance_are_stale_and_fail_the_check(tmp_path: Path) -> None:
    trained = PROVENANCE | ties.hashes(METRICS["weights_sha256"])
    result = read(tmp_path, METRICS, trained)
    evidence.check([result], "quick")
    assert not is_stale(result, SETTINGS)
    result = read(tmp_path, METRICS, PROVENANCE | ties.hashes("cd" * 32))
    assert is_stale(result, SETTINGS)
    with pytest.raises(Error, match=r"^caps-seed0: its metrics are of weights 0a0a0a0a0a0a, its provenance is of cdcd"):
        evidence.check([result], "quick")
    rounded = read(tmp_path, METRICS | {"rounded_from": "cd" * 32}, PROVENANCE | ties.hashes("cd" * 32))
    assert not is_stale(rounded, SETTINGS)
