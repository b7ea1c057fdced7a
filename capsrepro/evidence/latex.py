r"""The comparison and the claims as LaTeX tables: short ones that fit a column, and longer ones for an appendix.

All are a `tabular` for `\input` and want the packages booktabs and siunitx. In `\footnotesize` the short ones fit the
column of a two-column article (81 mm), the long ones a page with 140 mm of text.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from capsrepro.core.text import whole_line
from capsrepro.evidence import claim_results, claims, comparison
from capsrepro.evidence.claim_results import Judged
from capsrepro.evidence.lined import signed

_MARKS = {
    "reproduced": "$=$",
    "better": "$+$",
    "missed": "$-$",
    "inconclusive": "?",
    "underpowered": "?",
    claims.HOLDS: "$+$",
    claims.FAILS: "$-$",
    claims.OPEN: "?",
}
_NONE = "--"
_SPACE = r"\addlinespace[2pt]"
_NUMBERS_KEY = (
    r"$=$: as in the paper; $+$: better; $-$: worse; ?: undecided; --: no verdict. Ours: mean $\pm$ standard "
)
_NUMBERS_KEY += "deviation, where there are several seeds."
_CLAIMS_KEY = (
    r"$+$: holds; $-$: does not hold; ?: undecided; --: no verdict; in brackets: of one seed, before all planned seeds "
    r"are there, or not after Holm's correction. Effects in percentage points or log10 ratios."
)
_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
}


def numbers(table: pd.DataFrame, scale: str) -> str:
    """The table of `comparison.build` for a column: method, the paper's number, ours, a mark for the verdict.

    Published checkpoints without a result are left out.
    """
    lines, shown, title = comparison.records(table), [], ""
    for place, line in enumerate(lines):
        if not line["seeds"] and line["id"] in {other["id"] for other in lines[:place]}:
            continue
        if (heading := _heading(line)) != title:
            shown += [_SPACE] * bool(title)
            title = heading
            shown.append(rf"\multicolumn{{4}}{{@{{}}l}}{{\emph{{{title}}}}} \\")
        shown.append(_row(_method(line), f"{line['paper']:g}", _ours(line), _MARKS.get(line["verdict"], _NONE)))
    columns = _raggedright("3.5cm") + "S[table-format=2.2]S[table-format=2.3(3)]c"
    return _tabular(scale, columns, ("Method", "{Paper}", "{Ours}", ""), shown, _key(_NUMBERS_KEY))


def all_numbers(table: pd.DataFrame, scale: str) -> str:
    """The whole table of `comparison.build` for an appendix: margins, intervals, seeds, verdicts and deviations too."""
    shown = []
    for line in comparison.records(table):
        paper = f"{line['paper']:g}" + ("" if line["paper_std"] is None else f" +- {line['paper_std']:g}")
        span = _span(line["interval_low"], line["interval_high"])
        words = _escaped(line["verdict"] + (f" ({line['remarks']})" if line["remarks"] else ""))
        name = f"{_method(line)}, {_escaped(_set(line)[1])}"
        shown.append(_row(name, paper, f"{line['margin']:g}", _ours(line), span, str(line["seeds"] or ""), words))
        shown.append(_SPACE)
    columns = (
        _raggedright("2.9cm")
        + "S[table-format=2.3(3)]S[table-format=1.2]S[table-format=2.3(3)]lr"
        + _raggedright("3.1cm")
    )
    head = ("Method", "{Paper}", r"{$\pm$}", "{Ours}", r"95\,\% interval", "$n$", "Verdict")
    return _tabular(scale, columns, head, shown)


def effects(judged: Sequence[Judged], scale: str) -> str:
    """The claims for a column: what is claimed, the paper's effect, ours, a mark for the verdict; without pictures."""
    shown = []
    for one in judged:
        if one.verdict != claims.PICTURES:
            statement = _escaped(re.sub(r" \(.*\)$", "", one.claim.statement))
            mark = _MARKS.get(one.verdict, _NONE)
            mark = f"({mark})" if one.is_tentative and mark != _NONE else mark
            shown.append(_row(statement, signed(one.claim.paper_effect), signed(_effect(one)), mark))
    columns = _raggedright("4.6cm") + "S[table-format=+2.2]S[table-format=+2.2]c"
    return _tabular(scale, columns, ("Claim", "{Paper}", "{Ours}", ""), shown, _key(_CLAIMS_KEY))


