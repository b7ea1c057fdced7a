"""The layers and losses against numbers that the authors' released code computed (tests/golden/data/layers.npz)."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from capsrepro import layers, losses

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "layers.json").read_text())
GOLDEN = np.load(DATA / "layers.npz")
ROUTING = [name for name in CASES if name.startswith("routing")]
EVALUATION = [name for name in CASES if name.startswith("evaluate_")]


def close(ours: object, name: str, bound: float) -> None:
    """Norm of the difference over the norm of the golden."""
    golden = GOLDEN[name].astype(np.float64)
    assert np.shape(ours) == golden.shape
    assert np.linalg.norm(np.asarray(ours, np.float64) - golden) <= bound * max(np.linalg.norm(golden), 1e-12)


@pytest.mark.parametrize("case", ["squash3", "squash5"])
def test_squash_and_its_gradient(case: str) -> None:
    x = tf.Variable(GOLDEN[f"{case}/in/x"])
    with tf.GradientTape() as tape:
        y = layers.squash(x, axis=2)  # the axis of the atoms in the released layout
        total = tf.reduce_sum(y * GOLDEN[f"{case}/cotangent"])
    close(y, f"{case}/out/y", 1e-5)
    close(tape.gradient(total, x), f"{case}/grad/x", 1e-4)


@pytest.mark.parametrize("case", ROUTING)
def test_routing_and_its_gradients(case: str) -> None:
    """A grid of capsules, as in `routing6d`, is routed place by place, each with its bias: places join the batch."""
    arguments = CASES[case]
    votes, biases = tf.Variable(GOLDEN[f"{case}/in/votes"]), tf.Variable(GOLDEN[f"{case}/in/biases"])
    batch, inputs, classes, atoms, *grid = votes.shape
    with tf.GradientTape() as tape:
        places = tf.reshape(votes, (batch, inputs, classes, atoms, -1))
        flat = tf.reshape(tf.transpose(places, (0, 4, 2, 1, 3)), (-1, classes, inputs, atoms))
        bias = tf.transpose(tf.reshape(biases, (classes, atoms, -1)), (2, 0, 1))
        bias = tf.tile(bias, (batch, 1, 1))  # (batch * places, C, D)
        routed = layers.route(flat, bias, arguments["num_routing"], arguments["leaky"])
        ours = tf.transpose(tf.reshape(routed, (batch, -1, classes, atoms)), (0, 2, 3, 1))
        ours = tf.reshape(ours, (batch, classes, atoms, *grid))
        total = tf.reduce_sum(ours * GOLDEN[f"{case}/cotangent"])
    close(ours, f"{case}/out/act", 1e-5)
    of_votes, of_biases = tape.gradient(total, (votes, biases))
    close(of_votes, f"{case}/grad/votes", 1e-4)
    close(of_biases, f"{case}/grad/biases", 1e-4)


def test_leaky_couplings() -> None:
    logits = np.moveaxis(GOLDEN["leaky3/in/logits"], 2, 1)
    close(np.moveaxis(np.array(layers.couplings_of(logits, True)), 1, 2), "leaky3/out/route", 1e-5)


@pytest.mark.parametrize("case", EVALUATION)
def test_losses_and_counts_ties_included(case: str) -> None:
    truth, scores = GOLDEN[f"{case}/in/labels"], GOLDEN[f"{case}/in/logits"]
    loss = losses.classification(CASES[case]["loss_type"], "released")
    close(np.mean(loss(truth, scores)), f"{case}/out/total_loss", 1e-5)
    right = losses.both_right(truth, scores, digits=CASES[case]["num_targets"])
    assert float(np.sum(right)) == float(GOLDEN[f"{case}/out/correct"])
