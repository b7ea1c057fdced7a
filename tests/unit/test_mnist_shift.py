"""The command that writes MNIST as the released code's records, on 14 digits."""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from capsrepro.data import mnist
from capsrepro.released import records, tfrecords
from experiments import mnist_shift, run_cli
from experiments.mnist_shift import boolean_flag
from tests.support.digits import Digits, idx, needs_tensorflow

TRAIN, TEST, VALIDATION = 9, 5, 3
with_examples = needs_tensorflow("read and write Examples in TFRecords")


@pytest.fixture
def folder(tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MNIST's four files, of fewer digits than the published ones."""
    monkeypatch.setattr(mnist, "COUNTS", {"train": TRAIN, "test": TEST})
    monkeypatch.setattr(mnist, "VALIDATION", VALIDATION)
    for split, part in (("train", slice(TRAIN)), ("test", slice(TRAIN, TRAIN + TEST))):
        for name, array in zip(mnist.FILES[split], digits, strict=True):
            (tmp_path / name).write_bytes(idx(np.squeeze(array[part])))
    return tmp_path


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command on `folder` and gives what it printed and the names of the files that it made."""

    def call(*words: str) -> tuple[list[str], list[str]]:
        before = set(folder.iterdir())
        monkeypatch.setattr(sys, "argv", ["mnist_shift", f"--data_dir={folder}", *words])
        run_cli(mnist_shift.main, mnist_shift.flags())
        made = sorted(path.name for path in set(folder.iterdir()) - before)
        return capsys.readouterr().out.splitlines(), made

    return call


def everything(spec: str | Path) -> dict[str, np.ndarray]:
    read = records.Records(spec)
    return read.read(range(len(read)))


@with_examples
def test_each_digit_is_written_at_every_shift(command, folder: Path, digits: Digits) -> None:
    printed, made = command()
    assert made == ["train_2shifted_mnist.tfrecords"]
    assert printed[0] == str(folder / made[0])
    assert printed[1].startswith(f"{TRAIN * 25} records in ")
    features = everything(folder / made[0])
    assert features["label"].tolist() == np.repeat(digits[1][:TRAIN], 25).tolist()
    images = features["image_raw"].reshape(TRAIN, 5, 5, 28, 28, 1)
    assert np.array_equal(images[:, 2, 2], digits[0][:TRAIN])
    assert np.array_equal(images[:, 4, 1, 2:, :-1], digits[0][:TRAIN, :-2, 1:])  # two rows down, one column to the left
    assert not images[:, 4, :, :2].any()


@with_examples
def test_padded_digits_lose_nothing(command, folder: Path, digits: Digits) -> None:
    _, made = command("--split", "test", "--shift=6", "--pad=6", "--multi_targets", "false")
    assert made == ["test_6shifted_mnist.tfrecords"]
    data = records.load(folder / made[0], name="expanded")
    assert (len(data), data.image_shape) == (TEST * 169, (40, 40, 1))
    images = everything(folder / made[0])["image_raw"].reshape(TEST, 169, -1)
    sums = digits[0][TRAIN : TRAIN + TEST].reshape(TEST, -1).sum(axis=1, dtype=int)
    assert np.array_equal(images.sum(axis=2, dtype=int), np.repeat(sums[:, None], 169, axis=1))


@with_examples
@pytest.mark.parametrize(
    ("split", "part"), [("valid_train", slice(VALIDATION, TRAIN)), ("valid_test", slice(VALIDATION))]
)
def test_validation_splits_are_parts_of_the_training_images(
    command, folder: Path, digits: Digits, split: str, part: slice
) -> None:
    _, made = command(f"--split={split}", "--shift=0")
    assert made == [f"{split}_0shifted_mnist.tfrecords"]
    assert np.array_equal(everything(folder / made[0])["image_raw"], digits[0][part])


PAIRS = ("--split=test", "--shift=6", "--pad=4", "--num_pairs=10", "--max_shard=20", "--multi_targets=true")


@with_examples
def test_pairs_are_as_many_as_asked_for(command, folder: Path, digits: Digits) -> None:
    printed, made = command(*PAIRS)
    assert made == [f"multitest_6shifted_mnist.tfrecords-0000{shard}-of-00003" for shard in range(3)]
    assert printed[:3] == [str(folder / name) for name in made]
    assert printed[3].startswith("50 records in ")
    sizes = [len(records.Records(folder / name)) for name in made]
    assert max(sizes) <= 20
    features = everything(f"{folder}/multitest_6shifted_mnist.tfrecords@3")
    labels = digits[1][TRAIN : TRAIN + TEST].tolist()
    assert Counter(features["label_1"].tolist()) == {label: 10 * count for label, count in Counter(labels).items()}
    assert not (features["label_1"] == features["label_2"]).any()
    first, second = (features[name].astype(int) for name in ("image_raw_1", "image_raw_2"))
    assert first.shape == (50, 36, 36, 1)
    assert np.array_equal(features["merged_raw"], np.minimum(first + second, 255))
    assert len(np.unique(first, axis=0)) == TEST  # all pairs of a digit share its shift


@with_examples
def test_records_are_the_same_bytes_again_and_others_with_another_seed(command, folder: Path) -> None:
    def content(*words: str) -> list[bytes]:
        out = folder.joinpath("out", *words)
        command(*PAIRS, f"--output_dir={out}", *words)
        return [path.read_bytes() for path in sorted(out.glob("*-of-00003"))]

    one = content()
    assert len(one) == 3
    assert content() == one
    assert content("--seed=1") != one


@with_examples
def test_files_are_found_where_fetch_puts_them(command, folder: Path) -> None:
    (folder / "mnist").mkdir()
    for split in mnist.FILES.values():
        for name in split:
            (folder / name).rename(folder / "mnist" / name)
    assert command("--split=test", "--shift=0")[1] == ["test_0shifted_mnist.tfrecords"]


def test_what_is_not_there_is_one_line_and_leaves_nothing(command, folder: Path) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit) as stopped:
        command("--data_dir=nowhere")
    assert str(stopped.value).startswith("error: nowhere/mnist/train-images-idx3-ubyte: not readable")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(("word", "least"), [("--shift=-1", 0), ("--num_pairs=0", 1)])
def test_a_number_below_the_least_is_named(command, word: str, least: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(word)
    name, _, value = word.partition("=")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"error: argument {name}: expected at least {least}, received {value}")


@with_examples
def test_a_failure_on_the_way_leaves_nothing(command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tfrecords.write

    def failing(paths, made):
        return whole(paths, ((shard if number < 7 else 1 // 0, data) for number, (shard, data) in enumerate(made)))

    monkeypatch.setattr(tfrecords, "write", failing)
    before = sorted(folder.iterdir())
    with pytest.raises(ZeroDivisionError):
        command(*PAIRS)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], True),
        (["--train"], True),
        (["--notrain"], False),
        *[([f"--train={text}"], True) for text in ("true", "True", "1")],
        *[([f"--train={text}"], False) for text in ("false", "False", "0")],
        (["--train", "false"], False),
        (["--notrain", "--train=1"], True),
    ],
)
def test_boolean_flags_parse_as_the_released_ones(words: list[str], value: bool) -> None:
    parser = argparse.ArgumentParser()
    boolean_flag(parser, "train", True, "train, or evaluate")
    assert vars(parser.parse_args(words)) == {"train": value}


def test_another_word_for_a_boolean_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    boolean_flag(parser, "train", True, "train, or evaluate")
    with pytest.raises(SystemExit):
        parser.parse_args(["--train=maybe"])
    assert "expected true or false, received 'maybe'" in capsys.readouterr().err
