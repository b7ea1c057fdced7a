"""The paper's figures: what is drawn is what the network draws and answers, chosen by rule; files come out the same."""

import argparse
import dataclasses
import itertools
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pandas
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from capsrepro.core import files, params
from capsrepro.core.errors import Error
from capsrepro.core.origin import Origin
from capsrepro.core.params import RunConfig
from capsrepro.core.paths import RunPaths
from capsrepro.data import loading
from capsrepro.data.batches import Dataset
from capsrepro.data.cifar10 import Cifar10
from capsrepro.data.mnist import Mnist
from capsrepro.data.multimnist import MultiMnist
from capsrepro.figures import (
    charts,
    confusion,
    drawing,
    mistakes,
    reconstructions,
    routing_changes,
    segmentation,
    trained,
)
from capsrepro.figures.data import CIFAR10
from capsrepro.network import evaluation, models, routing
from capsrepro.network.evaluation import Answers
from capsrepro.network.weights import save_weights
from experiments import paper_figures as command
from tests.support.commands import run_module
from tests.support.digits import Digits, few_of, philox

OTHER = "mnist-capsnet-r5-recon"
TINY = {"conv_channels": (4,), "primary_types": 1, "dense_units": (8, 8)}
CAPSNET = RunConfig("mnist", "capsnet", routing=3, reconstruction=True, **TINY)
ROUTED = "MNIST, 5 routing iterations, b ← a"  # the longest


def built(dataset: Dataset) -> keras.Model:
    return models.build(CAPSNET, dataset.image_shape, digits=dataset.digits)


def answered(dataset: Dataset, wrong: list[int], to: list[int]) -> Answers:
    """All is right but that the first digit of the examples `wrong` is taken for the classes `to`; 9 down are next."""
    labels = dataset.batch(np.arange(len(dataset))).labels
    predicted = labels.astype(np.int64).copy()
    predicted[wrong, 0] = to
    scores = np.repeat(np.arange(10, dtype=np.float32)[None] / 100, len(labels), axis=0)
    np.put_along_axis(scores, predicted, 0.9, axis=1)
    return Answers(labels, predicted, scores)


