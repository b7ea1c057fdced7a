"""Builds the content of the report: every result of a scale, its figures, and the source of each number."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from capsrepro.core.params import Params
from capsrepro.core.text import code
from capsrepro.evidence import comparison, plan
from capsrepro.evidence import results as evidence
from capsrepro.evidence import scale as scales
from capsrepro.evidence.scale import Scale
from capsrepro.report import ablations, cost, curves, digits, figure_files, judgements, run_records, summary
from capsrepro.report.document import Cell, Report, Section, Table, aligned, commit, short, text_of
from capsrepro.report.figure_files import FigureFile
from capsrepro.report.run_records import RunRecord, Sheet

PAPER = "Dynamic Routing Between Capsules"
PURPOSE = "The paper's experiments, run again: its numbers beside ours, and how far they agree."
SCALES: Mapping[str, str] = {
    "medium": "A quarter of the paper's channels and half of its capsule types, ten seeds, to decide claims.",
    "quick": "Narrow nets, minutes on two cores, to show that everything works: no verdict on the paper's numbers.",
    "full": "The paper's architectures, trained for less long than the paper's.",
    "paper": "The paper's architectures, trained as long as the released code says.",
}


def build(known: Params, folder: Path, scale: str, strict: bool = False, data: Path | None = None) -> Report:
    """Builds the report of a scale and the published checkpoints; for arguments and errors see `report.write`."""
    ours = scales.load(known, folder, scale, strict)
    table = comparison.with_released(known, folder, ours)
    order = list(table["id"])  # the paper's order; runs that are not in the paper come last
    results = sorted(ours.results, key=lambda one: order.index(one.run) if one.run in order else len(order))
    found = run_records.read(folder, scale, [*results, *evidence.read(folder, "released")])
    claims = judgements.judged_claims(ours)
    paper = table[~table["id"].duplicated()]  # a second row of the same id is of a published checkpoint
    sections = (
        judgements.glance(ours, claims, table),
        *judgements.claim_sections(claims),
        *judgements.number_sections(table, results),
        *judgements.other_sections(known, ours),
        _runs(found),
        *_digits(found),
        *_stops(found),
        *_members(found),
        *_curves(folder / scale, found),
        _wrong_digits(ours, data),
        _figures(*figure_files.read(folder / scale)),
        *ablations.sections(known, folder / scale, scale),
        *map(_sheet, run_records.sheets(folder / scale)),
        *cost.sections(found),
        _made(found),
        _traces(found),
    )
    text = (PURPOSE, *filter(None, [SCALES.get(scale)]))
    counts = Counter(one.verdict for one in claims), Counter(paper["verdict"])
    told = (*summary.sentences(*counts), *filter(None, [plan.unfinished(ours.plans, scale, results)]))
    return Report(f"{PAPER}, rerun at scale {scale}", told, text, _scales(known, folder, scale), *counts, sections)


def _scales(known: Params, folder: Path, scale: str) -> dict[str, str]:
    """Every scale that has a folder, with the way to it; of the scale itself there is none."""
    names = [name for name in known.scale_settings if name != "released" and (folder / name).is_dir()]
    return {name: "" if name == scale else f"../{name}" for name in dict.fromkeys([*names, scale])}


def _curves(folder: Path, found: Sequence[RunRecord]) -> list[Section]:
    text = (
        "Loss and errors over the steps, each on a logarithmic axis; a line for each seed and member. Solid: means "
        "over the training images since the last point. Dashed: images that the network is not trained on."
    )
    drawn = curves.read(folder, found)
    return [Section("curves", "Training curves", (text,), curves=drawn)] if drawn else []


def _wrong_digits(ours: Scale, data: Path | None) -> Section:
    shown, text = digits.read(ours, data)
    return Section("wrong-digits", "Wrong digits", (text,), digits=shown)


def _runs(found: Sequence[RunRecord]) -> Section:
    columns = (
        "run", "seed", "test error %", "wrong/examples", "95 % interval", "steps", "seconds", "images/s", "device",
        "weights", "commit",
    )  # fmt: skip
    lines = [_run(record) for record in found]
    text = (
        "Each run and seed, with Wilson's interval; seconds and images/s are of the training. Where affNIST's accuracy "
        "is in the table above, this is 100 less it; its interval is too narrow where several images share a digit. "
        "A `+` after a commit: tracked files differed from it."
    )
    return Section("runs", "Runs", (text,) if lines else ("No run at this scale yet.",), aligned(columns, lines))


def _run(record: RunRecord) -> list[Cell]:
    result = record.result
    return [
        *_named(record),
        Cell(text_of(result.test_error_pct)),
        Cell(f"{result.wrong}/{result.examples}"),
        Cell(f"{text_of(result.wilson_low_pct)} to {text_of(result.wilson_high_pct)}"),
        Cell(text_of(result.steps_trained)),
        Cell(text_of(result.train_seconds)),
        Cell(text_of(result.images_per_second)),
        Cell(result.device),
        Cell(short(result.weights_sha256)),
        Cell(commit(result.git_revision, record.dirty)),
    ]


def _digits(found: Sequence[RunRecord]) -> list[Section]:
    """Errors on MultiMNIST per pair, as in the paper, and per digit, as in other publications."""
    lines = [
        [
            *_named(record),
            Cell(text_of(record.result.test_error_pct)),
            Cell(text_of(record.metrics["digit_error_pct"])),
            Cell(f"{record.metrics.get('digits_wrong')}/{2 * record.result.examples}"),
        ]
        for record in found
        if "digit_error_pct" in record.metrics
    ]
    columns = ("run", "seed", "both right: error %", "per digit: error %", "digits wrong")
    text = "The paper counts a pair as right if both digits are; others publish the share of digits that are wrong."
    return [Section("digits", "MultiMNIST, digit by digit", (text,), aligned(columns, lines))] if lines else []


def _stops(found: Sequence[RunRecord]) -> list[Section]:
    """Accuracies on expanded MNIST and on affNIST of the networks that are tested on affNIST."""
    lines = [
        [
            *_named(record),
            Cell(text_of(record.metrics["stop_accuracy_pct"])),
            Cell(text_of(record.result.settings.get("stop_pct"))),
            Cell(text_of(record.result.stop_reached)),
            Cell(text_of(record.result.steps_trained)),
            Cell(text_of(100 - record.result.test_error_pct)),
            Cell("built by the published recipe" if record.result.built else "the published files"),
        ]
        for record in found
        if "stop_accuracy_pct" in record.metrics
    ]
    columns = (
        "run", "seed", "expanded MNIST: accuracy %", "stops at %", "reached", "steps", "affNIST: accuracy %",
        "affNIST test set",
    )  # fmt: skip
    text = (
        "Training on expanded MNIST stops at a declared accuracy on its test set (the paper: 99.23 and 99.22 %); only "
        "then are the nets compared on affNIST, which they have never seen."
    )
    return (
        [Section("affnist", "affNIST, and where its training stopped", (text,), aligned(columns, lines))]
        if lines
        else []
    )


def _members(found: Sequence[RunRecord]) -> list[Section]:
    """Errors of the members of an ensemble, and of the sum of their scores."""
    lines = []
    for record in found:
        counts = record.metrics.get("members_wrong", {})
        for name, wrong in [*counts.items(), ("sum", record.result.wrong)] if counts else ():
            error = text_of(100 * wrong / record.result.examples)
            lines.append([*_named(record), Cell(name), Cell(error), Cell(f"{wrong}/{record.result.examples}")])
    columns = ("run", "seed", "member", "test error %", "wrong/examples")
    text = "An ensemble adds up the class scores of its members; the highest sum is its answer."
    return [Section("members", "Ensembles, member by member", (text,), aligned(columns, lines))] if lines else []


def _figures(found: Sequence[FigureFile], missing: Sequence[str]) -> Section:
    absent = f"Not drawn at this scale: {', '.join(f'`{name}`' for name in missing)}." if missing else ""
    return Section("figures", "Figures", figures=found, notes=(absent,) if absent else ())


def _sheet(sheet: Sheet) -> Section:
    stem = sheet.name.removesuffix(".csv")
    name = stem.replace("_", " ").replace("-", " ")
    lines = [[Cell(text) for text in line] for line in sheet.lines]
    text = f"As it stands in `{code(sheet.name)}`."
    return Section(f"sheet-{stem}", name[:1].upper() + name[1:], (text,), aligned(sheet.columns, lines))


def _made(found: Sequence[RunRecord]) -> Section:
    """Code, machine, training time, memory, versions and data of the runs."""
    states = {True: " with changes that are not in it", False: "", None: " (whether changed is not known)"}
    seconds = [record.seconds for record in found if record.seconds is not None]
    memory = [record.provenance["peak_memory_mb"] for record in found if "peak_memory_mb" in record.provenance]
    provenances = [record.provenance for record in found]
    hashes = {f"{record.provenance.get('data', '')} {short(record.result.data_sha256)}" for record in found}
    facts = {
        "commit": _counted((record.commit or "none known") + states[record.dirty] for record in found),
        "machine": _counted(record.result.device or "not known" for record in found),
        "training": f"{round(sum(seconds), 1)} s in all ({sum(seconds) / 60:.1f} min)" if seconds else "",
        "most memory": f"{max(memory)} MB" if memory else "",
        "precision": _counted(text_of(record.result.settings.get("precision")) for record in found),
        "versions": _counted(_pairs(entry.get("versions")) for entry in provenances),
        "switches": _counted(_pairs(entry.get("arithmetic")) or "none set" for entry in provenances),
        "data (SHA-256)": ", ".join(sorted(hashes)),
    }
    lines = [[Cell(name), Cell(value)] for name, value in facts.items() if value and found]
    text = "From the provenance of each run. Switches are variables that change the arithmetic."
    return Section(
        "made", "How it was made", (text,), Table(("what", "value"), lines, ("left", "left"), sortable=False)
    )


def _traces(found: Sequence[RunRecord]) -> Section:
    """The files that each number comes from."""
    kinds = ("metrics", "provenance", "history")
    lines = [
        [Cell(record.name), Cell(str(record.result.seed)), *(Cell(path, path) for path in paths), Cell(record.commit)]
        for record in found
        for paths in [[record.paths.get(kind, "") for kind in kinds]]
    ]
    text = (
        "A line of the verdicts is made of the metrics of its run, one file a seed; the paper's numbers and margins "
        "are those of `results/paper.csv`, the claims those of `results/claims.csv`. Settings, commit and machine are "
        "in the provenance."
    )
    return Section("traces", "Where each number comes from", (text,), aligned(("run", "seed", *kinds, "commit"), lines))


def _named(record: RunRecord) -> list[Cell]:
    return [Cell(record.name, record.paths["metrics"]), Cell(str(record.result.seed))]


def _pairs(entries: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (entries or {}).items())


def _counted(values: Iterable[str]) -> str:
    """The value if all runs share it, else each value with its number of runs."""
    counts = Counter(value for value in values if value)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} of {counts.total()} runs)" for value, count in counts.items())
