"""affNIST and the expanded MNIST: maps that one can check by hand, no pixel lost, wrong files refused by name."""

from pathlib import Path

import numpy as np
import pytest
from scipy import io, ndimage, stats

from capsrepro import sources
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data import affnist, loading, mnist
from capsrepro.data.batches import generator
from capsrepro.data.mnist import Mnist
from tests.support.commands import run_module
from tests.support.digits import Digits, idx, philox, unpacked

IDENTITY = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]


def mapped(digit: np.ndarray, **changes: float) -> np.ndarray:
    """One digit `(28, 28)` under the identity but for `changes`: `(40, 40)`."""
    parameters = np.array([[changes.get(name, IDENTITY[place]) for place, name in enumerate(affnist.PARAMETERS)]])
    return affnist.transformed(digit[None, :, :, None], parameters)[0, :, :, 0]


# The map


def test_the_identity_puts_the_digit_in_the_middle_and_a_translation_moves_it_down_and_right(digits: Digits) -> None:
    digit = digits[0][0, :, :, 0]
    assert np.array_equal(mapped(digit), np.pad(digit, 6))
    assert np.array_equal(mapped(digit, down=2, right=-3), np.roll(np.pad(digit, 6), (2, -3), axis=(0, 1)))


def test_a_rotation_is_counter_clockwise(digits: Digits) -> None:
    digit = digits[0][0, :, :, 0]
    turned = mapped(digit, rotation=90)
    assert np.array_equal(turned, np.pad(np.rot90(digit), 6))  # rot90 turns what is shown counter-clockwise


def test_a_scale_stretches_and_a_shear_moves_lower_rows_to_the_right() -> None:
    bar = np.zeros((28, 28), np.uint8)
    bar[10:18, 13:15] = 200  # 8 rows, 2 columns, in the middle
    tall = mapped(bar, vertical_scale=2.0)
    assert np.array_equal(
        tall.sum(axis=1) > 0, np.isin(np.arange(40), range(11, 29))
    )  # 16 rows, a soft one at each end
    assert tall.sum(dtype=int) == pytest.approx(2 * bar.sum(dtype=int), rel=0.01)
    wide = mapped(bar, horizontal_scale=2.0)
    assert np.array_equal(wide, mapped(bar.T, vertical_scale=2.0).T)
    slanted = mapped(bar, shear=1.0).astype(float)
    centres = (slanted[16:24] * np.arange(40)).sum(axis=1) / slanted[16:24].sum(axis=1)
    assert np.diff(centres) == pytest.approx(np.ones(7))  # each row a column further


def test_a_rotation_comes_after_the_scale() -> None:
    bar = np.zeros((28, 28), np.uint8)
    bar[10:18, 13:15] = 200
    assert np.array_equal(mapped(bar, vertical_scale=2.0, rotation=90), np.rot90(mapped(bar, vertical_scale=2.0)))


def test_pixels_are_interpolated_as_scipy_does(digits: Digits) -> None:
    images, parameters = affnist.affine(digits[0], np.arange(100), 1, 0)
    for digit, image, row in zip(digits[0], images, parameters.astype(np.float64), strict=False):
        angle = np.deg2rad(row[0])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # of (row, column)
        back = np.linalg.inv(turn @ np.array([[1, 0], [row[1], 1]]) @ np.diag(row[2:4]))
        offset = 13.5 - back @ (19.5 + row[4:])
        reference = ndimage.affine_transform(
            digit[:, :, 0].astype(float), back, offset, (40, 40), order=1, mode="grid-constant"
        )
        assert np.abs(image[:, :, 0] - reference).max() <= 0.5 + 1e-5


# The recipe


@pytest.fixture(scope="module")
def built(digits: Digits) -> tuple[np.ndarray, np.ndarray]:
    """Two versions of each of 1,000 digits."""
    return affnist.affine(digits[0], np.arange(2000), 2, 0)