def drawn(figure: Figure) -> list[np.ndarray]:
    """What each axes shows, in reading order; white is NaN."""
    return [np.ma.filled(axes.images[0].get_array(), np.nan) for axes in figure.axes]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def past(path: Path, steps: int = 4, **columns: float) -> pandas.DataFrame:
    """Writes a history in which column `x` is `x / step`."""
    lines = [
        {"member": 0, "step": step, **{name: value / step for name, value in columns.items()}}
        for step in range(100, 100 * steps + 1, 100)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pandas.DataFrame(lines).to_csv(path, index=False)
    return charts.history(path, *columns)


@pytest.fixture(scope="module")
def mnist(digits: Digits) -> Mnist:
    return Mnist(digits[0][:40], digits[1][:40], name="mnist", sha256="x", shift=0)


@pytest.fixture(scope="module")
def pairs(digits: Digits) -> MultiMnist:
    return MultiMnist(digits[0][:40], digits[1][:40], name="pairs", sha256="x", pairs=1)


@pytest.fixture(scope="module")
def single(mnist: Mnist) -> keras.Model:
    return built(mnist)


@pytest.fixture(scope="module")
def double(pairs: MultiMnist) -> keras.Model:
    return built(pairs)


@pytest.fixture
def changes(tmp_path: Path) -> pandas.DataFrame:
    return past(tmp_path / "changes.csv", **{name: 10.0**-place for place, name in enumerate(charts.CHANGES)})


@pytest.fixture
def measured() -> pandas.DataFrame:
    """Figure A.1's three quantities over eight passes, told apart by what they do from pass to pass."""
    passes = np.arange(1, 9)
    columns = {"logits_accumulated": 1e-3 * passes, "couplings": 0 * passes + 4e-4, "logits_replaced": 0.1**passes}
    return pandas.DataFrame({"pass": passes, **columns})


@pytest.fixture
def losses(tmp_path: Path) -> list[tuple[int, pandas.DataFrame]]:
    return [
        (1, past(tmp_path / "once.csv", classification_loss=2.0, learning_rate=0.1)),
        (3, past(tmp_path / "thrice.csv", 6, classification_loss=1.0, learning_rate=0.1)),
    ]


# Answers


@pytest.mark.parametrize("kind", ["single", "double"])
def test_answers_are_those_that_the_evaluation_counts(kind: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    dataset = request.getfixturevalue("mnist" if kind == "single" else "pairs")
    given = evaluation.answers(model, dataset, batch_size=7)
    assert (~given.right).sum() == evaluation.evaluate(model, dataset).wrong
    assert np.array_equal(given.labels, dataset.batch(np.arange(40)).labels)
    assert given.predicted.shape == given.labels.shape
    assert np.array_equal(given.predicted[:, 0], given.scores.argmax(axis=1))


def test_a_digit_counts_once_however_a_pair_was_confused() -> None:
    labels = np.array([[0, 1], [0, 1], [2, 3], [2, 3]])
    predicted = np.array([[1, 0], [0, 2], [2, 3], [0, 1]])  # right, 1 for 2, right, both wrong
    counts = confusion.confusions(Answers(labels, predicted, np.zeros((4, 4))))
    assert counts.tolist() == [[2, 0, 0, 0], [0, 1, 1, 0], [0.5, 0.5, 1, 0], [0.5, 0.5, 0, 1]]


# Figure 3


def test_figure3_shows_the_first_right_ones_and_each_of_the_first_wrong_ones_twice(
    single: keras.Model, mnist: Mnist
) -> None:
    given = answered(mnist, [1, 3, 20, 30, 35], [8, 9, 7, 4, 4])
    figure = reconstructions.figure3(single, mnist, given, ROUTED)
    columns = [[0, 2, 4, 5, None, 1, 1, 3, 3], [6, 7, 8, 9, None, 20, 20, 30, 30]]
    triples = [text for text in texts(figure) if text.startswith("(")]
    expected, shown = [], drawn(figure)
    for band, numbers in enumerate(columns):
        for column, number in enumerate(numbers):
            above, below = shown[18 * band + column], shown[18 * band + 9 + column]
            if number is None:
                assert np.isnan(above).all()
                assert np.isnan(below).all()
                continue
            label, prediction = given.labels[number, 0], given.predicted[number, 0]
            assert (label == prediction) == (column < 4)
            asked = prediction if column in {6, 8} else label
            expected.append(f"({label}, {prediction}, {asked})")
            digit = mnist.batch(np.array([number])).images
            assert np.array_equal(above, digit[0, ..., 0])
            alone = single.predict_on_batch({"image": digit, "mask": np.eye(10)[[[asked]]]})["reconstruction"]
            assert np.allclose(below.ravel(), alone.ravel(), atol=1e-6)
    assert triples == expected
    assert "right on 35 of 40" in " ".join(texts(figure)[1:4])


def test_figure3_of_a_network_with_one_mistake_leaves_the_rest_white(single: keras.Model, mnist: Mnist) -> None:
    figure = reconstructions.figure3(single, mnist, answered(mnist, [3], [9]), ROUTED)
    white = [np.isnan(image).all() for image in drawn(figure)]
    assert white[5:9] == [False, False, True, True]
    assert white[18:27] == [False] * 4 + [True] * 5


# Figure 4


def test_the_middle_of_a_strip_is_the_reconstruction_as_it_is(single: keras.Model, mnist: Mnist) -> None:
    batch = mnist.batch(np.arange(3))
    plain = reconstructions.draw(single, batch.images, batch.labels)[:, 0]
    moved = reconstructions.perturbed(single, mnist, [0, 1, 2])
    assert moved.shape == (3, 16, 11, 28, 28)
    assert np.allclose(moved[:, :, 5], plain[:, None], atol=1e-6)
    assert np.ptp(moved, axis=2).max(axis=(2, 3)).min() > 0  # each dimension changes each digit


def test_a_dimension_is_moved_by_a_quarter_at_the_end_of_its_strip(single: keras.Model, mnist: Mnist) -> None:
    label = mnist.labels[4]
    encoder = keras.Model(single.input["image"], single.get_layer("digit_capsules").output)
    capsule = encoder.predict_on_batch(mnist.batch(np.array([4])).images)[0, label]
    masked = np.zeros((1, 1, 160), np.float32)
    masked[0, 0, 16 * label : 16 * label + 16] = capsule
    masked[0, 0, 16 * label + 6] += 0.25
    expected = single.get_layer("reconstruction").predict_on_batch(masked).reshape(28, 28)
    assert np.allclose(reconstructions.perturbed(single, mnist, [4])[0, 6, -1], expected, atol=1e-6)
    assert np.allclose(reconstructions.OFFSETS, [-0.25 + 0.05 * place for place in range(11)])


def test_figure4_has_the_dimension_that_changes_most_of_six_digits_and_all_of_one(
    single: keras.Model, mnist: Mnist
) -> None:
    figure = reconstructions.figure4(single, mnist, ROUTED)
    first = [list(mnist.labels).index(label) for label in range(6)]
    moved = reconstructions.perturbed(single, mnist, [*first, 0])
    most = np.square(moved[:6, :, -1] - moved[:6, :, 0]).sum(axis=(2, 3)).argmax(axis=1)
    expected = [*moved[np.arange(6), most], *moved[6]]
    assert len(figure.axes) == 6 + 16
    for strip, images in zip(drawn(figure), expected, strict=True):
        assert strip.shape == (28, 11 * 29 - 1)
        gaps = np.arange(28, strip.shape[1], 29)
        assert np.isnan(strip[:, gaps]).all()
        assert np.allclose(np.delete(strip, gaps, axis=1).reshape(28, 11, 28).swapaxes(0, 1), images, atol=1e-6)
    names = [axes.texts[0].get_text() for axes in figure.axes]
    assert names[:6] == [f"digit {label}\ndim. {place + 1}" for label, place in enumerate(most)]
    assert names[6:] == [f"dim. {place}" for place in range(1, 17)]
    assert [text.get_text() for text in figure.axes[-1].texts[1:]] == [
        *("−0.25", "−0.20", "−0.15", "−0.10", "−0.05", "0", "+0.05", "+0.10", "+0.15", "+0.20", "+0.25")
    ]
    assert "the first test image, a 7: all 16 dimensions" in texts(figure)


# Figure 5


def test_two_digits_are_drawn_in_two_colours_and_white_where_both_are() -> None:
    digits = np.zeros((1, 2, 1, 3))
    digits[0, 0, 0, :2] = digits[0, 1, 0, 1:] = 1
    first, both, second = reconstructions.overlaid(digits)[0, 0]
    assert first == pytest.approx([255 / 255, 157 / 255, 60 / 255])
    assert second == pytest.approx([77 / 255, 184 / 255, 255 / 255])
    assert both.tolist() == [1, 1, 1]


def test_figure5_shows_right_pairs_mistakes_and_forced_ones(double: keras.Model, pairs: MultiMnist) -> None:
    labels = pairs.batch(np.arange(40)).labels
    others = [int(np.setdiff1d(np.arange(10), labels[number])[0]) for number in (2, 5, 6, 30, 31)]
    given = answered(pairs, [2, 5, 6, 30, 31], others)
    figure = reconstructions.figure5(double, pairs, given, ROUTED, "Errors.")
    numbers = [0, 1, 3, 4, 7, 8, 9, 10, 2, 2, 5, 5, 6, 6, 30, 30, 0, 0, 1, 1, 3, 3, 4, 4]
    titles = [text for text in texts(figure) if text.startswith(("R:(", "R:P", "R:*", "L:("))]
    shown = iter(drawn(figure))
    bands = [[list(itertools.islice(shown, 8)) for _ in range(3)] for _ in range(3)]
    for place, number in enumerate(numbers):
        title, below = titles[2 * place : 2 * place + 2]
        mark, asked = title[2:-6], [int(title[-5]), int(title[-2])]
        band, column = divmod(place, 8)
        right, mistake, forced = (band == kind for kind in range(3))
        assert below == f"L:({labels[number, 0]}, {labels[number, 1]})"
        assert bool(given.right[number]) != mistake
        assert mark == ("P:" if mistake and column % 2 else "*" if forced else "")
        if right or not mark:
            assert asked == list(labels[number])
        elif mistake:
            assert asked == list(given.predicted[number])  # what was right of it is in its place
        else:
            there = {*labels[number], *given.predicted[number]}
            assert [digit in there for digit in asked] == [column % 2 == 0, False]
            assert max(set(range(10)) - there) in asked  # the best scored of those that are not there
        batch = pairs.batch(np.array([number]))
        alone = reconstructions.draw(double, batch.images, np.array([asked]))
        assert np.array_equal(bands[band][0][column], batch.images[0, ..., 0])
        assert np.array_equal(bands[band][1][column], reconstructions.overlaid(batch.targets[..., 0])[0])
        assert np.allclose(bands[band][2][column], reconstructions.overlaid(alone)[0], atol=1e-6)


def test_figure5_of_a_network_that_makes_no_mistake_has_no_mistakes(double: keras.Model, pairs: MultiMnist) -> None:
    figure = reconstructions.figure5(double, pairs, answered(pairs, [], []), ROUTED, "Errors.")
    assert len(figure.axes) == 2 * 3 * 8
    assert not [text for text in texts(figure) if "mistakes" in text]


def test_segmentation_compares_drawings_with_both_digits_and_absent_ones_with_nothing(
    double: keras.Model, pairs: MultiMnist
) -> None:
    given = answered(pairs, [2], [0])
    measured = segmentation.measure(double, pairs, given, batch_size=7)
    batch, expected = pairs.batch(np.arange(40)), []
    digits = batch.targets[..., 0]
    for asked, against in (
        (batch.labels, digits),
        (batch.labels, digits[:, [1, 0]]),
        (None, digits),
        (reconstructions.absent(given, np.arange(40).repeat(2)).reshape(40, 2, 2)[:, 1], 0 * digits),
    ):
        drawn = 0 if asked is None else reconstructions.draw(double, batch.images, asked)
        expected.append(np.square(drawn - against).mean())
    assert np.allclose(measured["mean_squared_error"], expected, rtol=1e-5)
    assert len(set(expected)) == 4
    assert segmentation.summary(measured).startswith(
        f"Mean squared error of a pixel over all test pairs: {expected[0]:.4f}"
    )


# Misclassified digits


def test_every_misclassified_digit_is_drawn_with_label_prediction_and_both_lengths(mnist: Mnist) -> None:
    wrong = [1, 3, *range(20, 33)]
    given = answered(mnist, wrong, [(mnist.labels[number] + 1) % 10 for number in wrong])
    figure = mistakes.mistakes(mnist, given, "a network")
    for image, number in zip(drawn(figure), wrong, strict=True):
        assert np.array_equal(image, mnist.batch(np.array([number])).images[0, ..., 0])
    label = mnist.labels[20]
    under = texts(figure).index("#20")
    expected = [f"{label} → {(label + 1) % 10}", f"{given.scores[20, label]:.2f} 0.90"]
    assert texts(figure)[under + 1 : under + 3] == expected
    assert "15 of 40 test images are misclassified. Under" in " ".join(texts(figure))


def test_a_network_that_is_mostly_wrong_has_its_first_mistakes_drawn(mnist: Mnist, monkeypatch) -> None:
    monkeypatch.setattr(mistakes, "MOST", 3)
    figure = mistakes.mistakes(mnist, answered(mnist, list(range(5)), [9] * 5), "a network")
    assert len(figure.axes) == 3
    assert "The first 3 are drawn." in " ".join(texts(figure))


def test_misclassified_photographs_are_drawn_in_colour_with_the_names_of_their_classes() -> None:
    images = philox(4).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    photographs = Cifar10(images, np.array([3, 8, 8, 0, 6]), name="cifar10-test", sha256="x")
    scores = np.eye(10, dtype=np.float32)[[3, 1, 8, 0, 6]]
    given = Answers(photographs.labels[:, None], scores.argmax(axis=1)[:, None], scores)
    figure = mistakes.mistakes(photographs, given, "seven networks", CIFAR10)
    (image,) = drawn(figure)
    seen = photographs.batch(np.array([1])).images[0]
    inside = np.abs(seen) < 2.5
    np.testing.assert_allclose(5 * (image[inside] - 0.5), seen[inside], atol=1e-5)
    assert {"ship", "→ automobile", "0.00 1.00"} <= set(texts(figure))
    axes = charts.confusion(given, "CIFAR-10", CIFAR10).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [*CIFAR10]


def test_long_names_of_classes_do_not_run_into_each_other() -> None:
    count = mistakes.COLUMNS
    photographs = Cifar10(np.zeros((count, 32, 32, 3), np.uint8), np.zeros(count), name="cifar10-test", sha256="x")
    automobile = np.ones((count, 1), dtype=np.int64)
    given = Answers(np.zeros_like(automobile), automobile, np.eye(10, dtype=np.float32)[automobile[:, 0]])
    figure = mistakes.mistakes(photographs, given, "seven networks", CIFAR10)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.findobj(Text) if text.get_text() == "→ automobile"]
    assert len(boxes) == count
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


# Histories


def test_figure_a1_draws_the_history_and_three_quantities_beside_the_papers_numbers(
    changes: pandas.DataFrame, measured: pandas.DataFrame
) -> None:
    figure = charts.figure_a1(changes, measured, "MNIST, 3 routing iterations")
    over, final = figure.axes
    assert [line.get_label() for line in over.lines] == [f"pass {number}" for number in range(1, 6)]
    for name, line in zip(charts.CHANGES, over.lines, strict=True):
        assert line.get_xdata().tolist() == [100, 200, 300, 400]
        assert line.get_ydata().tolist() == changes[name].tolist()
    *three, paper = final.lines
    assert [(line.get_label()[:14], line.get_ydata().tolist()) for line in three] == [
        ("b, accumulated", measured["logits_accumulated"].tolist()),
        ("c = softmax(b)", measured["couplings"].tolist()),
        ("b, replaced: b", measured["logits_replaced"].tolist()),
    ]
    assert {tuple(line.get_xdata()) for line in three} == {(1, 2, 3, 4, 5, 6, 7, 8)}
    assert (list(paper.get_xdata()), list(paper.get_ydata())) == ([2, 5], [0.007, 1e-5])
    assert (over.get_yscale(), final.get_yscale()) == ("log", "log")
    assert "MNIST, 3 routing iterations" in texts(figure)[0]


def test_the_changes_are_means_over_the_first_400_training_images(
    single: keras.Model, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing_changes, "_BLOCK", 150)  # blocks of 150, 150 and 100
    found = routing_changes.measure(single, few_of(digits, 450))
    digit = single.get_layer("digit_capsules")
    images = few_of(digits, 400).batch(np.arange(400)).images
    votes = digit.votes(keras.Model(single.input["image"], digit.input)(images))
    at_once = routing.changes(votes, digit.bias, 8)
    assert list(found.columns) == ["pass", *at_once._fields]
    assert found["pass"].tolist() == [*range(1, 9)]
    for name, expected in at_once._asdict().items():
        assert np.allclose(found[name], expected, rtol=1e-4), name


def test_titles_say_how_the_network_routes() -> None:
    assert charts.described("MNIST", CAPSNET) == "MNIST, 3 routing iterations"
    assert charts.described("MNIST", dataclasses.replace(CAPSNET, routing=1)) == "MNIST, 1 routing iteration"
    replaced = dataclasses.replace(CAPSNET, routing=5, routing_update="replace")
    assert charts.described("MNIST", replaced) == "MNIST, 5 routing iterations, b ← a"


def test_figure_a2_draws_both_losses_and_says_that_it_is_of_mnist(
    losses: list[tuple[int, pandas.DataFrame]],
) -> None:
    figure = charts.figure_a2(losses, "MNIST")
    once, thrice = figure.axes[0].lines
    assert (once.get_label(), thrice.get_label()) == ("1 iteration", "3 iterations")
    assert once.get_ydata().tolist() == losses[0][1]["classification_loss"].tolist()
    assert thrice.get_xdata().tolist() == [100, 200, 300, 400, 500, 600]
    assert "on MNIST (paper: CIFAR-10)" in texts(figure)[0]
    assert "(paper" not in texts(charts.figure_a2(losses, "CIFAR-10"))[0]


def test_figure_a2_of_several_seeds_draws_their_mean_in_a_band_from_the_lowest_to_the_highest(
    losses: list[tuple[int, pandas.DataFrame]],
) -> None:
    trainings = [
        (iterations, frame.assign(loss=frame["classification_loss"] * factor))
        for iterations, frame in losses
        for factor in (1.0, 2.0, 6.0)
    ]
    figure = charts.figure_a2(trainings, "CIFAR-10", charts.TOTAL_LOSS)
    (once, thrice), (band, _) = figure.axes[0].lines, figure.axes[0].collections
    assert (once.get_label(), thrice.get_label()) == ("1 iteration, 3 seeds", "3 iterations, 3 seeds")
    first = losses[0][1]["classification_loss"]
    np.testing.assert_allclose(once.get_ydata(), 3 * first)
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (first.min(), 6 * first.max())
    assert "on CIFAR-10, 1 and 3 iterations" in texts(figure)[0]
    assert "Band: from the lowest to the highest seed" in " ".join(texts(figure))


def test_histories_are_of_the_seeds_that_all_runs_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = RunConfig("cifar10", "capsnet", routing=3).as_json()
    for run, seeds in (("a", (0, 2, 11)), ("b", (2, 11, 3))):
        for seed in seeds:
            where = RunPaths("quick", run, seed)
            files.write_text(where.history, f"member,step,loss\n0,100,0.{seed}1\n")
            files.write_json(where.provenance, {"settings": settings})
    found = trained.histories(Path("results/quick"), ["a", "b"], "loss")
    assert [(routing, frame["loss"].tolist()) for routing, frame in found] == [(3, [0.21]), (3, [0.111])] * 2
    with pytest.raises(
        Error, match=r"results/quick/history: no seed of both a and c; run `python -m experiments.train"
    ):
        trained.histories(Path("results/quick"), ["a", "c"], "loss")


def test_figure_a2_says_when_the_learning_rates_differ(losses: list[tuple[int, pandas.DataFrame]]) -> None:
    assert "speeds" not in " ".join(texts(charts.figure_a2(losses, "MNIST")))
    losses[0][1]["learning_rate"] *= 2
    assert "differ in more than routing" in " ".join(texts(charts.figure_a2(losses, "MNIST")))


def test_a_history_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("member,step,loss,empty\n0,100,0.5,\n")
    assert charts.history(path, "loss")["loss"].tolist() == [0.5]
    with pytest.raises(Error, match=r"history.csv: no column logit_change_1, empty; train again"):
        charts.history(path, "logit_change_1", "empty")
    path.write_text("")
    with pytest.raises(Error, match=r"history.csv: no column step; train again"):
        charts.history(path)


# Confusion


def test_the_confusion_matrix_counts_and_says_how_many_of_a_class_are_wrong(mnist: Mnist) -> None:
    given = answered(mnist, [0, 17], [2, 2])  # the first two sevens
    figure = charts.confusion(given, "MNIST")
    cells = [text.get_text() for text in figure.axes[0].texts]
    counts = np.array(cells[:100]).reshape(10, 10)
    sevens = int((mnist.labels == 7).sum())
    assert (counts[7, 2], counts[7, 7], counts[2, 7]) == ("2", str(sevens - 2), "0")
    assert cells[100 + 7] == f"2 of {sevens} wrong"
    assert np.array_equal(counts.astype(float), confusion.confusions(given))
    faint = {text.get_color() for text in figure.axes[0].texts[:100] if text.get_text() == "0"}
    assert len(faint) == 1
    assert not faint & {text.get_color() for text in figure.axes[0].texts[:100] if text.get_text() != "0"}
    assert "38 of 40 images are right" in texts(figure)[1]


def test_the_confusion_matrix_of_pairs_says_how_both_wrong_are_counted(pairs: MultiMnist) -> None:
    assert "count half" in " ".join(texts(charts.confusion(answered(pairs, [], []), "MultiMNIST")))


# Files


def written(figure: Figure) -> list[Text]:
    """All text that is drawn; an axis also keeps labels for ticks that lie outside of it."""
    found = [*figure.texts]
    for axes in figure.axes:
        found += axes.texts
        if axes.axison:
            found += [axes.title, axes.xaxis.label, axes.yaxis.label]
            found += axes.get_legend().get_texts() if axes.get_legend() else []
            for place, axis in enumerate((axes.xaxis, axes.yaxis)):
                low, high = sorted(axis.get_view_interval())
                found += [text for text in axis.get_ticklabels() if low <= text.get_position()[place] <= high]
    return [text for text in found if text.get_text().strip()]


@pytest.fixture
def figures(single, double, mnist, pairs, changes, measured, losses) -> list[Figure]:
    given, both = answered(mnist, [1, 3, 20, 30], [8, 9, 7, 4]), answered(pairs, [2], [[0]])
    losses[0][1]["learning_rate"] *= 2  # the longer note
    return [
        reconstructions.figure3(single, mnist, given, ROUTED),
        reconstructions.figure4(single, mnist, ROUTED),
        reconstructions.figure5(
            double, pairs, both, ROUTED, segmentation.summary(segmentation.measure(double, pairs, both))
        ),
        mistakes.mistakes(mnist, given, ROUTED),
        charts.figure_a1(changes, measured, ROUTED),
        charts.figure_a2(losses, "MNIST"),
        charts.confusion(given, ROUTED),
        charts.confusion(both, "MultiMNIST, 3 routing iterations"),
    ]


def test_no_text_covers_another_or_leaves_the_figure(figures: list[Figure]) -> None:
    for figure in figures:
        with drawing.style():
            FigureCanvasAgg(figure).draw()
            boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in written(figure)]
        assert figure.bbox.width == 800
        inside = [box.x0 >= 0 and box.x1 <= 800 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for _, box in boxes]
        assert all(inside), [name for (name, _), fits in zip(boxes, inside, strict=True) if not fits]
        pairs_of = itertools.combinations(boxes, 2)
        assert not [(one, other) for (one, box), (other, next_) in pairs_of if box.overlaps(next_)]


