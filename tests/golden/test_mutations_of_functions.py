"""Small functions that the numbers hang on: each is broken in one way, and the check named for it notices.

As in `test_mutations`, a mutation replaces what the library looks up when it is called. The values of the checks were
worked out by hand; they need no data and no training, and take milliseconds.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras import ops

from capsrepro.core import files, origin, params, text
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data import affnist, batches, hashing
from capsrepro.evidence import claims, clusters, deviations, intervals, paired, results, verdicts
from capsrepro.evidence.paper import Row
from capsrepro.network import evaluation, losses, models, routing, weights
from capsrepro.sources import archives
from capsrepro.sources.parts import ContentError, File
from capsrepro.training import callback
from tests.support import result_files
from tests.support.runs import tiny_network

SETTINGS = RunConfig("mnist", "capsnet", routing=3, reconstruction=True).as_json()
ERRORS = Row(
    id="caps", where="Table 1", what="CapsNet", data="mnist", measure="test_error_pct", value=0.25, margin=0.1,
    margin_reason="none",
)  # fmt: skip
ACCURACY = Row(
    id="aff", where="5.2", what="CapsNet", data="affnist", measure="test_accuracy_pct", value=79.0, margin=1.0,
    margin_reason="none",
)  # fmt: skip
CLAIM = claims.Claim(
    id="one", statement="less", where="Table 1", measure="test_error_pct", run="a", against="b", images="test",
    direction="lower", margin=0.1, margin_reason="none", test="none", rule="none",
)  # fmt: skip


def near(found: Any, expected: Any, within: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(found))), expected, atol=within)


def refuses(call: Callable[[], Any], kind: type[Exception] = Error) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError("it was not refused")


# Losses and metrics


def check_margin_loss() -> None:
    truth, scores = np.float32([[1, 0]]), np.float32([[0.5, 0.3]])
    near(losses.classification("margin", "paper")(truth, scores), [0.4**2 + 0.5 * 0.2**2])
    near(losses.classification("margin", "released")(truth, scores), [0.5 * (0.4**2 + 0.5 * 0.2**2) / 2])


def check_sigmoid_loss() -> None:
    truth, scores = np.float32([[1, 0]]), np.float32([[2, 0]])
    whole, half = np.log1p(np.exp(-2)), np.log1p(np.exp(-2)) + 1  # -log sigmoid(2), and half of it each way
    near(losses.classification("sigmoid", "paper")(truth, scores), [(whole + np.log(2)) / 2])
    near(losses.classification("sigmoid", "released")(truth, scores), [(half + np.log(2)) / 2])


def check_reconstruction_loss() -> None:
    targets, drawn = np.ones((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.float32)
    near(losses.reconstruction_loss(targets, drawn), [0.0005 * 6], 1e-9)


def check_both_right() -> None:
    truth = np.float32([[1, 1, 0], [1, 1, 0], [1, 0, 0]])
    scores = np.float32([[0.9, 0.8, 0.1], [0.9, 0.1, 0.8], [0.5, 0.5, 0.5]])
    near(losses.both_right(truth, scores, digits=2), [1, 0, 1])
    near(losses.any_right(truth, scores, digits=2), [1, 1, 1])
    near(losses.both_right(truth[2:], scores[2:]), [1])  # of equal scores the lower class ranks first


def check_score() -> None:
    score = evaluation.Score(wrong=30, examples=100, none_right=10, digits=2)
    assert (score.error_pct, score.digits_wrong, score.digit_error_pct) == (30.0, 40, 20.0)


def check_answers_right() -> None:
    given = evaluation.Answers(np.array([[3, 5], [3, 5]]), np.array([[5, 3], [5, 4]]), np.zeros((2, 10)))
    assert given.right.tolist() == [True, False]


def check_finite_scores() -> None:
    refuses(lambda: evaluation.finite(np.array([[np.nan, 1.0]]), "here"))


# Routing


def check_couplings() -> None:
    logits = np.log(np.float32([[[1, 3], [3, 1]]]))  # (1, 2 classes, 2 inputs)
    near(routing.couplings_of(logits, leaky=False), [[[0.25, 0.75], [0.75, 0.25]]])
    near(routing.couplings_of(logits, leaky=True), [[[0.2, 0.6], [0.6, 0.2]]])
    unequal = np.log(np.float32([[[1, 1], [3, 1]]]))
    near(routing.couplings_of(unequal, leaky=False), [[[0.25, 0.5], [0.75, 0.5]]])


def check_lengths() -> None:
    near(routing.lengths(np.float32([[3, 4]])), [5.0])


def check_first_pass() -> None:
    votes = routing.StoredVotes(np.full((1, 2, 4, 1), 0.5, np.float32))  # every vote is 0.5: the sum is 4 * 0.5 / 2
    near(routing.route(votes, np.zeros((2, 1), np.float32), 1), [[[0.5], [0.5]]])
    near(routing.route(votes, np.zeros((2, 1), np.float32), 1, leaky=True), [[[4 / 13], [4 / 13]]])  # of 2/3


# Intervals, tests and verdicts


def check_wilson() -> None:
    near(intervals.wilson(10, 100), [5.5229, 17.4366], 1e-4)
    assert intervals.wilson(0, 10)[0] == 0.0 < intervals.wilson(0, 10)[1]


def check_student() -> None:
    near(intervals.student([1.0, 2.0, 3.0]), [0.0, 2 + 4.302653 / 3**0.5], 1e-5)  # t(2) * 1 / sqrt(3), not below 0


def check_compare() -> None:
    spans = [(0.16, 0.34), (0.05, 0.14), (0.36, 0.5), (0.1, 0.3)]
    assert [verdicts.compare(ERRORS, *span) for span in spans] == ["reproduced", "better", "missed", "inconclusive"]
    assert [verdicts.compare(ACCURACY, *span) for span in [(85, 86), (70, 71)]] == ["better", "missed"]


def check_measured() -> None:
    assert verdicts.measured(ACCURACY, [result(250)]) == [97.5]
    assert verdicts.measured(ERRORS, [result(250)]) == [2.5]


def check_spread() -> None:
    near(verdicts.spread(ERRORS, [result(10), result(20), result(30)]), 0.1)


def check_mcnemar() -> None:
    found = paired.mcnemar(10, 2, 1000)
    near([found.effect, found.p], [0.8, 158 / 4096])  # 2 * (1 + 12 + 66) / 2^12
    assert found.low < 0.05 < 0.8 < found.high


def check_holm() -> None:
    near(paired.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])


def check_by_digit() -> None:
    labels = np.repeat(np.arange(10_000) % 10, 2)
    values = np.tile([True, False], 10_000)
    found = clusters.by_digit(labels, values)
    assert found is not None
    assert (found == 0.5).all()


def check_shared_digits() -> None:
    near(verdicts.interval(ACCURACY, [result(64_000, examples=320_000)]), [79.6525, 80.3453], 1e-3)


def check_decide() -> None:
    spans = [(-0.5, -0.2), (-0.05, 0.05), (-0.5, 0.2), (0.2, 0.5)]
    assert [claims.decide(CLAIM, *span) for span in spans] == ["holds", "does not hold", "cannot tell", "does not hold"]


# Results


def result(wrong: int, *, examples: int = 10_000, **origin: Any) -> results.Result:
    with tempfile.TemporaryDirectory() as folder:
        score = result_files.metrics("caps", SETTINGS, wrong, scale="quick", examples=examples)
        facts = result_files.provenance(SETTINGS) | {"run": "caps", "seed": 0, "scale": "quick"} | origin
        result_files.write(Path(folder), "quick", "caps-seed0", score, facts)
        (found,) = results.read(Path(folder), "quick")
        return found


def check_names_of_provenance() -> None:
    refuses(lambda: result(1, seed=1))
    refuses(lambda: result(1, scale="full"))


def check_weights_of_provenance() -> None:
    refuses(lambda: results.check([result(1, trained_sha256="ab" * 32)], "quick"))
    results.check([result(1, trained_sha256="0a" * 32)], "quick")


def check_staleness() -> None:
    assert deviations.is_stale(result(1), SETTINGS | {"decay_steps": 1})
    assert not deviations.is_stale(result(1), SETTINGS)


def check_settings_added_later() -> None:
    older = {name: value for name, value in SETTINGS.items() if name != "routing_update"}
    assert params.same_settings(older, SETTINGS)
    assert not params.same_settings(older, SETTINGS | {"routing_update": "replace"})


# Random numbers and maps


def check_below() -> None:
    words = np.uint64([0, 2**63, 2**64 - 1])
    assert hashing.below(words, 10).tolist() == [0, 5, 9]


def check_permutation() -> None:
    found = hashing.shuffled(("a",), np.arange(100), 100)
    assert sorted(found) == list(range(100))
    assert found.tolist() != list(range(100))
    assert found.tolist() != hashing.shuffled(("b",), np.arange(100), 100).tolist()


def check_order_of_passes() -> None:
    found = batches.order(0, 0, 60, 20).reshape(3, 20)
    assert all(sorted(one) == list(range(20)) for one in found)
    assert len({tuple(one) for one in found}) == 3
    assert batches.order(1, 0, 20, 20).tolist() != found[0].tolist()


def check_generators() -> None:
    drawn = {batches.generator(*key).integers(2**62) for key in [(0, 1, 0), (0, 1, 1), (1, 1, 0), (0, 2, 0)]}
    assert len(drawn) == 4


def check_affine_map() -> None:
    digit = np.zeros((1, 28, 28, 1), np.uint8)
    digit[0, 10:14, 12:18, 0] = np.arange(1, 25).reshape(4, 6)

    def mapped(*parameters: float) -> np.ndarray:
        return affnist.transformed(digit, np.float32([parameters]))[0, ..., 0]

    straight = np.pad(digit[0, ..., 0], 6)
    assert (mapped(0, 0, 1, 1, 0, 0) == straight).all()
    assert (mapped(0, 0, 1, 1, 3, -2) == np.roll(straight, (3, -2), (0, 1))).all()  # rows down, then columns right
    turned = mapped(90, 0, 1, 1, 0, 0)
    assert (turned == np.rot90(straight)).all() or (turned == np.rot90(straight, -1)).all()
    assert mapped(0, 0, 2, 1, 0, 0).any(axis=1).sum() == 10  # 4 rows twice as high, and a faint one at each edge
    row_of = [np.flatnonzero(mapped(0, 1, 1, 1, 0, 0)[row])[0] for row in (16, 19)]
    assert abs(row_of[0] - row_of[1]) == 3  # a shear of 1 moves each row by one pixel more than the one above


# Files


@contextlib.contextmanager
def no_lock(folder: Path) -> Iterator[None]:
    yield


@contextlib.contextmanager
def in_place(path: Path) -> Iterator[Path]:
    yield path


def check_exclusive() -> None:
    with tempfile.TemporaryDirectory() as folder, files.exclusive(Path(folder)):
        handle = os.open(folder, os.O_RDONLY)
        try:
            refuses(lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB), BlockingIOError)
        finally:
            os.close(handle)


def check_whole_or_absent() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        files.write_json(path, {"a": 1})
        with contextlib.suppress(KeyError), files.replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyError
        assert files.read_json(path) == {"a": 1}


def check_one_line() -> None:
    assert text.one_line("a\x1b[31m\n\ud800b") == "a\\x1b[31m \\ud800b"
    assert len(text.one_line("x" * 10_000)) <= text.MOST
    assert text.markdown("<b>|`") == "&lt;b&gt;\\|\\`"


def names_of(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def check_seal() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.weights.h5")
        weights.save_weights(tiny_network(), path)
        with h5py.File(path) as file:
            arrays = [file[name] for name in names_of(file) if isinstance(file[name], h5py.Dataset)]
            place = arrays[0].id.get_offset()
        content = bytearray(path.read_bytes())
        content[place] ^= 1  # the last bit of a weight
        path.write_bytes(content)
        refuses(lambda: weights.load_weights(tiny_network(), path))


def check_published_hash() -> None:
    refuses(lambda: File("a", 3, "ab" * 32).check(3, "cd" * 32), ContentError)
    refuses(lambda: File("a", 3, "ab" * 32).check(2, "ab" * 32), ContentError)


def check_members_stay_inside() -> None:
    for name in ("../a", "/a", "a/../../b"):
        refuses(lambda name=name: archives._admit(Path("x.tar.gz"), name, 1, 10, 1), ContentError)
    refuses(lambda: archives._admit(Path("x.tar.gz"), "a", 11, 10, 1), ContentError)
    assert archives._admit(Path("x.tar.gz"), "a", 4, 10, 1) == 6


# Training


def lines(*accuracies: float) -> list[dict[str, float]]:
    return [{"step": 100.0 * number, "right": right} for number, right in enumerate(accuracies, 1)]


def check_chance() -> None:
    run = RunConfig("mnist", "capsnet", routing=3, checkpoint_steps=100)
    refuses(lambda: callback.check_above_chance(lines(0.1, 0.11, 0.1), run, 10))
    callback.check_above_chance(lines(0.1, 0.13, 0.1), run, 10)
    refuses(lambda: callback.check_above_chance(lines(0.02, 0.02, 0.026), run, 10, digits=2))  # of 45 pairs of classes
    callback.check_above_chance(lines(0.1, 0.1, 0.1), run, 10, digits=2)


def check_divergence() -> None:
    for loss in (float("nan"), float("inf")):
        refuses(lambda loss=loss: callback.check_finite(loss, 1, None))
    callback.check_finite(3.0, 1, None)


def check_seeds_of_layers() -> None:
    numbers = (*models._CONVOLUTIONS, *models._HIDDEN, models._OUTPUT, models._DROPOUT)
    seeds = [models._seed(seed, number) for seed in (0, 1, 2) for number in numbers]
    assert len(set(seeds)) == len(seeds)
    assert models._seed((params.MOST_SEED + 1) * params.MOST_MEMBERS, max(numbers)) < 2**32


MARGIN, SIGMOID, RECONSTRUCTION = losses.margin_loss, losses.sigmoid_loss, losses.reconstruction_loss
BOTH, COUPLINGS, WILSON, FEISTEL, WORDS = (
    losses.both_right, routing.couplings_of, intervals.wilson, hashing._feistel, hashing.words
)  # fmt: skip
MCNEMAR, BELOW, MATRIX, TRANSFORMED, GENERATOR = (
    paired.mcnemar, hashing.below, affnist._matrix, affnist.transformed, batches.generator
)  # fmt: skip
PASSES, SHUFFLED, BY_DIGIT = routing.passes, hashing.shuffled, clusters.by_digit

Change = tuple[Any, str, Any]
MUTATIONS: dict[str, tuple[Change, Callable[[], None]]] = {
    "margin loss: absent classes weigh twice": (
        (losses, "margin_loss", lambda t, v, **r: MARGIN(t, v, **r) + MARGIN(0 * t, v * (1 - t), **r)),
        check_margin_loss,
    ),
    "margin loss: the recipes exchanged": (
        (losses, "margin_loss", lambda t, v, recipe: MARGIN(t, v, recipe="released" if recipe == "paper" else "paper")),
        check_margin_loss,
    ),
    "margin loss: of the other classes": (
        (losses, "margin_loss", lambda t, v, **r: MARGIN(1 - t, v, **r)),
        check_margin_loss,
    ),
    "sigmoid loss: the whole label": ((losses, "sigmoid_loss", lambda t, v, **_: SIGMOID(t, v)), check_sigmoid_loss),
    "reconstruction loss: the mean over digits": (
        (losses, "reconstruction_loss", lambda t, d: RECONSTRUCTION(t, d) / t.shape[1]),
        check_reconstruction_loss,
    ),
    "metrics: one digit of a pair is enough": (
        (losses, "both_right", lambda t, v, digits=1: losses.any_right(t, v, digits=digits)),
        check_both_right,
    ),
    "metrics: only the highest score counts": (
        (losses, "both_right", lambda t, v, digits=1: BOTH(t, v, digits=1)),
        check_both_right,
    ),
    "metrics: the error per digit is that per pair": (
        (evaluation.Score, "digits_wrong", property(lambda self: self.wrong)),
        check_score,
    ),
    "metrics: digits in their order": (
        (evaluation.Answers, "right", property(lambda self: (self.labels == self.predicted).all(axis=1))),
        check_answers_right,
    ),
    "metrics: scores that are no numbers": ((evaluation, "finite", lambda scores, where: scores), check_finite_scores),
    "routing: softmax over the inputs": (
        (routing, "couplings_of", lambda b, leaky, axis=1: COUPLINGS(b, leaky, axis=2)),
        check_couplings,
    ),
    "routing: no leak": (
        (routing, "couplings_of", lambda b, leaky, axis=1: COUPLINGS(b, False, axis)),
        check_couplings,
    ),
    "routing: squared lengths": (
        (routing, "lengths", lambda capsules: ops.sum(ops.square(capsules), axis=-1)),
        check_lengths,
    ),
    "routing: the first pass forgets the leak": (
        (routing, "passes", lambda votes, bias, leaky=False, update="accumulate": PASSES(votes, bias, False, update)),
        check_first_pass,
    ),
    "intervals: a quantile of one side": ((intervals, "_UPPER", 0.95), check_wilson),
    "intervals: Wald in place of Wilson": (
        (intervals, "wilson", lambda w, n: (w / n * 100 - 5.88, w / n * 100 + 5.88)),
        check_wilson,
    ),
    "intervals: the spread of the population": (
        (intervals.statistics, "stdev", intervals.statistics.pstdev),
        check_student,
    ),
    "intervals: normal in place of Student": (
        (intervals.scipy.special, "stdtrit", lambda degrees, q: intervals.scipy.special.ndtri(q)),
        check_student,
    ),
    "verdicts: an accuracy is an error": ((Row, "is_accuracy", property(lambda self: False)), check_compare),
    "verdicts: an accuracy measured as an error": ((Row, "is_accuracy", property(lambda self: False)), check_measured),
    "verdicts: an error measured as an accuracy": ((Row, "is_accuracy", property(lambda self: True)), check_measured),
    "verdicts: the spread of the population": (
        (verdicts.statistics, "stdev", verdicts.statistics.pstdev),
        check_spread,
    ),
    "tests: McNemar's runs exchanged": ((paired, "mcnemar", lambda a, b, n: MCNEMAR(b, a, n)), check_mcnemar),
    "tests: McNemar's interval of 50 %": ((intervals, "_UPPER", 0.75), check_mcnemar),
    "tests: no correction for many": ((paired, "holm", list), check_holm),
    "tests: Bonferroni in place of Holm": ((paired, "holm", lambda ps: [3 * p for p in ps]), check_holm),
    "affNIST: versions of other digits": (
        (clusters, "by_digit", lambda labels, values: values.reshape(-1, 10_000).mean(axis=0)),
        check_by_digit,
    ),
    "affNIST: images taken as independent": ((clusters, "WIDER", 1.0), check_shared_digits),
    "affNIST: digits taken as not shared": ((clusters, "share_digits", lambda *_: False), check_shared_digits),
    "claims: higher is lower": (
        (claims, "decide", lambda claim, low, high, decide=claims.decide: decide(claim, -high, -low)),
        check_decide,
    ),
    "results: a provenance of another run": ((results, "_check_names", lambda *_: None), check_names_of_provenance),
    "results: metrics of other weights": (
        (results.Result, "of_other_weights", property(lambda self: False)),
        check_weights_of_provenance,
    ),
    "results: nothing is stale": ((deviations, "same_settings", lambda *_: True), check_staleness),
    "settings: what was added later is a change": (
        (params, "same_settings", lambda trained, now: dict(trained) == dict(now)),
        check_settings_added_later,
    ),
    "random numbers: the remainder in place of the upper half": (
        (hashing, "below", lambda word, size: (word % np.uint64(size)).astype(np.int64)),
        check_below,
    ),
    "random numbers: nothing is shuffled": ((hashing, "_feistel", lambda key, values, half: values), check_permutation),
    "random numbers: all keys are one": (
        (hashing, "words", lambda key, counters, count: WORDS(("a",), counters, count)),
        check_permutation,
    ),
    "random numbers: folded in place of walked": (
        (hashing, "shuffled", lambda key, places, size: FEISTEL(key, np.uint64(places), 4).astype(np.int64) % size),
        check_permutation,
    ),
    "batches: every pass in the same order": (
        (hashing, "shuffled", lambda key, places, size: SHUFFLED(key[:2], places, size)),
        check_order_of_passes,
    ),
    "batches: every seed in the same order": (
        (hashing, "shuffled", lambda key, places, size: SHUFFLED(key[2:], places, size)),
        check_order_of_passes,
    ),
    "batches: every step draws the same": (
        (batches, "generator", lambda seed, purpose, number: GENERATOR(seed, purpose, 0)),
        check_generators,
    ),
    "batches: every seed draws the same": (
        (batches, "generator", lambda seed, purpose, number: GENERATOR(0, purpose, number)),
        check_generators,
    ),
    "affine map: degrees taken for radians": (
        (affnist, "_matrix", lambda p: MATRIX(p * np.float32([np.pi / 180, 1, 1, 1, 1, 1])[: p.shape[1]])),
        check_affine_map,
    ),
    "affine map: columns before rows": (
        (affnist, "transformed", lambda d, p: TRANSFORMED(d, p[:, [0, 1, 2, 3, 5, 4]])),
        check_affine_map,
    ),
    "affine map: scales exchanged": (
        (affnist, "transformed", lambda d, p: TRANSFORMED(d, p[:, [0, 1, 3, 2, 4, 5]])),
        check_affine_map,
    ),
    "affine map: no shear": (
        (affnist, "transformed", lambda d, p: TRANSFORMED(d, p * np.float32([1, 0, 1, 1, 1, 1]))),
        check_affine_map,
    ),
    "files: read, changed and written without a lock": ((files, "exclusive", no_lock), check_exclusive),
    "files: written in place": ((files, "replacing", in_place), check_whole_or_absent),
    "text: shown as it is": ((text, "one_line", lambda foreign, most=0: str(foreign)), check_one_line),
    "text: Markdown not escaped": ((text, "_ENTITIES", {}), check_one_line),
    "weights: the seal not looked at": ((origin, "_is_sealed", lambda path: True), check_seal),
    "sources: the hash not looked at": ((File, "check", lambda self, size, sha256: None), check_published_hash),
    "archives: members go anywhere": (
        (archives, "_admit", lambda archive, name, size, left, number: left - size),
        check_members_stay_inside,
    ),
    "training: chance is not noticed": ((callback, "check_above_chance", lambda *_, **__: None), check_chance),
    "training: chance of one digit for pairs": (
        (callback.math, "comb", lambda classes, digits: classes),
        check_chance,
    ),
    "training: a loss that is no number": ((callback, "check_finite", lambda *_: None), check_divergence),
    "training: seeds of layers meet": (
        (models, "_seed", lambda seed, number: 2 * seed + number),
        check_seeds_of_layers,
    ),
}  # fmt: skip
CHECKS = dict.fromkeys(check for _, check in MUTATIONS.values())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_check_passes_where_nothing_is_broken(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutation_is_caught_by_the_check_named(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (place, name, broken), check = MUTATIONS[mutation]
    assert hasattr(place, name)
    monkeypatch.setattr(place, name, broken)
    with pytest.raises((AssertionError, Error)):
        check()
        pytest.fail(f"{check.__name__} does not notice")  # no AssertionError, so that it is not taken for one


def test_every_check_of_this_file_has_a_mutation_that_it_catches() -> None:
    named = {value for name, value in globals().items() if name.startswith("check_")}
    assert named == CHECKS.keys()
    assert len(MUTATIONS) >= 30
