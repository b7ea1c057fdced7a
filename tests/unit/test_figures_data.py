"""The sheets that look at the data: what is drawn is what the data set holds, labelled; files come out the same."""

import argparse
import subprocess
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from capsrepro.data import affnist, loading
from capsrepro.data.batches import Stream, order, unit
from capsrepro.data.cifar10 import Cifar10
from capsrepro.data.mnist import Mnist
from capsrepro.data.multimnist import MultiMnist
from capsrepro.data.smallnorb import SmallNorb
from capsrepro.data.svhn import Svhn
from capsrepro.figures import data as sheets
from capsrepro.figures import drawing
from experiments import figures as command
from tests.support.commands import run_code, run_module
from tests.support.digits import Digits, philox


def some(digits: Digits, count: int = 20, **settings: int) -> Mnist:
    return Mnist(digits[0][:count], digits[1][:count], name=f"first-{count}", sha256="x", **settings)


def colours(*shape: int) -> np.ndarray:
    return philox(3).integers(0, 256, shape, dtype=np.uint8)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def drawn(figure: Figure) -> list[np.ndarray]:
    """What each axes shows, in reading order."""
    assert all(len(axes.images) == 1 for axes in figure.axes)
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def rows(figure: Figure, width: int = 8) -> list[np.ndarray]:
    arrays = drawn(figure)
    return [np.stack(arrays[start : start + width]) for start in range(0, len(arrays), width)]


def seen(train) -> np.ndarray:
    return Stream(train, 128, 0).batch(0).images[:8]


# The sheets


def test_mnist_shows_digits_before_and_after_the_move_with_label_and_move(digits: Digits) -> None:
    train, test = some(digits), some(digits, 9)
    figure = sheets.mnist(train, test)
    before, after, unmoved = rows(figure)
    numbers = order(0, 0, 8, len(train))
    assert np.array_equal(before, unit(train.images[numbers, ..., 0]))
    assert np.array_equal(after, seen(train)[..., 0])
    assert np.array_equal(unmoved, unit(digits[0][:8, ..., 0]))
    labels = [str(label) for label in train.labels[numbers]]
    written = texts(figure)
    assert written[0] == "MNIST"
    assert written[3:11] == labels
    assert [text.split("   ")[0] for text in written[12:20]] == labels
    assert written[21:] == ["7", "2", "1", "0", "4", "1", "4", "9"]
    assert "up to 2 pixels" in written[1]
    assert "Data: first-20, first-9." in written[1]


def test_a_move_is_told_as_it_was(digits: Digits) -> None:
    train = some(digits, 8)
    numbers = np.arange(8)
    moved = train.distorted(numbers, philox(5)).images
    shifts = philox(5).integers(-2, 2, size=(8, 2), endpoint=True)
    for digit, after, shift in zip(train.batch(numbers).images, moved, shifts, strict=True):
        assert sheets._move(digit, after, 2) == tuple(shift)
    with pytest.raises(ValueError, match="at most 2 pixels"):
        sheets._move(train.batch(numbers).images[0], moved[1], 2)


@pytest.mark.parametrize(
    ("down", "right", "text"), [(2, -1, "↓2 ←1"), (-3, 0, "↑3"), (0, 4, "→4"), (0, 0, "not moved")]
)
def test_arrows_point_where_the_digit_went(down: int, right: int, text: str) -> None:
    assert sheets._arrows(down, right) == text


def test_expanded_shows_moves_of_up_to_six_pixels_and_the_fixed_set(digits: Digits) -> None:
    padded = np.pad(digits[0][:20], ((0, 0), (6, 6), (6, 6), (0, 0)))
    train = Mnist(padded, digits[1][:20], name="expanded-mnist-train", sha256="x", shift=6)
    fixed, _ = affnist.expanded(digits[0], np.arange(9), 0)
    figure = sheets.expanded(train, Mnist(fixed, digits[1][:9], name="fixed", sha256="x", shift=0))
    _, after, test = rows(figure)
    assert np.array_equal(after, seen(train)[..., 0])
    assert np.array_equal(test, unit(fixed[:8, ..., 0]))
    assert any("up to 6 pixels" in text for text in texts(figure))


