"""Fetches data sets and the released code's archives, each from the first working mirror, and verifies them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from capsrepro import sources
from capsrepro.core import not_run, paths
from capsrepro.core.errors import Error, Unreachable
from . import run_cli


def main(arguments: argparse.Namespace) -> None:
    """Fetches the requested sources."""
    fetch_all(arguments.names, arguments.data)


def fetch_for(where: paths.RunPaths, names: Sequence[str], data: Path) -> None:
    """Fetches the sources that a run needs; an unreachable source is recorded as the reason why it was not run."""
    try:
        fetch_all(names, data)
    except Unreachable:  # other errors, such as a full disk or a lock, are no reason not to run it
        not_run.write(Path("results"), where.scale, where.run, "source unreachable")
        raise
    not_run.write(Path("results"), where.scale, where.run, None)


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
    run_cli(main, parser)
