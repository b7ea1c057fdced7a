"""The parameter counts behind the paper's rounded figures: a model that misses one is not the paper's model."""

import dataclasses

import pytest

from capsrepro import models, params
from capsrepro.params import Run

MULTIMNIST_BASELINE = Run(
    "mnist",
    "multimnist_baseline",
    recipe="paper",
    loss="sigmoid",
    padding="same",
    conv_channels=(512, 256),
    dense_units=(1024,),
)
RELEASED_BASELINE = dataclasses.replace(MULTIMNIST_BASELINE, recipe="released", padding="valid")
CAPSNET = Run("mnist", "capsnet", routing=3, reconstruction=True)


@pytest.mark.parametrize(
    ("run", "size", "digits", "count"),
    [
        (CAPSNET, 28, 1, 8_215_728),
        (dataclasses.replace(CAPSNET, reconstruction=False), 28, 1, 6_804_384),
        (CAPSNET, 36, 2, 11_361_968),
        (MULTIMNIST_BASELINE, 36, 2, 24_563_978),
        (RELEASED_BASELINE, 28, 1, 7_495_946),
    ],
)
def test_parameters_of_a_network(run: Run, size: int, digits: int, count: int) -> None:
    assert models.build(run, (size, size, 1), digits=digits).count_params() == count


@pytest.mark.parametrize(
    ("row", "count"),
    [
        ("mnist-baseline", 35_445_522),
        ("mnist-capsnet-r1", 6_804_384),
        ("mnist-capsnet-r1-recon", 8_215_728),
        ("mnist-capsnet-r3", 6_804_384),
        ("mnist-capsnet-r3-recon", 8_215_728),
    ],
)
def test_parameters_of_a_row_at_paper_scale(row: str, count: int) -> None:
    assert models.build(params.read().settings(row, "paper"), (28, 28, 1)).count_params() == count