def test_multimnist_shows_the_merged_image_and_either_digit_with_labels_and_moves(digits: Digits) -> None:
    train = MultiMnist(digits[0][:30], digits[1][:30], name="multimnist-train", sha256="x", pairs=5)
    test = MultiMnist(digits[0][:30], digits[1][:30], name="multimnist-test", sha256="x", pairs=1)
    figure = sheets.multimnist(train, test)
    merged, first, second, *tested = rows(figure)
    assert np.array_equal(merged, seen(train)[..., 0])
    batch, pairs = test.batch(np.arange(8)), test.pairs(np.arange(8))
    assert np.array_equal(tested, [batch.images[..., 0], batch.targets[:, 0, ..., 0], batch.targets[:, 1, ..., 0]])
    assert np.allclose(merged, np.minimum(1, first + second), atol=1e-6)
    written = texts(figure)
    for (one, other), shift in zip(batch.labels, pairs.top_shift, strict=True):
        assert f"{one} and {other}" in written
        assert f"{other}   {sheets._arrows(*shift)}" in written
    colours = {axes.images[0].get_cmap()(1.0)[:3] for axes in figure.axes}
    assert len(colours) == 3  # white, and a colour for either digit


def test_affnist_shows_each_digit_with_its_six_parameters(digits: Digits) -> None:
    made, parameters = affnist.affine(digits[0], np.arange(24), 2, 0)
    labels = np.repeat(digits[1][:12], 2)
    dataset = affnist.AffNist(made, labels, sha256="x", parameters=parameters)
    figure = sheets.affnist(dataset, some(digits, 12))
    before, after, *_ = rows(figure, 6)
    assert np.array_equal(before[3, 6:34, 6:34], unit(digits[0][3, ..., 0]))
    assert np.array_equal(after, unit(made[:12:2, ..., 0]))
    assert len(figure.axes) == 24
    written = texts(figure)
    assert written[0] == "affNIST, built from MNIST"
    for rotation, shear, vertical, horizontal, down, right in parameters[::2]:
        lines = [f"rotation {rotation:+.1f}°", f"shear {shear:+.2f}", f"height ×{vertical:.2f}"]
        lines += [f"width ×{horizontal:.2f}", sheets._arrows(down, right, 1)]
        start = written.index(lines[0].replace("-", "−"))
        assert written[start : start + 5] == [line.replace("-", "−") for line in lines]


def test_published_affnist_says_so_and_has_labels_alone(digits: Digits) -> None:
    made, _ = affnist.affine(digits[0], np.arange(12), 1, 0)
    figure = sheets.affnist(affnist.AffNist(made, digits[1][:12], sha256="x"), some(digits, 12))
    assert np.array_equal(np.concatenate(rows(figure, 6)), unit(made[..., 0]))
    written = texts(figure)
    assert written[0] == "affNIST, published"
    assert not any("rotation" in text for text in written)


def test_cifar10_shows_photographs_and_what_is_seen_of_them_with_class_names() -> None:
    train, test = (
        Cifar10(colours(20, 32, 32, 3), np.arange(20) % 10, name=f"cifar10-{split}", sha256="x")
        for split in ("train", "test")
    )
    figure = sheets.cifar10(train, test)
    published, _, tested, middles = rows(figure)
    assert np.array_equal(published, unit(train.images[order(0, 0, 8, 20)]))
    assert np.array_equal(tested, unit(test.images[:8]))
    pixels = test.batch(np.arange(8)).images
    assert middles.shape == (8, 24, 24, 3)
    assert np.allclose(middles, np.clip(pixels, -2.5, 2.5) / 5 + 0.5, atol=1e-6)
    assert {"0 airplane", "3 cat", "7 horse"} <= set(texts(figure))


