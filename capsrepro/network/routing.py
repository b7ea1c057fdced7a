"""Routing by agreement (section 3 of the paper, Procedure 1), in `keras.ops` alone.

Shapes: B batch, I input capsules, C classes (output capsules), A and D atoms (the length of a vector) of an input and
of an output capsule.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from keras import ops

from capsrepro.core.params import RoutingUpdate

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
    """The share of each input capsule that goes to each class: a softmax **over the classes** (Eq. 3).

    Args:
        logits: b, such as `(B, C, I)`.
        leaky: let a capsule give a part to none of the classes: a zero logit stands before the others and is dropped.
        axis: the axis of the classes.

    Returns:
        c, of the shape of `logits`; over the classes they add up to 1, and to less than 1 if leaky.
    """
    highest = ops.stop_gradient(ops.max(logits, axis=axis, keepdims=True))
    if leaky:
        highest = ops.maximum(highest, 0.0)
    # Not the backend's softmax, which takes twice as long over an axis that is not the last.
    shares = ops.exp(logits - highest)
    nowhere = ops.exp(-highest) if leaky else 0.0
    return shares / (ops.sum(shares, axis=axis, keepdims=True) + nowhere)


class Votes(Protocol):
    """What routing needs of the votes u_hat_ij = u_i W_ij (Eq. 2): two products, both linear in them."""

    classes: int  # C
    class_axis: int  # the axis of the classes in couplings and agreements; the other two are B and I

    def total(self, couplings: Any | None) -> Any:
        """The sum over I of c_ij u_hat_ij, `(B, C, D)`; None: every coupling is 1."""
        ...

    def agreement(self, capsules: Any) -> Any:
        """u_hat_ij . v_j of the output capsules `(B, C, D)`, of the shape of the couplings."""
        ...


def passes(votes: Votes, bias: Any, leaky: bool = False, update: RoutingUpdate = "accumulate") -> Iterator[Any]:
    """The passes of Procedure 1, one after the other and without end; gradients flow through all of them.

    Args:
        votes: of the input capsules for the classes.
        bias: `(C, D)`, added inside every squash (as the released code does; the paper has none). Sums and logits are
            in its dtype.
        leaky: see `couplings_of`.
        update: what the agreement a = u_hat . v does to the logits b. `accumulate`: b <- b + a, Procedure 1.
            `replace`: b <- a, which the paper does not describe; its Figure A.1 looks as if drawn with it.

    Yields:
        v, the output capsules `(B, C, D)` after each pass. The next pass is computed when asked for.
    """
    bias = ops.convert_to_tensor(bias)
    even = 1.0 / (votes.classes + int(leaky))  # the softmax of b = 0, known before it is taken
    capsules = squash(ops.cast(votes.total(None), bias.dtype) * even + bias)  # (B, C, D)
    yield capsules
    logits = 0.0
    while True:
        agreement = ops.cast(votes.agreement(capsules), bias.dtype)  # a = u_hat . v
        logits = agreement if update == "replace" else logits + agreement
        couplings = couplings_of(logits, leaky, votes.class_axis)  # c = softmax(b)
        capsules = squash(ops.cast(votes.total(couplings), bias.dtype) + bias)  # v = squash(sum of c u_hat)
        yield capsules


def route(votes: Votes, bias: Any, iterations: int, leaky: bool = False, update: RoutingUpdate = "accumulate") -> Any:
    """The output capsules `(B, C, D)` after so many iterations of routing, in the dtype of `bias`.

    Args:
        votes: as for `passes`, as are `bias`, `leaky` and `update`.
        bias: `(C, D)`.
        iterations: at least 1. One means that every class gets the same share, which is no routing at all.
        leaky: see `couplings_of`.
        update: `accumulate` or `replace`.
    """
    return next(itertools.islice(passes(votes, bias, leaky, update), iterations - 1, None))


def logit_changes(
    votes: Votes, bias: Any, count: int, leaky: bool = False, update: RoutingUpdate = "accumulate"
) -> Any:
    """How much each pass of routing changes the logits.

    Args:
        votes: as for `passes`, as are `bias`, `leaky` and `update`; in float32.
        bias: `(C, D)`.
        count: how many passes, however many the network was trained with.
        leaky: see `couplings_of`.
        update: `accumulate` or `replace`.

    Returns:
        The mean over B, C and I of |b after the pass - b before it|, `(count,)`. Entry 1, the second pass, is what the
        paper gives as 0.007 after 500 epochs.
    """
    first = itertools.islice(passes(votes, bias, leaky, update), count)
    agreements = [votes.agreement(capsules) for capsules in first]
    if update == "replace":  # b is the agreement itself, and 0 before the first pass
        return _mean_changes([ops.zeros_like(agreements[0]), *agreements])
    return ops.stack([ops.mean(ops.abs(agreement)) for agreement in agreements])


def coupling_changes(votes: Votes, bias: Any, count: int, leaky: bool = False) -> Any:
    """How much each pass of routing changes the couplings, where the logits accumulate.

    Args:
        votes: as for `passes`, as are `bias` and `leaky`; in float32.
        bias: `(C, D)`.
        count: how many passes, however many the network was trained with.
        leaky: see `couplings_of`.

    Returns:
        The mean over B, C and I of |c after the pass - c before it|, `(count,)`; c is 1/C (leaky: 1/(C+1)) at first.
    """
    first = itertools.islice(passes(votes, bias, leaky), count)
    summed = itertools.accumulate(votes.agreement(capsules) for capsules in first)  # b after each pass
    couplings = [couplings_of(logits, leaky, votes.class_axis) for logits in summed]
    even = 1.0 / (votes.classes + int(leaky))
    return _mean_changes([even * ops.ones_like(couplings[0]), *couplings])


class Changes(NamedTuple):
    """Three quantities that Figure A.1 may have been drawn of, `(count,)` each: a mean change by each pass."""

    logits_accumulated: Any  # of b, where b <- b + a: this is |a|, which cannot vanish while v stays
    couplings: Any  # of c = softmax(b), where b <- b + a
    logits_replaced: Any  # of b, where b <- a


def changes(votes: Votes, bias: Any, count: int, leaky: bool = False) -> Changes:
    """How much each pass of routing changes logits and couplings (Figure A.1), told apart by quantity.

    Args:
        votes: as for `passes`, as are `bias` and `leaky`; in float32.
        bias: `(C, D)`.
        count: how many passes, however many the network was trained with.
        leaky: see `couplings_of`.
    """
    return Changes(
        logit_changes(votes, bias, count, leaky),
        coupling_changes(votes, bias, count, leaky),
        logit_changes(votes, bias, count, leaky, "replace"),
    )


def _mean_changes(states: list[Any]) -> Any:
    """The mean of |after - before| over all entries, for each state but the first."""
    return ops.stack([ops.mean(ops.abs(after - before)) for before, after in itertools.pairwise(states)])


class StoredVotes:
    """Votes as one tensor, `(B, C, I, D)`: both products are batched matrix products over contiguous memory."""

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
    """Votes u_i W_ij that are never made: they are what costs in a CapsNet's routing.

    Since both products are linear in the votes, the matrices can be multiplied first: sum_i c_ij (u_i W_ij) is one
    matrix product of all c_ij u_i with W_j, and the agreement (u_i W_ij) . v_j is u_i . (W_ij v_j). At full size (I
    1152, batch 128, two cores, forward and gradients) three iterations took 0.215 s in float32, with votes 0.486 s, and
    one iteration 0.018 s, with votes 0.298 s. Atoms stand before inputs, since sums over a last axis of 8 are slow.
    """

    class_axis = 0  # couplings are (C, B, I)

    def __init__(self, inputs: Any, kernel: Any) -> None:
        """Takes the input capsules u, `(B, I, A)`, and the matrices W, `(C, I, A, D)`, of one dtype."""
        self.classes, self.inputs, self.atoms, self.out = kernel.shape
        self.across = ops.transpose(inputs, (0, 2, 1))  # (B, A, I)
        matrices = ops.transpose(kernel, (0, 2, 1, 3))  # (C, A, I, D)
        self.matrices = ops.reshape(matrices, (self.classes, self.atoms * self.inputs, self.out))  # (C, A*I, D)

    def total(self, couplings: Any | None) -> Any:
        """See `Votes`."""
        if couplings is None:
            side_by_side = ops.transpose(self.matrices, (1, 0, 2))  # (A*I, C, D)
            side_by_side = ops.reshape(side_by_side, (self.atoms * self.inputs, self.classes * self.out))
            summed = ops.matmul(ops.reshape(self.across, (-1, self.atoms * self.inputs)), side_by_side)  # (B, C*D)
            return ops.reshape(summed, (-1, self.classes, self.out))
        weighted = ops.cast(couplings, self.across.dtype)[:, :, None, :] * self.across  # (C, B, A, I)
        weighted = ops.reshape(weighted, (self.classes, -1, self.atoms * self.inputs))
        return ops.transpose(ops.matmul(weighted, self.matrices), (1, 0, 2))  # (B, C, D)

    def agreement(self, capsules: Any) -> Any:
        """See `Votes`."""
        wanted = ops.transpose(ops.cast(capsules, self.across.dtype), (1, 0, 2))  # (C, B, D)
        pulled = ops.matmul(wanted, ops.transpose(self.matrices, (0, 2, 1)))  # (C, B, A*I)
        pulled = ops.reshape(pulled, (self.classes, -1, self.atoms, self.inputs))
        return ops.sum(pulled * self.across, axis=2)  # (C, B, I)
