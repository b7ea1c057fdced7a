"""Numbers that no training could be made with are refused by the settings, and sizes before memory is asked for."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from capsrepro.core import params, room
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.core.validation import validated
from capsrepro.network import models, sizes
from capsrepro.released.settings import Hparams, settings
from tests.support.runs import BASELINE, CAPSNET

PAPER = RunConfig("mnist", "capsnet", routing=3, reconstruction=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", 2.5),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("average", 2.0),
        ("average", 1.0),
        ("shift", 10**12),
        ("shift", 29),
        ("primary_types", 10**9),
        ("batch_size", 10**9),
        ("conv_channels", [10**9]),
        ("conv_channels", [1] * 9),
        ("dense_units", [0]),
        ("routing", 101),
        ("members", 33),
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("decay_rate", 1.5),
        ("steps", 10**10),
        ("stop_pct", 101.0),
        ("test_pairs", 10**9),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(Error, match=rf"^here, {name}.*: expected .*, received .*; correct it$"):
        validated(RunConfig, PAPER.as_json() | {name: value}, "here")


TEXT = """
trainings:
  quick: {rows: [base], seeds: [0]}
runs:
  base: {data: multimnist, model: multimnist_baseline, shift: 4}
scale_settings:
  quick:
    base: {conv_channels: [8, 8]}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[8, 8]",
            "[8, 8, 8]",
            "quick.base.conv_channels: a multimnist_baseline has 2 convolutions, received 3",
        ),
        ("[8, 8]", "[8]", "has 2 convolutions, received 1"),
        ("seeds: [0]", "seeds: [4294967296]", r"seeds\[0\]: expected at most 100000, received 4294967296"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    params.read(path)
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(Error, match=message):
        params.read(path)


def test_flags_of_the_released_code_have_the_same_ranges() -> None:
    with pytest.raises(Error, match="hparams_override.*, primary_types: expected at most 65536, received 1000000000"):
        settings("capsule", Hparams.read("num_prime_capsules=1000000000"), targets=1, steps=1, save_steps=1)


@pytest.mark.parametrize(
    ("run", "shape"),
    [
        (PAPER, (16, 16, 1)),
        (dataclasses.replace(BASELINE, padding="valid", conv_channels=(1,) * 7), (28, 28, 1)),
        (RunConfig("multimnist", "multimnist_baseline", conv_channels=(1, 1), padding="valid"), (10, 10, 1)),
    ],
)
def test_padding_that_leaves_no_pixel_is_refused(run: RunConfig, shape: tuple[int, int, int]) -> None:
    with pytest.raises(Error, match="padding: valid leaves nothing of"):
        models.build(run, shape)


@pytest.mark.parametrize(
    ("run", "parameters"),
    [
        (PAPER, 8_215_728),
        (dataclasses.replace(PAPER, reconstruction=False), 6_804_384),
        (
            RunConfig("mnist", "mnist_baseline", padding="same", conv_channels=(256, 256, 128), dense_units=(328, 192)),
            35_445_522,
        ),
    ],
)
def test_the_number_of_weights_is_that_of_the_paper_without_biases(run: RunConfig, parameters: int) -> None:
    assert 0.999 * parameters < sizes.parameters(run, (28, 28, 1), 10) < parameters


def test_a_network_or_batch_that_no_memory_holds_is_refused_before_it_is_built() -> None:
    wide = dataclasses.replace(PAPER, primary_types=65_536, primary_atoms=65_536)
    with pytest.raises(Error, match="primary_types 65536.*: needs .* GB of memory at least, this machine has"):
        models.build(wide, (28, 28, 1))
    large = dataclasses.replace(PAPER, batch_size=65_536, conv_channels=(65_536,))
    with pytest.raises(Error, match="a batch_size of 65536: needs"):
        sizes.check_batch(large, (28, 28, 1), 10)
    sizes.check(CAPSNET, (28, 28, 1), 10)
    sizes.check_batch(CAPSNET, (28, 28, 1), 10)


def test_what_no_disk_holds_is_refused_before_it_is_written(tmp_path: Path) -> None:
    room.check_disk(tmp_path / "not" / "yet", 1, "--pad")
    with pytest.raises(Error, match=f"^--pad: needs 1e\\+09 GB in {tmp_path}, .* are free; ask for less$"):
        room.check_disk(tmp_path / "not" / "yet", 10**18, "--pad")
