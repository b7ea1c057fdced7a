"""Squash, lengths and routing by agreement, in `keras.ops` alone.

Shapes: B batch, I input capsules, C classes (output capsules), D atoms (the length of a capsule's vector).
"""

from collections.abc import Callable
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


def couplings_of(logits: Any, leaky: bool, axis: int = 1) -> Any:
    """How much each input capsule gives to each class: a softmax **over the classes** (Eq. 3).

    Args:
        logits: b, `(B, C, I)`.
        leaky: let a capsule give a part to none of the classes: a zero logit stands before the others and is dropped.
        axis: that of the classes.

    Returns:
        c, of the shape of `logits`; over the classes they add up to 1, and to less than 1 if leaky.
    """
    highest = ops.stop_gradient(ops.max(logits, axis=axis, keepdims=True))
    if leaky:
        highest = ops.maximum(highest, 0.0)
    shares = ops.exp(
        logits - highest
    )  # by hand: the backend's softmax takes twice as long over an axis before the last
    nowhere = ops.exp(-highest) if leaky else 0.0
    return shares / (ops.sum(shares, axis=axis, keepdims=True) + nowhere)


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

    def total(couplings: Any | None) -> Any:
        if couplings is None:
            return ops.sum(votes, axis=2)
        return ops.matmul(ops.cast(couplings, votes.dtype)[:, :, None, :], votes)[:, :, 0]  # (B, C, D)

    def agreement(capsules: Any) -> Any:
        return ops.matmul(votes, ops.cast(capsules, votes.dtype)[..., None])[..., 0]  # (B, C, I)

    return _iterate(total, agreement, bias, votes.shape[1], iterations, leaky, axis=1)


def route_from(inputs: Any, kernel: Any, bias: Any, iterations: int, leaky: bool = False) -> Any:
    """The same as `route`, with votes u_i W_ij that are never made: they are what costs in a CapsNet's routing.

    Both products are linear in the votes, so that the matrices can be multiplied first: sum_i c_ij (u_i W_ij) is one
    matrix product of all c_ij u_i with W_j, and the agreement (u_i W_ij) . v_j is u_i . (W_ij v_j). At full size (I
    1152, batch 128, two cores, forward and gradients) three iterations took 0.215 s in float32, with votes 0.486 s, and
    one iteration 0.018 s, with votes 0.298 s. Atoms stand before inputs, since sums over a last axis of 8 are slow.

    Args:
        inputs: u, `(B, I, A)`.
        kernel: W, `(C, I, A, D)` in the dtype of `inputs`.
        bias: as for `route`, as are `iterations` and `leaky`.
        iterations: at least 1.
        leaky: see `couplings_of`.

    Returns:
        v, the output capsules `(B, C, D)` in the dtype of `bias`.
    """
    classes, count, atoms, out = kernel.shape
    across = ops.transpose(inputs, (0, 2, 1))  # (B, A, I)
    matrices = ops.reshape(ops.transpose(kernel, (0, 2, 1, 3)), (classes, atoms * count, out))  # (C, A*I, D)

    def total(couplings: Any | None) -> Any:
        if couplings is None:
            side_by_side = ops.reshape(ops.transpose(matrices, (1, 0, 2)), (atoms * count, classes * out))
            summed = ops.matmul(ops.reshape(across, (-1, atoms * count)), side_by_side)
            return ops.reshape(summed, (-1, classes, out))
        weighed = ops.cast(couplings, inputs.dtype)[:, :, None, :] * across  # (C, B, A, I)
        summed = ops.matmul(ops.reshape(weighed, (classes, -1, atoms * count)), matrices)  # (C, B, D)
        return ops.transpose(summed, (1, 0, 2))

    def agreement(capsules: Any) -> Any:
        wanted = ops.transpose(ops.cast(capsules, inputs.dtype), (1, 0, 2))  # (C, B, D)
        pulled = ops.matmul(wanted, ops.transpose(matrices, (0, 2, 1)))  # (C, B, A*I)
        return ops.sum(ops.reshape(pulled, (classes, -1, atoms, count)) * across, axis=2)  # (C, B, I)

    return _iterate(total, agreement, bias, classes, iterations, leaky, axis=0)


def _iterate(
    total: Callable[[Any | None], Any],
    agreement: Callable[[Any], Any],
    bias: Any,
    classes: int,
    iterations: int,
    leaky: bool,
    *,
    axis: int,
) -> Any:
    """The loop of Procedure 1 over whatever stands for the votes; sums and logits are in the dtype of `bias`.

    Args:
        total: couplings to the sum of c_ij u_hat_ij over I, `(B, C, D)`; None: all of them 1.
        agreement: output capsules `(B, C, D)` to u_hat_ij . v_j, of the shape of the couplings.
        bias: `(C, D)`.
        classes: C.
        iterations: at least 1.
        leaky: see `couplings_of`.
        axis: that of the classes in couplings and agreements.
    """
    bias = ops.convert_to_tensor(bias)
    even = 1.0 / (classes + int(leaky))  # b = 0: the softmax is known before it is taken
    capsules = squash(ops.cast(total(None), bias.dtype) * even + bias)
    logits = 0.0
    for _ in range(iterations - 1):  # the last iteration's agreement would have no use
        logits = logits + ops.cast(agreement(capsules), bias.dtype)
        capsules = squash(ops.cast(total(couplings_of(logits, leaky, axis)), bias.dtype) + bias)
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
