"""Pictures as people have them: thirty photos, each with its answer; several digits; shadows alone; names drawn."""

import argparse
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from capsrepro.core.errors import Error
from capsrepro.data import ink, pictures
from capsrepro.data.batches import unit
from capsrepro.figures import reconstructions
from capsrepro.network import models
from experiments import predict
from tests.support import photos, trained_golden
from tests.support.digits import Digits, philox
from tests.support.photos import PHOTOS, Photo

SURE = 0.5  # how much longer the small net's longest capsule is than the next on the digits that become photos


@pytest.fixture(scope="module")
def net() -> keras.Model:
    """The small trained net of the goldens."""
    return trained_golden.restored()


@pytest.fixture(scope="module")
def classifier(net: keras.Model) -> keras.Model:
    """Gives the lengths of its capsules."""
    return models.classifier(net)


@pytest.fixture(scope="module")
def chosen(classifier: keras.Model, digits: Digits) -> list[int]:
    """For each photo the number of a test digit that the small net is sure of: 0 to 9 in turn."""
    lengths = classifier.predict_on_batch(unit(digits[0][:400]))
    best = np.sort(lengths, axis=1)
    sure = (lengths.argmax(axis=1) == digits[1][:400]) & (best[:, -1] - best[:, -2] > SURE)
    of = [[int(number) for number in np.flatnonzero(sure & (digits[1][:400] == label))] for label in range(10)]
    return [of[place % 10][place // 10] for place in range(len(PHOTOS))]


def test_there_are_thirty_different_photos() -> None:
    assert len({photo.name for photo in PHOTOS}) == len(PHOTOS) == 30
    assert {Path(photo.name).suffix for photo in PHOTOS} == {".jpg", ".png", ".bmp", ".webp", ".gif"}
    assert {photo.turned for photo in PHOTOS} == set(range(1, 9))


@pytest.mark.parametrize("place", range(len(PHOTOS)), ids=lambda place: PHOTOS[place].name)
def test_a_photo_is_recovered_and_answered_with_its_digit(
    place: int, classifier: keras.Model, digits: Digits, chosen: list[int], tmp_path: Path
) -> None:
    photo, number = PHOTOS[place], chosen[place]
    (read,) = pictures.read(photos.taken(photo, digits[0][number, ..., 0], tmp_path))
    (lengths,) = classifier.predict_on_batch(read.image[None])
    assert lengths.argmax() == place % 10
    assert ("light background" in read.prepared) == (sum(photo.ink) < sum(photo.paper))
    assert "digits" not in read.prepared
    corners = photo.light(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0]))
    if np.ptp(corners) * max(photo.paper) > 2 * ink.UNEVEN:
        assert "shadows removed" in read.prepared


@pytest.mark.parametrize("photo", [one for one in PHOTOS if one.light is not PHOTOS[0].light], ids=lambda one: one[0])
def test_paper_in_shadow_with_nothing_on_it_is_refused(photo: Photo, tmp_path: Path) -> None:
    blank = photo._replace(dust=0, noise=0.0)
    with pytest.raises(Error, match="blank"):
        pictures.read(photos.taken(blank, np.zeros((28, 28), np.uint8), tmp_path))


@pytest.mark.parametrize("shadowed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_more_than_one_digit_is_told(count: int, shadowed: bool, digits: Digits) -> None:
    generator = philox(count)
    for _ in range(10):
        row = np.concatenate([digits[0][number, ..., 0] for number in generator.integers(0, 300, count)], axis=1) / 255
        sheet = 0.9 - 0.8 * np.kron(np.pad(row, 8), np.ones((5, 5)))
        if shadowed:
            sheet *= np.linspace(0.3, 1, sheet.shape[1])
        told = pictures.prepare(sheet, "row").prepared
        assert (f"; {count} digits in it, taken for one" in told) == (count > 1), told
        assert ("shadows removed" in told) == shadowed


def test_digits_below_one_another_are_told_and_a_broken_stroke_is_not() -> None:
    sheet = np.zeros((60, 40))
    sheet[5:25, 10:14] = sheet[32:52, 10:14] = 1.0
    assert ink.digits_in(sheet) == 2
    sheet[32:52] = 0.0
    sheet[27:30, 8:20] = 1.0  # a short bar below, as the top of a five
    assert ink.digits_in(sheet) == 1


def test_few_of_mnists_own_digits_are_taken_for_two(digits: Digits) -> None:
    found = [ink.digits_in(digit[..., 0] / 255) for digit in digits[0][:1000]]
    assert sum(count > 1 for count in found) <= 3


def test_a_photo_is_turned_by_its_exif_alone(digits: Digits, chosen: list[int], tmp_path: Path) -> None:
    """The same pixels without the entry are another picture."""
    turned = next(photo for photo in PHOTOS if photo.turned == 6)
    path = photos.taken(turned, digits[0][chosen[7], ..., 0], tmp_path)
    (upright,) = pictures.read(path)
    with Image.open(path) as image:
        Image.fromarray(np.asarray(image)).save(tmp_path / "as-stored.png")
    (stored,) = pictures.read(tmp_path / "as-stored.png")
    assert np.abs(upright.image - stored.image).mean() > 0.05
    alike = np.corrcoef(upright.image.ravel(), unit(digits[0][chosen[7]]).ravel())[0, 1]
    assert alike > 0.8


def test_names_in_the_drawing_are_those_of_the_files_in_lines_as_wide_as_a_picture(net: keras.Model) -> None:
    names = ["7.png", "a-long-name-of-a-photo.jpeg", "x" * 60 + "[3]", "a$b.png"]
    figure = reconstructions.redrawn(net, names, np.zeros((4, 28, 28, 1), np.float32), np.zeros(4, np.int64))
    written = [text.get_text() for text in figure.texts]
    for line in ("7.png", "a-long-name-of-a", "-photo.jpeg", r"a\$b.png"):
        assert line in written, line
    assert any(line.endswith("[3]") for line in written)


def test_the_drawing_is_given_the_names_without_their_folders(
    net: keras.Model, digits: Digits, chosen: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    monkeypatch.setattr(reconstructions, "redrawn", lambda model, names, *others: given.extend(names) or 1 / 0)
    monkeypatch.setattr(models, "build", lambda settings, shape: net)
    monkeypatch.setattr("capsrepro.network.weights.load_weights", lambda model, path: None)
    path = photos.taken(PHOTOS[0], digits[0][chosen[0], ..., 0], tmp_path)
    with pytest.raises(ZeroDivisionError):
        predict.answer(pictures.read(path), argparse.Namespace(reconstruction=True), Path("w.h5"), tmp_path / "x.png")
    assert given == [PHOTOS[0].name]