# The command


def arguments(*only: str, run: str = command.THRICE) -> argparse.Namespace:
    return argparse.Namespace(only=only, run=run, scale="quick", seed=0, data=Path("data"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mnist: Mnist, pairs: MultiMnist) -> Path:
    """A project whose networks are tiny and untrained, with what their trainings would have left."""
    for name, routing_iterations in ((command.ONCE, 1), (command.THRICE, 3), (command.PAIRS, 3), (OTHER, 5)):
        dataset, where = pairs if name == command.PAIRS else mnist, RunPaths("quick", name, 0)
        settings = dataclasses.replace(CAPSNET, routing=routing_iterations, test_pairs=1000)
        settings = dataclasses.replace(settings, data="multimnist" if dataset is pairs else "mnist")
        origin = Origin(name, "quick", 0, 5, settings)
        save_weights(built(dataset), tmp_path / where.weights, origin=origin)
        files.write_json(tmp_path / where.provenance, {"settings": settings.as_json(), "steps_done": 5})
        columns = dict.fromkeys((*charts.CHANGES, charts.LOSS, charts.RATE), 1.0)
        past(tmp_path / where.history, **columns)

    def load(run: RunConfig, split: str, folder: Path, scale: str) -> Dataset:
        assert (folder, scale) == (Path("data"), "quick")
        assert (split, run.test_pairs) in {("test", 1), ("train", 1000)}
        return mnist if run.data == "mnist" else pairs

    monkeypatch.setattr(loading, "load", load)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_the_same_bytes_each_time_whatever_the_users_settings(project: Path) -> None:
    command.main(arguments())
    made = {path.name: path.read_bytes() for path in (project / "results/quick/figures").iterdir()}
    pictures = {f"{stem}.{kind}" for stem in command.FILES.values() for kind in ("png", "pdf")}
    assert made.keys() == pictures | {"figure5.csv", "figure-a1.csv"}
    with matplotlib.rc_context({"font.size": 20, "figure.facecolor": "red", "axes.grid": True, "lines.marker": "x"}):
        command.main(arguments("a1", "confusion"))
    assert all((project / "results/quick/figures" / name).read_bytes() == bytes_ for name, bytes_ in made.items())


def test_only_what_is_asked_for_is_drawn_and_needed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (project / "checkpoints/quick").iterdir():
        path.unlink()
    command.main(arguments("a2", "a2"))
    names = sorted(path.name for path in (project / "results/quick/figures").iterdir())
    assert names == ["figure-a2.pdf", "figure-a2.png"]
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "results/quick/figures/figure-a2.png"
    ]


