"""Fetches data sets and the released code's archives from the first mirror that serves each well, and verifies them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from capsrepro import sources
from capsrepro.core import not_run, paths
from capsrepro.core.errors import Error, Unreachable
from experiments import run_cli


def main(arguments: argparse.Namespace) -> None:
    """Fetches what was asked for."""
    bring(arguments.names, arguments.data)


def bring_for(where: paths.RunPaths, names: Sequence[str], data: Path) -> None:
    """Fetches what a run needs; where a source is not to be had, the run's row in the table gets that as its reason."""
    try:
        bring(names, data)
    except Unreachable:  # a full disk, a lock or another content say nothing about the source
        not_run.write(Path("results"), where.scale, where.run, "source unreachable")
        raise
    not_run.write(Path("results"), where.scale, where.run, None)


def bring(names: Sequence[str], data: Path) -> None:
    """Fetches one source after the other into folders of `data`; what failed is told at the end, in one line."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # our lines say the same, shorter
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
        epilog="CAPSREPRO_DATA: a folder that is looked into first. CAPSREPRO_OFFLINE=1: no network is touched.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", choices=sources.NAMES, help=", ".join(sources.NAMES))
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder in which the folder NAME is made")
    run_cli(main, parser)
