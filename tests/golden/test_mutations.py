"""Goldens catch what they are for: each of these breaks one thing, and each golden named beside it has to fail.

A mutation replaces what the library looks up when it is called; the goldens run in this process, each anew.
"""

from collections.abc import Callable
from typing import Any

import pytest
from keras import ops

from capsrepro.data import mnist
from capsrepro.data.multimnist import MultiMnist
from capsrepro.network import layers, losses, models, routing
from capsrepro.training import loop
from tests.support import layer_goldens, network_goldens, reference_goldens, trained_golden
from tests.support.digits import Digits

pytestmark = pytest.mark.slow

SQUASH, PASSES, SHIFTED = routing.squash, routing.passes, mnist.shifted
MARGIN, RECONSTRUCTION = losses.margin_loss, losses.reconstruction_loss
AVERAGING, PAIRS = loop.AveragingAdam, MultiMnist.batch
FULL_WIDTH = next(folder for folder in network_goldens.FOLDERS if folder.name == "capsnet_mnist")

GOLDENS: dict[str, Callable[[Digits], None]] = {
    "squash": lambda _: layer_goldens.check_squash("squash3"),
    "routing": lambda _: layer_goldens.check_routing("routing_n3_plain"),
    "decoder": lambda _: layer_goldens.check_decoder(),
    "losses": lambda _: layer_goldens.check_losses_and_counts("evaluate_margin_1"),
    "network": lambda _: network_goldens.check_losses_and_counts(network_goldens.Case(FULL_WIDTH)),
    "activations": trained_golden.check_activations,
    "wrong": trained_golden.check_wrong,
    "first_batch": trained_golden.check_first_batch,
    "leaky": lambda _: reference_goldens.check_scores(leaky=True),
    "two_channels": lambda _: reference_goldens.check_two_channels(),
    "targets": reference_goldens.check_targets,
    "averaging": lambda _: reference_goldens.check_adam(0.9),
}


def squashed_by(function: Callable[..., Any]) -> list[tuple[Any, str, Any]]:
    """The layers have the name too."""
    return [(routing, "squash", function), (layers, "squash", function)]


def unit_vectors(s: Any, axis: int = -1) -> Any:
    """A squash that forgets |s|^2 / (1 + |s|^2)."""
    return s / ops.sqrt(ops.sum(ops.square(s), axis=axis, keepdims=True) + routing.SMALLEST)


def without_root(s: Any, axis: int = -1) -> Any:
    """A squash that multiplies by |s|^2 where it should by |s|."""
    squared = ops.sum(ops.square(s), axis=axis, keepdims=True)
    return s * (squared / (1.0 + squared))


def fewer_passes(votes: Any, bias: Any, *settings: Any) -> Any:
    """Routing of 3 iterations that makes 2: the first counts twice."""
    passes = PASSES(votes, bias, *settings)
    first = next(passes)
    yield first
    yield first
    yield from passes


def routed_twice(classes: int, atoms: int, iterations: int, leaky: bool, **named: Any) -> layers.DigitCapsules:
    """Digit capsules that take a setting of 3 for 2."""
    return layers.DigitCapsules(classes, atoms, iterations - 1, leaky, **named)


def divided_by_types(types: int, atoms: int, **named: Any) -> layers.PrimaryCapsules:
    """Primary capsules that leave out what the leak takes."""
    return layers.PrimaryCapsules(types, atoms, **{**named, "kernel_scale": 1.0 / types})


def partner_first(data: MultiMnist, numbers: Any) -> Any:
    """Pairs whose targets are not in the order of their labels."""
    batch = PAIRS(data, numbers)
    return batch._replace(targets=batch.targets[:, ::-1])


def flat(masked: Any) -> Any:
    return ops.reshape(masked, (-1, masked.shape[1], masked.shape[2] * masked.shape[3]))


def all_capsules(_: models.Mask, inputs: Any) -> Any:
    """A mask that leaves every capsule."""
    capsules, mask = inputs
    return flat(ops.ones_like(mask)[..., None] * capsules[:, None])