def test_smallnorb_shows_both_cameras_side_by_side() -> None:
    train, test = (
        SmallNorb(colours(10, 48, 48, 2), np.arange(10) % 5, name=f"smallnorb-{split}", sha256="x")
        for split in ("train", "test")
    )
    figure = sheets.smallnorb(train, test)
    _, distorted, tested, middles = rows(figure)
    assert np.array_equal(distorted[::2], seen(train)[:4, ..., 0])
    assert np.array_equal(tested[1::2], unit(test.images[:4, ..., 1]))
    assert np.array_equal(middles[0::2], test.batch(np.arange(4)).images[..., 0])
    assert np.array_equal(middles[1::2], test.batch(np.arange(4)).images[..., 1])
    assert figure.axes[8].images[0].get_clim() == (-2.5, 2.5)
    assert texts(figure)[-8:] == [
        *("0 animal, left", "right", "1 human, left", "right"),
        *("2 airplane, left", "right", "3 truck, left", "right"),
    ]


def test_svhn_shows_what_is_seen_with_labels() -> None:
    train, test = (
        Svhn(colours(20, 32, 32, 3), np.arange(20) % 10, name=f"svhn-{split}", sha256="x")
        for split in ("train", "test")
    )
    figure = sheets.svhn(train, test)
    assert np.array_equal(np.concatenate(rows(figure)[2:]), unit(test.images[:16]))
    assert np.array_equal(rows(figure)[0], seen(train))
    assert texts(figure)[-8:] == ["8", "9", "0", "1", "2", "3", "4", "5"]


# Drawing


def test_a_pixel_of_an_image_is_a_square_of_pixels_in_the_file(tmp_path: Path) -> None:
    pixels = colours(2, 28, 28)
    figure = drawing.sheet("title", "note", [drawing.Row(unit(pixels), ["1", "2"], "row")])
    drawing.save(figure, tmp_path / "sheet.png")
    sheet = image.imread(tmp_path / "sheet.png")[..., :3]
    assert sheet.shape[1] == 800
    for axes, expected in zip(figure.axes, pixels, strict=True):
        box = axes.get_window_extent()
        left, top = round(box.x0), sheet.shape[0] - round(box.y1)
        found = 255 * sheet[top : top + 84, left : left + 84, 0]
        assert np.abs(found - expected.repeat(3, axis=0).repeat(3, axis=1)).max() < 1.01  # of 255 levels


def test_no_text_covers_another_or_leaves_the_sheet(digits: Digits) -> None:
    made, parameters = affnist.affine(digits[0], np.arange(12), 1, 0)
    dataset = affnist.AffNist(made, digits[1][:12], sha256="x", parameters=parameters)
    toys = SmallNorb(colours(10, 48, 48, 2), np.arange(10) % 5, name="smallnorb", sha256="x")
    pairs = MultiMnist(digits[0][:30], digits[1][:30], name="multimnist", sha256="x", pairs=5)
    photographs = Cifar10(colours(20, 32, 32, 3), np.ones(20), name="cifar10", sha256="x")  # the longest name
    for figure in (
        sheets.affnist(dataset, some(digits, 12)),
        sheets.smallnorb(toys, toys),
        sheets.multimnist(pairs, pairs),
        sheets.cifar10(photographs, photographs),
    ):
        figure.canvas.draw()
        boxes = [text.get_window_extent().padded(-1) for text in figure.texts]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)
        assert not [
            (figure.texts[place].get_text(), figure.texts[other].get_text())
            for place, box in enumerate(boxes)
            for other in range(place)
            if box.overlaps(boxes[other])
        ]


def test_the_same_sheet_gives_the_same_bytes_whatever_the_users_settings(digits: Digits, tmp_path: Path) -> None:
    train, test = some(digits), some(digits, 9)
    drawing.save(sheets.mnist(train, test), tmp_path / "once.png", tmp_path / "once.pdf")
    with matplotlib.rc_context({"font.size": 20, "figure.facecolor": "red", "savefig.bbox": "tight"}):
        drawing.save(sheets.mnist(train, test), tmp_path / "again.png", tmp_path / "again.pdf")
        assert matplotlib.rcParams["font.size"] == 20
    for kind in ("png", "pdf"):
        content = (tmp_path / f"once.{kind}").read_bytes()
        assert content == (tmp_path / f"again.{kind}").read_bytes()
        assert not [word for word in (b"Date", b"Software", b"Producer", b"atplotlib.org") if word in content]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.pdf", "again.png", "once.pdf", "once.png"]


