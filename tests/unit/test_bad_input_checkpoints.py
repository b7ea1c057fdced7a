"""Checkpoints and backups damaged at random: refused by name in one line, passed over, or restored exactly."""

import functools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsrepro.network.weights import arrays_sha256, load_weights, save_weights, weights_sha256
from capsrepro.released import checkpoints
from capsrepro.training import backups
from tests.support import unsealed_weights
from tests.support.arrays import HEADERS, Trap, npy, npz
from tests.support.bad_input import REFUSED, answer, damaged, frugal, often, put
from tests.support.commands import run_module
from tests.support.digits import needs_tensorflow
from tests.support.runs import tiny_network

pytestmark = pytest.mark.usefixtures("counted")

with_checkpoints = needs_tensorflow("read and write the released code's checkpoints")

MODEL, STRANGER = tiny_network(), tiny_network(1)
SHA256 = weights_sha256(MODEL)


# Our weights


@pytest.fixture(scope="module")
def sealed(folder: Path) -> bytes:
    save_weights(MODEL, folder / "whole.weights.h5")
    return (folder / "whole.weights.h5").read_bytes()


@often
@given(st.data())
def test_weights_are_refused_or_exactly_those_saved(folder: Path, sealed: bytes, data: st.DataObject) -> None:
    path = folder / "some.weights.h5"
    put(path, data.draw(damaged(sealed, 2000)))
    with frugal(path):
        read = answer("our weights", lambda: load_weights(STRANGER, path), path)
    assert read is REFUSED or weights_sha256(STRANGER) == SHA256


