"""MultiMNIST: what a pair is, checked on pairs of real digits and against what the released code wrote."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from capsrepro.core.errors import Error
from capsrepro.data import mnist, multimnist
from capsrepro.data.batches import generator, shifted
from capsrepro.data.multimnist import MultiMnist, Pairs
from tests.support import reference_goldens
from tests.support.digits import Digits, few_of, unpacked

RELEASED = Path(__file__).parents[1] / "golden" / "data" / "released"


def few(digits: Digits, **settings: object) -> MultiMnist:
    """Pairs of the first 200 digits, 100 each."""
    arguments = {"name": "multimnist-few", "sha256": "x", "pairs": 100, **settings}
    return MultiMnist(digits[0][:200], digits[1][:200], **arguments)  # type: ignore[arg-type]


def test_shapes_types_and_range(digits: Digits) -> None:
    data = few(digits)
    assert (len(data), data.image_shape, data.digits, data.classes) == (20_000, (36, 36, 1), 2, 10)
    batch = data.batch(np.array([0, 19_999, 7]))
    assert (batch.images.shape, batch.images.dtype) == ((3, 36, 36, 1), np.float32)
    assert (batch.labels.shape, batch.labels.dtype) == ((3, 2), np.int32)
    assert (batch.targets.shape, batch.targets.dtype) == ((3, 2, 36, 36, 1), np.float32)
    assert (batch.images.min(), batch.images.max()) == (0.0, 1.0)
    assert np.allclose(batch.images, np.minimum(1, batch.targets.sum(axis=1)), atol=1e-6)


def test_training_sees_the_pairs_as_the_test_does(digits: Digits) -> None:
    data = few(digits)
    numbers = np.arange(5)
    for one, other in zip(data.batch(numbers), data.distorted(numbers, generator(0, 1, 0)), strict=True):
        assert np.array_equal(one, other)


def test_rendered_digits_are_those_of_the_index_and_merged_is_their_sum_up_to_255(digits: Digits) -> None:
    data = few(digits)
    numbers = np.arange(0, 20_000, 7)
    pairs = data.pairs(numbers)
    merged, first, second, labels = data.rendered(numbers)
    assert np.array_equal(merged, np.minimum(255, first.astype(int) + second))
    assert merged.dtype == first.dtype == second.dtype == np.uint8
    assert np.array_equal(labels, np.stack([digits[1][pairs.base], digits[1][pairs.top]], axis=1))
    for number in (0, 1, 2, 3):
        for picture, digit, (down, right) in (
            (first, pairs.base, pairs.base_shift[number]),
            (second, pairs.top, pairs.top_shift[number]),
        ):
            place = picture[number, 4 + down : 32 + down, 4 + right : 32 + right]
            assert np.array_equal(place, digits[0][digit[number]])
            assert picture[number].sum(dtype=int) == place.sum(dtype=int)


def test_what_is_to_be_drawn_is_in_the_order_of_the_labels_the_base_first(digits: Digits) -> None:
    reference_goldens.check_targets(digits)


def test_pairs_of_a_small_test_set_are_the_first_of_a_larger_one(digits: Digits) -> None:
    one, ten = (few(digits, pairs=count, nested=True) for count in (1, 10))
    for small, large in zip(one.pairs(np.arange(200)), ten.pairs(np.arange(2000)), strict=True):
        assert np.array_equal(small, large[:200])
    bases = ten.pairs(np.arange(2000)).base
    assert np.array_equal(bases.reshape(10, 200), np.tile(np.arange(200), (10, 1)))
    with pytest.raises(IndexError, match="below 2000, received 2000"):
        ten.pairs(2000)


def test_pairs_of_one_round_are_the_same_in_either_order(digits: Digits) -> None:
    for ours, others in zip(
        few(digits, pairs=1).pairs(np.arange(200)), few(digits, pairs=1, nested=True).pairs(np.arange(200)), strict=True
    ):
        assert np.array_equal(ours, others)


def test_a_digit_is_the_base_of_exactly_so_many_pairs_and_never_of_one_with_its_own_class(digits: Digits) -> None:
    data = few(digits, pairs=37)
    pairs = data.pairs(np.arange(len(data)))
    assert np.bincount(pairs.base).tolist() == [37] * 200
    assert np.all(data.labels[pairs.base] != data.labels[pairs.top])


def test_a_partner_is_any_digit_of_the_other_classes_with_equal_frequency(digits: Digits) -> None:
    data = few(digits, pairs=20_000)
    for base in (0, 1, 7):
        tops = data.pairs(np.arange(base * 20_000, (base + 1) * 20_000)).top
        others = np.flatnonzero(data.labels != data.labels[base])
        counts = np.bincount(tops, minlength=200)
        assert counts[others].sum() == 20_000
        assert stats.chisquare(counts[others]).pvalue > 0.001
        of_classes = np.bincount(data.labels[others], minlength=10)
        seen = np.bincount(data.labels[tops], minlength=10)
        kept = of_classes > 0
        assert stats.chisquare(seen[kept], 20_000 * of_classes[kept] / len(others)).pvalue > 0.001


@pytest.mark.parametrize(("shift", "count"), [(4, 81), (6, 169)])
def test_every_shift_occurs_with_equal_frequency(digits: Digits, shift: int, count: int) -> None:
    pairs = few(digits, shift=shift).pairs(np.arange(20_000))
    for shifts in (pairs.base_shift, pairs.top_shift):
        _, counts = np.unique(shifts, axis=0, return_counts=True)
        assert (len(counts), np.abs(shifts).max()) == (count, shift)
        assert stats.chisquare(counts).pvalue > 0.001
    assert abs(np.corrcoef(pairs.base_shift[:, 0], pairs.top_shift[:, 0])[0, 1]) < 0.035  # five standard deviations


def test_pairs_of_a_digit_share_its_shift_if_it_is_per_image(digits: Digits) -> None:
    shared = few(digits, base_shift="per_image").pairs(np.arange(20_000))
    shifts = shared.base_shift.reshape(200, 100, 2)
    assert np.array_equal(shifts, np.broadcast_to(shifts[:, :1], shifts.shape))
    assert len(np.unique(shifts[:, 0], axis=0)) > 60  # of 81, by 200 digits
    apart = few(digits).pairs(np.arange(20_000))
    assert np.array_equal(shared.top, apart.top)
    assert np.array_equal(shared.top_shift, apart.top_shift)
    assert len(np.unique(apart.base_shift[:100], axis=0)) > 40


def test_boxes_overlap_as_much_as_the_paper_says(digits: Digits) -> None:
    """A digit lies in a box of 20x20 pixels. The paper's 80 % is the overlap of a moved box with one that stays, 79 %.

    Of two that are both moved, as the paper's digits are, it is 73 %.
    """
    moves = np.arange(-4, 5)
    one = np.mean(20 - np.abs(moves)) / 20  # along one axis
    both = np.mean(20 - np.abs(moves[:, None] - moves)) / 20
    assert (round(one**2, 3), round(both**2, 3)) == (0.790, 0.726)

    pairs = few(digits).pairs(np.arange(20_000))
    alone = np.prod(20 - np.abs(pairs.base_shift), axis=1) / 400
    together = np.prod(20 - np.abs(pairs.base_shift - pairs.top_shift), axis=1) / 400
    assert alone.mean() == pytest.approx(one**2, abs=0.004)
    assert together.mean() == pytest.approx(both**2, abs=0.006)  # five standard errors


def test_a_pair_is_a_function_of_split_seed_and_number(digits: Digits) -> None:
    data = few(digits)
    everything = data.pairs(np.arange(20_000))
    asked = np.array([19_999, 3, 3, 777])
    for some, every in zip(data.pairs(asked), everything, strict=True):
        assert np.array_equal(some, every[asked])
    for other in (few(digits, seed=1), few(digits, name="multimnist-other")):
        assert np.mean(other.pairs(np.arange(1000)).top == everything.top[:1000]) < 0.05


def test_the_last_of_sixty_million_is_asked_for_by_number(digits: Digits) -> None:
    labels = np.tile(digits[1], 6)
    data = MultiMnist(np.zeros((60_000, 1, 1, 1), np.uint8), labels, name="all", sha256="", pairs=1000)
    pair = data.pairs(59_999_999)
    assert (len(data), int(pair.base)) == (60_000_000, 59_999)
    assert labels[pair.top] != labels[59_999]
    with pytest.raises(IndexError):
        data.pairs(60_000_000)


def test_digits_of_one_class_have_no_partner() -> None:
    with pytest.raises(Error, match="two classes or more, received 5 of one"):
        MultiMnist(np.zeros((5, 28, 28, 1), np.uint8), np.full(5, 3), name="threes", sha256="")


def test_loading_makes_pairs_of_the_splits_digits(tmp_path: Path, digits: Digits) -> None:
    for name in mnist.FILES["test"]:
        (tmp_path / name).write_bytes(unpacked(name))
    data = multimnist.load(tmp_path, "test", sha256="x")
    assert (len(data), data.name, data.sha256) == (10_000_000, "multimnist-test", "x")
    assert len(multimnist.load(tmp_path, "test", pairs=2, examples=50)) == 100


def test_pairs_are_nested_in_the_test_split_alone(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed weights were trained on pairs numbered digit by digit."""
    monkeypatch.setattr(mnist, "load", lambda *_, **__: few_of(digits, 20))
    train, test = (multimnist.load(Path(), split, pairs=3).pairs(np.arange(60)).base for split in ("train", "test"))
    assert (train.tolist(), test.tolist()) == ([number // 3 for number in range(60)], [*range(20)] * 3)


def test_an_index_file_has_all_pairs_and_the_same_bytes_each_time(tmp_path: Path, digits: Digits) -> None:
    data = few(digits, pairs=2)
    for name in ("one.npz", "two.npz"):
        multimnist.build_index(data, tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as stored:
        assert {name: (str(array.dtype), array.shape) for name, array in stored.items()} == {
            "base": ("int32", (400,)),
            "top": ("int32", (400,)),
            "base_shift": ("int8", (400, 2)),
            "top_shift": ("int8", (400, 2)),
            "labels": ("uint8", (400, 2)),
        }
        assert np.array_equal(stored["top"], data.pairs(np.arange(400)).top)


# What the released code wrote (tests/golden/data/released)


def test_shifts_go_down_and_right_as_in_the_released_code() -> None:
    golden = np.load(RELEASED / "shift_2d.npz")
    names = [name for name in golden.files if name.startswith("shift_")]
    assert len(names) == 5
    for name in names:
        down, right = map(int, name.split("_")[1:3])
        ours = shifted(golden["in"][None, :, :, None], np.array([[down, right]]))[0, :, :, 0]
        assert np.array_equal(ours, golden[name]), name


@pytest.mark.parametrize(
    ("record", "base", "top"),  # a digit's number and its shift, found by trying all
    [
        ((0, 0), (0, 5, -6), (1, -4, 2)),
        ((0, 2), (1, 1, -3), (2, -3, 2)),
        ((0, 3), (1, 1, -3), (0, -5, -6)),
        ((1, 2), (2, -6, 0), (3, 6, 6)),
        ((1, 3), (3, 3, -3), (2, 1, 6)),
        ((2, 0), (2, -6, 0), (0, 6, 1)),
        ((2, 2), (3, 3, -3), (1, -6, 1)),
    ],
)
def test_pairs_of_shift_6_and_pad_4_are_drawn_as_the_released_code_draws_them(
    monkeypatch: pytest.MonkeyPatch, record: tuple[int, int], base: tuple[int, ...], top: tuple[int, ...]
) -> None:
    single = np.load(RELEASED / "single_shift2_pad0.npz")  # 25 shifts of each digit; the twelfth is none
    data = MultiMnist(
        single["images"][12::25, :, :, None], single["labels"][12::25], name="four", sha256="", shift=6, pad=4
    )
    pair = Pairs(*(np.array([value]) for value in (base[0], top[0], base[1:], top[1:])))
    monkeypatch.setattr(data, "pairs", lambda numbers: pair)
    merged, first, second, labels = data.rendered(np.zeros(1, int))
    golden = np.load(RELEASED / "multi_ragged.npz")
    shard, place = record
    for ours, name in ((merged, "merged_raw"), (first, "image_raw_1"), (second, "image_raw_2")):
        assert np.array_equal(ours[0, :, :, 0], golden[f"shard{shard}/{name}"][place]), name
    assert labels[0].tolist() == [golden[f"shard{shard}/label_{which}"][place] for which in (1, 2)]
