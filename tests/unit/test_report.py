"""The report of a results folder that is made up here: what it must show, and that it shows it as the files have it."""

import csv
import html
import html.parser
import json
import re
from urllib.parse import unquote

import pytest
import yaml

from capsrepro import report
from capsrepro.ablations import cases, trainings
from capsrepro.core import params
from capsrepro.core.errors import Error
from capsrepro.evidence import claim_results, claim_tables, claims, comparison, tables
from capsrepro.evidence import scale as scales
from capsrepro.report import content, markdown
from tests.support import ROOT, result_files
from tests.support.archives import png
from tests.support.commands import run_code, run_module

BASELINE, CAPSNET, PAIRS, MOVED = (
    "mnist-baseline", "mnist-capsnet-r3-recon", "multimnist-capsnet-r3-recon", "affnist-capsnet",
)  # fmt: skip
RUNS = {
    BASELINE: "data: mnist, model: mnist_baseline, recipe: paper",
    CAPSNET: "data: mnist, model: capsnet, routing: 3, reconstruction: true",
    PAIRS: "data: multimnist, model: capsnet, routing: 3, reconstruction: true, shift: 4",
    MOVED: "data: affnist, model: capsnet, routing: 3",
}
# run, seed, scale, wrong, examples, and what else its metrics and provenance say
MADE_UP = [
    (BASELINE, 0, "quick", 334, 10_000, {}, {}),
    (CAPSNET, 0, "quick", 199, 10_000, {}, {}),
    (CAPSNET, 1, "quick", 201, 10_000, {}, {"git_dirty": True, "device": "an abacus | <b>fast</b> & `cheap` *"}),
    (PAIRS, 0, "quick", 411, 1000, {"digits_wrong": 475, "digit_error_pct": 23.75}, {}),
    (MOVED, 0, "quick", 5, 16, {"stop_accuracy_pct": 97.015625, "built": True}, {"steps_done": 820}),
    (CAPSNET, 0, "released", 25, 10_000, {}, {"git_revision": "89ab" * 10}),
]


def write(folder, run, seed, scale, wrong, examples, metrics, provenance, known):
    entry = known.settings(run, scale).as_json()
    score = result_files.metrics(run, entry, wrong, seed=seed, scale=scale, examples=examples)
    origin = result_files.provenance(entry) | {"train_seconds": 12.5 + seed}
    result_files.write(folder, scale, f"{run}-seed{seed}", score | metrics, origin | provenance)


def made(folder):
    """A results folder with a run of each kind, one of others', and some figures; and its parameters."""
    results = folder / "results"
    (results / "quick" / "figures").mkdir(parents=True)
    for name in ("paper.csv", "claims.csv"):
        (results / name).write_bytes((ROOT / "results" / name).read_bytes())
    entries = {scale: {run: {"steps": steps} for run in RUNS} for scale, steps in (("quick", 820), ("paper", 3000))}
    entries["released"] = {CAPSNET: {"steps": 3000}}
    entries["quick"][MOVED]["stop_pct"] = 97.0
    lines = ["trainings: {}\nruns:", *(f"  {r}: {{{e}}}" for r, e in RUNS.items())]
    (folder / "params.yaml").write_text("\n".join([*lines, f"scale_settings: {json.dumps(entries)}"]))
    known = params.read(folder / "params.yaml")
    for case in MADE_UP:
        write(results, *case, known)
    for name in ("figure3", "figure4", "confusion", "confusion-multimnist", "data-mnist", "something-else"):
        (results / "quick" / "figures" / f"{name}.png").write_bytes(png())
    (results / "quick" / "figures" / "figure3.pdf").write_bytes(b"%PDF")
    (results / "quick" / "studies").mkdir()
    (results / "quick" / "studies" / "tried.csv").write_text('setting,error\n"a | <i>b</i> & c",9.5\nd,10.25\n')
    return results, known


@pytest.fixture
def written(tmp_path):
    results, known = made(tmp_path)
    paths = report.write(known, results, "quick")
    assert [path.name for path in paths] == ["report.md", "report.html"]
    return results / "quick", known


