"""Intervals against hand-computed and published values, and every word of the rule for verdicts."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsrepro.core.params import RunConfig
from capsrepro.evidence import deviations, verdicts
from capsrepro.evidence.intervals import student, wilson
from capsrepro.evidence.paper import Row
from capsrepro.evidence.results import Result
from capsrepro.evidence.verdicts import compare, interval, judge

ROW = Row(
    id="mnist-capsnet-r3-recon", where="Table 1", what="CapsNet", data="mnist", measure="test_error_pct",
    value=0.25, std=0.005, n=3, margin=0.10, margin_reason="noise", parameters=8215728, routing=3, decoder=True,
)  # fmt: skip
ACCURACY = dataclasses.replace(
    ROW, data="affnist", measure="test_accuracy_pct", value=79.0, margin=3.0, parameters=None, decoder=None
)
AFFNIST = {"examples": 320_000, "settings": {"data": "affnist"}}
SETTINGS = RunConfig(data="mnist", model="capsnet", recipe="paper", routing=3, reconstruction=True).as_json()


def result(wrong=23, **changes):
    settings = SETTINGS | changes.pop("settings", {})
    whole = Result(
        run=ROW.id, seed=0, scale="full", recipe=settings["recipe"], routing=settings["routing"],
        reconstruction=settings["reconstruction"], wrong=wrong, examples=10_000, test_error_pct=wrong / 100,
        wilson_low_pct=0.0, wilson_high_pct=1.0, parameters=8215728, steps=settings["steps"], weights_sha256="ab",
        settings=settings, data_sha256="cd", train_examples=60_000,
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)


def judged(*results, row=ROW, now=None, paper_settings=SETTINGS, **more):
    return str(judge(row, results, now or SETTINGS, paper_settings, **more))


counts = st.integers(1, 20_000).flatmap(lambda examples: st.tuples(st.integers(0, examples), st.just(examples)))
percentages = st.lists(st.floats(0, 100), min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("wrong", "examples", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, table I, method 3
        (81, 263, 25.53, 36.62),
        (15, 148, 6.24, 16.05),
        (0, 20, 0.00, 16.11),
        (1, 29, 0.61, 17.18),
    ],
)
def test_wilson_must_give_the_published_intervals(wrong, examples, low, high):
    assert wilson(wrong, examples) == pytest.approx((low, high), abs=0.005)


def test_wilson_must_end_exactly_at_the_ends():
    z2 = 1.959963984540054**2
    assert wilson(0, 10) == (0.0, pytest.approx(100 * z2 / (10 + z2)))  # 3.8415 / 13.8415
    assert wilson(10, 10) == (pytest.approx(100 * 10 / (10 + z2)), 100.0)
    assert wilson(0, 1) == (0.0, pytest.approx(79.35, abs=0.005))  # 3.8415 / 4.8415


@pytest.mark.parametrize(("wrong", "examples"), [(-1, 10), (11, 10), (0, 0)])
def test_wilson_must_refuse_impossible_counts(wrong, examples):
    with pytest.raises(ValueError, match=f"received {wrong} of {examples}"):
        wilson(wrong, examples)


@given(counts)
def test_wilson_must_contain_the_error_and_stay_within_percent(count):
    wrong, examples = count
    low, high = wilson(wrong, examples)
    assert 0 <= low <= 100 * wrong / examples <= high <= 100
    assert low < high


@given(counts, st.integers(2, 9))
def test_wilson_must_shrink_with_more_examples_of_the_same_error(count, times):
    few, many = wilson(*count), wilson(count[0] * times, count[1] * times)
    assert many[1] - many[0] < few[1] - few[0]


@given(counts)
def test_wilson_must_mirror_right_and_wrong(count):
    wrong, examples = count
    low, high = wilson(wrong, examples)
    assert wilson(examples - wrong, examples) == pytest.approx((100 - high, 100 - low), abs=1e-9)


def test_student_must_be_mean_and_t_times_standard_error():
    # mean 0.34, s 0.01, t(2) 4.3027: 0.34 ± 4.3027 * 0.01 / sqrt(3)
    assert student([0.34, 0.35, 0.33]) == pytest.approx((0.31516, 0.36484), abs=5e-6)
    # mean 2, s / sqrt(2) = 1, t(1) 12.7062; the lower end is cut off at 0
    assert student([1.0, 3.0]) == pytest.approx((0.0, 14.7062), abs=5e-5)


def test_student_of_equal_seeds_must_be_their_value():
    assert student([0.34, 0.34, 0.34]) == (0.34, 0.34)
    assert student([0.0, 0.0]) == (0.0, 0.0)
    assert student([100.0, 100.0]) == (100.0, 100.0)


@pytest.mark.parametrize("values", [[], [0.3]])
def test_student_must_refuse_fewer_than_two_values(values):
    with pytest.raises(ValueError, match="at least two"):
        student(values)


@given(percentages)
def test_student_must_contain_the_mean_and_stay_within_percent(values):
    low, high = student(values)
    assert 0 <= low <= sum(values) / len(values) + 1e-9
    assert sum(values) / len(values) - 1e-9 <= high <= 100


@given(percentages)
def test_student_must_not_grow_with_more_seeds_of_the_same_spread(values):
    few, many = student(values), student(values * 2)
    assert many[1] - many[0] <= few[1] - few[0] + 1e-9


def test_one_seed_must_have_wilsons_interval_and_several_students():
    assert interval(ROW, [result(25)]) == wilson(25, 10_000)
    assert interval(ROW, [result(34), result(35), result(33)]) == pytest.approx((0.31516, 0.36484), abs=5e-6)


def test_an_accuracy_must_have_the_mirrored_interval():
    low, high = wilson(2100, 10_000)
    assert interval(ACCURACY, [result(2100)]) == (100 - high, 100 - low)
    assert verdicts.measured(ACCURACY, [result(2100)]) == [79.0]


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [  # the band is 0.15 to 0.35
        (0.20, 0.30, "reproduced"),
        (0.15, 0.35, "reproduced"),
        (0.25, 0.25, "reproduced"),
        (0.149, 0.30, "inconclusive"),
        (0.20, 0.351, "inconclusive"),
        (0.05, 0.15, "inconclusive"),  # it touches the band
        (0.35, 0.40, "inconclusive"),
        (0.05, 0.60, "inconclusive"),
        (0.05, 0.149, "better"),
        (0.351, 0.40, "missed"),
    ],
)
def test_the_rule_must_compare_the_whole_interval_with_the_band(low, high, word):
    assert compare(ROW, low, high) == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(76, 82, "reproduced"), (82.1, 90, "better"), (60, 75.9, "missed"), (75, 80, "inconclusive")],
)
def test_for_an_accuracy_more_must_be_better(low, high, word):
    assert compare(ACCURACY, low, high) == word


def test_a_whole_run_must_get_the_word_of_its_interval():
    assert judged(result(23)) == "reproduced"  # Wilson: 0.1533 to 0.3449
    assert judged(result(25)) == "inconclusive"  # 0.169 to 0.369; 23 would have been reproduced
    assert judged(result(80)) == "missed"
    assert judged(result(2)) == "better"  # 0.005 to 0.073
    assert judged(result(25), result(26, seed=1), result(27, seed=2)) == "reproduced"  # 0.26 ± 0.025


def test_nothing_measured_must_be_not_run_with_its_reason():
    assert judged() == "not run"
    assert judged(reason="source unreachable") == "not run: source unreachable"


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": 8215727, "scale": "quick"},
        {"parameters": 8215727, "examples": 9_999},
        {"examples": 9_999},
        {"train_examples": 50_000},
    ],
)
def test_a_partial_run_must_be_quick_and_a_narrower_one_at_that_scale(change):
    assert judged(result(**change)) == "quick"
    assert judged(result(), result(seed=1, **change)) == "quick"


def test_a_narrower_run_on_all_of_the_data_must_be_of_reduced_width():
    assert judged(result(parameters=8215727, scale="medium")) == "reduced width"
    assert judged(result(), result(seed=1, parameters=8215727)) == "reduced width"


def test_trainings_that_learnt_nothing_must_stand_beside_the_verdict():
    one, many = result(8865, scale="medium"), [result(8865, seed=seed, scale="medium") for seed in (1, 2)]
    assert judged(one) == f"missed ({ROW.id}-seed0 learnt nothing)"
    assert judged(result(), *many) == f"inconclusive ({ROW.id}-seed1, {ROW.id}-seed2 learnt nothing)"
    assert judged(result(8749)) == "missed"


def test_of_pairs_one_in_45_is_a_guess():
    pairs = RunConfig(data="multimnist", model="capsnet", recipe="paper", routing=3, reconstruction=True).as_json()
    assert deviations.learnt_nothing(result(9750, settings=pairs))
    assert not deviations.learnt_nothing(result(9700, settings=pairs))


def test_a_validation_score_must_be_quick():
    change = {"validate": True}
    assert judged(result(settings=change), now=SETTINGS | change) == "quick"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"routing": 1}, "routing 1, the paper's 3"),
        ({"reconstruction": False}, "no decoder, the paper has one"),
        ({"routing": 1, "reconstruction": False}, "routing 1, the paper's 3, no decoder, the paper has one"),
        ({"members": 7}, "members 7, the paper's 1"),
        ({"leaky": True}, "leaky yes, the paper's no"),
        ({"routing_update": "replace"}, "routing_update replace, the paper's accumulate"),
        ({"loss": "sigmoid"}, "loss sigmoid, the paper's margin"),
    ],
)
def test_another_routing_or_decoder_must_be_told_apart(change, message):
    run = result(settings=change, parameters=1)  # narrow or not: it is another row
    assert judged(run, now=SETTINGS | change) == f"changed ({message})"


def test_without_a_parameter_count_the_widths_must_be_those_of_the_paper_scale():
    row = dataclasses.replace(ROW, parameters=None)
    narrow = {"conv_channels": [32]}
    assert judged(result(), row=row) == "reproduced"
    assert judged(result(settings=narrow), row=row, now=SETTINGS | narrow) == "reduced width"
    assert judged(result(), row=row, paper_settings=None) == "reduced width"


def test_a_decoder_that_the_paper_does_not_tell_must_not_be_compared():
    row = dataclasses.replace(ROW, decoder=None)
    without = {"reconstruction": False}
    assert judged(result(settings=without), row=row, now=SETTINGS | without) == "reproduced"


def test_other_settings_than_those_of_params_must_be_stale():
    assert judged(result(settings={"learning_rate": 0.01})) == "stale"
    assert judged(result(), result(seed=1, settings={"learning_rate": 0.01})) == "stale"
    assert judged(result(), now=SETTINGS | {"routing": 1}) == "stale"
    assert str(judge(ROW, [result()], None, SETTINGS)) == "stale"


def test_weights_evaluated_with_other_settings_must_be_stale():
    assert judged(result(routing=1)) == "stale"


def test_a_setting_that_did_not_exist_at_training_must_count_as_its_default():
    before = {name: value for name, value in SETTINGS.items() if name != "leaky"}
    trained = dataclasses.replace(result(), settings=before)
    assert judged(trained) == "reproduced"
    assert judged(trained, now=SETTINGS | {"leaky": True}) == "stale"
    assert judged(trained, now=SETTINGS | {"unheard_of": 1}) == "stale"


def test_a_setting_that_is_gone_must_be_stale():
    assert judged(result(settings={"gone": 1})) == "stale"


def test_a_tuple_must_equal_its_list():
    assert not verdicts.is_stale(result(), dict(SETTINGS, conv_channels=[256]))
    assert not verdicts.is_stale(dataclasses.replace(result(), settings=dict(SETTINGS, conv_channels=(256,))), SETTINGS)


def test_a_stop_that_was_not_reached_must_give_no_verdict():
    assert judged(result(stop_reached=False)) == "not reached"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 14_000}, "14k steps"),
        ({"steps": 600}, "600 steps"),
        ({"steps": 1_500}, "1.5k steps"),
        ({"precision": "mixed_bfloat16"}, "bfloat16, counted in bfloat16"),
        ({"recipe": "released"}, "released recipe"),
        ({"recipe": "released", "loss_recipe": "paper"}, "released recipe, paper loss"),
        ({"layers_recipe": "released"}, "released layers"),
        ({"shift": 6}, "shift 6"),
        ({"batch_size": 64, "learning_rate": 0.01}, "batch size 64, learning rate 0.01"),
        ({"steps": 14_000, "precision": "mixed_bfloat16"}, "14k steps, bfloat16, counted in bfloat16"),
    ],
)
def test_what_a_run_changed_must_stand_beside_the_verdict(change, message):
    assert judged(result(settings=change), now=SETTINGS | change) == f"reproduced ({message})"


def test_what_was_counted_in_float32_must_not_say_otherwise():
    change = {"precision": "mixed_bfloat16"}
    now = SETTINGS | change
    assert judged(result(settings=change, counted_in="float32"), now=now) == "reproduced (bfloat16)"
    assert judged(result(counted_in="mixed_bfloat16")) == "reproduced (counted in bfloat16)"


def test_a_built_test_set_must_stand_beside_the_verdict():
    affnist = {"settings": AFFNIST["settings"], "built": True}
    now = SETTINGS | AFFNIST["settings"]
    whole = judged(result(100_000, examples=320_000, **affnist), row=ACCURACY, now=now)
    assert whole == "missed (built affNIST, interval 2.5 times Wilson's)"
    assert judged(result(3771, examples=10_000, **affnist), row=ACCURACY, now=now) == "quick (built affNIST)"


def test_auto_must_take_the_precision_that_it_was_trained_in():
    for precision, message in (("mixed_bfloat16", " (bfloat16)"), ("float32", "")):
        trained = result(settings={"precision": precision}, counted_in="float32")
        assert judged(trained, now=SETTINGS | {"precision": "auto"}) == f"reproduced{message}"


def test_a_verdict_that_nothing_could_have_made_reproduced_must_be_underpowered():
    row = dataclasses.replace(ROW, value=0.34)  # Wilson's interval of 34 of 10,000 is 0.23 points wide, the band 0.20
    assert judged(result(34), row=row) == "underpowered"
    assert judged(result(34), result(35, seed=1), result(20, seed=2), row=row) == "inconclusive"  # equal seeds would be
    assert judged(result(90), row=row) == "missed"


PAIRS = dataclasses.replace(ROW, data="multimnist", value=5.2, std=None, n=None, margin=1.0)


def pairs(wrong, examples, **changes):
    settings = {"data": "multimnist", "shift": 4, "test_pairs": 10} | changes.pop("settings", {})
    return result(wrong, examples=examples, train_examples=60_000_000, settings=settings, **changes), settings


@pytest.mark.parametrize(
    ("wrong", "examples", "verdict"),
    [
        (11_472, 100_000, "missed (30k steps, 100k test pairs)"),
        (5_200, 100_000, "reproduced (30k steps, 100k test pairs)"),
        (5_200, 99_999, "quick"),
        (520_000, 10_000_000, "reproduced (30k steps)"),
    ],
)
def test_a_hundred_thousand_random_pairs_must_count_as_all_of_them(wrong, examples, verdict):
    run, settings = pairs(wrong, examples, settings={"steps": 30_000})
    assert judged(run, row=PAIRS, now=SETTINGS | settings) == verdict


def test_steps_must_be_those_really_done():
    """affNIST at full: the limit was 14,000, and training ended at 6,600 and 10,500."""
    for done, message in ((6_600, "6.6k"), (10_500, "10.5k")):
        settings = {"data": "affnist", "steps": 14_000, "stop_pct": 99.23}
        run = result(3000, examples=320_000, settings=settings, steps_done=done)
        assert f"({message} steps, " in judged(run, row=ACCURACY, now=SETTINGS | settings)
    assert result(settings={"members": 7}, steps_done=2_100_000).steps_trained == 300_000


def test_a_run_that_stopped_early_must_not_be_stale_for_its_steps():
    settings = {"steps": 14_000, "stop_pct": 99.23}
    now = SETTINGS | settings
    assert not verdicts.is_stale(result(settings=settings, steps=6_600, steps_done=6_600), now)
    assert verdicts.is_stale(result(settings=settings, steps=14_001), now)
    assert verdicts.is_stale(result(steps=6_600), SETTINGS)  # no stop: it has to train to the end


def test_images_that_share_a_digit_must_widen_the_interval():
    """67,200 of 320,000: Wilson's interval reaches 0.141 points below 79.0 % accuracy, 2.5 times as wide 0.353."""
    run = result(67_200, **AFFNIST)
    low, high = interval(ACCURACY, [run])
    plain_low, plain_high = wilson(67_200, 320_000)
    assert (low, high) == pytest.approx((79 - 2.5 * (plain_high - 21), 79 + 2.5 * (21 - plain_low)))
    assert (79 - low, high - 79) == pytest.approx((0.353, 0.353), abs=0.002)
    assert "interval 2.5 times Wilson's" in judged(run, row=ACCURACY, now=SETTINGS | AFFNIST["settings"])


