"""The parameter counts behind the paper's rounded figures: a model that misses one is not the paper's model."""

import json
import re
from pathlib import Path

import pytest

from capsrepro.core import params
from capsrepro.core.params import RunConfig
from capsrepro.network import models
from capsrepro.released import checkpoints

RELEASED = json.loads((Path(__file__).parent / "data" / "param_counts.json").read_text())


def released(name: str) -> tuple[RunConfig, dict]:
    """The run, and the sizes, that a name such as `caps_p32_36_2targets_remake` stands for."""
    depth = {"cifar": 3, "norb": 2, "24x3": 3}
    channels = next((count for word, count in depth.items() if word in name), 1)
    size = (
        24 if "cifar" in name or "24x3" in name else int(re.findall(r"_(\d\d)(?=_|\(|$)", f"{name}_")[-1].rstrip("("))
    )
    digits = 2 if "2targets" in name else 1
    padding = "same" if "same" in name else "valid"
    sizes = {"image_shape": (size, size, channels), "digits": digits, "classes": 5 if "norb" in name else 10}
    if name.startswith("conv"):
        run = RunConfig("mnist", "multimnist_baseline", padding=padding, conv_channels=(512, 256), dense_units=(1024,))
        return run, sizes
    types = int(re.findall(r"_p(\d+)", name)[0])
    decoder = "noremake" not in name
    run = RunConfig(
        "mnist",
        "capsnet",
        routing=3,
        primary_types=types,
        padding=padding,
        leaky="leaky" in name,
        reconstruction=decoder,
    )
    return run, sizes


@pytest.mark.parametrize("name", RELEASED)
def test_networks_have_the_variables_of_the_released_code(name: str) -> None:
    run, sizes = released(name)
    model = models.build(run, sizes.pop("image_shape"), **sizes)
    assert model.count_params() == RELEASED[name]["total"]
    ours = checkpoints._released_variables(model)
    assert {key: list(checkpoints._to_released(key, variable).shape) for key, variable in ours.items()} == RELEASED[
        name
    ]["variables"]


@pytest.mark.parametrize(
    ("row", "shape", "digits", "count"),
    [
        ("mnist-baseline", (28, 28, 1), 1, 35_445_522),
        ("mnist-capsnet-r1", (28, 28, 1), 1, 6_804_384),
        ("mnist-capsnet-r1-recon", (28, 28, 1), 1, 8_215_728),
        ("mnist-capsnet-r3", (28, 28, 1), 1, 6_804_384),
        ("mnist-capsnet-r3-recon", (28, 28, 1), 1, 8_215_728),
        ("multimnist-baseline", (36, 36, 1), 2, 24_563_978),
        ("multimnist-capsnet-r1-recon", (36, 36, 1), 2, 11_361_968),
        ("multimnist-capsnet-r3-recon", (36, 36, 1), 2, 11_361_968),
        ("affnist-capsnet", (40, 40, 1), 1, 13_475_808),
        ("affnist-baseline", (40, 40, 1), 1, 13_461_006),  # our choice: about as many as that CapsNet
        ("cifar10-ensemble", (24, 24, 3), 1, 22_476_448),  # one of the seven
    ],
)
def test_parameters_of_a_row_at_paper_scale(row: str, shape: tuple[int, int, int], digits: int, count: int) -> None:
    assert models.build(params.read().settings(row, "paper"), shape, digits=digits).count_params() == count


def test_svhn_has_the_smaller_network_of_the_paper() -> None:
    """Section 7: 64 channels, 16 types of 6-D primary capsules, 8-D capsules on top."""
    model = models.build(params.read().settings("svhn-capsnet", "paper"), (32, 32, 3))
    assert model.get_layer("conv1").filters == 64
    assert model.get_layer("primary_capsules").output.shape == (None, 16 * 8 * 8, 6)
    assert model.get_layer("digit_capsules").output.shape == (None, 10, 8)