def test_a_row_of_too_many_images_or_too_few_texts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"row 'wide': expected at most 8 images, received 9"):
        drawing.sheet("title", "", [drawing.Row(np.zeros((9, 4, 4)), ["x"] * 9, "wide")])
    with pytest.raises(ValueError, match="zip"):
        drawing.sheet("title", "", [drawing.Row(np.zeros((3, 4, 4)), ["x"])])


def test_pyplot_is_not_imported() -> None:
    answer = run_code(
        "import sys, capsrepro.figures.data; print('matplotlib.pyplot' in sys.modules, 'tensorflow' in sys.modules)"
    )
    assert answer.stdout.split() == ["False", "False"]


# The command


def arguments(folder: Path, *names: str) -> argparse.Namespace:
    return argparse.Namespace(names=names, data=folder / "data", results=folder / "results", scale="quick")


def test_the_command_draws_what_is_there_and_says_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], digits: Digits
) -> None:
    for name, file in (("svhn", "train_32x32.mat"), ("svhn", "test_32x32.mat"), ("cifar10", "unreachable.txt")):
        (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name / file).touch()
    monkeypatch.setattr(command, "picture", lambda *_: sheets.mnist(some(digits), some(digits)))
    command.data(arguments(tmp_path))
    said = capsys.readouterr().out.splitlines()
    for line, name in zip(said, ("cifar10", "smallnorb"), strict=False):
        folder = tmp_path / "data" / name
        assert line == f"data-{name}: not drawn, {folder} lacks files; run python -m experiments.fetch {name}"
    assert len(said) == 2 + 5
    written = sorted(path.name for path in (tmp_path / "results/quick/figures").iterdir())
    assert written == [f"data-{name}.png" for name in ("affnist", "expanded", "mnist", "multimnist", "svhn")]


def test_pictures_are_of_the_splits_of_that_data_set(monkeypatch: pytest.MonkeyPatch, digits: Digits) -> None:
    asked = []

    def load(settings, split, folder, scale):
        asked.append((settings.data, split, settings.shift, settings.test_pairs, folder, scale))
        if (settings.data, split) == ("affnist", "test"):
            made, parameters = affnist.affine(digits[0], np.arange(12), 1, 0)
            return affnist.AffNist(made, digits[1][:12], sha256="x", parameters=parameters)
        if settings.data == "multimnist":
            return MultiMnist(digits[0][:30], digits[1][:30], name="pairs", sha256="x", pairs=settings.test_pairs)
        return some(digits, 12)

    monkeypatch.setattr(loading, "load", load)
    titles = [texts(command.picture(name, Path("data"), "full"))[0] for name in command.NAMES[:4]]
    assert titles == ["MNIST", "MultiMNIST", "affNIST, built from MNIST", "Expanded MNIST"]
    assert [(data, split) for data, split, *_ in asked] == [
        *(("mnist", "train"), ("mnist", "test"), ("multimnist", "train"), ("multimnist", "test")),
        *(("affnist", "test"), ("mnist", "test"), ("affnist", "train"), ("affnist", "stop")),
    ]
    assert asked[3][2:] == (4, 1, Path("data"), "full")


def test_a_name_that_is_not_there_or_not_known_is_an_error(tmp_path: Path) -> None:
    def answer(name: str) -> subprocess.CompletedProcess[str]:
        return run_module("experiments.figures", "data", name, "--data", "nowhere", "--results", tmp_path)

    absent, unknown, unbuilt = answer("cifar10"), answer("cifar"), answer("mnist")
    line = "data-cifar10: not drawn, nowhere/cifar10 lacks files; run python -m experiments.fetch cifar10"
    assert (absent.returncode, absent.stdout, absent.stderr) == (1, "", f"error: {line}\n")
    assert unknown.returncode == 2
    assert "expected one of mnist, multimnist" in unknown.stderr
    assert unbuilt.returncode == 1
    assert unbuilt.stderr.startswith("error: nowhere/mnist/")
    assert not list(tmp_path.iterdir())
