"""The ablations: one for each difference between paper and released code, as two settings of one run."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from capsrepro.core.errors import Error


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of an ablation, paper or released code: its changes to the run's training and test settings."""

    words: str
    train: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    test: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    every_shift: bool = False  # train on a list of every shift of every digit, see `EveryShift`
    run: str = ""  # the run of params.yaml that this side is, whose results are then taken, if there is one


@dataclasses.dataclass(frozen=True)
class Ablation:
    """One difference between paper and released code: its two sides, tried on one run that is otherwise unchanged."""

    name: str
    what: str
    where: str  # in the paper
    run: str
    paper: Side
    released: Side | None  # None: there is nothing to compare with
    limits: str = ""  # what a narrow net or a short training leaves open

    @property
    def sides(self) -> tuple[Side, ...]:
        """Both sides, the paper's first; empty if there is nothing to compare."""
        return (self.paper, self.released) if self.released else ()


# MultiMNIST is tried with one iteration of routing, in half the time of three: none of its rows is about routing.
_MNIST, _PAIRS, _BASELINE = "mnist-capsnet-r3-recon", "multimnist-capsnet-r1-recon", "multimnist-baseline"

CASES = (
    Ablation(
        "margin-loss", "margin loss, beside a reconstruction loss that is the same", "Section 3, Eq. 4", _MNIST,
        Side("sum over classes", {"loss_recipe": "paper"}),
        Side("1/20 of it", {"loss_recipe": "released"}),
    ),
    Ablation(
        "margin-loss-alone", "margin loss, no reconstruction", "Section 3, Eq. 4", "mnist-capsnet-r3",
        Side("sum over classes", {"loss_recipe": "paper"}),
        Side("1/20 of it", {"loss_recipe": "released"}),
        "Adam does not see a constant factor: a control, of which noise is expected",
    ),
    Ablation(
        "primary-capsules", "primary capsules: what is squashed", "Section 4", _MNIST,
        Side("the convolution", {"layers_recipe": "paper"}),
        Side("1/P of it", {"layers_recipe": "released"}),
        "P is 8 in a narrow net, 32 in the paper's: a smaller change than there",
    ),
    Ablation(
        "recipe", "margin loss and primary capsules together", "Sections 3 and 4", _MNIST,
        Side("the paper's", {"recipe": "paper"}),
        Side("the released code's", {"recipe": "released"}),
        "P is 8 in a narrow net, 32 in the paper's: a smaller change than there",
    ),
    Ablation(
        "multimnist-shift", "MultiMNIST: shift of the training pairs; both tested at 4", "Section 6", _PAIRS,
        Side("4", {"shift": 4}, {"shift": 4}),
        Side("6 (its README)", {"shift": 6}, {"shift": 4}),
        "what a wider shift may gain takes a longer training than this",
    ),
    Ablation(
        "multimnist-test-shift", "MultiMNIST: shift of the test pairs; the nets are the same", "Section 6", _PAIRS,
        Side("4", {"shift": 4}, {"shift": 4}),
        Side("6 (its README)", {"shift": 4}, {"shift": 6}),
    ),
    Ablation(
        "multimnist-base-shift", "MultiMNIST: shift of a base digit in training", "Section 6", _PAIRS,
        Side("one for each pair", {"base_shift": "per_pair"}, {"base_shift": "per_pair"}),
        Side("one for all its pairs", {"base_shift": "per_image"}, {"base_shift": "per_pair"}),
        "in a training of minutes a digit is the base of two pairs or so, not of 1,000: little is shared",
    ),
    Ablation(
        "multimnist-decay", "MultiMNIST: decay period, of 300,000 steps", "Section 6", _PAIRS,
        Side("20,000: 10 x MNIST's", {"decay_steps": 20_000}),
        Side("2,000", {"decay_steps": 2_000}),
        "a shorter training has its share of either period, and may only show which learns faster",
    ),
    Ablation(
        "multimnist-baseline", "MultiMNIST baseline: first kernel and padding", "Section 6", _BASELINE,
        Side("9x9, SAME", {"layers_recipe": "paper", "padding": "same"}),
        Side("5x5, VALID", {"layers_recipe": "released", "padding": "valid"}),
    ),
    Ablation(
        "multimnist-baseline-target", "MultiMNIST baseline: target of the sigmoid loss", "not stated", _BASELINE,
        Side("the label", {"loss_recipe": "paper"}),
        Side("half the label", {"loss_recipe": "released"}),
    ),
    Ablation(
        "none-of-the-above", "CIFAR-10: routing to none of the classes", "Section 7", "cifar10-capsnet-r3",
        Side("leaky", {"leaky": True}, run="cifar10-capsnet-r3"),
        Side("plain, the default of its flag", {"leaky": False}, run="cifar10-plain"),
        "one network of the seven",
    ),
    Ablation(
        "mnist-baseline", "MNIST baseline", "Section 5", "mnist-baseline", Side("three 5x5 convolutions"), None,
        "the released code has none",
    ),
    Ablation(
        "mnist-shift", "MNIST: shifts of the training digits", "Section 5", _MNIST,
        Side("drawn anew each time"),
        Side("all 25 listed, in shuffled order", every_shift=True),
        "in a training of minutes few of the 25 come up: the same distribution, drawn with or without repetition",
    ),
)  # fmt: skip


def chosen(names: Sequence[str]) -> list[Ablation]:
    """The ablations with these names; all if no name is given.

    Raises:
        Error: a name is unknown.
    """
    known = {case.name: case for case in CASES}
    if unknown := [name for name in names if name not in known]:
        raise Error(f"unknown ablation {unknown[0]!r}; known: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(CASES)