def all_effects(judged: Sequence[Judged], scale: str) -> str:
    """The claims for an appendix: with place, interval, seeds, p after Holm's correction, verdict and deviations.

    What all measured claims share stands below.
    """
    shown, common = [], claim_results.shared(judged)
    for one in [one for one in judged if one.verdict != claims.PICTURES]:
        known = one.effect is not None and math.isfinite(one.effect.low)
        span = _span(one.effect.low, one.effect.high, signed) if one.effect is not None and known else ""
        p = "" if one.p_holm is None else "$<$0.0001" if one.p_holm < 1e-4 else rf"\num{{{one.p_holm:.2g}}}"
        words = _escaped(one.told(common))
        statement = _escaped(f"{one.claim.statement}; {one.claim.where}")
        effect = signed(_effect(one))
        shown.append(_row(statement, signed(one.claim.paper_effect), effect, span, str(one.seeds or ""), p, words))
        shown.append(_SPACE)
    columns = _raggedright("3.4cm") + "S[table-format=+2.2]S[table-format=+2.2]lrl" + _raggedright("3.2cm")
    head = ("Claim, and where it is made", "{Paper}", "{Ours}", r"95\,\% interval", "$n$", "$p$ (Holm)", "Verdict")
    key = _key(f"All: {_escaped(', '.join(common))}.", len(head), "13.8cm") if common else ""
    return _tabular(scale, columns, head, shown, key)


def _set(line: Mapping[str, Any]) -> tuple[str, str]:
    """Method and data set of `CapsNet, MNIST` or `CapsNet, MNIST, changed`."""
    name, _, title = line["method"].removesuffix(", changed").rpartition(", ")
    return name, title


def _heading(line: Mapping[str, Any]) -> str:
    measure = "accuracy" if line["measure"] == "test_accuracy_pct" else "test error"
    return rf"{_escaped(_set(line)[1])}, {measure} (\%)"


def _method(line: Mapping[str, Any]) -> str:
    words = [_set(line)[0]]
    if line["routing"] is not None:
        words += [f"{line['routing']} iteration{'s' if line['routing'] > 1 else ''}"]
        words += {None: [], True: ["decoder"], False: ["no decoder"]}[line["reconstruction"]]
    return _escaped(", ".join([*words, *(["changed"] if line["method"].endswith(", changed") else [])]))


def _ours(line: Mapping[str, Any]) -> str:
    if line["measured"] is None:
        return ""
    return f"{line['measured']:.2f}" if line["std"] is None else f"{line['measured']:.3f} +- {line['std']:.3f}"


def _effect(one: Judged) -> float | None:
    return None if one.effect is None else one.effect.effect


def _span(low: float | None, high: float | None, text: Callable[[float], str] = "{:.2f}".format) -> str:
    """Both ends in brackets."""
    return "" if low is None or high is None else rf"[\num{{{text(low)}}}, \num{{{text(high)}}}]"


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in whole_line(text))


def _raggedright(width: str) -> str:
    return rf">{{\raggedright\arraybackslash}}p{{{width}}}"


def _row(*cells: str) -> str:
    return " & ".join(cells) + r" \\"


def _key(text: str, columns: int = 4, width: str = "7.7cm") -> str:
    """A last line below a table, as wide as it is: by default one of four columns for a column of the page."""
    return rf"\multicolumn{{{columns}}}{{@{{}}p{{{width}}}@{{}}}}{{{text}}} \\"


def _tabular(scale: str, columns: str, head: Sequence[str], lines: Sequence[str], key: str = "") -> str:
    """A group, so that what is set in it ends with the table."""
    return "\n".join(
        [
            rf"% Scale {scale}. Wants \usepackage{{booktabs,siunitx}}; meant for \footnotesize.",
            r"{\setlength{\tabcolsep}{4pt}\sisetup{separate-uncertainty=true,tight-spacing=true,retain-explicit-plus=true}%",
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            _row(*head),
            r"\midrule",
            *lines,
            r"\bottomrule",
            *filter(None, [key]),
            r"\end{tabular}}",
            "",
        ]
    )