def test_an_ensemble_has_the_count_of_each_member_and_of_their_sum(tmp_path):
    results, known = made(tmp_path)
    assert "Ensembles" not in markdown.render(content.build(known, results, "quick"))
    counts = {"members_wrong": {"0": 210, "1": 223}}
    write(results, CAPSNET, 1, "quick", 201, 10_000, counts, {}, known)
    (section,) = [one for one in content.build(known, results, "quick").sections if one.id == "members"]
    assert [[cell.text for cell in line][1:] for line in section.table.lines] == [
        ["1", "0", "2.1", "210/10000"],
        ["1", "1", "2.23", "223/10000"],
        ["1", "sum", "2.01", "201/10000"],
    ]


class Page(html.parser.HTMLParser):
    """What a test asks of the page: its tables by section, its text, and what its elements refer to."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.references, self.words, self.open = {}, [], [], []
        self.section = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.references += [(tag, name, values[name]) for name in ("src", "href", "action", "data") if name in values]
        if tag == "section":
            self.section = values["id"]
        if tag == "tr":
            self.tables.setdefault(self.section, []).append([])
        if tag in ("td", "th"):
            self.tables[self.section][-1].append("")
        self.open = [*self.open, tag] if tag not in ("meta", "link", "img") else self.open

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            cell = f"{self.tables[self.section][-1][-1]}{data}"
            self.tables[self.section][-1][-1] = re.sub(r"\s+", " ", cell).lstrip()


def markdown_tables(text):
    """By heading, the lines of cells, links and escapes taken off."""
    found = {}
    for block in re.split(r"(?m)^## ", text)[1:]:
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines() if line.startswith("|")]
        plain = [[re.sub(r"^\[(.*)\]\(.*\)$", r"\1", cell.strip()) for cell in line] for line in lines]
        shown = [[html.unescape(re.sub(r"\\(.)", r"\1", cell)) for cell in line] for line in plain]
        found[block.splitlines()[0]] = shown[:1] + shown[2:]
    return found


def both(folder):
    """The tables of the Markdown and of the page, by the title of their sections."""
    page = Page((folder / "report.html").read_text())
    titles = re.findall(r'<h2 id="(.*)-title">(.*)</h2>', (folder / "report.html").read_text())
    on_page = {
        html.unescape(title): [[cell.strip() for cell in line] for line in page.tables.get(name, [])]
        for name, title in titles
    }
    return markdown_tables((folder / "report.md").read_text()), on_page


def test_both_must_show_the_same_tables(written):
    in_markdown, on_page = both(written[0])
    assert list(in_markdown) == list(on_page)
    assert in_markdown == on_page
    assert [bool(table) for table in on_page.values()] == [
        title not in ("At a glance", "Training curves", "Wrong digits", "Figures") for title in on_page
    ]


def table_in(text, column):
    """The block of a Markdown text that is a table with this first column."""
    (body,) = [block.strip() for block in text.split("\n\n") if block.startswith(f"| {column} ")]
    return body


def test_the_table_of_verdicts_must_be_the_one_of_table_md(written):
    folder, known = written
    table = comparison.with_released(known, folder.parent, scales.load(known, folder.parent, "quick"))
    body = table_in(tables.markdown(table, "quick"), "method")
    text = (folder / "report.md").read_text()
    assert body in text
    assert text.index("## Claims") < text.index(body) < text.index("## Runs")
    assert body.count("released checkpoint") == 1
    assert "Of the paper's 13 numbers: 4 quick, 9 not run." in text


def test_the_claims_must_lead_and_be_those_of_claims_md(written):
    folder, known = written
    known_claims = claims.read(folder.parent / "claims.csv")
    judged = claim_results.judge_all(scales.load(known, folder.parent, "quick"), known_claims)
    text = (folder / "report.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[:4] == [
        "At a glance", "Claims", "How the claims were measured", "Verdicts",
    ]  # fmt: skip
    for shown in both(folder):
        lines = {line[0]: line for line in shown["Claims"][1:]}
        assert list(lines) == list(known_claims)
        assert list(lines.values()) == claim_tables.display(judged)
        assert lines["baseline-mnist"][4:6] == ["-1.35", "-1.80 to -0.91"]  # 199 and 334 of 10,000, Newcombe
        assert lines["baseline-mnist"][6].startswith("holds (quick, unpaired, ")
        assert lines["segments"][6] == "pictures"
        how = {line[0]: line for line in shown["How the claims were measured"][1:]}
        assert how["baseline-mnist"][1:4] == [f"{CAPSNET} minus {BASELINE}", "1", "10000"]
    counts = "Of the paper's 14 claims: 11 not run, 1 holds, 2 pictures."
    assert counts in text
    words = re.sub(r"\s+", " ", "".join(Page((folder / "report.html").read_text()).words))
    assert "Of the paper's 14 claims: 11 not run 1 holds 2 pictures" in words


def test_a_folder_without_claims_must_have_a_report_without_them(written):
    folder, known = written
    (folder.parent / "claims.csv").unlink()
    text = report.write(known, folder.parent, "quick")[0].read_text()
    assert "claims:" not in text
    assert "## Claims" not in text


def test_the_power_of_the_verdicts_must_be_shown(written):
    folder, known = written
    path = folder / "metrics" / f"{BASELINE}-seed0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parameters": 35_445_522}))
    report.write(known, folder.parent, "quick")
    for shown in both(folder):
        assert shown["What the verdicts could have been"][1:] == [[BASELINE, "1", "no count", "0.00", "8"]]


def test_a_run_of_your_own_must_stand_beside_the_run_that_it_is_like(tmp_path):
    results, known = made(tmp_path)
    settings = yaml.safe_load((tmp_path / "params.yaml").read_text())
    settings["runs"]["mine"] = settings["runs"][CAPSNET] | {"like": CAPSNET, "routing": 2}
    settings["scale_settings"]["quick"]["mine"] = settings["scale_settings"]["quick"][CAPSNET]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    known = params.read(tmp_path / "params.yaml")
    write(results, "mine", 0, "quick", 150, 10000, {}, {}, known)
    report.write(known, results, "quick")
    for shown in both(results / "quick"):
        (line,) = shown["Other runs"][1:]
        assert line[:6] == ["mine", CAPSNET, "routing 2 (3)", "1.50 (150/10000)", "2.000 ± 0.014 (2)", "-0.49"]


def test_every_number_of_a_run_must_be_that_of_its_files(written):
    folder, _ = written
    lines = both(folder)[0]["Runs"]
    columns, lines = lines[0], [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert columns[-3:] == ["device", "weights", "commit"]
    order = [
        (CAPSNET + " (released checkpoint)" if case[2] == "released" else case[0], str(case[1])) for case in MADE_UP
    ]
    assert [(line["run"], line["seed"]) for line in lines] == order
    for (run, seed, scale, *_), line in zip(MADE_UP, lines, strict=True):
        read = {
            k: json.loads((folder.parent / scale / k / f"{run}-seed{seed}.json").read_text())
            for k in ("metrics", "provenance")
        }
        metrics, provenance = read["metrics"], read["provenance"]
        assert float(line["test error %"]) == metrics["test_error_pct"]
        assert line["wrong/examples"] == f"{metrics['wrong']}/{metrics['examples']}"
        assert line["95 % interval"] == f"{metrics['wilson_low_pct']} to {metrics['wilson_high_pct']}"
        assert int(line["steps"]) == provenance.get("steps_done", metrics["steps"])
        assert float(line["seconds"]) == provenance["train_seconds"]
        assert float(line["images/s"]) == provenance["images_per_second"]
        assert line["device"] == provenance["device"]
        assert metrics["weights_sha256"].startswith(line["weights"])
        assert line["commit"] == provenance["git_revision"][:12] + ("+" if provenance["git_dirty"] else "")


def test_pairs_and_affnist_must_have_both_their_measures(written):
    shown = both(written[0])[1]
    assert shown["MultiMNIST, digit by digit"][1:] == [[PAIRS, "0", "41.1", "23.75", "475/2000"]]
    line = dict(zip(*shown["affNIST, and where its training stopped"], strict=True))
    assert line == {
        "run": MOVED, "seed": "0", "expanded MNIST: accuracy %": "97.0156", "stops at %": "97.0", "reached": "yes",
        "steps": "820", "affNIST: accuracy %": "68.75", "affNIST test set": "built by the published recipe",
    }  # fmt: skip


def test_how_it_was_made_must_say_machine_commit_time_and_versions(written):
    facts = dict(both(written[0])[1]["How it was made"][1:])
    assert facts["commit"] == (
        f"{'0123' * 10} (4 of 6 runs); {'0123' * 10} with changes that are not in it (1 of 6 runs); "
        f"{'89ab' * 10} (1 of 6 runs)"
    )
    assert facts["machine"] == "a slide rule (5 of 6 runs); an abacus | <b>fast</b> & `cheap` * (1 of 6 runs)"
    assert facts["training"] == "76.0 s in all (1.3 min)"  # five of 12.5 s and one of 13.5 s
    assert (facts["versions"], facts["switches"], facts["precision"]) == ("keras 3.15.1", "none set", "float32")
    assert facts["data (SHA-256)"] == ", ".join(
        f"{name}-train {'cd' * 6}" for name in ("affnist", "mnist", "multimnist")
    )


def test_every_relative_link_must_lead_to_a_file(written):
    folder, _ = written
    text = (folder / "report.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    on_page = [value for tag, name, value in Page((folder / "report.html").read_text()).references if tag == "a"]
    assert len(links) > 20
    for link in {*links, *(link for link in on_page if not link.startswith("#"))}:
        assert (folder / link.partition("#")[0]).is_file(), link
    assert {f"metrics/{PAIRS}-seed0.json", f"../released/metrics/{CAPSNET}-seed0.json"} <= set(links)


def test_figures_must_be_shown_by_name_and_a_missing_one_told(written):
    text = (written[0] / "report.md").read_text()
    assert re.findall(r"!\[.*\]\((.*)\)", text) == [
        f"figures/{name}.png"
        for name in ("figure3", "figure4", "confusion", "confusion-multimnist", "data-mnist", "something-else")
    ]
    assert "As a vector drawing: [PDF](figures/figure3.pdf)." in text
    assert "### Confusion matrix (MultiMNIST)" in text
    for message in (text, html.unescape("".join(Page((written[0] / "report.html").read_text()).words))):
        assert "Not drawn at this scale" in message
        for name in ("figure5", "figure-a1", "figure-a2", "mistakes"):
            assert name in message
    assert "Not drawn at this scale: `figure5`, `figure-a1`, `figure-a2`, `mistakes`." in text


def test_the_page_must_ask_for_nothing_and_hold_its_figures(written):
    text = (written[0] / "report.html").read_text()
    references = Page(text).references
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"@import|url\(|srcset|fetch\(|XMLHttp", text)
    assert {tag for tag, _, _ in references} == {"a", "img", "link"}
    loaded = [value for tag, _, value in references if tag != "a"]
    assert len(loaded) == 7  # six figures and an empty icon
    assert all(value.startswith("data:") for value in loaded)


def test_what_files_say_must_be_escaped(written):
    text = (written[0] / "report.html").read_text()
    assert "<b>fast" not in text
    assert "&lt;b&gt;fast&lt;/b&gt; &amp; `cheap` *" in text
    assert "<i>b" not in text
    marked = (written[0] / "report.md").read_text()
    assert r"an abacus \| &lt;b&gt;fast&lt;/b&gt; &amp; \`cheap\` \*" in marked
    assert markdown.escaped("a_b _c_ [d](e)\n<f>") == r"a_b \_c\_ \[d\](e) &lt;f&gt;"


def test_any_other_csv_must_be_shown_as_it_is(written):
    with open(written[0] / "studies" / "tried.csv", newline="") as file:
        expected = list(csv.reader(file))
    for shown in both(written[0]):
        assert shown["Tried"] == expected


def test_an_ablation_must_show_both_sides_and_the_file_of_each_training(written):
    folder, known = written
    (row,) = cases.chosen(["primary-capsules"])
    wrong = {(0, 0): 150, (0, 1): 170, (1, 0): 200, (1, 1): 240}  # of side and seed
    for (side, seed), count in wrong.items():
        training = trainings.training_of(known, "quick", row.run, row.sides[side])
        tests = {name: {"wrong": count, "examples": 10_000} for name in training.tests}
        settings = training.settings.as_json()
        origin = {"weights_sha256": "ef" * 32, "git_revision": "4567" * 10, "git_dirty": True}
        path = training.path(folder, seed)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"tests": tests, "settings": settings, **origin}))
    text = report.write(known, folder.parent, "quick")[0].read_text()
    for shown in both(folder):
        lines = shown["Ablations: paper against released code"]
        lines = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}
        assert list(lines) == [each.what for each in cases.CASES]
        assert lines[row.what]["seeds"] == "2"
        assert lines[row.what]["paper: error %"] == "1.60 ± 0.14"
        assert lines[row.what]["released: error %"] == "2.20 ± 0.28"
        # Student's with one degree of freedom, 12.706, of -0.5 and -0.7; Newcombe's is narrower.
        assert lines[row.what]["difference"] == "-0.60"
        assert lines[row.what]["95 % interval"] == "-1.87 to +0.67"
        assert lines[row.what]["what it says"] == "quick scale cannot tell"
        other = {line["what it says"] for what, line in lines.items() if what != row.what}
        assert other == {"not run", "nothing to compare"}
        every = shown["Trainings of the ablations"]
        assert sorted(line[1:2] + line[3:] for line in every[1:]) == sorted(
            [str(seed), str(count / 100), f"{count}/10000", "ef" * 6, "4567" * 3 + "+"]
            for (_, seed), count in wrong.items()
        )
    links = re.findall(r"\]\((studies/.*?)\)", text)
    assert len(links) == 4
    assert all((folder / unquote(link)).is_file() for link in links)


def test_an_empty_csv_must_be_left_out(written):
    folder, known = written
    (folder / "studies" / "tried.csv").write_text("")
    assert "## Tried" not in report.write(known, folder.parent, "quick")[0].read_text()


def test_a_csv_with_a_short_line_must_be_refused(written):
    folder, known = written
    (folder / "studies" / "tried.csv").write_text("a,b\n1\n")
    with pytest.raises(
        Error, match=re.escape(f"{folder / 'studies' / 'tried.csv'}, line 2") + ".*expected 2 values, received 1"
    ):
        content.build(known, folder.parent, "quick")


def test_a_figure_that_is_no_png_must_be_refused(written):
    folder, known = written
    (folder / "figures" / "figure4.png").write_bytes(b"")
    with pytest.raises(Error, match=re.escape(f"{folder / 'figures' / 'figure4.png'}: not a PNG (0 bytes)")):
        content.build(known, folder.parent, "quick")


def test_a_scale_without_results_must_say_so(tmp_path):
    results, known = made(tmp_path)
    (results / "paper").mkdir()
    for path in (results / "released").rglob("*.json"):
        path.unlink()
    text = report.write(known, results, "paper")[0].read_text()
    assert "Of the paper's 13 numbers: 13 not run." in text
    assert "No run at this scale yet." in text
    assert "`figure3`, `figure4`, `figure5`, `figure-a1`, `figure-a2`, `mistakes`, `confusion`, `data`." in text


def test_writing_twice_must_give_the_same_bytes_without_a_date(written):
    folder, known = written
    before = {path.name: path.read_bytes() for path in folder.glob("report.*")}
    report.write(known, folder.parent, "quick")
    assert {path.name: path.read_bytes() for path in folder.glob("report.*")} == before
    assert not any(re.search(rb"\b20\d\d-\d", text) for text in before.values())


def command(*arguments):
    return run_module("experiments.report", *arguments)


def test_the_command_must_say_what_it_wrote(tmp_path):
    results, _ = made(tmp_path)
    answer = command("--scale", "quick", "--check", "--results", results, "--params", tmp_path / "params.yaml")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.findall(r"quick/(report\.\w+): \d+ kB", answer.stdout) == ["report.md", "report.html"]


def test_the_command_must_refuse_what_is_malformed_and_leave_nothing(tmp_path):
    results, _ = made(tmp_path)
    (results / "quick" / "metrics" / f"{PAIRS}-seed0.json").write_text("{")
    answer = command("--results", results, "--params", tmp_path / "params.yaml")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]*not readable as JSON[^\n]*\n", answer.stderr)
    assert not list((results / "quick").glob("*report*"))


def test_the_command_must_load_neither_keras_nor_tensorflow_nor_matplotlib():
    answer = run_code("import sys, experiments.report; print(*sys.modules)")
    assert answer.returncode == 0, answer.stderr
    assert not {"keras", "tensorflow", "jax", "dvc", "matplotlib", "scipy.stats"} & set(answer.stdout.split())
