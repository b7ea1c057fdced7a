"""What the report draws: forests, training curves, wrong digits; what it sums up, links to and counts as cost."""

import base64
import html
import io
import json
import math
import os
import re

import numpy as np
import pytest
from PIL import Image

from capsrepro import report
from capsrepro.core import params
from capsrepro.core.errors import Error
from capsrepro.evidence import claims, predictions, verdicts
from capsrepro.report import axes, content, curves, forest, summary
from tests.support import ROOT, result_files
from tests.support.digits import idx

BASELINE, CAPSNET, PLAIN = "mnist-baseline", "mnist-capsnet-r3-recon", "mnist-capsnet-r3"
RUNS = {
    BASELINE: {"data": "mnist", "model": "mnist_baseline", "recipe": "paper"},
    CAPSNET: {"data": "mnist", "model": "capsnet", "routing": 3, "reconstruction": True},
    PLAIN: {"data": "mnist", "model": "capsnet", "routing": 3},
}
PARAMETERS = {BASELINE: 35_445_522, CAPSNET: 8_215_728, PLAIN: 6_804_384}


def write(folder, run, seed, wrong, known, *, device="1 x H100", seconds=360.0, history="", answers=None):
    entry = known.settings(run, "full").as_json()
    score = result_files.metrics(run, entry, wrong, seed=seed, scale="full") | {"parameters": PARAMETERS[run]}
    origin = result_files.provenance(entry) | {"device": device, "train_seconds": seconds}
    result_files.write(folder, "full", f"{run}-seed{seed}", score, origin)
    if history:
        (folder / "full" / "history").mkdir(exist_ok=True)
        (folder / "full" / "history" / f"{run}-seed{seed}.csv").write_text(history)
    if answers is not None:
        labels = np.zeros(10_000, np.uint8)
        path = folder / "full" / "predictions" / f"{run}-seed{seed}.npz"
        predictions.write(path, answers, labels, np.zeros((10_000, 10), np.float32))


@pytest.fixture
def made(tmp_path):
    """Three seeds of two CapsNets and one of the baseline: 30, 32, 28 wrong with a decoder, 40, 43, 40 without."""
    folder = tmp_path / "results"
    (folder / "full").mkdir(parents=True)
    (folder / "paper").mkdir()
    for name in ("paper.csv", "claims.csv"):
        (folder / name).write_bytes((ROOT / "results" / name).read_bytes())
    scales = {scale: {run: {"steps": 3000} for run in RUNS} for scale in ("quick", "full", "paper")}
    (tmp_path / "params.yaml").write_text(json.dumps({"trainings": {}, "runs": RUNS, "scale_settings": scales}))
    known = params.read(tmp_path / "params.yaml")
    history = "member,step,loss,right\n" + "".join(f"0,{step},{1 / step},{1 - 1 / step}\n" for step in (10, 100, 1000))
    for seed, (wrong, plain) in enumerate(((30, 40), (32, 43), (28, 40))):
        answers = np.zeros(10_000, np.uint8)
        answers[7 : 7 + wrong] = 5 + seed % 2
        write(folder, CAPSNET, seed, wrong, known, history=history, answers=answers)
        write(folder, PLAIN, seed, plain, known)
    write(folder, BASELINE, 0, 50, known, device="An abacus, 2 cores", seconds=1800.0)
    return folder, known


def built(made, data=None):
    folder, known = made
    return {section.id: section for section in content.build(known, folder, "full", data=data).sections}


# Axes


def test_ticks_are_few_round_and_cover_what_is_between_them():
    axis = axes.linear([-0.23, 0.31])
    assert axis.ticks == [-0.2, -0.1, 0.0, 0.1, 0.2, 0.3]
    assert axis.place(-0.23) == 2.0
    assert axis.place(0.31) == 98.0
    assert axis.place(0.04) == 50.0
    assert [text for _, text in axis.marks] == ["−0.2", "−0.1", "0", "0.1", "0.2", "0.3"]
    assert axes.linear([5.0]).place(5.0) == 50.0
    decades = axes.logarithmic([0.0, 1e-4, 1.0])
    assert decades.ticks == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert decades.place(1e-2) == 50.0
    assert axes.logarithmic([0.02, 0.09]).ticks == [0.02, 0.05]