def test_the_numbers_of_figure_a1_are_written_beside_it(project: Path, mnist: Mnist) -> None:
    command.main(arguments("a1"))
    stored = pandas.read_csv(project / "results/quick/figures/figure-a1.csv")
    expected = routing_changes.measure(built(mnist), mnist)
    assert list(stored.columns) == list(expected.columns)
    assert np.allclose(stored, expected, rtol=1e-3)


def test_another_run_is_named_in_its_files_and_its_iterations_in_its_titles(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, list[str]] = {}

    def note(figure: Figure, *paths: Path) -> None:
        drawn[paths[0].name] = texts(figure)
        files.write_text(paths[0], "drawn")

    monkeypatch.setattr(drawing, "save", note)
    command.main(arguments(run=OTHER))
    assert (project / f"results/quick/figures/figure-a1-{OTHER}.csv").is_file()
    assert drawn.keys() == {f"{stem}-{OTHER}.png" for stem in command.OF_RUN.values()}
    for stem in set(command.OF_RUN.values()) - {"figure-a2"}:
        assert "MNIST, 5 routing iterations" in drawn[f"{stem}-{OTHER}.png"][0]
    assert "1 and 5 iterations" in drawn[f"figure-a2-{OTHER}.png"][0]


@pytest.mark.parametrize(
    ("missing", "only"),
    [
        ("checkpoints/quick/multimnist-capsnet-r3-recon-seed0.weights.h5", ()),
        ("results/quick/history/mnist-capsnet-r1-recon-seed0.csv", ("a2",)),
    ],
)
def test_what_is_not_there_is_named_with_the_command_that_makes_it(
    project: Path, missing: str, only: tuple[str, ...]
) -> None:
    (project / missing).unlink()
    run = Path(missing).name.split("-seed")[0]
    with pytest.raises(
        Error, match=rf"^{missing}: not there; run `python -m experiments.train {run} --scale quick --seed 0` or"
    ):
        command.main(arguments(*only))
    assert not (project / "results/quick/figures").exists()


