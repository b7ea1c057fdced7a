"""Losses and metrics, one value per example; Keras averages them over the batch.

`scores` is `(B, C)`: the lengths of the class capsules, or a baseline's logits. `truth` is `(B, C)`: one for each class
in the image, zero elsewhere. Two digits of different classes give two ones.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Loss = Callable[[Any, Any], Any]

RECONSTRUCTION_WEIGHT = 0.0005  # section 4.1; applied to the *sum* over pixels, in paper and released code


def margin_loss(truth: Any, scores: Any, *, recipe: str = "paper") -> Any:
    """Margin loss (Eq. 4): T max(0, 0.9 - |v|)^2 + 0.5 (1 - T) max(0, |v| - 0.1)^2.

    Args:
        truth: `(B, C)` of zeros and ones.
        scores: lengths `(B, C)` in [0, 1).
        recipe: `paper` sums over the classes; `released` takes half the mean, which is 1/20 of the sum for ten classes.

    Returns:
        float `(B,)`.
    """
    present = truth * ops.square(ops.relu(0.9 - scores))
    absent = 0.5 * (1.0 - truth) * ops.square(ops.relu(scores - 0.1))
    if recipe == "paper":
        return ops.sum(present + absent, axis=-1)
    return 0.5 * ops.mean(present + absent, axis=-1)


def softmax_loss(truth: Any, scores: Any) -> Any:
    """Softmax cross-entropy: `(B, C)`, `(B, C)` to `(B,)`."""
    return keras.losses.categorical_crossentropy(truth, scores, from_logits=True)


def sigmoid_loss(truth: Any, scores: Any, *, recipe: str = "paper") -> Any:
    """Sigmoid cross-entropy, averaged over the classes: `(B, C)`, `(B, C)` to `(B,)`.

    The released code's target is half the label, for any number of digits; the paper does not mention a factor.
    """
    aim = truth * 0.5 if recipe == "released" else truth
    return keras.losses.binary_crossentropy(aim, scores, from_logits=True)


def reconstruction_loss(targets: Any, drawn: Any) -> Any:
    """Squared error, summed over pixels and digits and weighted by 0.0005 (section 4.1).

    Args:
        targets: `(B, T, pixels)` in [0, 1].
        drawn: the decoder's output `(B, T, pixels)` in [0, 1].

    Returns:
        float `(B,)`.
    """
    return RECONSTRUCTION_WEIGHT * ops.sum(ops.square(targets - drawn), axis=(1, 2))


def both_right(truth: Any, scores: Any, *, digits: int = 1) -> Any:
    """Whether the `digits` highest scores are exactly the classes in the image: `(B,)` of 0 and 1.

    Among equal scores the class with the lower number ranks first, as in the released code. If both digits are of one
    class, that class must be among the highest; the released code counts such a pair as wrong.
    """
    return ops.cast(ops.equal(_found(truth, scores, digits), ops.sum(truth, axis=-1)), "float32")


def any_right(truth: Any, scores: Any, *, digits: int = 1) -> Any:
    """Whether at least one of the `digits` highest scores is a class in the image: `(B,)` of 0 and 1.

    The released code calls such a pair almost correct. Accuracy per digit is the mean of this and of `both_right`.
    """
    return ops.cast(_found(truth, scores, digits) > 0, "float32")


def _found(truth: Any, scores: Any, digits: int) -> Any:
    """The number of classes in the image that are among the highest scores: `(B,)`."""
    _, highest = ops.top_k(scores, digits)
    chosen = ops.sum(ops.one_hot(highest, scores.shape[-1], dtype=truth.dtype), axis=1)  # (B, C)
    return ops.sum(chosen * truth, axis=-1)


def classification(name: str, recipe: str) -> Loss:
    """The classification loss of a run: `margin`, `softmax` or `sigmoid`, in the version of the recipe."""

    def loss(truth: Any, scores: Any) -> Any:
        if name == "softmax":
            return softmax_loss(truth, scores)
        weighed = {"margin": margin_loss, "sigmoid": sigmoid_loss}[name]
        return weighed(truth, scores, recipe=recipe)

    loss.__name__ = f"{name}_loss"
    return loss