@pytest.mark.parametrize("values", [[0.0], [-3.0, -3.0], [1e-9, 2e-9], [0.0, 1e6], [-1.0, 13.0, 7.0]])
def test_any_values_have_between_one_and_six_ticks_and_lie_on_the_axis(values):
    axis = axes.linear(values)
    assert 1 <= len(axis.ticks) <= 6
    assert all(axis.low <= value <= axis.high for value in [*values, *axis.ticks])


# Forests


def test_the_claims_forest_has_effect_interval_margin_and_the_papers_effect(made):
    """Differences of 10, 11 and 12 images: -0.11 points, Student's interval ± 4.303 * 0.01 / sqrt(3)."""
    drawn = built(made)["glance"].forests[0]
    lines = {line.name: line for family in drawn.families for line in family.lines}
    assert len(lines) == 12  # all but the two claims about pictures
    line = next(line for name, line in lines.items() if name.startswith("the decoder lowers the error at three"))
    assert (line.band, line.paper, line.verdict) == ((-0.05, 0.05), -0.1, "holds")
    assert line.ours == pytest.approx(-0.11)
    assert line.interval == pytest.approx((-0.1348, -0.0852), abs=1e-4)
    assert line.numbers == "paper -0.10; ours -0.11; -0.13 to -0.09; 3 seeds; margin 0.05"
    gap = next(line for name, line in lines.items() if "affNIST" in name)
    assert (gap.least, gap.ours, gap.interval, gap.verdict) == (7.0, None, None, "not run")
    falls = next(line for name, line in lines.items() if "logits" in name)
    assert falls.least == -1.0
    assert all(family.zero for family in drawn.families)


def test_the_numbers_forest_has_one_axis_a_family(made):
    drawn = built(made)["glance"].forests[1]
    assert [(family.title, len(family.lines)) for family in drawn.families] == [
        ("MNIST: test error, %", 5),
        ("MultiMNIST: test error, %", 3),
        ("affNIST: test accuracy, %", 2),
        ("Further data sets: test error, %", 3),
    ]
    mnist = drawn.families[0]
    line = mnist.lines[4]
    assert line.name == "CapsNet, MNIST, 3 iterations, decoder"
    assert (line.band, line.paper, line.ours) == (pytest.approx((0.15, 0.35)), 0.25, pytest.approx(0.3))
    assert line.interval == pytest.approx((0.3 - 4.303 * 0.02 / 3**0.5, 0.3 + 4.303 * 0.02 / 3**0.5), abs=1e-4)
    assert "3 seeds" in line.numbers
    every = [value for one in mnist.lines for value in one.values(math.inf)]
    assert mnist.axis.low <= min(every) < max(every) <= mnist.axis.high


def test_the_page_draws_each_mark_where_the_axis_has_it(made):
    folder, known = made
    text = report.write(known, folder, "full")[1].read_text()
    family = built(made)["glance"].forests[1].families[0]
    drawn = re.search(r"<h4>MNIST: test error, %</h4>(.*?)</div>", text, re.DOTALL)[1]
    parts = drawn.split("<li>")[1:]
    for line, part in zip(family.lines, parts, strict=True):
        assert f'<svg x="{family.axis.place(line.paper)}%" overflow' in part
        assert html.escape(line.numbers) in part
        if line.ours is None:
            assert 'class="ours"' not in part
        else:
            low, high = (family.axis.place(end) for end in line.interval)
            assert f'class="ours" cx="{family.axis.place(line.ours)}%"' in part
            assert f'class="interval" x1="{low}%" x2="{high}%"' in part


def test_a_claim_without_an_interval_has_a_point_alone(made):
    folder, known = made
    for path in (folder / "full").rglob(f"*{CAPSNET}-seed[12]*"):
        path.unlink()
    (folder / "full" / "history" / f"{CAPSNET}-seed0.csv").write_text(
        "member,step,loss,right,logit_change_2,logit_change_5\n0,3000,0.1,0.9,0.01,0.001\n"
    )
    drawn = built((folder, known))["glance"].forests[0]
    (line,) = [line for family in drawn.families for line in family.lines if "logits" in line.name]
    assert (line.ours, line.interval) == (pytest.approx(-1.0), None)
    assert "no interval" in line.numbers


# Sentences, scales, cost


def test_two_sentences_sum_the_scale_up(made):
    folder, known = made
    text = report.write(known, folder, "full")[0].read_text()
    lead = text.split("\n\n")[1]
    assert lead == (
        "Of the paper's 12 claims that can be measured, 2 hold and 10 were not run. "
        "Of its 13 numbers, 1 came out as in the paper, 2 are undecided and 10 were not run."
    )
    page = html.unescape((folder / "full" / "report.html").read_text())
    assert f'<p class="lead">{lead}</p>' in page
    assert page.index(lead) < page.index('<section id="glance"') < page.index('<section id="claims"')


