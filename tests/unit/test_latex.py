"""The LaTeX tables: their cells, and, where a LaTeX is installed, that they compile and fit a column or a page."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from capsrepro.core import params
from capsrepro.evidence import claim_results, claims, comparison, latex, scale
from tests.support import ROOT

COLUMN, PAGE = 229.5, 140 * 72.27 / 25.4  # points: a column of a two-column article; 140 mm
SHORT, LONG = ("numbers", "effects"), ("all_numbers", "all_effects")
WRITERS = (*SHORT, *LONG)
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs,siunitx}
\newsavebox{\measured}
\begin{document}
%s
\end{document}
"""
MEASURE = r"""\sbox{\measured}{\footnotesize\input{NAME}}\typeout{WIDTH NAME \the\wd\measured}
\begin{table*}\usebox{\measured}\end{table*}
"""


@pytest.fixture(scope="module")
def texts():
    """The four tables of the committed results at full scale."""
    return written("full")


def written(name):
    known, folder = params.read(ROOT / "params.yaml"), ROOT / "results"
    ours = scale.load(known, folder, name)
    table = comparison.with_released(known, folder, ours)
    judged = claim_results.judge_all(ours, claims.read(folder / "claims.csv"))
    given = dict(zip(WRITERS, (table, judged, table, judged), strict=True))
    return {writer: getattr(latex, writer)(about, name) for writer, about in given.items()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_table_is_balanced_escaped_and_of_booktabs(texts, name):
    comment, body = texts[name].split("\n", 1)
    assert comment.startswith("% Scale full. Wants \\usepackage{booktabs,siunitx}")
    assert body.isascii()
    assert body.count("{") == body.count("}")
    assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    rest = body.replace("isetup{separate-uncertainty=true,tight-spacing=true,retain-explicit-plus=true}%", "")
    assert not re.search(r"(?<!\\)[%#_~^]", rest)
    assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    columns = body.split(r"\midrule")[0].splitlines()[-1].count("&")
    lines = [line for line in body.splitlines() if line.endswith(r"\\") and r"\multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {columns}


def test_the_short_table_has_method_paper_ours_and_a_mark(texts):
    lines = texts["numbers"].splitlines()
    assert r"\multicolumn{4}{@{}l}{\emph{MNIST, test error (\%)}} \\" in lines
    assert r"\multicolumn{4}{@{}l}{\emph{affNIST, accuracy (\%)}} \\" in lines
    cells = [line.removesuffix(r" \\").split(" & ") for line in lines if line.count(" & ") == 3]
    assert cells[0] == ["Method", "{Paper}", "{Ours}", ""]
    assert {cell[3] for cell in cells[1:]} <= {"$=$", "$+$", "$-$", "?", "--"}
    assert len(cells) == 1 + 13  # the paper's numbers, without published checkpoints that were not run


def made(**changed):
    """A table of one line."""
    import pandas as pd

    line = {
        "id": "a", "method": "CapsNet & Co, MNIST", "measure": "test_error_pct", "routing": 3, "reconstruction": True,
        "seeds": 1, "measured": 0.234, "std": None, "interval_low": 0.1, "interval_high": 0.3, "paper": 0.25,
        "paper_std": 0.005, "margin": 0.1, "verdict": "reproduced", "remarks": "5 % of a_b",
    }  # fmt: skip
    return pd.DataFrame([line | changed])


@pytest.mark.parametrize(
    ("changed", "name", "cells"),
    [
        ({}, r"CapsNet \& Co, 3 iterations, decoder", "0.25 & 0.23 & $=$"),
        ({"std": 0.02, "seeds": 3}, r"CapsNet \& Co, 3 iterations, decoder", "0.25 & 0.234 +- 0.020 & $=$"),
        ({"measured": None, "verdict": "not run"}, r"CapsNet \& Co, 3 iterations, decoder", "0.25 &  & --"),
        ({"verdict": "missed", "routing": 1}, r"CapsNet \& Co, 1 iteration, decoder", "0.25 & 0.23 & $-$"),
        ({"verdict": "inconclusive", "reconstruction": None}, r"CapsNet \& Co, 3 iterations", "0.25 & 0.23 & ?"),
        ({"verdict": "changed", "method": "Net, MNIST, changed", "routing": None}, "Net, changed", "0.25 & 0.23 & --"),
        ({"paper": np.float64(79), "verdict": "better"}, r"CapsNet \& Co, 3 iterations, decoder", "79 & 0.23 & $+$"),
    ],
)
def test_a_line_of_the_short_table_is_as_its_result(changed, name, cells):
    assert rf"{name} & {cells} \\" in latex.numbers(made(**changed), "full").splitlines()


def test_a_line_of_the_long_table_has_spread_margin_interval_and_deviations():
    row = (
        r"CapsNet \& Co, 3 iterations, decoder, MNIST & 0.25 +- 0.005 & 0.1 & 0.23 & [\num{0.10}, \num{0.30}] & 1 & "
        r"reproduced (5 \% of a\_b) \\"
    )
    assert row in latex.all_numbers(made(), "full").splitlines()


def test_a_verdict_of_one_seed_is_in_brackets(texts):
    marks = {line.split(" & ")[0]: line.split(" & ")[-1] for line in texts["effects"].splitlines() if " & " in line}
    assert marks["the decoder lowers the error at three iterations of routing"] == r"(?) \\"
    assert marks["three iterations beat one on MultiMNIST"] == r"-- \\"
    assert marks["the change of the routing logits falls by orders of magnitude from pass to pass"] == r"$-$ \\"


def test_the_claims_have_signs_and_no_pictures(texts):
    short, long = texts["effects"], texts["all_effects"]
    assert r"at equal accuracy on expanded MNIST, CapsNet is 13 points better on affNIST & +13.00 & " in short
    assert r"(66 to 79 \% accuracy); Section 5.2 & +13.00 & " in long
    for text in (short, long):
        assert "MultiMNIST's decoder draws" not in text
    assert "1.0000" not in long


@pytest.mark.parametrize("scale_name", ["quick", "medium", "full"])
def test_the_tables_compile_and_fit_a_column_or_a_page(scale_name, tmp_path):
    texts = written(scale_name)
    if (program := shutil.which("pdflatex")) is None:
        pytest.skip("no pdflatex on this machine: Debian has it in texlive-latex-base, siunitx in texlive-science")
    for name, text in texts.items():
        (tmp_path / f"{name}.tex").write_text(text, encoding="utf-8")
    (tmp_path / "document.tex").write_text(DOCUMENT % "\n".join(MEASURE.replace("NAME", name) for name in texts))
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    if "siunitx.sty' not found" in answer.stdout or "booktabs.sty' not found" in answer.stdout:
        pytest.skip("this LaTeX has no booktabs or siunitx: Debian has them in texlive-latex-extra and texlive-science")
    assert answer.returncode == 0, answer.stdout[-1000:]
    widths = dict(re.findall(r"WIDTH (\w+) ([\d.]+)pt", answer.stdout))
    assert {name: float(widths[name]) <= (COLUMN if name in SHORT else PAGE) for name in WRITERS} == dict.fromkeys(
        WRITERS, True
    )
    assert "Overfull" not in answer.stdout  # no cell reaches into the next
