"""Fetches data sets and the released code's archives, each from the first working mirror, and verifies them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from capsrepro import sources
from capsrepro.core import not_run, paths
from capsrepro.core.errors import Error, Unreachable
from . import run_cli


def main(arguments: argparse.Namespace) -> None:
    """Fetches the requested sources, or only says which of them were noted as unreachable."""
    if arguments.noted:
        if found := [note for name in arguments.names if (note := not_run.noted(arguments.data / name))]:
            raise Unreachable(" | ".join(found))
        return
    for name in arguments.names if arguments.note else ():
        fetch_or_note(name, arguments.data)
    if not arguments.note:
        fetch_all(arguments.names, arguments.data)


def fetch_or_note(name: str, data: Path) -> None:
    """Fetches a source; if it is unreachable, that is noted in its folder, and the rows without it can be run."""
    try:
        fetch_all([name], data)
        not_run.note(data / name, "")
    except Unreachable as fault:  # other errors, such as a full disk or a lock, are no reason to go on without it
        not_run.note(data / name, str(fault))
        print(f"noted: {fault}", flush=True)


def fetch_for(where: paths.RunPaths, names: Sequence[str], data: Path) -> None:
    """Fetches the sources that a run needs; an unreachable source is recorded as the reason why it was not run."""
    try:
        fetch_all(names, data)
    except Unreachable:  # other errors, such as a full disk or a lock, are no reason not to run it
        not_run.write(where, not_run.UNREACHABLE)
        raise
    except Error:
        not_run.clear(where)  # what was said of an earlier fetch is not the reason
        raise
    not_run.clear(where)


def fetch_all(names: Sequence[str], data: Path) -> None:
    """Fetches sources one after the other into folders of `data`; all failures are reported in one final error."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # our messages say the same in fewer words
    web = sources.Web()
    faults: list[Error] = []
    for name in names:
        try:
            sources.fetch(name, data, web=web, say=lambda line: print(line, flush=True))
        except Error as fault:
            faults.append(fault)
    if faults:
        kind = Unreachable if any(isinstance(fault, Unreachable) for fault in faults) else Error
        raise kind(" | ".join(map(str, faults)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="CAPSREPRO_DATA: a folder that is searched first. CAPSREPRO_OFFLINE=1: the network is not used.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", choices=sources.NAMES, help=", ".join(sources.NAMES))
    parser.add_argument("--data", type=Path, default=Path("data"), help="the parent of the folder NAME")
    parser.add_argument("--note", action="store_true", help="note an unreachable source in its folder; no error")
    parser.add_argument("--noted", action="store_true", help="fetch nothing; an error if one of them was noted so")
    run_cli(main, parser)
