"""The layers against a NumPy reference written straight from the paper, and by hand."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from capsrepro.core.params import RoutingUpdate, RunConfig
from capsrepro.network import layers, models, routing
from tests.support.gradients import with_gradients


def squash_of_paper(s: np.ndarray) -> np.ndarray:
    """Equation 1, literally."""
    length = np.linalg.norm(s, axis=-1, keepdims=True)
    return length**2 / (1 + length**2) * s / length


def routing_of_paper(
    votes: np.ndarray, bias: np.ndarray, iterations: int, leaky: bool, update: str = "accumulate"
) -> np.ndarray:
    """Procedure 1 in loops; votes [B, C, I, D]. `replace`: the agreement takes the place of the logits."""
    batch, classes, inputs, _ = votes.shape
    out = np.zeros((batch, classes, votes.shape[3]))
    for image in range(batch):
        b = np.zeros((inputs, classes))
        for _ in range(iterations):
            c = np.exp(b) / (np.exp(b).sum(axis=1, keepdims=True) + (1.0 if leaky else 0.0))
            s = np.stack([sum(c[i, j] * votes[image, j, i] for i in range(inputs)) for j in range(classes)])
            v = squash_of_paper(s + bias)
            agreement = np.stack([[votes[image, j, i] @ v[j] for j in range(classes)] for i in range(inputs)])
            b = b + agreement if update == "accumulate" else agreement
        out[image] = v
    return out


def test_squash_of_3_4_has_length_25_26ths() -> None:
    assert np.allclose(routing.squash(np.array([[3.0, 4.0]], np.float32)), np.array([[3.0, 4.0]]) * 5 / 26)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=8))
@settings(deadline=None)
def test_squash_keeps_the_direction_and_a_length_below_one(vector: list[float]) -> None:
    s = np.array(vector, np.float32)
    v = np.array(routing.squash(s), np.float64)
    assert np.linalg.norm(v) < 1.0 + 1e-6
    assert float(v @ s) >= 0.0
    if np.linalg.norm(s) > 1e-3:
        assert np.allclose(v, squash_of_paper(s.astype(np.float64)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-20, 1e-10])
def test_squash_and_lengths_are_finite_at_and_near_zero_with_their_gradients(scale: float) -> None:
    def total(s: Any) -> Any:
        v = routing.squash(s)
        return ops.sum(v) + ops.sum(routing.lengths(v)) + ops.sum(routing.lengths(s))

    s = np.full((2, 8), scale, np.float32)
    _, (of_s,) = with_gradients(total, s)
    v = np.array(routing.squash(s))
    assert np.all(np.isfinite(v))
    assert np.all(np.isfinite(of_s))
    assert np.all(np.abs(v) <= 1e-9)


@pytest.mark.parametrize("update", ["accumulate", "replace"])
@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_routing_is_procedure_1(iterations: int, leaky: bool, update: RoutingUpdate) -> None:
    generator = np.random.default_rng(0)
    votes, bias = generator.normal(size=(3, 4, 6, 5)), generator.normal(size=(4, 5))
    stored = routing.StoredVotes(votes.astype(np.float32))
    routed = routing.route(stored, bias.astype(np.float32), iterations, leaky, update)
    assert np.allclose(routed, routing_of_paper(votes, bias, iterations, leaky, update), atol=2e-6)


def test_the_logits_accumulate_unless_a_run_says_otherwise() -> None:
    votes = routing.StoredVotes(np.random.default_rng(5).normal(size=(2, 3, 4, 5)).astype(np.float32))
    bias = np.full((3, 5), 0.1, np.float32)
    plain, summed, replaced = (
        np.array(routing.route(votes, bias, 3, **update))
        for update in ({}, {"update": "accumulate"}, {"update": "replace"})
    )
    assert np.array_equal(plain, summed)
    assert np.abs(plain - replaced).max() > 0.01
    for update, name in ((RunConfig("mnist", "capsnet").routing_update, "accumulate"), ("replace", "replace")):
        run = RunConfig("mnist", "capsnet", routing=3, routing_update=update, conv_channels=(2,), primary_types=1)
        assert models.build(run, (28, 28, 1)).get_layer("digit_capsules").update == name


@pytest.mark.parametrize("leaky", [False, True])
def test_logit_changes_are_those_of_the_passes_of_the_paper(leaky: bool) -> None:
    """Against Procedure 1 in loops, whose logits after each pass are told apart by one pass more."""
    votes, bias = np.random.default_rng(3).normal(size=(2, 3, 5, 4)) * 0.3, np.full((3, 4), 0.1)
    expected = []
    for passes in range(1, 5):  # what pass n adds to b is votes . v after n iterations
        capsules = routing_of_paper(votes, bias, passes, leaky)  # (B, C, D)
        expected.append(np.abs(np.einsum("bcid,bcd->bci", votes, capsules)).mean())
    ours = routing.logit_changes(routing.StoredVotes(votes.astype(np.float32)), bias.astype(np.float32), 4, leaky)
    assert np.allclose(ours, expected, rtol=1e-4)


def states_of_paper(
    votes: np.ndarray, bias: np.ndarray, passes: int, leaky: bool, update: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Logits and couplings `(B, C, I)` before the first pass and after each, b from the capsules of Procedure 1."""
    agreements = [
        np.einsum("bcid,bcd->bci", votes, routing_of_paper(votes, bias, count, leaky, update))
        for count in range(1, passes + 1)
    ]
    logits = [np.zeros_like(agreements[0])]
    for agreement in agreements:
        logits.append(agreement if update == "replace" else logits[-1] + agreement)
    return [(b, np.exp(b) / (np.exp(b).sum(axis=1, keepdims=True) + float(leaky))) for b in logits]