@pytest.mark.parametrize(
    ("judged", "numbers", "expected"),
    [
        ({}, {"not run": 13}, ["Of its 13 numbers, 13 were not run."]),
        (
            {claims.FAILS: 1, claims.PICTURES: 2},
            {"reproduced": 2, "missed": 1, "stale": 1, "changed": 1},
            [
                "Of the paper's 1 claims that can be measured, 1 does not hold.",
                "Of its 5 numbers, 2 came out as in the paper, 1 came out worse and 2 have no result that counts.",
            ],
        ),
    ],
)
def test_sentences_count_every_verdict(judged, numbers, expected):
    assert list(summary.sentences(judged, numbers)) == expected


def test_every_verdict_has_its_words():
    for word in verdicts.WORDS:
        assert re.search(r"\b7\b", summary.sentences({}, {word: 7})[0].split(",")[1]), word
    for word in (claims.HOLDS, claims.FAILS, claims.OPEN, "not run", "stale", "not reached", "changed"):
        assert "7" in summary.sentences({word: 7}, {"not run": 1})[0].split(",")[1], word


def test_scales_that_have_a_folder_are_linked(made):
    folder, known = made
    markdown, page = (path.read_text() for path in report.write(known, folder, "full"))
    assert "Other scales: [paper](../paper/report.md)." in markdown
    assert re.findall(
        r'<a href="([^"]*)"( aria-current="page")?>(\w+)</a>', page.split("Scales:")[1].split("</nav>")[0]
    ) == [
        ("report.html", ' aria-current="page"', "full"),
        ("../paper/report.html", "", "paper"),
    ]


def test_cost_counts_hours_on_gpus_and_cpus(made):
    section = built(made)["cost"]
    assert section.text[0].startswith("The trainings of the table Runs: 0.60 hours on GPUs and 0.50 hours on CPUs.")
    lines = {line[0].text: [cell.text for cell in line[2:6]] for line in section.table.lines}
    assert lines == {"1 x H100": ["GPU", "6", "0.60", "2.3"], "An abacus, 2 cores": ["CPU", "1", "0.50", "0.4"]}


def test_processors_of_one_name_and_other_instructions_have_a_line_each(made):
    folder, known = made
    path = folder / "full" / "provenance" / f"{CAPSNET}-seed1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"instructions": "avx2"}))
    lines = [[cell.text for cell in line[:4]] for line in built((folder, known))["cost"].table.lines]
    assert ["1 x H100", "avx2", "GPU", "1"] in lines
    assert ["1 x H100", "", "GPU", "5"] in lines


def test_seeds_that_were_trained_together_cost_their_time_once(made):
    folder, known = made
    for seed in range(3):
        path = folder / "full" / "provenance" / f"{CAPSNET}-seed{seed}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"together": [0, 1, 2]}))
    section = built((folder, known))["cost"]
    assert section.text[0].startswith("The trainings of the table Runs: 0.40 hours on GPUs and 0.50 hours on CPUs.")


# Curves


def test_curves_of_a_run_share_axes_and_end_where_the_history_does(made):
    (drawn,) = built(made)["curves"].curves
    assert drawn.run == CAPSNET
    assert drawn.text == "3 trainings of up to 1,000 steps. The loss ends at 0.001."
    loss, wrong = drawn.panels
    assert (loss.title, wrong.title) == ("loss", "wrong, %")
    assert [len(panel.curves) for panel in drawn.panels] == [3, 3]
    points = [tuple(map(float, pair.split(","))) for pair in loss.curves[0][1].split()]
    assert len(points) == 3
    heights = [y for _, y in points]
    assert heights == sorted(heights)  # downwards on the page
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.11)  # tenths on a logarithmic axis


def test_long_curves_are_thinned_and_accuracies_become_dashed_errors(made):
    lines = [f"0,{step},{1 / step},1.0,{99 - 1 / step}" for step in range(1, 1001)]
    path = made[0] / "full" / "history" / f"{CAPSNET}-seed0.csv"
    path.write_text("\n".join(["member,step,loss,right,validation_accuracy_pct", *lines]) + "\n")
    (drawn,) = built(made)["curves"].curves
    assert "validation accuracy at 99 %" in drawn.text
    kinds = [kind for kind, _ in drawn.panels[1].curves]
    assert kinds == ["training", "training", "training", "other"]
    assert max(len(points.split()) for panel in drawn.panels for _, points in panel.curves) == curves.MOST


