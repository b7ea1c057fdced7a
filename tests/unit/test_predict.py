"""`experiments.predict`: pictures become what MNIST would have made of them, and every answer has its line."""

import argparse
import gzip
import re
from pathlib import Path

import keras
import matplotlib.image
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from capsrepro.core import paths
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data import pictures
from capsrepro.data.batches import unit
from capsrepro.network import models
from capsrepro.network.weights import save_weights
from experiments import predict
from tests.support import trained_golden
from tests.support.bad_input import REFUSED, answer, damaged, often, put
from tests.support.commands import run_module
from tests.support.digits import PACKED, Digits, idx, philox

pytestmark = pytest.mark.usefixtures("counted")

RUN = "mnist-capsnet-r3-recon"
WHERE = paths.RunPaths("quick", RUN, 0)
SCALE = {"conv_channels": [32], "primary_types": 8, "dense_units": [64, 128]}  # of the small net
ENTRY = {"data": "mnist", "model": "capsnet", "routing": 3, "reconstruction": True}
PARAMS = {
    "trainings": {"quick": {"rows": [RUN], "seeds": [0]}},
    "runs": {
        RUN: ENTRY,
        "plain": ENTRY | {"reconstruction": False},
        "pairs": ENTRY | {"data": "multimnist", "shift": 4},
    },
    "scale_settings": {"quick": dict.fromkeys((RUN, "plain", "pairs"), SCALE)},
}


@pytest.fixture(scope="module")
def net() -> keras.Model:
    """The small trained net of the goldens."""
    return trained_golden.restored()


