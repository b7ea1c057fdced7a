"""The layers and losses against numbers that the authors' released code computed (tests/golden/data/layers.npz)."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from capsrepro.network import layers, losses, routing
from tests.support.gradients import with_gradients
from tests.support.layer_goldens import (
    CASES,
    GOLDEN,
    check_decoder,
    check_losses_and_counts,
    check_routing,
    check_squash,
    close,
)

ROUTING = [name for name in CASES if name.startswith("routing")]
EVALUATION = [name for name in CASES if name.startswith("evaluate_")]


@pytest.mark.parametrize("case", ["squash3", "squash5"])
def test_squash_and_its_gradient(case: str) -> None:
    check_squash(case)


@pytest.mark.parametrize("case", ROUTING)
def test_routing_and_its_gradients(case: str) -> None:
    check_routing(case)


@pytest.mark.parametrize("case", ["leaky3", "leaky5"])
def test_leaky_couplings_and_their_gradient(case: str) -> None:
    """`[B, I, C]`, and `[B, I, C, H, W]` in `leaky5`."""
    logits, cotangent = (np.moveaxis(GOLDEN[f"{case}/{name}"], 2, 1) for name in ("in/logits", "cotangent"))
    couplings, (of_logits,) = with_gradients(lambda b: routing.couplings_of(b, True), logits, cotangent=cotangent)
    close(np.moveaxis(couplings, 1, 2), f"{case}/out/route", 1e-5)
    close(np.moveaxis(of_logits, 1, 2), f"{case}/grad/logits", 1e-4)


@pytest.mark.parametrize("case", ["margin", "margin_edge"])
def test_margin_loss_and_its_gradient_on_the_margins_too(case: str) -> None:
    """The golden holds each class's cost, without the mean and the half of the released total."""
    truth, logits = GOLDEN[f"{case}/in/labels"], GOLDEN[f"{case}/in/logits"]
    each = np.eye(truth.shape[1], dtype=np.float32)

    def costs_of(scores: Any) -> Any:
        # One class at a time: elsewhere a score of 0.1 that is no class costs nothing.
        alone = [losses.margin_loss(truth * one, scores * one + 0.1 * (1 - one)) for one in each]
        return 0.5 * ops.stack(alone, axis=1)  # the released cost of a class is half that of Eq. 4

    costs, (of_logits,) = with_gradients(costs_of, logits, cotangent=GOLDEN[f"{case}/cotangent"])
    close(costs, f"{case}/out/cost", 1e-5)
    close(of_logits, f"{case}/grad/logits", 1e-4)


def test_decoder_and_reconstruction_loss_and_their_gradients() -> None:
    check_decoder()


def test_squash_is_finite_where_the_released_one_is_not() -> None:
    """`squash3_edge` has a zero vector and one whose square underflows: NaN there, zero here; the others agree."""
    x, cotangent = (GOLDEN[f"squash3_edge/{name}"] for name in ("in/x", "cotangent"))
    y, (of_x,) = with_gradients(lambda s: routing.squash(s, axis=2), x, cotangent=cotangent)
    for ours, name in ((y, "out/y"), (of_x, "grad/x")):
        golden = GOLDEN[f"squash3_edge/{name}"]
        finite = np.isfinite(golden)
        assert 0 < finite.sum() < golden.size
        assert np.isfinite(ours).all()
        assert np.allclose(ours[finite], golden[finite], rtol=1e-5, atol=1e-7)
        assert np.abs(ours[~finite]).max() < 1e-6


def test_digit_capsules_and_their_gradients() -> None:
    about = CASES["capsule"]
    kernel = GOLDEN["capsule/var/caps/weights_1"]  # [I, a, C*D]
    shape = (*kernel.shape[:2], about["output_dim"], about["output_atoms"])
    layer = layers.DigitCapsules(about["output_dim"], about["output_atoms"], about["num_routing"], about["leaky"])
    layer.build(GOLDEN["capsule/in/x"].shape)
    layer.kernel.assign(kernel.reshape(shape).transpose(2, 0, 1, 3))
    layer.bias.assign(GOLDEN["capsule/var/caps/biases_1"])
    y, (of_x, of_kernel, of_bias) = with_gradients(
        layer, GOLDEN["capsule/in/x"], cotangent=GOLDEN["capsule/cotangent"], variables=[layer.kernel, layer.bias]
    )
    close(y, "capsule/out/act", 1e-5)
    close(of_x, "capsule/grad/x", 1e-4)
    close(np.transpose(of_kernel, (1, 2, 0, 3)).reshape(kernel.shape), "capsule/grad/var/caps/weights_1", 1e-4)
    close(of_bias, "capsule/grad/var/caps/biases_1", 1e-4)


@pytest.mark.parametrize("case", [name for name in CASES if name.startswith("convslim")])
def test_convolutional_capsules_and_their_gradients(case: str) -> None:
    """Votes by a convolution that all input types share, routed place by place; [batch, type, atom, row, column].

    No network of the paper has such a layer, but for the primary capsules with their one input type.
    """
    about = CASES[case]
    types, atoms = about["output_dim"], about["output_atoms"]
    given = [GOLDEN[f"{case}/{name}"] for name in ("in/x", "var/cc/weights_1", "var/cc/biases_1")]
    batch, below, atoms_in, *size = given[0].shape

    def routed(x: Any, kernel: Any, biases: Any) -> Any:
        apart = ops.transpose(ops.reshape(x, (batch * below, atoms_in, *size)), (0, 2, 3, 1))
        grid = ops.conv(apart, kernel, strides=about["stride"], padding=about["padding"].lower())
        _, height, width, _ = grid.shape
        votes = ops.reshape(grid, (batch, below, height, width, types, atoms))
        votes = ops.reshape(ops.transpose(votes, (0, 2, 3, 4, 1, 5)), (-1, types, below, atoms))
        bias = biases[:, :, 0, 0]
        capsules = routing.route(routing.StoredVotes(votes), bias, about["num_routing"], about["leaky"])
        return ops.transpose(ops.reshape(capsules, (batch, height, width, types, atoms)), (0, 3, 4, 1, 2))

    y, gradients = with_gradients(routed, *given, cotangent=GOLDEN[f"{case}/cotangent"])
    close(y, f"{case}/out/act", 1e-5)
    for gradient, name in zip(gradients, ("x", "var/cc/weights_1", "var/cc/biases_1"), strict=True):
        close(gradient, f"{case}/grad/{name}", 1e-4)


@pytest.mark.parametrize("case", EVALUATION)
def test_losses_and_counts_ties_included(case: str) -> None:
    check_losses_and_counts(case)
