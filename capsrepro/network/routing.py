"""Routing by agreement (section 3 of the paper, Procedure 1), in `keras.ops` alone.

Shapes: B batch, I input capsules, C classes (output capsules), A and D atoms (the length of a vector) of an input and
of an output capsule.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from keras import ops

from capsrepro.core.params import RoutingUpdate

SMALLEST = 1e-30  # keeps the gradient of sqrt finite at zero; negligible for any length that occurs


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
    """The coupling coefficients: a softmax of the logits **over the classes** (Eq. 3).

    Args:
        logits: b, such as `(B, C, I)`.
        leaky: add a class with logit zero to the softmax and drop its coupling, so that a capsule may be routed in part
            to no class.
        axis: the axis of the classes.

    Returns:
        c, of the shape of `logits`; their sum over the classes is 1, or less than 1 if leaky.
    """
    highest = ops.stop_gradient(ops.max(logits, axis=axis, keepdims=True))
    if leaky:
        highest = ops.maximum(highest, 0.0)
    # Written out, since the backend's softmax takes twice as long over any axis but the last.
    shares = ops.exp(logits - highest)
    leak = ops.exp(-highest) if leaky else 0.0
    return shares / (ops.sum(shares, axis=axis, keepdims=True) + leak)


class Votes(Protocol):
    """Interface of the votes u_hat_ij = u_i W_ij (Eq. 2): the two products that routing needs, both linear in them."""

    classes: int  # C
    class_axis: int  # the axis of the classes in couplings and agreements; the other two axes are B and I

    def total(self, couplings: Any | None) -> Any:
        """The sum over I of c_ij u_hat_ij, `(B, C, D)`; None: all couplings are 1."""
        ...

    def agreement(self, capsules: Any) -> Any:
        """The agreement u_hat_ij . v_j with the output capsules `(B, C, D)`, of the shape of the couplings."""
        ...


def passes(votes: Votes, bias: Any, leaky: bool = False, update: RoutingUpdate = "accumulate") -> Iterator[Any]:
    """Endless iterator over the routing passes of Procedure 1; gradients flow through all of them.

    Args:
        votes: of the input capsules for the classes.
        bias: `(C, D)`, added inside every squash (as the released code does; the paper has none). Sums and logits are
            in its dtype.
        leaky: see `couplings_of`.
        update: how the agreement a = u_hat . v changes the logits b. `accumulate`: b <- b + a, Procedure 1.
            `replace`: b <- a, which the paper does not describe; its Figure A.1 looks as if drawn with it.

    Yields:
        v, the output capsules `(B, C, D)` after each pass, computed on demand.
    """
    bias = ops.convert_to_tensor(bias)
    uniform = 1.0 / (votes.classes + int(leaky))  # the softmax of b = 0
    capsules = squash(ops.cast(votes.total(None), bias.dtype) * uniform + bias)  # (B, C, D)
    yield capsules
    logits = 0.0
    while True:
        agreement = ops.cast(votes.agreement(capsules), bias.dtype)  # a = u_hat . v
        logits = agreement if update == "replace" else logits + agreement
        couplings = couplings_of(logits, leaky, votes.class_axis)  # c = softmax(b)
        capsules = squash(ops.cast(votes.total(couplings), bias.dtype) + bias)  # v = squash(sum of c u_hat)
        yield capsules


def route(votes: Votes, bias: Any, iterations: int, leaky: bool = False, update: RoutingUpdate = "accumulate") -> Any:
    """The output capsules `(B, C, D)` after this many iterations of routing, in the dtype of `bias`.

    Args:
        votes: see `passes`.
        bias: `(C, D)`, see `passes`.
        iterations: at least 1. With one iteration all couplings are equal, so that nothing is routed.
        leaky: see `couplings_of`.
        update: `accumulate` or `replace`, see `passes`.
    """
    return next(itertools.islice(passes(votes, bias, leaky, update), iterations - 1, None))


def logit_changes(
    votes: Votes, bias: Any, count: int, leaky: bool = False, update: RoutingUpdate = "accumulate"
) -> Any:
    """The mean change of the logits in each pass of routing.

    Args:
        votes: see `passes`; in float32.
        bias: `(C, D)`, see `passes`.
        count: number of passes; it may differ from the network's number of iterations.
        leaky: see `couplings_of`.
        update: `accumulate` or `replace`, see `passes`.

    Returns:
        The mean over B, C and I of |b after the pass - b before it|, `(count,)`. For entry 1, the second pass, the
        paper reports 0.007 after 500 epochs.
    """
    first = itertools.islice(passes(votes, bias, leaky, update), count)
    agreements = [votes.agreement(capsules) for capsules in first]
    if update == "replace":  # b is the agreement itself, after 0 before the first pass
        return _mean_changes([ops.zeros_like(agreements[0]), *agreements])
    return ops.stack([ops.mean(ops.abs(agreement)) for agreement in agreements])


def coupling_changes(votes: Votes, bias: Any, count: int, leaky: bool = False) -> Any:
    """The mean change of the couplings in each pass of routing with accumulated logits.

    Args:
        votes: see `passes`; in float32.
        bias: `(C, D)`, see `passes`.
        count: number of passes; it may differ from the network's number of iterations.
        leaky: see `couplings_of`.

    Returns:
        The mean over B, C and I of |c after the pass - c before it|, `(count,)`; c is initially 1/C (leaky: 1/(C+1)).
    """
    first = itertools.islice(passes(votes, bias, leaky), count)
    summed = itertools.accumulate(votes.agreement(capsules) for capsules in first)  # b after each pass
    couplings = [couplings_of(logits, leaky, votes.class_axis) for logits in summed]
    uniform = 1.0 / (votes.classes + int(leaky))
    return _mean_changes([uniform * ops.ones_like(couplings[0]), *couplings])


class Changes(NamedTuple):
    """Three quantities that Figure A.1 may show, each the mean change in each pass, `(count,)`."""

    logits_accumulated: Any  # change of b for b <- b + a; this is |a|, which does not vanish when v converges
    couplings: Any  # change of c = softmax(b) for b <- b + a
    logits_replaced: Any  # change of b for b <- a


def changes(votes: Votes, bias: Any, count: int, leaky: bool = False) -> Changes:
    """The mean changes of logits and couplings in each pass of routing (Figure A.1).

    Args:
        votes: see `passes`; in float32.
        bias: `(C, D)`, see `passes`.
        count: number of passes; it may differ from the network's number of iterations.
        leaky: see `couplings_of`.
    """
    return Changes(
        logit_changes(votes, bias, count, leaky),
        coupling_changes(votes, bias, count, leaky),
        logit_changes(votes, bias, count, leaky, "replace"),
    )


def _mean_changes(states: list[Any]) -> Any:
    """The mean over all entries of |state - previous state|, for each state but the first."""
    return ops.stack([ops.mean(ops.abs(after - before)) for before, after in itertools.pairwise(states)])


class StoredVotes:
    """Votes stored as one tensor `(B, C, I, D)`; both products are batched matrix products over contiguous memory."""

    class_axis = 1  # couplings are (B, C, I)

    def __init__(self, votes: Any) -> None:
        """Takes u_hat, `(B, C, I, D)`."""
        self.votes = votes
        self.classes = votes.shape[1]

    def total(self, couplings: Any | None) -> Any:
        """See `Votes`."""
        if couplings is None:
            return ops.sum(self.votes, axis=2)
        return ops.matmul(ops.cast(couplings, self.votes.dtype)[:, :, None, :], self.votes)[:, :, 0]  # (B, C, D)

    def agreement(self, capsules: Any) -> Any:
        """See `Votes`."""
        return ops.matmul(self.votes, ops.cast(capsules, self.votes.dtype)[..., None])[..., 0]  # (B, C, I)


class ProductVotes:
    """Votes u_i W_ij that are never computed, since storing them dominates the cost of routing.

    Both products are linear in the votes, so the matrices can be multiplied first. The sum over i of c_ij (u_i W_ij) is
    one matrix product of all c_ij u_i with W_j, and the agreement (u_i W_ij) . v_j is u_i . (W_ij v_j). At full size (I
    1152, batch 128, two cores, forward and gradients, float32) three iterations took 0.215 s, and 0.486 s with stored
    votes; one iteration took 0.018 s, and 0.298 s with stored votes. The axis of atoms comes before that of inputs,
    since sums over a last axis of 8 are slow.
    """

    class_axis = 0  # couplings are (C, B, I)

    def __init__(self, inputs: Any, kernel: Any) -> None:
        """Takes the input capsules u, `(B, I, A)`, and the matrices W, `(C, I, A, D)`, of one dtype."""
        self.classes, self.inputs, self.atoms, self.out = kernel.shape
        self.transposed = ops.transpose(inputs, (0, 2, 1))  # (B, A, I)
        matrices = ops.transpose(kernel, (0, 2, 1, 3))  # (C, A, I, D)
        self.matrices = ops.reshape(matrices, (self.classes, self.atoms * self.inputs, self.out))  # (C, A*I, D)

    def total(self, couplings: Any | None) -> Any:
        """See `Votes`."""
        if couplings is None:
            side_by_side = ops.transpose(self.matrices, (1, 0, 2))  # (A*I, C, D)
            side_by_side = ops.reshape(side_by_side, (self.atoms * self.inputs, self.classes * self.out))
            summed = ops.matmul(ops.reshape(self.transposed, (-1, self.atoms * self.inputs)), side_by_side)  # (B, C*D)
            return ops.reshape(summed, (-1, self.classes, self.out))
        weighted = ops.cast(couplings, self.transposed.dtype)[:, :, None, :] * self.transposed  # (C, B, A, I)
        weighted = ops.reshape(weighted, (self.classes, -1, self.atoms * self.inputs))
        return ops.transpose(ops.matmul(weighted, self.matrices), (1, 0, 2))  # (B, C, D)

    def agreement(self, capsules: Any) -> Any:
        """See `Votes`."""
        by_class = ops.transpose(ops.cast(capsules, self.transposed.dtype), (1, 0, 2))  # (C, B, D)
        products = ops.matmul(by_class, ops.transpose(self.matrices, (0, 2, 1)))  # (C, B, A*I)
        products = ops.reshape(products, (self.classes, -1, self.atoms, self.inputs))
        return ops.sum(products * self.transposed, axis=2)  # (C, B, I)
