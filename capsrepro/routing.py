"""Squash, lengths and routing by agreement, in `keras.ops` alone.

Shapes: B batch, I input capsules, C classes (output capsules), D atoms (the length of a capsule's vector).
"""

from typing import Any

from keras import ops

SMALLEST = 1e-30  # keeps sqrt's gradient finite at zero; far below what float32 lets any real length be


def squash(s: Any, axis: int = -1) -> Any:
    """Shrinks vectors to a length below one, keeping their direction (Eq. 1).

    Args:
        s: float tensor `(..., atoms, ...)`, any length.
        axis: the axis that holds the atoms of a capsule.

    Returns:
        Tensor of the shape of `s`; the length |s|^2 / (1 + |s|^2) lies in [0, 1).
        Zero vectors map to zero with a finite gradient; the released code divides by |s| and yields NaN there.
    """
    squared = ops.sum(ops.square(s), axis=axis, keepdims=True)
    return s * (ops.sqrt(squared + SMALLEST) / (1.0 + squared))


def lengths(capsules: Any) -> Any:
    """The length of each capsule: `(..., D)` to `(...)`, in [0, 1) after a squash, with a finite gradient at zero."""
    return ops.sqrt(ops.sum(ops.square(capsules), axis=-1) + SMALLEST)


def couplings_of(logits: Any, leaky: bool) -> Any:
    """How much each input capsule gives to each class: a softmax **over the classes** (Eq. 3).

    Args:
        logits: b, `(B, C, I)`.
        leaky: let a capsule give a part to none of the classes: a zero logit stands before the others and is dropped.

    Returns:
        c, `(B, C, I)`; over C they add up to 1, and to less than 1 if leaky.
    """
    if not leaky:
        return ops.softmax(logits, axis=1)
    nowhere = ops.zeros_like(logits[:, :1])
    return ops.softmax(ops.concatenate([nowhere, logits], axis=1), axis=1)[:, 1:]


def route(votes: Any, bias: Any, iterations: int, leaky: bool = False) -> Any:
    """Routing by agreement (Procedure 1), gradients flowing through every iteration as in the released code.

    Args:
        votes: u_hat, what each input capsule predicts for each class, `(B, C, I, D)`. This layout makes both products
            batched matrix products over contiguous memory.
        bias: `(C, D)`, added inside every squash (as the released code does; the paper has none).
        iterations: at least 1. One means that every class gets the same share, which is no routing at all.
        leaky: see `couplings_of`.

    Returns:
        v, the output capsules `(B, C, D)` in the dtype of `bias`.
    """
    bias = ops.convert_to_tensor(bias)
    _, classes, inputs, _ = votes.shape
    even = 1.0 / (classes + int(leaky))  # b = 0: the softmax is known before it is taken
    total = ops.cast(ops.sum(votes, axis=2), bias.dtype) * even  # (B, C, D)
    capsules = squash(total + bias)
    logits = ops.zeros((1, classes, inputs), dtype=bias.dtype)
    for _ in range(iterations - 1):  # the last iteration's agreement would have no use
        agreement = ops.matmul(votes, ops.cast(capsules, votes.dtype)[..., None])[..., 0]  # (B, C, I)
        logits = logits + ops.cast(agreement, bias.dtype)
        couplings = ops.cast(couplings_of(logits, leaky), votes.dtype)  # (B, C, I)
        total = ops.matmul(couplings[:, :, None, :], votes)[:, :, 0]  # (B, C, D)
        capsules = squash(ops.cast(total, bias.dtype) + bias)
    return capsules


def logit_changes(votes: Any, bias: Any, passes: int, leaky: bool = False) -> Any:
    """How much each pass of routing changes the logits (Figure A.1).

    Args:
        votes: as for `route`, in float32.
        bias: as for `route`.
        passes: how many, however many the network was trained with.
        leaky: as for `route`.

    Returns:
        The mean over B, C and I of |b after the pass - b before it|, `(passes,)`. Entry 1, the second pass, is what the
        paper gives as 0.007 after 500 epochs.
    """
    _, classes, inputs, _ = votes.shape
    logits = ops.zeros((1, classes, inputs))
    changes = []
    for _ in range(passes):
        total = ops.matmul(couplings_of(logits, leaky)[:, :, None, :], votes)[:, :, 0]  # (B, C, D)
        agreement = ops.matmul(votes, squash(total + bias)[..., None])[..., 0]  # (B, C, I)
        logits = logits + agreement
        changes.append(ops.mean(ops.abs(agreement)))
    return ops.stack(changes)