def longest_capsule(_: models.Mask, inputs: Any) -> Any:
    """A mask of the predicted class where the true one is asked for."""
    capsules, mask = inputs
    predicted = ops.one_hot(ops.argmax(routing.lengths(capsules), axis=-1), capsules.shape[1])  # (B, C)
    return flat(ops.ones_like(mask)[..., None] * predicted[:, None, :, None] * capsules[:, None])


MUTATIONS: dict[str, tuple[list[tuple[Any, str, Any]], list[str]]] = {
    "squash: unit vectors": (squashed_by(unit_vectors), ["squash", "routing", "network", "activations", "wrong"]),
    "squash: no square root": (squashed_by(without_root), ["squash", "routing", "network", "activations"]),
    "squash: the other axis": (
        squashed_by(lambda s, axis=-1: SQUASH(s, axis=axis - 1)),
        ["squash", "routing", "network", "activations"],
    ),
    "routing: a pass too few": ([(routing, "passes", fewer_passes)], ["routing", "network", "activations"]),
    "routing: logits that do not accumulate": (
        [(routing, "passes", lambda votes, bias, leaky, _: PASSES(votes, bias, leaky, "replace"))],
        ["routing", "network", "activations", "leaky"],
    ),
    "primary: the leak forgotten": ([(models, "PrimaryCapsules", divided_by_types)], ["leaky"]),
    "pixels: channels last": (
        [(models, "flattened", lambda images: images.reshape(*images.shape[:-3], -1))],
        ["two_channels"],
    ),
    "pixels: drawn with channels last": (
        [(models, "unflattened", lambda pixels, shape: pixels.reshape(*pixels.shape[:-1], *shape))],
        ["two_channels"],
    ),
    "targets: the partner first": ([(MultiMnist, "batch", partner_first)], ["targets"]),
    "optimizer: Keras's own epsilon": (
        [(loop, "AveragingAdam", lambda rate, **named: AVERAGING(rate, **{**named, "epsilon": 1e-7}))],
        ["averaging"],
    ),
    "routing: a setting of 3 is 2": ([(models, "DigitCapsules", routed_twice)], ["network", "activations"]),
    "mask: every capsule": ([(models.Mask, "call", all_capsules)], ["decoder", "network", "activations"]),
    "mask: the predicted class": ([(models.Mask, "call", longest_capsule)], ["decoder", "network", "activations"]),
    "shift: up and left": ([(mnist, "shifted", lambda images, by, _: SHIFTED(images, -by))], ["first_batch"]),
    "shift: none": ([(mnist, "shifted", lambda images, by, _: SHIFTED(images, 0 * by))], ["first_batch"]),
    "shift: columns before rows": (
        [(mnist, "shifted", lambda images, by, _: SHIFTED(images, by[:, ::-1]))],
        ["first_batch"],
    ),
    "loss scale: the paper's margin loss": (
        [(losses, "margin_loss", lambda truth, scores, **_: MARGIN(truth, scores, recipe="paper"))],
        ["losses", "network"],
    ),
    "loss scale: the margin loss not halved": (
        [(losses, "margin_loss", lambda truth, scores, **recipe: 2 * MARGIN(truth, scores, **recipe))],
        ["losses", "network"],
    ),
    "loss scale: reconstruction of weight 0.005": ([(losses, "RECONSTRUCTION_WEIGHT", 0.005)], ["network"]),
    "loss scale: the mean over pixels": (
        [(losses, "reconstruction_loss", lambda targets, drawn: RECONSTRUCTION(targets, drawn) / targets.shape[-1])],
        ["decoder", "network"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutation_is_caught_by_each_golden_named(
    mutation: str, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, names = MUTATIONS[mutation]
    for place, name, broken in changes:
        monkeypatch.setattr(place, name, broken)
    for name in names:
        with pytest.raises(AssertionError):
            GOLDENS[name](digits)
            pytest.fail(f"the golden {name!r} does not notice")  # no AssertionError, so that it is not taken for one


def test_each_golden_has_a_mutation_that_it_catches() -> None:
    assert {name for _, names in MUTATIONS.values() for name in names} == GOLDENS.keys()
