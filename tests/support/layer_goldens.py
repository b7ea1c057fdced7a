"""Checks of single layers and losses against numbers that the released code computed (tests/golden/data/layers.npz)."""

import json
from typing import Any

import numpy as np
from keras import ops

from capsrepro.core.params import RunConfig
from capsrepro.network import losses, models, routing
from tests.support import ROOT
from tests.support.gradients import with_gradients

DATA = ROOT / "tests" / "golden" / "data"
CASES = json.loads((DATA / "layers.json").read_text())
GOLDEN = np.load(DATA / "layers.npz")


def close(ours: object, name: str, bound: float) -> None:
    """Norm of the difference over the norm of the golden."""
    golden = GOLDEN[name].astype(np.float64)
    assert np.shape(ours) == golden.shape
    assert np.linalg.norm(np.asarray(ours, np.float64) - golden) <= bound * max(np.linalg.norm(golden), 1e-12)


def check_squash(case: str) -> None:
    """A squash and its gradient; the atoms are on axis 2 in the released layout."""

    def squashed(x: Any) -> Any:
        return routing.squash(x, axis=2)

    y, (of_x,) = with_gradients(squashed, GOLDEN[f"{case}/in/x"], cotangent=GOLDEN[f"{case}/cotangent"])
    close(y, f"{case}/out/y", 1e-5)
    close(of_x, f"{case}/grad/x", 1e-4)


def check_routing(case: str) -> None:
    """Routing and its gradients.

    A grid of capsules, as in `routing6d`, is routed place by place, each with its bias: places join the batch.
    """
    arguments = CASES[case]
    given = [GOLDEN[f"{case}/in/{name}"] for name in ("votes", "biases")]
    batch, inputs, classes, atoms, *grid = given[0].shape

    def routed(votes: Any, biases: Any) -> Any:
        places = ops.reshape(votes, (batch, inputs, classes, atoms, -1))
        flat = ops.reshape(ops.transpose(places, (0, 4, 2, 1, 3)), (-1, classes, inputs, atoms))
        bias = ops.transpose(ops.reshape(biases, (classes, atoms, -1)), (2, 0, 1))
        bias = ops.tile(bias, (batch, 1, 1))  # (batch * places, C, D)
        capsules = routing.route(routing.StoredVotes(flat), bias, arguments["num_routing"], arguments["leaky"])
        ours = ops.transpose(ops.reshape(capsules, (batch, -1, classes, atoms)), (0, 2, 3, 1))
        return ops.reshape(ours, (batch, classes, atoms, *grid))

    ours, (of_votes, of_biases) = with_gradients(routed, *given, cotangent=GOLDEN[f"{case}/cotangent"])
    close(ours, f"{case}/out/act", 1e-5)
    close(of_votes, f"{case}/grad/votes", 1e-4)
    close(of_biases, f"{case}/grad/biases", 1e-4)


def check_decoder() -> None:
    """What the decoder draws of masked capsules, its loss, and their gradients."""
    about = CASES["reconstruction"]
    run = RunConfig("mnist", "capsnet", routing=3, dense_units=tuple(about["layer_sizes"]))
    image, mask = GOLDEN["reconstruction/in/image"], GOLDEN["reconstruction/in/mask"]
    decoder = models.decoder(run, image.shape[1:], seed=0)
    decoder.build((None, 1, GOLDEN["reconstruction/in/emb"][0].size))
    variables = {}
    for number, layer in enumerate(decoder.layers, 1):
        variables |= {f"recons_{number}/weights": layer.kernel, f"recons_{number}/biases": layer.bias}
    for name, variable in variables.items():
        variable.assign(GOLDEN[f"reconstruction/var/recons/{name}"])

    def drawn(capsules: Any) -> Any:
        return decoder(models.Mask()([capsules, mask[:, None]]))

    def loss_of(capsules: Any) -> Any:
        loss = ops.mean(losses.reconstruction_loss(image.reshape(len(image), 1, -1), drawn(capsules)))
        return loss * about["balance_factor"] / losses.RECONSTRUCTION_WEIGHT

    capsules = GOLDEN["reconstruction/in/emb"]
    loss, (of_capsules, *rest) = with_gradients(
        loss_of, capsules, cotangent=GOLDEN["reconstruction/cotangent"], variables=[*variables.values()]
    )
    close(drawn(capsules)[:, 0], "reconstruction/out/remake", 1e-5)
    close(loss, "reconstruction/out/loss", 1e-5)
    close(of_capsules, "reconstruction/grad/emb", 1e-4)
    for name, gradient in zip(variables, rest, strict=True):
        close(gradient, f"reconstruction/grad/var/recons/{name}", 1e-4)


def check_losses_and_counts(case: str) -> None:
    """The total loss of scores and how many are right, ties included."""
    truth, scores = GOLDEN[f"{case}/in/labels"], GOLDEN[f"{case}/in/logits"]
    loss = losses.classification(CASES[case]["loss_type"], "released")
    close(np.mean(loss(truth, scores)), f"{case}/out/total_loss", 1e-5)
    right = losses.both_right(truth, scores, digits=CASES[case]["num_targets"])
    assert float(np.sum(right)) == float(GOLDEN[f"{case}/out/correct"])
    almost = losses.any_right(truth, scores, digits=CASES[case]["num_targets"])
    assert float(np.sum(almost)) == float(GOLDEN[f"{case}/out/almost"])
