"""Trains and evaluates the runs of a plan that have no result yet, several at once; interrupted trainings resume.

Within a data set the first seed of every line comes first, then the second of every line: wherever it is stopped, the
runs that a claim compares have the same seeds.
"""

import argparse
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from capsrepro.core import params
from capsrepro.core.errors import Error
from capsrepro.core.paths import RunPaths
from capsrepro.evidence import plan
from experiments import at_least, run_cli, scale_arguments


def main(arguments: argparse.Namespace) -> None:
    """Runs what the plan lacks; a training that fails does not stop the others."""
    known, lines = params.read(arguments.params), plan.read(arguments.plan)
    planned = in_order(known, [line for line in lines if line.scale == arguments.scale])
    waiting = [where for where in planned if not where.metrics.is_file()]
    print(f"{arguments.scale}: {len(planned)} planned, {len(waiting)} without a result", flush=True)
    if arguments.dry_run:
        print("\n".join(where.name for where in waiting))
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, not leaving trainings behind
    over, processes = threading.Event(), set[subprocess.Popen[bytes]]()

    def stop() -> None:
        over.set()
        for process in processes.copy():
            process.terminate()  # a training saves its state

    def run(where: RunPaths) -> str:
        for stage in ("train", "evaluate"):
            words = (sys.executable, "-m", f"experiments.{stage}", where.run)
            if over.is_set():
                return "left"
            process = subprocess.Popen([*words, "--scale", where.scale, "--seed", str(where.seed)], stdout=sys.stderr)
            processes.add(process)
            if process.wait():
                return "left" if over.is_set() else "failed"
        print(f"{where.name}: done", flush=True)
        return "done"

    timer = threading.Timer(60 * arguments.minutes if arguments.minutes else threading.TIMEOUT_MAX, stop)
    timer.daemon = True
    timer.start()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        try:
            outcomes = list(pool.map(run, waiting))
        except KeyboardInterrupt:
            stop()
            raise
    print(f"{outcomes.count('done')} done, {outcomes.count('left')} left; the same command resumes them")
    if failed := [where.name for where, outcome in zip(waiting, outcomes, strict=True) if outcome == "failed"]:
        raise Error(f"{len(failed)} failed, the first is {failed[0]}; its message is above")


def in_order(known: params.Params, lines: Iterable[plan.Plan]) -> list[RunPaths]:
    """The planned trainings in order, see the module; data sets follow each other as in the plan."""
    order: list[RunPaths] = []
    for _, group in itertools.groupby(lines, lambda line: known.settings(line.run, line.scale).data):
        each = [[RunPaths(line.scale, line.run, seed) for seed in line.seeds] for line in group]
        order += [where for turn in itertools.zip_longest(*each) for where in turn if where is not None]
    return order


if __name__ == "__main__":
    parser = scale_arguments(__doc__)
    parser.add_argument("--plan", type=Path, default=Path("results/plan.csv"), help="the plan")
    parser.add_argument("--jobs", type=at_least(1), default=os.cpu_count(), help="trainings at once")
    parser.add_argument("--minutes", type=at_least(0.0), help="save and stop after this long; else when all is done")
    parser.add_argument("--dry-run", action="store_true", help="list what would run, in its order")
    run_cli(main, parser)