def test_parameters_are_uniform_over_the_recipes_ranges(built: tuple[np.ndarray, np.ndarray]) -> None:
    parameters = built[1]
    assert (parameters.shape, parameters.dtype) == ((2000, 6), np.float32)
    for column, (low, high) in enumerate([(-20, 20), (-0.2, 0.2), (0.8, 1.2), (0.8, 1.2)]):
        assert stats.kstest(parameters[:, column], stats.uniform(low, high - low).cdf).pvalue > 0.001


def test_no_digit_pixel_is_lost(digits: Digits, built: tuple[np.ndarray, np.ndarray]) -> None:
    images, parameters = built
    for start in range(0, 2000, 50):
        block = slice(start, start + 50)
        larger = affnist.transformed(digits[0][np.arange(2000)[block] // 2], parameters[block], 70)
        assert np.array_equal(larger[:, 15:55, 15:55], images[block])
        assert np.array_equal(larger.sum(axis=(1, 2, 3), dtype=int), images[block].sum(axis=(1, 2, 3), dtype=int))


def test_translations_use_all_of_the_image(digits: Digits, built: tuple[np.ndarray, np.ndarray]) -> None:
    ink = built[0][..., 0] > 0
    for edge in (ink[:, 0], ink[:, -1], ink[:, :, 0], ink[:, :, -1]):
        assert 0.01 < edge.any(axis=1).mean() < 0.2
    blank = np.zeros(
        (2000, 28, 28, 1), np.uint8
    )  # the middle counts as ink: it reaches a pixel on, by a matrix near one
    _, parameters = affnist.affine(blank, np.arange(2000), 1, 0)
    for column in (4, 5):
        assert stats.kstest(parameters[:, column], stats.uniform(-19.3, 38.6).cdf).pvalue > 0.001


def test_an_image_is_a_function_of_seed_and_number(digits: Digits, built: tuple[np.ndarray, np.ndarray]) -> None:
    asked = np.array([1999, 0, 5])
    for some, every in zip(affnist.affine(digits[0], asked, 2, 0), built, strict=True):
        assert np.array_equal(some, every[asked])
    assert not np.array_equal(affnist.affine(digits[0], asked, 2, 1)[1], built[1][asked])


def test_a_digit_that_cannot_fit_is_refused() -> None:
    with pytest.raises(Error, match="does not fit 40x40"):
        affnist.affine(np.full((1, 28, 28, 1), 255, np.uint8), np.arange(50), 50, 0)


# The expanded MNIST


def test_the_fixed_set_places_each_digit_anywhere_that_it_fits(digits: Digits) -> None:
    images, shifts = affnist.expanded(digits[0], np.arange(5000), 0)
    for number in range(3):
        down, right = shifts[number] + 6
        assert np.array_equal(images[number, down : down + 28, right : right + 28], digits[0][number])
    assert np.array_equal(images.sum(axis=(1, 2, 3), dtype=int), digits[0][:5000].sum(axis=(1, 2, 3), dtype=int))
    _, counts = np.unique(shifts, axis=0, return_counts=True)
    assert len(counts) == 13 * 13
    assert stats.chisquare(counts).pvalue > 0.001
    some, _ = affnist.expanded(digits[0], np.array([4999, 3]), 0)
    assert np.array_equal(some, images[[4999, 3]])
    assert not np.array_equal(affnist.expanded(digits[0], np.arange(5000), 1)[1], shifts)


def test_training_places_a_digit_anew_at_each_step(tmp_path: Path) -> None:
    images = np.zeros((60_000, 28, 28), np.uint8)
    images[:, ::27, ::27] = 255  # its corners
    for name, array in zip(mnist.FILES["train"], (images, np.zeros(60_000, np.uint8)), strict=True):
        (tmp_path / "mnist").mkdir(exist_ok=True)
        (tmp_path / "mnist" / name).write_bytes(idx(array))
    data = affnist.load(tmp_path, "train", built=tmp_path, examples=5000, sha256="x")
    assert (len(data), data.image_shape, data.name, data.sha256) == (5000, (40, 40, 1), "expanded-mnist-train", "x")
    batch = data.distorted(np.arange(5000), generator(0, 1, 0))
    corners = batch.images.reshape(5000, 40, 40)
    assert np.all(corners.sum(axis=(1, 2)) == 4)
    counts = corners[:, :13, :13].sum(axis=0)  # of the upper left one
    assert counts.sum() == 5000
    assert stats.chisquare(counts.ravel()).pvalue > 0.001
    again = data.distorted(np.arange(5000), generator(0, 1, 1))
    assert not np.array_equal(again.images, batch.images)


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of data sets with MNIST's test files and what is built from 40 of the digits."""
    (tmp_path / "mnist").mkdir()
    for name in mnist.FILES["test"]:
        (tmp_path / "mnist" / name).write_bytes(unpacked(name))
    few = mnist.load(tmp_path / "mnist", "test", examples=40)
    affnist.build_affnist(few, tmp_path / "built" / "affnist.npz", 3)
    affnist.build_expanded(few, tmp_path / "built" / "expanded.npz")
    return tmp_path


def test_what_was_built_is_loaded(folder: Path, digits: Digits) -> None:
    data = affnist.load(folder, "test", built=folder / "built")
    assert isinstance(data, affnist.AffNist)
    assert (len(data), data.image_shape, data.name, data.built) == (120, (40, 40, 1), "affnist-built", True)
    assert np.array_equal(data.labels, np.repeat(digits[1][:40], 3))
    images, parameters = affnist.affine(digits[0], np.arange(120), 3, 0)
    assert np.array_equal(data.parameters, parameters)
    assert np.array_equal(np.rint(data.batch(np.arange(120)).images * 255), images)
    assert np.array_equal(data.distorted(np.arange(9), generator(0, 1, 0)).images, data.batch(np.arange(9)).images)

    stop = affnist.load(folder, "stop", built=folder / "built", examples=30)
    assert (len(stop), stop.image_shape, stop.name) == (30, (40, 40, 1), "expanded-mnist-test")
    assert np.array_equal(stop.images, affnist.expanded(digits[0], np.arange(30), 0)[0])
    assert stop.sha256 != data.sha256 != ""


def test_built_files_have_the_same_bytes_each_time(folder: Path) -> None:
    few = mnist.load(folder / "mnist", "test", examples=40)
    affnist.build_affnist(few, folder / "again.npz", 3)
    assert (folder / "again.npz").read_bytes() == (folder / "built" / "affnist.npz").read_bytes()
    affnist.build_affnist(few, folder / "again.npz", 3, seed=1)
    assert (folder / "again.npz").read_bytes() != (folder / "built" / "affnist.npz").read_bytes()


def test_the_published_file_is_preferred_and_its_columns_are_images_row_by_row(folder: Path, digits: Digits) -> None:
    upright = np.pad(digits[0][:7], ((0, 0), (6, 6), (6, 6), (0, 0)))
    struct = {
        "affine_transform": np.zeros((3, 3, 7)),
        "image": upright.reshape(7, 1600).T,
        "label_int": digits[1][None, :7],
        "label_one_of_n": np.eye(10)[digits[1][:7]].T,
    }
    (folder / "affnist").mkdir()
    io.savemat(folder / "affnist" / "test.mat", {"affNISTdata": struct}, do_compression=True)
    data = affnist.load(folder, "test", built=folder / "nowhere")
    assert isinstance(data, affnist.AffNist)
    assert (len(data), data.name, data.built, data.parameters) == (7, "affnist", False, None)
    assert np.array_equal(data.images, upright)
    assert data.labels.tolist() == digits[1][:7].tolist()


def test_a_folder_without_the_published_file_is_no_published_affnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `fetch affnist --note` leaves it: the built set is then verified by the hash of MNIST."""
    monkeypatch.setattr(sources, "data_sha256", lambda name, _: name)
    monkeypatch.setattr(affnist, "load", lambda *_, sha256, **__: sha256)
    run = RunConfig("affnist", "capsnet", routing=3)
    (tmp_path / "affnist").mkdir()
    (tmp_path / "affnist" / "unreachable.txt").touch()
    assert loading.load(run, "test", tmp_path, "quick") == "mnist"
    (tmp_path / "affnist" / "test.mat").touch()
    assert loading.load(run, "test", tmp_path, "quick") == "affnist"


PIXELS = np.zeros((1600, 2), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": 1}, "not affNIST's Matlab 5 file .*KeyError"),
        ({"affNISTdata": {"image": PIXELS}}, "not affNIST's Matlab 5 file"),
        ({"affNISTdata": {"image": PIXELS, "label_int": [[1, 2, 3]]}}, r"received uint8 \(1600, 2\) and 3 labels"),
        ({"affNISTdata": {"image": PIXELS[:784], "label_int": [[1, 2]]}}, r"received uint8 \(784, 2\)"),
        ({"affNISTdata": {"image": PIXELS + 0.5, "label_int": [[1, 2]]}}, "received float64"),
        ({"affNISTdata": {"image": PIXELS, "label_int": [[1, 10]]}}, "N labels 0-9"),
        (b"no Matlab file at all, " * 20, "not affNIST's Matlab 5 file"),
        (b"", "not affNIST's Matlab 5 file"),
    ],
)
def test_a_wrong_published_file_is_refused_by_name(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "test.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        io.savemat(path, content)
    with pytest.raises(Error, match=rf"test.mat: .*{message}.*experiments.fetch affnist"):
        affnist.read_published(path)


def test_a_truncated_published_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "test.mat"
    noise = philox(0).integers(0, 256, (1600, 50), np.uint8)
    struct = {"image": noise, "label_int": np.zeros((1, 50))}
    io.savemat(path, {"affNISTdata": struct}, do_compression=True)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(Error, match=r"test.mat: not affNIST's Matlab 5 file"):
        affnist.read_published(path)


def test_a_wrong_built_file_is_refused_by_name(folder: Path) -> None:
    path = folder / "built" / "affnist.npz"
    good = path.read_bytes()
    for content in (good[:-1], good[: len(good) // 2], b"", b"PK", b"\x93NUMPY", good[:5000] + b"x" + good[5001:]):
        path.write_bytes(content)
        with pytest.raises(Error, match=r"affnist.npz: not readable .*experiments.build affnist"):
            affnist.load(folder, "test", built=folder / "built")
    np.save(folder / "array.npy", np.zeros(3))
    path.write_bytes((folder / "array.npy").read_bytes())
    with pytest.raises(Error, match=r"affnist.npz: not readable"):
        affnist.read_built(path, 6)
    path.unlink()
    with pytest.raises(Error, match=r"affnist.npz: not readable"):
        affnist.load(folder, "test", built=folder / "built")
    with pytest.raises(Error, match=r"expanded.npz: expected .*float32', \(40, 6\).* received .*float32', \(40, 2\)"):
        affnist.read_built(folder / "built" / "expanded.npz", 6)
    np.savez(
        path,
        images=np.zeros((1, 40, 40, 1), np.uint8),
        labels=np.full(1, 10, np.uint8),
        parameters=np.zeros((1, 6), np.float32),
    )
    with pytest.raises(Error, match=r"affnist.npz: expected .* labels 0-9"):
        affnist.read_built(path, 6)


def test_the_command_builds_each_set_and_says_what_it_made(folder: Path) -> None:
    answer = run_module("experiments.build", "multimnist", "expanded", "--data", folder)
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert [line.partition(": ")[2].partition(" in ")[0] for line in lines] == ["10000 examples"] * 2
    assert sorted(path.name for path in (folder / "built" / "quick").iterdir()) == ["expanded.npz", "multimnist.npz"]
    stop = affnist.load(folder, "stop", built=folder / "built" / "quick")
    assert isinstance(stop, Mnist)
    assert len(stop) == 10_000


def test_the_command_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    answer = run_module("experiments.build", "affnist", "--data", tmp_path)
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
    assert "experiments.fetch mnist" in answer.stderr
    assert not list(tmp_path.rglob("*.npz"))