def with_settings(run: str, **changed: object) -> None:
    """Gives a run's training other settings."""
    where = RunPaths("quick", run, 0)
    settings = dataclasses.replace(CAPSNET, **changed)
    files.write_json(where.provenance, {"settings": settings.as_json(), "steps_done": 5})


@pytest.mark.parametrize(
    ("changed", "only", "refused"),
    [
        ({"reconstruction": False}, (), "3 needs a single CapsNet with a decoder, 4 needs a single CapsNet with a d"),
        ({"reconstruction": False}, ("confusion", "4"), "4 needs a single CapsNet with a decoder; name others"),
        ({"model": "mnist_baseline", "routing": None}, ("a1",), "a1 needs a single CapsNet; name others with --only"),
        ({"data": "affnist"}, ("3", "a2"), "a2 needs a CapsNet of MNIST with a decoder; name others with --only"),
        ({"members": 2}, ("a1",), "a1 needs a single CapsNet; name others with --only"),
    ],
)
def test_figures_that_a_network_cannot_have_are_refused_before_any_is_drawn(
    project: Path, changed: dict[str, object], only: tuple[str, ...], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_settings(OTHER, **changed)
    monkeypatch.setattr(trained, "restored", lambda *_, **__: pytest.fail("drawn"))
    with pytest.raises(Error) as fault:
        command.main(arguments(*only, run=OTHER))
    assert str(fault.value).startswith(f"results/quick/provenance/{OTHER}-seed0.json: not of a run for these figures: ")
    assert refused in str(fault.value)


def test_weights_of_another_training_than_the_history_are_not_drawn(project: Path) -> None:
    with_settings(OTHER, routing=5, test_pairs=1000, learning_rate=0.5)
    with pytest.raises(Error, match=f"{OTHER}-seed0.weights.h5: not of the training that .* describes; train again"):
        command.main(arguments("confusion", run=OTHER))


@pytest.mark.parametrize("data", params.TITLES)
def test_every_data_set_has_a_title(data: str) -> None:
    settings = RunConfig(data, "mnist_baseline")
    assert trained.Trained(None, None, settings).title == f"{params.TITLES[data]}, no capsules"


def test_a_figure_that_is_not_known_is_refused() -> None:
    answer = run_module("experiments.paper_figures", "--only", "6")
    assert answer.returncode == 2
    assert "invalid choice: '6'" in answer.stderr