@pytest.fixture
def project(net: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and the small net's weights in the pipeline's place."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
    save_weights(net, WHERE.weights)
    return tmp_path


def enlarged(digit: np.ndarray, side: int = 200) -> np.ndarray:
    """A digit, smoothly, in [0, 1]."""
    grey = ndimage.zoom(digit[..., 0] / 255, side / 28, order=1, grid_mode=True, mode="grid-constant")
    return np.clip(grey, 0, 1)


def save(path: Path, grey: np.ndarray) -> Path:
    matplotlib.image.imsave(path, np.repeat(grey[..., None], 3, axis=2))
    return path


def on_paper(path: Path, digit: np.ndarray) -> Path:
    """A digit drawn dark on white, 200x200, in the lower left of a larger sheet."""
    sheet = np.ones((260, 330))
    sheet[55:255, 10:210] -= enlarged(digit)
    return save(path, sheet)


def command(*images: Path | str, **others: object) -> None:
    """Runs it in this process."""
    message = {"first": 10, "run": RUN, "scale": None, "seed": 0, "weights": None, "output": Path("drawn.png")}
    message |= {"params": Path("params.yaml"), "images": [Path(image) for image in images]}
    predict.main(argparse.Namespace(**{**message, **others}))


def table(output: str) -> list[list[str]]:
    """The cells of the lines about pictures: name, digit, ten lengths, and what was done in one."""
    lines = output.partition("---\n")[2].splitlines()
    return [line.split(maxsplit=12) for line in lines if re.search(r"(0\.\d\d +){10}", line)]


# Pictures


def test_each_digit_of_mnist_is_taken_as_it_is(digits: Digits) -> None:
    for number, digit in enumerate(digits[0]):
        given = unit(digit)
        picture = pictures.prepare(given[..., 0], str(number))
        assert picture.prepared == "as it is", number
        assert (picture.image == given).all()


def test_digits_on_paper_are_recovered_and_classified_the_same(
    digits: Digits, net: keras.Model, tmp_path: Path
) -> None:
    read = [picture for digit in digits[0][:40] for picture in pictures.read(on_paper(tmp_path / "x.png", digit))]
    assert {picture.prepared for picture in read} == {"light background: inverted, fitted"}
    recovered, originals = np.stack([picture.image for picture in read]), unit(digits[0][:40])
    alike = [np.corrcoef(ours.ravel(), mnist.ravel())[0, 1] for ours, mnist in zip(recovered, originals, strict=True)]
    assert np.median(alike) > 0.95
    assert min(alike) > 0.6  # one pixel aside, where a centre of mass lies between two
    answers = [models.classifier(net).predict(images, verbose=0).argmax(axis=1) for images in (recovered, originals)]
    assert (answers[1] == digits[1][:40]).sum() >= 30  # the small net can read
    assert (answers[0] == answers[1]).sum() >= 36


def test_a_digit_of_squares_is_recovered_exactly(digits: Digits, tmp_path: Path) -> None:
    """Each pixel a square of 6x6, far from the middle: the mean over areas is the pixel again; a tenth is noise."""
    digit = digits[0][0, ..., 0]
    sheet = np.zeros((300, 200))
    sheet[100:268, 30:198] = np.kron(np.where(digit < 26, 0, digit) / 255, np.ones((6, 6)))
    sheet /= sheet.max()
    (picture,) = pictures.read(save(tmp_path / "x.png", sheet))
    assert picture.prepared == "fitted"
    expected = np.where(digit < 26, 0, digit) / digit.max()
    np.testing.assert_allclose(picture.image[..., 0], expected, atol=1.5 / 255)


def test_a_bar_fills_the_box_and_keeps_its_shape() -> None:
    sheet = np.full((90, 400), 0.5)
    sheet[10:60, 120:320] = 0.25  # 50x200, darker than its background
    image = pictures.prepare(sheet, "bar").image[..., 0]
    expected = np.zeros((28, 28))
    expected[12:17, 4:24] = 1.0  # 5x20; its middle, 2 and 9.5, at 14 to the nearest pixel
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_contrast_noise_and_format_do_not_matter(digits: Digits, tmp_path: Path, suffix: str) -> None:
    sheet = 0.8 - 0.5 * np.pad(enlarged(digits[0][0]), 30)
    sheet += philox(0).uniform(-0.01, 0.01, sheet.shape)
    (picture,) = pictures.read(save(tmp_path / f"x.{suffix}", sheet))
    (clean,) = pictures.read(on_paper(tmp_path / "clean.png", digits[0][0]))
    assert np.abs(picture.image - clean.image).mean() < 0.02


@pytest.mark.parametrize("ink", [0.0, 1.0])
def test_what_is_transparent_is_background(digits: Digits, tmp_path: Path, ink: float) -> None:
    """A black drawing on nothing, and a white one."""
    opacity = np.pad(enlarged(digits[0][0]), 30)
    pixels = np.stack([*[np.full_like(opacity, ink)] * 3, opacity], axis=-1)
    matplotlib.image.imsave(tmp_path / "x.png", pixels)
    (picture,) = pictures.read(tmp_path / "x.png")
    (clean,) = pictures.read(on_paper(tmp_path / "clean.png", digits[0][0]))
    np.testing.assert_allclose(picture.image, clean.image, atol=0.02)


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.3, 1.0]), st.booleans()
)
@often
def test_any_picture_is_refused_or_fits_mnist(height: int, width: int, seed: int, share: float, light: bool) -> None:
    generator = philox(seed)
    grey = generator.uniform(size=(height, width)) * (generator.uniform(size=(height, width)) < share)
    read = answer("pictures as arrays", lambda: pictures.prepare(1 - grey if light else grey, "x.png"), Path("x.png"))
    if read is REFUSED:
        return
    image = read.image[..., 0]
    assert (read.image.shape, read.image.dtype) == ((28, 28, 1), np.float32)
    assert (image.min(), image.max()) == (0, 1)
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) < 20
    mass = image.sum()
    for axis in (0, 1):
        centre = (image.sum(axis=1 - axis) * np.arange(28)).sum() / mass
        assert abs(centre - 14) < 0.51 or {0, 27} & {*rows, *columns}


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_blank_picture_is_refused(value: float, tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"x\.png: blank"):
        pictures.read(save(tmp_path / "x.png", np.full((40, 30), value)))
    paper = np.full((40, 30), value)
    paper[20, 15] += 0.05 if value < 1 else -0.05
    with pytest.raises(Error, match="blank"):
        pictures.prepare(paper, "speck")