@pytest.mark.parametrize("product", [False, True])
@pytest.mark.parametrize("leaky", [False, True])
def test_changes_tell_three_quantities_apart(leaky: bool, product: bool) -> None:
    """The change of accumulated logits, of the couplings, and of logits that the agreement replaces."""
    generator = np.random.default_rng(3)
    inputs, kernel = generator.normal(size=(2, 5, 6)) * 0.4, generator.normal(size=(3, 5, 6, 4)) * 0.5
    votes, bias = np.einsum("bia,ciad->bcid", inputs, kernel), np.full((3, 4), 0.1)
    expected = {}
    for update in ("accumulate", "replace"):
        states = states_of_paper(votes, bias, 4, leaky, update)
        changes = [[np.abs(b - a).mean() for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(states)]
        expected[update] = np.array(changes).T  # of logits, of couplings
    few = inputs.astype(np.float32), kernel.astype(np.float32)
    stored = routing.ProductVotes(*few) if product else routing.StoredVotes(votes.astype(np.float32))
    ours = routing.changes(stored, bias.astype(np.float32), 4, leaky)
    assert np.allclose(ours.logits_accumulated, expected["accumulate"][0], rtol=1e-4)
    assert np.allclose(ours.couplings, expected["accumulate"][1], rtol=1e-4)
    assert np.allclose(ours.logits_replaced, expected["replace"][0], rtol=1e-4)
    assert np.array_equal(ours.logits_replaced[0], ours.logits_accumulated[0])  # before it, b is 0 in both


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_routing_without_votes_is_routing_with_votes(iterations: int, leaky: bool) -> None:
    """The same numbers and the same gradients."""
    generator = np.random.default_rng(4)
    inputs, kernel = (generator.normal(size=shape).astype(np.float32) for shape in ((3, 5, 4), (2, 5, 4, 6)))
    bias, weights = generator.normal(size=(2, 6)).astype(np.float32), generator.normal(size=(3, 2, 6))

    def without(u: Any, w: Any, b: Any) -> Any:
        return routing.route(routing.ProductVotes(u, w), b, iterations, leaky)

    def with_votes(u: Any, w: Any, b: Any) -> Any:
        return routing.route(routing.StoredVotes(ops.einsum("bia,ciad->bcid", u, w)), b, iterations, leaky)

    found = []
    for way in (without, with_votes):
        v, gradients = with_gradients(way, inputs, kernel, bias, cotangent=weights)
        found.append([v, *gradients])
    for ours, expected in zip(*found, strict=True):
        assert np.allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_couplings_add_up_over_the_classes_not_over_the_inputs() -> None:
    logits = np.random.default_rng(1).normal(size=(2, 4, 6)).astype(np.float32)
    even = np.array(routing.couplings_of(logits, False))
    assert np.allclose(even.sum(axis=1), 1.0)
    assert not np.allclose(even.sum(axis=2), even.sum(axis=2)[0, 0])
    assert np.all(np.array(routing.couplings_of(logits, True)).sum(axis=1) < 1.0)


def test_primary_capsules_are_type_major_and_have_no_relu() -> None:
    layer = layers.PrimaryCapsules(types=2, atoms=3, kernel_size=1, strides=1, kernel_scale=0.5)
    layer.build((None, 2, 2, 1))
    layer.kernel.assign(-np.arange(1.0, 7.0, dtype=np.float32).reshape(1, 1, 1, 6))
    layer.bias.assign(np.zeros(6))
    image = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32).reshape(1, 2, 2, 1)
    capsules = np.array(layer(image))
    expected = squash_of_paper(
        np.array([[-0.5 * x * k for k in ks] for ks in ((1, 2, 3), (4, 5, 6)) for x in (1, 2, 3, 4)])
    )
    assert np.allclose(capsules[0], expected, atol=1e-6)
    assert layer.compute_output_shape((None, 2, 2, 1)) == (None, 8, 3)


@pytest.mark.parametrize(("padding", "size"), [("valid", 36 * 8), ("same", 100 * 8)])
def test_the_grid_of_the_papers_primary_capsules(padding: str, size: int) -> None:
    layer = layers.PrimaryCapsules(types=8, padding=padding)
    assert layer.compute_output_shape((None, 20, 20, 16)) == (None, size, 8)
    assert tuple(layer(np.zeros((1, 20, 20, 16), np.float32)).shape) == (1, size, 8)


def test_a_layer_can_be_rebuilt_from_its_config() -> None:
    for layer in (
        layers.PrimaryCapsules(4, padding="same", kernel_scale=0.25),
        layers.DigitCapsules(5, 6, 2, leaky=True, update="replace"),
    ):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()


def test_mixed_precision_keeps_capsules_and_weights_in_float32() -> None:
    layer = layers.DigitCapsules(3, 4, routing=3, dtype="mixed_bfloat16")
    capsules = layer(np.ones((2, 5, 6), np.float32))
    assert keras.backend.standardize_dtype(capsules.dtype) == "float32"
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in layer.weights} == {"float32"}
