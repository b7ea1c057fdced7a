"""Draws the paper's Figures A.1 and A.2 from training histories, and the confusion matrix."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from capsrepro.core import training_history
from capsrepro.core.errors import Error
from capsrepro.core.params import TITLES, RunConfig
from capsrepro.figures.confusion import confusions
from capsrepro.figures.drawing import DPI, FIRST, WIDTH, style
from capsrepro.figures.routing_changes import IMAGES
from capsrepro.network.evaluation import Answers

CHANGES = tuple(f"logit_change_{number}" for number in range(1, 6))  # columns of a CapsNet's history
LOSS, RATE = "classification_loss", "learning_rate"  # columns of the history of a CapsNet with decoder
TOTAL_LOSS = "loss"  # of any history
PAPER = {2: 0.007, 5: 1e-5}  # pass of routing: the mean change of its logits after 500 epochs (Appendix A)
# The quantities of `routing.Changes`: what the legend of Figure A.1 says, colour, marker and line.
_QUANTITIES = {
    "logits_accumulated": ("b, accumulated: b ← b + a", "black", "o", "-"),
    "couplings": ("c = softmax(b), b accumulated", "#777777", "s", "--"),
    "logits_replaced": ("b, replaced: b ← a", "#2166ac", "^", "-"),
}

_COLOURS = {1: "#b35806", 3: "#2166ac"}  # by routing iterations; distinguishable with red-green colour blindness
_MARGIN = 8  # pixels, as in `drawing`
_PALE, _FAINT = "#555555", "#c8c8c8"


def history(path: Path, *columns: str) -> pandas.DataFrame:
    """Reads the history of a training: one line for each interval.

    Raises:
        Error: the file is not readable, see `training_history.read`, or one of `columns` is missing (older trainings
            had fewer), empty, or not a finite number on each line.
    """
    frame = pandas.DataFrame(training_history.read(path))
    if missing := [name for name in ("step", *columns) if name not in frame or frame[name].isna().all()]:
        raise Error(f"{path}: no column {', '.join(missing)}; train again")
    for name in ("step", *columns):
        if not np.isfinite(frame[name]).all():
            raise Error(f"{path}: not a finite number on each line of the column {name}; train again")
    return frame


def described(data: str, settings: RunConfig) -> str:
    """Data set and routing of a trained network, for a title: `MNIST, 3 routing iterations`.

    Args:
        data: title of the data set.
        settings: those that the network was trained with.
    """
    if settings.routing is None:
        return f"{data}, no capsules"
    iterations = f"{settings.routing} routing iteration{'s' * (settings.routing != 1)}"
    return f"{data}, {iterations}{', b ← a' * (settings.routing_update == 'replace')}"


@style()
def figure_a1(frame: pandas.DataFrame, measured: pandas.DataFrame, trained: str) -> Figure:
    """Draws what each pass of routing changes: the logits over training, and three quantities at its end.

    The paper's two numbers stand beside the three, of which only one falls as its figure does.

    Args:
        frame: history with the columns `step` and `CHANGES`.
        measured: see `routing_changes.measure`.
        trained: data set and network, see `described`.
    """
    note = (
        "Mean over images, classes and input capsules of |after the pass - before it|; a is the agreement of votes and "
        "capsules. On the left the logits b of the network as it was trained, on some training images. On the right "
        f"three quantities with the trained weights, on the first {IMAGES} training images, undistorted. Passes beyond "
        "those of the training are computed too. The paper's two numbers are those that it gives after 500 epochs."
    )
    figure = _page(f"Figure A.1: change by each pass of routing ({trained})", note, 540)
    over, final = _axes(figure, 80, 120, 320, 280), _axes(figure, 480, 120, 310, 280)
    for number, (name, colour) in enumerate(zip(CHANGES, _shades(len(CHANGES)), strict=True), 1):
        over.plot(frame["step"], frame[name], color=colour, marker="o", markersize=3, label=f"pass {number}")
    for name, (label, ink, marker, line) in _QUANTITIES.items():
        final.plot(measured["pass"], measured[name], line, color=ink, marker=marker, markersize=4, label=label)
    final.plot([*PAPER], [*PAPER.values()], "D", color=FIRST, label="paper")
    over.set(xlabel="training step", ylabel="mean change", title="logits b during training")
    at = int(frame["step"].iloc[-1])
    final.set(xlabel="pass of routing", title=f"at the end, step {at:,}", xticks=[*measured["pass"]])
    for axes, columns in ((over, 3), (final, 1)):
        _logarithmic(axes)
        axes.legend(ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.15), columnspacing=1, handlelength=1.6)
    return figure


@style()
def figure_a2(trainings: Sequence[tuple[int | None, pandas.DataFrame]], data: str, column: str = LOSS) -> Figure:
    """Draws the training loss of networks with different numbers of routing iterations.

    Several trainings with the same number are a line, their mean, in a band from the lowest to the highest.

    Args:
        trainings: the routing iterations of each, and its history with the columns `step`, `RATE` and `column`.
        data: title of the data set.
        column: `LOSS`, or `TOTAL_LOSS` of networks without a decoder, whose only loss it is.
    """
    groups: dict[int | None, list[pandas.DataFrame]] = {}
    for iterations, frame in trainings:
        groups.setdefault(iterations, []).append(frame)
    paper = " (paper: CIFAR-10)" if data != TITLES["cifar10"] else ""
    title = f"Figure A.2: training loss on {data}{paper}, {' and '.join(map(str, groups))} iterations"
    alone = " alone, without what the decoder adds" if column == LOSS else ""
    note = f"The margin loss{alone}; each point is the mean over the training steps since the point before it."
    if len(trainings) > len(groups):
        note += " Line: the mean over seeds. Band: from the lowest to the highest seed."
    if len({tuple(frame[["step", RATE]].iloc[0]) for _, frame in trainings}) > 1:
        note += " The learning rates fall at different speeds: the trainings differ in more than routing."
    figure = _page(title, note, 430)
    axes = _axes(figure, 80, 80, 700, 290)
    for iterations, frames in groups.items():
        name = f"{iterations} iteration{'s' * (iterations != 1)}"
        if len(frames) > 1:
            name += f", {len(frames)} seeds"
        colour = _COLOURS.get(iterations or 0)
        losses = pandas.concat(frames).groupby("step")[column].agg(["mean", "min", "max"])
        axes.fill_between(losses.index, losses["min"], losses["max"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(losses.index, losses["mean"], color=colour, marker="o", markersize=3, label=name)
    axes.set(xlabel="training step", ylabel="classification loss")
    axes.legend()
    _logarithmic(axes)
    return figure


@style()
def confusion(given: Answers, trained: str, names: Sequence[str] = ()) -> Figure:
    """Draws the confusion matrix with labels as rows, and beside each row its number of errors.

    Args:
        given: the network's predictions on a whole test split.
        trained: data set and network, see `described`.
        names: of the classes, where they are no digits.
    """
    counts = confusions(given)
    classes, pairs = len(counts), given.labels.shape[1] > 1
    note = f"Row: the label. Column: what the network takes it for. {given.right.sum():,} of {len(given.right):,} "
    note += f"{'pairs' if pairs else 'images'} are right."
    if pairs:
        note += (
            " Each of their digits is counted. Where both of a pair are wrong, nothing says which was taken for which: "
            "the four possibilities count half each."
        )
    figure = _page(f"Confusion matrix of the test set: {trained}", note, 700)
    axes = _axes(figure, 60, 115, 570, 570)
    mistakes = np.where(np.eye(classes, dtype=bool), np.nan, counts)
    most = max(float(np.nanmax(mistakes)), 1.0)
    axes.imshow(mistakes, LinearSegmentedColormap.from_list("mistakes", ["white", FIRST]), vmin=0, vmax=most)
    for (row, column), count in np.ndenumerate(counts):
        colour, weight = "black" if count else _FAINT, "bold" if row == column else "normal"
        axes.text(column, row, f"{count:g}", ha="center", va="center", size=9, color=colour, weight=weight)
    for row, (total, right) in enumerate(zip(counts.sum(axis=1), counts.diagonal(), strict=True)):
        text = f"{total - right:g} of {total:g} wrong"
        axes.text(classes - 0.3, row, text, ha="left", va="center", size=9, color=_PALE)
    axes.set(xticks=range(classes), yticks=range(classes), xlabel="predicted", ylabel="label")
    axes.xaxis.set(label_position="top", ticks_position="top")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    if names:
        axes.set_xticks(range(classes), names, size=7)
        axes.set_yticks(range(classes), names, size=6.5)
        axes.tick_params(pad=1)
        axes.set_ylabel("")  # the names take its place
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _page(title: str, note: str, height: int) -> Figure:
    """An empty figure 800 pixels wide, with title and note in the style of `drawing.sheet`."""
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    left = _MARGIN / WIDTH
    figure.text(left, 1 - _MARGIN / height, title, va="top", size=12, weight="bold")
    for place, line in enumerate(textwrap.wrap(note, 122)):
        figure.text(left, 1 - (_MARGIN + 26 + 14 * place) / height, line, va="top", size=8.5, color=_PALE)
    return figure


def _axes(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """Adds axes that cover exactly these pixels."""
    across, down = (float(side) * DPI for side in figure.get_size_inches())
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _logarithmic(axes: Axes) -> None:
    """Makes the y axis logarithmic, with plain decimal labels; a smaller range gets more ticks."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    places = [1] if high > 100 * low else [1, 2, 5] if high > 10 * low else [*range(1, 10)]
    axes.yaxis.set(major_locator=LogLocator(subs=places), major_formatter="{x:g}", minor_locator=NullLocator())


def _shades(count: int) -> list[tuple[float, ...]]:
    """Colours from dark to light that keep their order in greyscale."""
    return [colormaps["viridis"](place) for place in np.linspace(0, 0.88, count)]