@pytest.mark.parametrize("text", ["step,loss\n1,none\n", "step\n1\n", "step,loss\n1,2,3\n"])
def test_a_damaged_history_is_refused_with_its_name(made, text):
    path = made[0] / "full" / "history" / f"{CAPSNET}-seed1.csv"
    path.write_text(text)
    with pytest.raises(Error, match=re.escape(str(path.name)) + ".*not the history"):
        curves.read(made[0] / "full", content.run_records.read(made[0], "full", content.evidence.read(made[0], "full")))


def test_a_pipe_in_place_of_a_history_is_refused_and_never_waited_for(made):
    records = content.run_records.read(made[0], "full", content.evidence.read(made[0], "full"))
    path = made[0] / "full" / "history" / f"{CAPSNET}-seed1.csv"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Error, match=f"{re.escape(path.name)}: expected a file, received a pipe"):
        curves.read(made[0] / "full", records)


# Wrong digits


def test_the_gallery_shows_what_most_networks_get_wrong(made, tmp_path):
    """Digits 7 to 34 are wrong three times, 35 and 36 twice, 37 and 38 once."""
    images = np.zeros((10_000, 28, 28), np.uint8)
    images[7, 3, 4] = 200
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    (tmp_path / "data" / "mnist" / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    labels = b"\x00\x00\x08\x01" + (10_000).to_bytes(4, "big") + bytes(10_000)
    (tmp_path / "data" / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(labels)
    section = built(made, tmp_path / "data")["wrong-digits"]
    assert [digit.number for digit in section.digits] == list(range(7, 39))
    assert [digit.networks for digit in section.digits] == [3] * 28 + [2] * 2 + [1] * 2
    first = section.digits[0]
    assert (first.label, first.taken_for) == (0, "5 (2), 6 (1)")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(first.image.partition(",")[2]))))
    np.testing.assert_array_equal(shown, images[7])
    assert section.text[0] == (
        "32 of 10,000 test digits are wrong for at least one of 3 networks; those that most get wrong come first."
    )


def test_without_data_or_answers_the_gallery_says_so(made, tmp_path):
    section = built(made, tmp_path / "none")["wrong-digits"]
    assert not section.digits
    assert "not drawn, as MNIST's files were not there" in section.text[0]
    for path in (made[0] / "full" / "predictions").iterdir():
        path.unlink()
    assert built(made)["wrong-digits"].text == ("No answers on MNIST's test set were kept at this scale.",)


def test_forests_name_a_family_for_each_measure(made):
    titles = [family.title for family in built(made)["glance"].forests[0].families]
    assert titles[:3] == [
        "MNIST: difference in test error, percentage points",
        "MultiMNIST: difference in test error, percentage points",
        "affNIST: difference in accuracy, percentage points",
    ]
    assert "Routing logits: log10 of a ratio" in titles
    assert forest.Line("", "", "", (-1.0, 1.0), least=3.0).values(math.inf) == [-1.0, 1.0, 3.0]


def test_an_interval_far_wider_than_the_others_is_cut_off_and_marked(made, monkeypatch):
    """Else the others would be dots on one another."""
    folder, known = made
    monkeypatch.setattr(forest, "_WIDE", 0.1)  # then every interval is too wide
    (claims_forest, _), text = built(made)["glance"].forests, report.write(known, folder, "full")[1].read_text()
    mnist = claims_forest.families[0]
    assert claims_forest.cut
    assert mnist.axis.high - mnist.axis.low < 0.3
    assert text.count("beyond the axis") == 2
    assert text.count('class="beyond" d="M-8') >= 1
    monkeypatch.undo()
    assert not built(made)["glance"].forests[0].cut
    assert "beyond the axis" not in report.write(known, folder, "full")[1].read_text()


@pytest.mark.parametrize("loss", ["0", "nan"])
def test_a_loss_that_no_logarithmic_axis_can_show_is_left_out(made, loss):
    folder, known = made
    for seed in range(3):
        path = folder / "full" / "history" / f"{CAPSNET}-seed{seed}.csv"
        path.write_text(f"member,step,loss,right\n0,10,{loss},1\n" + ("0,20,0.5,1\n" if seed else ""))
    (drawn,) = built((folder, known))["curves"].curves
    assert [len(panel.curves) for panel in drawn.panels] == [2, 2]