# IDX files


@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_file_gives_its_first_images_as_the_reader_of_mnist_does(
    digits: Digits, tmp_path: Path, packed: bool
) -> None:
    path = tmp_path / "some"
    content = idx(digits[0][:7, ..., 0])
    path.write_bytes(gzip.compress(content) if packed else content)
    read = pictures.read(path, 3)
    assert [picture.name for picture in read] == [f"{path}[{number}]" for number in range(3)]
    np.testing.assert_array_equal(np.stack([picture.image for picture in read]), unit(digits[0][:3]))
    assert len(pictures.read(path, 100)) == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither a PNG, JPEG, BMP, WebP or GIF picture nor an IDX file"),
        (b"<html>404</html>", "neither a PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "neither a PNG"),
        (b"\x89PNG\r\n\x1a\n", "not a whole picture"),
        ((PACKED / "t10k-labels-idx1-ubyte.gz").read_bytes(), "not an IDX file of images"),
        ((PACKED / "t10k-images-idx3-ubyte.gz").read_bytes()[:50], "not readable"),
        (idx(np.zeros((0, 28, 28), np.uint8)), "received 0 of 28x28"),
        (idx(np.ones((1, 28, 28), np.uint8))[:-1], "ends within image 0"),
        (idx(np.zeros((1, 1, 1), np.uint8)).replace(b"\0\0\0\x01", b"\x7f\xff\xff\xff"), "received 2147483647 of"),
        (idx(np.zeros((2, 28, 28), np.uint8)), r"\[0\]: blank"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_name(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "some.png"
    path.write_bytes(content)
    with pytest.raises(Error, match=f"{re.escape(str(path))}.*{message}") as refused:
        pictures.read(path)
    assert len(str(refused.value).splitlines()) == 1


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(Error, match=f"{re.escape(str(path))}: (not readable|expected a file, received a folder)"):
            pictures.read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "idx", "gz"])
@often
@given(data=st.data())
def test_damaged_pictures_are_refused_or_digits(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    grey = np.zeros((20, 20))
    grey[4:15, 9:12] = 1
    path = tmp_path_factory.getbasetemp() / f"some.{suffix}"
    put(path, b"")
    if suffix in ("png", "jpg"):
        save(path, grey)
    else:
        content = idx(np.uint8(255 * grey)[None])
        path.write_bytes(content if suffix == "idx" else gzip.compress(content, mtime=0))
    put(path, data.draw(damaged(path.read_bytes())))
    read = answer(f"{suffix} of a digit", lambda: pictures.read(path), path)
    assert read is REFUSED or {picture.image.shape for picture in read} == {(28, 28, 1)}


# The command


def test_each_picture_has_a_line_and_a_place_in_the_drawing(
    digits: Digits, net: keras.Model, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("some").write_bytes(idx(digits[0][:12, ..., 0]))
    on_paper(Path("7$_$.png"), digits[0][0])
    command("some", "7$_$.png", first=9)
    lines = table(capsys.readouterr().out)
    lengths = models.classifier(net).predict(unit(digits[0][:9]), verbose=0)
    for number, line in enumerate(lines[:9]):
        digit, message = str(lengths[number].argmax()), [f"{length:.2f}" for length in lengths[number]]
        assert line == [f"some[{number}]", digit, *message, "as it is"]
    assert [line[0] for line in lines[9:]] == ["7$_$.png"]
    assert lines[9][-1] == "light background: inverted, fitted"
    drawing = matplotlib.image.imread("drawn.png")
    assert drawing.shape[1] == 800
    assert drawing.shape[0] > 400  # two rows of pictures, each above its reconstructions


def test_the_drawing_shows_what_is_given_above_what_is_drawn(digits: Digits, net: keras.Model, project: Path) -> None:
    Path("some").write_bytes(idx(digits[0][:1, ..., 0]))
    command("some")
    given = unit(digits[0][:1])
    digit = models.classifier(net).predict(given, verbose=0).argmax(axis=1)
    mask = np.eye(10, dtype=np.float32)[digit][:, None]
    expected = keras.ops.convert_to_numpy(net({"image": given, "mask": mask})["reconstruction"]).reshape(28, 28)
    shown = matplotlib.image.imread("drawn.png")[..., 0]
    windows = np.lib.stride_tricks.sliding_window_view(shown[:, :120], (84, 84))[..., 1::3, 1::3]  # a pixel is 3x3
    for image in (given[0, ..., 0], expected):
        assert np.abs(windows - image).max(axis=(2, 3)).min() < 0.01


def test_the_other_pictures_are_answered_where_some_are_bad(
    digits: Digits, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_paper(Path("good.png"), digits[0][0])
    Path("bad.png").write_text("no picture")
    save(Path("blank.png"), np.ones((30, 30)))
    with pytest.raises(SystemExit) as ended:
        command("bad.png", "good.png", "blank.png")
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert [line.partition(" ")[2].partition(":")[0] for line in printed.err.splitlines()] == ["bad.png", "blank.png"]
    assert [line[0] for line in table(printed.out)] == ["good.png"]
    assert Path("drawn.png").is_file()


def test_published_weights_come_before_those_of_the_pipeline(
    digits: Digits, net: keras.Model, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_paper(Path("good.png"), digits[0][0])
    command("good.png")
    assert f"by {WHERE.weights}:" in capsys.readouterr().out
    save_weights(net, WHERE.published, half=True)
    command("good.png")
    assert f"by {WHERE.published}:" in capsys.readouterr().out
    command("good.png", weights=WHERE.weights, scale="quick")
    assert f"by {WHERE.weights}:" in capsys.readouterr().out


def test_the_best_trained_scale_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for scale, kind in (("quick", "published"), ("full", "weights"), ("paper", "published")):
        path = getattr(paths.RunPaths(scale, RUN, 0), kind)
        path.parent.mkdir(parents=True)
        path.touch()
        assert paths.trained(RUN, 0) == (scale, path)
    with pytest.raises(Error, match=f"train {RUN} --scale full --seed 1`"):
        paths.trained(RUN, 1, ["paper", "full"])


def test_a_run_without_decoder_draws_nothing(digits: Digits, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = RunConfig("mnist", "capsnet", routing=3, conv_channels=(32,), primary_types=8)
    save_weights(models.build(plain, (28, 28, 1)), paths.RunPaths("quick", "plain", 0).weights)
    on_paper(Path("good.png"), digits[0][0])
    command("good.png", run="plain")
    assert len(table(capsys.readouterr().out)) == 1
    assert not Path("drawn.png").exists()


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"seed": 1}, rf"seed1\.weights\.h5: no such weights; train them with `.*{RUN} --scale quick --seed 1`"),
        ({"weights": Path("mine.h5"), "scale": "quick"}, r"mine\.h5: no such weights"),
        ({"run": "pairs", "weights": WHERE.weights, "scale": "quick"}, "pairs: not a CapsNet for MNIST"),
        ({"output": Path("sub/../good.png")}, "good.png: is one of the pictures"),
        ({"scale": "huge", "weights": WHERE.weights}, "huge"),
    ],
)
def test_what_does_not_fit_is_refused(digits: Digits, project: Path, others: dict[str, object], message: str) -> None:
    Path("sub").mkdir()
    before = on_paper(Path("good.png"), digits[0][0]).read_bytes()
    with pytest.raises(Error, match=message):
        command("good.png", **others)
    assert Path("good.png").read_bytes() == before


def test_the_command_ends_with_one_when_a_picture_is_bad(digits: Digits, project: Path) -> None:
    on_paper(Path("good.png"), digits[0][0])
    answered = run_module("experiments.predict", "good.png", "none.png", cwd=project)
    assert answered.returncode == 1
    errors = [line for line in answered.stderr.splitlines() if "error: " in line]  # the others are TensorFlow's
    assert "error: none.png: not readable (No such file or directory)" in errors[0]
    assert [line[0] for line in table(answered.stdout)] == ["good.png"]
    assert Path("reconstruction.png").is_file()
