"""Fetches, trains and evaluates what results/plan.csv names and has no result yet; interrupted trainings resume.

Within a data set every line's first seed comes first, then every second: wherever it stops, claims have pairs of seeds.
With --minutes, what is predicted not to finish in time is not started, or is stopped once its speed is measured.
"""

import argparse
import os
import signal
from concurrent import futures
from pathlib import Path

from capsrepro.core import params, paths
from capsrepro.core.errors import Error
from capsrepro.core.paths import RunPaths
from capsrepro.evidence import plan
from .. import FETCHED, at_least, run_cli, scale_arguments
from . import home, processes, progress
from .trainings import Trainings


def main(arguments: argparse.Namespace) -> None:
    """Runs what the plan lacks; a training that fails does not stop the others."""
    if arguments.together and os.environ.get("KERAS_BACKEND") != "jax":
        raise Error("--together: only JAX trains several seeds in one program; set KERAS_BACKEND=jax")
    known, plans = params.read(arguments.params), plan.read(paths.found(arguments.plan), needed=True)
    state = Path(os.environ.get("CAPSREPRO_STATE", "state"))
    planned = plan.trainings(plans, arguments.scale, known, arguments.runs)
    if arguments.home:
        home.check(arguments.home, planned)
    if arguments.carried and not arguments.dry_run:
        home.take(arguments.carried, state)
    waiting = [where for where in planned if not progress.has_result(where)]
    groups: dict[str, list[RunPaths]] = {}
    for where in waiting:
        groups.setdefault(where.run if arguments.together else where.name, []).append(where)
    print(f"{arguments.scale}: {len(planned)} planned, {len(waiting)} without a result", flush=True)
    if arguments.dry_run:
        print("".join(" ".join(where.name for where in group) + "\n" for group in groups.values()), end="")
        return
    for source in sorted({known.runs[where.run].data for where in waiting} & set(FETCHED)):
        processes.fetch(source, arguments.data)
    for number in (signal.SIGTERM, signal.SIGALRM):  # both end it as Ctrl-C does, and leave no training behind
        signal.signal(number, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 60 * arguments.minutes)
    trainings = Trainings(arguments, known, state)
    with futures.ThreadPoolExecutor(arguments.jobs or (1 if arguments.together else os.cpu_count())) as pool:
        running = [pool.submit(trainings.run, group) for group in groups.values()]
        try:
            futures.wait(running)
        except KeyboardInterrupt:
            trainings.processes.stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
    if arguments.home:
        home.leave(arguments.home, planned, state, arguments.data)
    outcomes = {where: outcome for one in running for where, outcome in one.result().items()}
    done, left = (list(outcomes.values()).count(word) for word in ("done", "left"))
    print(f"{done} done, {left} left; the same command resumes them")
    if failed := [where.name for where, outcome in outcomes.items() if outcome == "failed"]:
        raise Error(f"{len(failed)} failed, the first is {failed[0]}; its message is above")


if __name__ == "__main__":
    parser = scale_arguments(__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="only these; else all that is planned at the scale")
    parser.add_argument("--plan", type=Path, default=Path("results/plan.csv"), help="the plan")
    parser.add_argument("--jobs", type=at_least(1), help="trainings at once; else one a core, with --together one")
    parser.add_argument("--together", action="store_true", help="with JAX: all seeds of a run in one program")
    parser.add_argument(
        "--minutes", type=at_least(0.0, 525_600.0), default=0.0, help="save and stop after this long; 0: never"
    )
    parser.add_argument("--even-unfinished", action="store_true", help="start also what will not finish in time")
    parser.add_argument(
        "--calibration", type=at_least(0.1, 86_400.0), default=20.0, help="seconds to measure an unknown speed"
    )
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="pack results and states of the unfinished there")
    parser.add_argument("--from", dest="carried", type=Path, metavar="FOLDER", help="begin with what --home packed")
    parser.add_argument("--dry-run", action="store_true", help="list what would run, in its order")
    run_cli(main, parser)