def test_weights_without_our_checksum_are_refused_or_finite(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    child = run_module("tests.support.unsealed_weights", tmp_path)
    assert child.returncode == 0, child.stderr[-3000:]
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{child.stdout.strip()}")
    assert f"reader {unsealed_weights.READER}: 2" in child.stdout


def test_weights_that_claim_to_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.weights.h5"
    path.write_bytes(unsealed_weights.unsealed(path))
    with h5py.File(path, "r+") as file:
        name = next(name for name in _names(file) if file[name].ndim == 4)
        del file[name]
        file.create_dataset(name, (2**20, 2**11), "f4", chunks=(1, 2**11))  # 8 GiB that are nowhere
    with frugal(path):
        assert answer("our weights", lambda: load_weights(STRANGER, path), path) is REFUSED


def test_a_pickle_among_the_weights_is_not_loaded(folder: Path) -> None:
    import pickle

    path, sprung = folder / "pickled.weights.h5", folder / "sprung"
    for content in (pickle.dumps(Trap(sprung)), npz({"meta.npy": b""}) + pickle.dumps(Trap(sprung))):
        put(path, content)
        assert answer("our weights", lambda: load_weights(STRANGER, path), path) is REFUSED
    assert not sprung.exists()


def _names(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, entry: found.append(name) if isinstance(entry, h5py.Dataset) else None)
    return found


# The released code's


@pytest.fixture(scope="module")
def parts(folder: Path) -> tuple[Path, dict[str, bytes]]:
    prefix = checkpoints.save_released(MODEL, folder / "model.ckpt", 7)
    return prefix, {name: Path(f"{prefix}{name}").read_bytes() for name in (".index", ".data-00000-of-00001")}


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Those of a sound checkpoint."""
    prefix = checkpoints.save_released(MODEL, tmp_path_factory.mktemp("sound") / "model.ckpt", 7)
    return checkpoints._read_released(str(prefix))


@with_checkpoints
@often
@given(st.sampled_from([".index", ".data-00000-of-00001"]), st.data())
def test_tf1_checkpoint_is_refused_or_exactly_what_was_saved(
    parts: tuple[Path, dict[str, bytes]], part: str, data: st.DataObject
) -> None:
    prefix, whole = parts
    header = 5000 if part == ".index" else 64  # TensorFlow's index ends with where everything is
    content = data.draw(damaged(whole[part], header))
    for name, sound in whole.items():
        put(Path(f"{prefix}{name}"), content if name == part else sound)
    with frugal(Path(f"{prefix}{part}")):
        step = answer("TF1 checkpoint", lambda: checkpoints.restore_released(STRANGER, prefix), prefix)
    assert step is REFUSED or (step, weights_sha256(STRANGER)) == (7, SHA256)


VALUES = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e30, np.nan, np.inf])
TYPES = st.sampled_from(["float32", "float32", "float64", "int64", "bool", "object"])
CHANGES = st.none() | st.tuples(st.lists(st.integers(0, 3), max_size=5), TYPES, VALUES)


@with_checkpoints
@often
@given(st.data())
def test_tf1_checkpoint_of_other_variables_is_refused(
    folder: Path, variables: dict[str, np.ndarray], data: st.DataObject
) -> None:
    """A sound checkpoint, but a variable is missing, superfluous, or of another shape, type or value."""
    import tensorflow as tf

    prefix = folder / "other.ckpt"
    values = dict(variables)
    name = data.draw(st.sampled_from([*sorted(values), "another"]))
    change = data.draw(CHANGES)
    values.pop(name, None)
    if change is not None:
        shape, kind, value = change
        with np.errstate(invalid="ignore"):
            values[name] = np.full(shape, b"text" if kind == "object" else value).astype(kind)
    tensors = [*values.values()]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=[*values], shape_and_slices=[""] * len(values), tensors=tensors)
    step = answer("TF1 variables", lambda: checkpoints.restore_released(STRANGER, prefix), prefix)
    if step is not REFUSED:
        assert name == "global_step" or change is None or change[1] == "float32"
        assert isinstance(step, int)
        assert 0 <= step < 2**31
        assert all(np.isfinite(np.asarray(variable)).all() for variable in STRANGER.weights)


# Backups: one that cannot be read is passed over with a warning


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Shelf:
    """Two backups of a training of one small layer, of which the newer one is damaged."""

    def __init__(self, folder: Path) -> None:
        numbers = keras.Input((3,))
        self.model = keras.Model(numbers, keras.layers.Dense(4)(numbers))
        self.model.compile("adam")
        self.model.optimizer.build(self.model.trainable_variables)
        self.backups = backups.Backups(folder, {"of": "a test"})
        self.sha256 = {}
        for step in (1, 2):
            for variable in backups._state(self.model):
                variable.assign(np.full(variable.shape, step, variable.dtype))
            self.backups.save(self.model, step, {"history": [step]})
            self.sha256[step] = self.state()
        self.newest = self.backups.folder / "00000002.npz"
        self.whole = self.newest.read_bytes()

    def state(self) -> str:
        return arrays_sha256(map(keras.ops.convert_to_numpy, backups._state(self.model)))

    def restored(self, reader: str) -> int:
        """Which backup was restored, exactly."""
        kept = Kept()
        backups.log.addHandler(kept)
        try:
            with frugal(self.newest):
                step, record = answer(reader, lambda: self.backups.restore(self.model), self.newest)
        finally:
            backups.log.removeHandler(kept)
        assert (self.state(), type(step)) == (self.sha256[step], int)
        assert [self.newest.name in line and len(line.splitlines()) == 1 for line in kept.lines] == [True] * (2 - step)
        assert isinstance(record, dict)
        return step


@pytest.fixture(scope="module")
def shelf(folder: Path) -> Iterator[Shelf]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "_state", functools.cache(backups._state))  # it builds a model each time
        yield Shelf(folder / "backups")


@often
@given(st.data())
def test_a_damaged_backup_is_passed_over_or_restored_exactly(shelf: Shelf, data: st.DataObject) -> None:
    put(shelf.newest, data.draw(damaged(shelf.whole, 400)))
    assert shelf.restored("backup") in (1, 2)


SCALARS = st.none() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=3)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@often
@given(
    st.sampled_from(["step", "record", "fingerprint", "sha256", "", "nested"]),
    JSON,
    st.just({}) | HEADERS,
    st.booleans(),
)
def test_a_backup_that_says_what_it_is_not_is_passed_over(
    shelf: Shelf, key: str, value: Any, header: dict[str, Any], stored: bool
) -> None:
    """The archive's checksums are right; its record or the header of an array is not."""
    arrays = [keras.ops.convert_to_numpy(variable) for variable in backups._state(shelf.model)]
    meta = {"step": 2, "record": {}, "fingerprint": shelf.backups.fingerprint}
    meta |= {"sha256": arrays_sha256(arrays)}
    text = json.dumps((meta | {key: value}) if key else value).encode()
    text = b"[" * 100_000 if key == "nested" else text
    members = {"meta.npy": npy(np.frombuffer(text, np.uint8))}
    members |= {f"v{number}.npy": npy(array, **header if not number else {}) for number, array in enumerate(arrays)}
    put(shelf.newest, npz(members, 0 if stored else 8))
    shelf.sha256[2] = meta["sha256"]
    assert shelf.restored("backup, other records and headers") in (1, 2)