def test_answers_by_digit_must_give_a_bootstrap_over_digits():
    """Each digit is right in all or in none of its versions: as 10,000 images of which 7,900 are right."""
    shares = np.repeat([1.0, 0.0], [7_900, 2_100])
    low, high = interval(ACCURACY, [result(67_200, **AFFNIST)], shares)
    assert (low, high) == pytest.approx((79 - 0.798, 79 + 0.798), abs=0.03)  # 1.96 * sqrt(0.79 * 0.21 / 10,000)
    assert (low, high) == interval(ACCURACY, [result(67_200, **AFFNIST)], shares)
    found = judge(ACCURACY, [result(67_200, **AFFNIST)], SETTINGS | AFFNIST["settings"], SETTINGS, by_digit=shares)
    assert "interval" not in str(found)
    assert found.interval == (low, high)


@pytest.mark.parametrize(
    ("gap", "verdict"),
    [
        ("holds", "reproduced"),
        ("does not hold", "inconclusive (the gap does not hold"),
        ("cannot tell", "inconclusive (the gap: cannot tell"),
        ("not run", "inconclusive (the gap: not run"),
    ],
)
def test_affnist_must_not_be_reproduced_unless_the_gap_holds(gap, verdict):
    now = SETTINGS | AFFNIST["settings"]
    assert judged(result(67_200, **AFFNIST), row=ACCURACY, now=now, gap=lambda: gap).startswith(verdict)
    assert judged(result(20_000, **AFFNIST), row=ACCURACY, now=now, gap=lambda: gap).startswith("better")


