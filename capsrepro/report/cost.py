"""What the trainings of a scale cost: hours on GPUs and on CPUs, images, memory."""

import re
from collections.abc import Sequence

from capsrepro.report.document import Cell, Section, aligned
from capsrepro.report.run_records import RunRecord

_COLUMNS = (
    "device", "instructions", "kind", "trainings", "hours", "million images shown", "images/s", "most memory, MB",
)  # fmt: skip
_GPU = re.compile(r"\d+ x ")  # a device of the provenance: `1 x NVIDIA H100 80GB HBM3`, or `AMD EPYC, 2 cores`


def sections(found: Sequence[RunRecord]) -> list[Section]:
    """A section with a line for each kind of device; empty where no training told its time."""
    timed = [record for record in found if record.result.train_seconds is not None and record.result.device]
    devices = list(dict.fromkeys(_device(record) for record in timed))
    groups = [[record for record in timed if _device(record) == device] for device in devices]
    if not groups:
        return []
    hours = {kind: sum(_hours(group) for group in groups if _kind(group) == kind) for kind in ("GPU", "CPU")}
    text = (
        f"The trainings of the table Runs: {hours['GPU']:.2f} hours on GPUs and {hours['CPU']:.2f} hours on CPUs. "
        "Evaluation, and time before an interruption that was not saved, is not in it."
    )
    return [Section("cost", "Cost", (text,), table=aligned(_COLUMNS, [_line(group) for group in groups]))]


def _line(group: Sequence[RunRecord]) -> list[Cell]:
    results = [record.result for record in group]
    shown = sum(one.images_trained * max(1, int(one.settings.get("members") or 1)) for one in results) / 1e6
    speeds = [one.images_per_second for one in results if one.images_per_second is not None]
    memory = [record.provenance["peak_memory_mb"] for record in group if "peak_memory_mb" in record.provenance]
    return [
        *map(Cell, _device(group[0])),
        Cell(_kind(group)),
        Cell(str(len(group))),
        Cell(f"{_hours(group):.2f}"),
        Cell(f"{shown:.1f}"),
        Cell(f"{min(speeds):.0f} to {max(speeds):.0f}" if speeds else ""),
        Cell(str(max(memory)) if memory else ""),
    ]


def _device(record: RunRecord) -> tuple[str, str]:
    """The device, and the widest vector instructions of its processor: the same name may stand for several."""
    return record.result.device, str(record.provenance.get("instructions", ""))


def _hours(group: Sequence[RunRecord]) -> float:
    return sum(record.seconds or 0.0 for record in group) / 3600


def _kind(group: Sequence[RunRecord]) -> str:
    return "GPU" if _GPU.match(group[0].result.device) else "CPU"
