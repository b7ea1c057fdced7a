"""The report's first sections: the paper's claims and numbers, what the verdicts could have been, and other runs."""

from collections.abc import Sequence

import pandas as pd

from capsrepro.core import paths
from capsrepro.core.params import Params
from capsrepro.evidence import claim_results, claim_tables, claims, comparison, other_runs, tables
from capsrepro.evidence.claim_results import Judged
from capsrepro.evidence.results import Result
from capsrepro.evidence.scale import Scale
from capsrepro.report import forest
from capsrepro.report.document import Cell, Section, Table


def judged_claims(scale: Scale) -> list[Judged]:
    """Every claim of claims.csv at a scale; none where there is no such file.

    Raises:
        Error: the file, stored predictions or a history are malformed.
    """
    path = paths.found(scale.folder / "claims.csv")
    return claim_results.judge_all(scale, claims.read(path)) if path.is_file() else []


def glance(scale: Scale, judged: Sequence[Judged], table: pd.DataFrame) -> Section:
    """The forest plots of the claims' effects and of the numbers; without claims the latter alone."""
    numbers = forest.of_numbers(scale, table)
    drawn = (forest.of_claims(scale, judged), numbers) if judged else (numbers,)
    return Section("glance", "At a glance", forests=drawn)


def claim_sections(judged: Sequence[Judged]) -> list[Section]:
    """The claims with their verdicts, and how each was measured; nothing where there are no claims."""
    if not judged:
        return []
    shown = _table(claim_tables.SHOWN, claim_tables.display(judged), claim_tables.ALIGNMENT, badges="verdict")
    notes = (*filter(None, [claim_tables.shared(judged)]), claim_tables.UNITS, claim_tables.WORDS)
    sections = [Section("claims", "Claims", table=shown, notes=notes)]
    if lines := claim_tables.measured(judged):
        how = _table(claim_tables.MEASURED, lines, claim_tables.MEASURED_ALIGNMENT)
        sections.append(Section("measured", "How the claims were measured", (claim_tables.HOW,), how))
    return sections


def number_sections(table: pd.DataFrame, results: Sequence[Result]) -> list[Section]:
    """The table of `comparison.build`, and what its verdicts could have been."""
    shown = _table(tables.SHOWN, tables.display(table).to_numpy().tolist(), tables.ALIGNMENT, badges="verdict")
    notes = (*comparison.budgets(results), tables.UNITS, tables.WORDS)
    sections = [Section("verdicts", "Verdicts", table=shown, notes=notes)]
    if lines := tables.power(table):
        power = _table(tables.POWERED, lines, tables.POWER_ALIGNMENT)
        sections.append(Section("power", "What the verdicts could have been", (tables.POWER,), power))
    return sections


def other_sections(known: Params, scale: Scale) -> list[Section]:
    """The runs that are no row of the paper, each beside the run that it is `like`; nothing where there are none."""
    lines = other_runs.lines(known, scale)
    shown = _table(other_runs.SHOWN, lines, other_runs.ALIGNMENT, badges="verdict")
    return [Section("other-runs", other_runs.TITLE, table=shown, notes=(other_runs.ABOUT,))] if lines else []


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]], alignment: Sequence[str], badges: str = "") -> Table:
    return Table(columns, [[Cell(text) for text in line] for line in lines], alignment, badges=badges)
