"""Fetches, trains and evaluates what results/plan.csv names and has no result yet; interrupted trainings resume.

Within a data set every line's first seed comes first, then every second: wherever it stops, claims have pairs of seeds.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

from capsrepro.core import not_run, params
from capsrepro.core.errors import Error
from capsrepro.core.files import read_json
from capsrepro.core.paths import RunPaths
from capsrepro.evidence import plan
from . import FETCHED, at_least, run_cli, scale_arguments


def main(arguments: argparse.Namespace) -> None:
    """Runs what the plan lacks; a training that fails does not stop the others."""
    known, plans = params.read(arguments.params), plan.read(arguments.plan)
    data = {name: run.data for name, run in known.runs.items()}
    planned = plan.trainings(plans, arguments.scale, data, arguments.runs)
    waiting = [where for where in planned if not where.metrics.is_file() or not_run.KEY in read_json(where.metrics)]
    print(f"{arguments.scale}: {len(planned)} planned, {len(waiting)} without a result", flush=True)
    if arguments.dry_run:
        print("\n".join(where.name for where in waiting))
        return
    for source in sorted({data[where.run] for where in waiting} & set(FETCHED)):
        subprocess.run([sys.executable, "-m", "experiments.fetch", source, "--data", str(arguments.data)], check=False)
    for number in (signal.SIGTERM, signal.SIGALRM):  # both end it as Ctrl-C does, and leave no training behind
        signal.signal(number, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 60 * arguments.minutes)
    over, lock, processes = threading.Event(), threading.Lock(), list[subprocess.Popen[bytes]]()

    def run(where: RunPaths) -> str:
        for stage in ("train", "evaluate"):
            words = ["-m", f"experiments.{stage}", where.run, "--scale", where.scale, "--seed", str(where.seed)]
            words += ["--params", str(arguments.params), "--data", str(arguments.data)]
            with lock:
                if over.is_set():
                    return "left"
                processes.append(process := subprocess.Popen([sys.executable, *words], stdout=sys.stderr))
            if process.wait():
                return "left" if over.is_set() else "failed"
        print(f"{where.name}: done", flush=True)
        return "done"

    with futures.ThreadPoolExecutor(arguments.jobs) as pool:
        running = [pool.submit(run, where) for where in waiting]
        try:
            futures.wait(running)
        except KeyboardInterrupt:
            with lock:
                over.set()
            for process in processes:
                process.terminate()  # a training saves its state
    outcomes = [one.result() for one in running]
    print(f"{outcomes.count('done')} done, {outcomes.count('left')} left; the same command resumes them")
    if failed := [where.name for where, outcome in zip(waiting, outcomes, strict=True) if outcome == "failed"]:
        raise Error(f"{len(failed)} failed, the first is {failed[0]}; its message is above")


if __name__ == "__main__":
    parser = scale_arguments(__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="only these; else all that is planned at the scale")
    parser.add_argument("--plan", type=Path, default=Path("results/plan.csv"), help="the plan")
    parser.add_argument("--jobs", type=at_least(1), default=os.cpu_count(), help="trainings at once")
    parser.add_argument("--minutes", type=at_least(0.0), default=0.0, help="save and stop after this long; 0: never")
    parser.add_argument("--dry-run", action="store_true", help="list what would run, in its order")
    run_cli(main, parser)
