"""The seeds of the layers: those of the paper's rows never change, and no two layers of a network share one."""

import pytest

from capsrepro.core import params
from capsrepro.core.params import RunConfig
from capsrepro.network import models
from tests.support import ROOT

KNOWN = params.read(ROOT / "params.yaml")
ROWS = {  # of seed 7; the committed weights began with these
    "conv1": 7000,
    "conv2": 7001,
    "conv3": 7002,
    "primary_capsules": 7001,
    "digit_capsules": 7002,
    "fc1": 7003,
    "fc2": 7004,
    "decoder1": 7003,
    "decoder2": 7004,
    "decoder3": 7008,
    "scores": 7008,
    "dropout": 7009,
}


def seeds(run: RunConfig, side: int = 28) -> dict[str, int]:
    """The seed of each layer of a network that has one, by the layer's name."""
    layers = models.build(run, (side, side, 1), seed=7)._flatten_layers()
    found = {layer.name: getattr(layer, "kernel_initializer", layer) for layer in layers}
    return {name: holder.seed for name, holder in found.items() if isinstance(getattr(holder, "seed", None), int)}


@pytest.mark.parametrize("run", KNOWN.scale_settings["quick"])
def test_rows_keep_the_seeds_of_their_layers(run: str) -> None:
    found = seeds(KNOWN.settings(run, "quick"))
    assert "conv1" in found and len(found) >= 3
    assert found == {name: ROWS[name] for name in found}


MOST_BASELINE = RunConfig(
    "mnist", "mnist_baseline", dropout=0.5, conv_channels=8 * (2,), dense_units=8 * (3,), padding="same"
)
MOST_CAPSNET = RunConfig("mnist", "capsnet", routing=1, reconstruction=True, conv_channels=(2,), dense_units=8 * (3,))


@pytest.mark.parametrize(("run", "layers"), [(MOST_BASELINE, 18), (MOST_CAPSNET, 12)])
def test_the_most_layers_have_seeds_of_their_own(run: RunConfig, layers: int) -> None:
    found = seeds(run)
    assert len(found) == len(set(found.values())) == layers