def test_the_gap_must_not_be_asked_for_where_it_does_not_matter():
    def ask():
        raise AssertionError("asked")

    assert judged(result(23), gap=ask) == "reproduced"
    now = SETTINGS | AFFNIST["settings"]
    assert judged(result(20_000, **AFFNIST), row=ACCURACY, now=now, gap=ask).startswith("better")


def test_what_no_plan_names_must_say_so_whatever_its_verdict():
    assert judged(result(23), planned=("unplanned",)) == "reproduced (unplanned)"
    assert judged(result(parameters=1), planned=("unplanned",)) == "reduced width (unplanned)"


def test_seeds_that_are_all_equal_must_have_the_interval_of_one():
    """Two of 33 are equal by chance in one case of twenty; a spread of 0 would be a firm verdict."""
    seeds = [result(33, seed=seed) for seed in range(3)]
    found = judge(ROW, seeds, SETTINGS, SETTINGS)
    assert str(found) == "inconclusive (no spread over seeds)"
    assert found.interval == pytest.approx(wilson(33, 10_000))
    assert found.power.probability < 0.9
    assert verdicts.spread(ROW, seeds) == 0


def test_another_decay_and_another_stop_must_be_told():
    changed = {"decay_steps": 667, "stop_pct": 98.0}
    paper = SETTINGS | {"decay_steps": 2000, "stop_pct": 99.23}
    words = judged(result(23, settings=changed), now=SETTINGS | changed, paper_settings=paper)
    assert words == "reproduced (decay every 667 steps, stopped at 98.0 %)"
    assert judged(result(23, settings=paper), now=paper, paper_settings=paper) == "reproduced"
