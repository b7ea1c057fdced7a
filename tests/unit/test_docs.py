"""README and docs: tables are those of the results, links lead somewhere, every command and setting is described.

`python -m pytest tests/unit/test_docs.py --force-regen` writes the tables into the pages.
"""

import dataclasses
import os
import re
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import tabulate
import yaml

from benchmarks import rows
from capsrepro.ablations import comparison, trainings
from capsrepro.core import params
from capsrepro.evidence import lined, tables
from capsrepro.evidence.claim_results import NO_HOLM
from capsrepro.evidence.claims import FAILS, HOLDS, OPEN
from capsrepro.evidence.deviations import NOTHING
from tests.support.digits import ROOT

RESULTS, DOCS = ROOT / "results", ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
ALL_PAGES = [*PAGES, *sorted(RESULTS.glob("*/report.md")), *sorted(RESULTS.glob("*/MODEL.md"))]
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def each(pages: Sequence[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.relative_to(ROOT).as_posix())


def without_code(page: Path) -> str:
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Of its headings, as forges and MkDocs make them from plain words; a web page names its own."""
    if page.suffix == ".html":
        return set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))
    headings = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def pipe(lines: list[list[str]], headers: list[str]) -> str:
    return tabulate.tabulate(lines, headers, "pipe", disable_numparse=True)


def csv(path: str) -> list[dict[str, str]]:
    return pd.read_csv(RESULTS / path, dtype=str, keep_default_na=False).to_dict("records")


def method(line: dict[str, str]) -> str:
    """`CapsNet, MNIST, 3 iterations, decoder`, of a line of table.csv."""
    words = line["method"]
    if line["routing"]:
        words += f", {line['routing']} iteration{'s' * (line['routing'] != '1')}"
        words += {"True": ", decoder", "False": ", no decoder", "": ""}[line["reconstruction"]]
    return words


def numbers(scale: str, *, run: bool = False) -> str:
    """The table of a scale in five columns: all rows, or those that were run; `deviations` has what they changed."""
    path = RESULTS / scale / "table.csv"
    shown = tables.display(pd.read_csv(path).convert_dtypes()).to_dict("records")
    lines = []
    for line, cells in zip(csv(f"{scale}/table.csv"), shown, strict=True):
        absent = line["verdict"] == "not run"
        if run and absent:
            continue
        verdict = cells["verdict"] if absent else line["verdict"]
        lines.append([method(line), *(cells[name] for name in ("paper", "measured", "95 % interval")), verdict])
    return pipe(lines, ["method", "paper", "measured", "95 % interval", "verdict"])


def deviations(scale: str) -> str:
    """What stands in brackets beside each verdict of a scale."""
    lines = [line for line in csv(f"{scale}/table.csv") if line["verdict"] != "not run"]
    return pipe(
        [[method(line), line["verdict"], line["remarks"]] for line in lines], ["method", "verdict", "deviations"]
    )


def signed(number: str) -> str:
    return lined.signed(float(number)) if number else ""


def effect(line: dict[str, str]) -> list[str]:
    """The cells of a claim at one scale: effect with interval, seeds, verdict."""
    if line["verdict"] not in JUDGED:
        return ["", "", line["verdict"]]
    span = " to ".join(signed(line[end]) for end in ("interval_low", "interval_high"))
    measured = signed(line["effect"]) + (f" ({span})" if line["interval_low"] else "")
    remarks = [told for told, word in ((NO_HOLM, NO_HOLM), (f"some {NOTHING}", NOTHING)) if word in line["remarks"]]
    return [measured, line["seeds"], ", ".join([line["verdict"], *remarks])]


def claims(*scales: str, judged: bool = False) -> str:
    """The claims of the paper at one scale or several: all of them, or those that were judged at one of these."""
    lines = []
    for same in zip(*(csv(f"{scale}/claims.csv") for scale in scales), strict=True):
        if not judged or any(line["verdict"] in JUDGED for line in same):
            cells = [cell for line in same for cell in effect(line)]
            lines.append([same[0]["statement"], signed(same[0]["paper_effect"]), *cells])
    measured = [name for scale in scales for name in (f"`{scale}` (95 % interval)", "seeds", "verdict")]
    return pipe(lines, ["claim", "paper", *measured])


def ablations(columns: dict[str, str]) -> str:
    """Columns of the table of ablations, by heading; a point without two sides is left out."""
    tried = [line for line in csv(f"quick/{trainings.FOLDER}/table.csv") if line["verdict"] != comparison.NONE]
    return pipe([[line[name] for name in columns.values()] for line in tried], list(columns))


JUDGED = (HOLDS, FAILS, OPEN)
SIDES = {"ablation": "ablation", "what": "what", "paper": "paper", "released code": "released"}
ERRORS = {
    "ablation": "ablation",
    "paper: error %": "paper_error_pct",
    "released code: error %": "released_error_pct",
    "difference": "difference",
    "95 % interval": "interval",
    "verdict": "verdict",
}
TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "claims"): lambda: claims("full", "medium", judged=True),
    ("README.md", "full"): lambda: numbers("full"),
    ("docs/results.md", "deviations"): lambda: deviations("full"),
    ("docs/results.md", "claims"): lambda: claims("full"),
    ("docs/results.md", "quick"): lambda: numbers("quick"),
    ("docs/results.md", "medium"): lambda: numbers("medium", run=True),
    ("docs/results.md", "medium claims"): lambda: claims("medium", judged=True),
    ("docs/ablations.md", "ablations"): lambda: ablations(SIDES),
    ("docs/ablations.md", "errors"): lambda: ablations(ERRORS),
    ("docs/performance.md", "benchmark"): lambda: rows.table(rows.read(RESULTS / "benchmark.json")),
}


@pytest.mark.parametrize(("page", "name"), TABLES)
def test_page_shows_the_committed_results(page: str, name: str, request: pytest.FixtureRequest) -> None:
    """Between `<!-- name -->` and `<!-- /name -->`."""
    path, table = ROOT / page, TABLES[page, name]()
    text = path.read_text(encoding="utf-8")
    found = re.search(f"(?<=<!-- {name} -->\n\n).*?(?=\n\n<!-- /{name} -->)", text, re.DOTALL)
    assert found, f"{page}: has no markers <!-- {name} --> ... <!-- /{name} --> around a table"
    if request.config.getoption("force_regen"):
        path.write_text(text[: found.start()] + table + text[found.end() :], encoding="utf-8")
    assert found[0] == table, f"{page}: copy this table, or run this test with --force-regen:\n{table}"


def test_the_readme_is_short() -> None:
    """Tables and commands do not count."""
    lines = without_code(ROOT / "README.md").splitlines()
    assert len([line for line in lines if not line.startswith("|")]) <= 130


def test_the_readme_shows_the_claims_before_the_numbers() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index("## Results") < text.index("<!-- claims -->") < text.index("<!-- full -->")


@each(PAGES)
def test_lines_of_prose_have_at_most_110_characters(page: Path) -> None:
    assert not [line for line in without_code(page).splitlines() if len(line) > 110 and not line.startswith("|")]


@each([page for page in PAGES if page.parent != DOCS / "api"])
def test_page_has_one_title(page: Path) -> None:
    assert len(re.findall(r"^# ", without_code(page), re.MULTILINE)) == 1


@each(ALL_PAGES)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in LINK.findall(without_code(page)):
        path, _, anchor = target.partition("#")
        file = Path(os.path.normpath(page.parent / urllib.parse.unquote(path))) if path else page
        assert file.is_file(), f"{page.name}: {target}: no such file; a folder has no page on the site"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}: no such heading"


def test_menu_of_the_site_has_every_page() -> None:
    def leaves(entry: object) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        return set().union(*map(leaves, entry.values() if isinstance(entry, dict) else entry))

    menu = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} <= menu
    assert all((DOCS / name).is_file() or (ROOT / name).is_file() for name in menu)


def test_every_room_has_a_page_of_its_api() -> None:
    rooms = {path.parent.name for path in (ROOT / "capsrepro").glob("*/__init__.py")}
    assert {page.stem for page in (DOCS / "api").glob("*.md")} - {"index"} == rooms
    for room in rooms:
        assert f"::: capsrepro.{room}\n" in (DOCS / "api" / f"{room}.md").read_text(encoding="utf-8")


def test_every_setting_is_described() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", page, re.MULTILINE))))
    names = {field.name for kind in (params.RunEntry, params.Params) for field in dataclasses.fields(kind)}
    assert described == names


def test_every_environment_variable_is_described() -> None:
    code = [
        path for folder in ("capsrepro", "experiments", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    named = {name for path in code for name in re.findall(r"\bCAPSREPRO_[A-Z]+", path.read_text(encoding="utf-8"))}
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert named == set(re.findall(r"CAPSREPRO_[A-Z]+", page))
