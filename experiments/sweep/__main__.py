"""Runs the trainings that `dvc repro` would run in parallel, on a Ray cluster or on a local Ray.

Each training is a Ray task with its own GPU and its own clone of HEAD. It reads the data from this machine's DVC cache,
which all nodes must share, or from a DVC remote (`--remote`). Ray returns its results. (DVC's run-cache would not: a
remote does not hold the outputs of a run-cache that git tracks, such as the history.)
"""

import argparse
import os
import re

from capsrepro.core.errors import Error
from .. import at_least, run_cli
from . import clone, transfer


def main(arguments: argparse.Namespace) -> None:
    """Submits all trainings and waits for them; failures are reported at the end and do not affect others."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as fault:
        raise Error("ray is not installed; run `pip install capsrepro[sweep]`") from fault
    origin = transfer.packed(arguments.remote)
    scale = f"{re.escape(arguments.scale)}-" if arguments.scale else ""
    dry = clone.dvc("repro", "--dry", *(arguments.stages or clone.TRAINED))
    stages = re.findall(rf"^Running stage '(train[^@']*@{scale}[^']*)'", dry, re.MULTILINE)
    faults = []
    if stages:
        ray.init(address=arguments.address, include_dashboard=False, log_to_driver=False)
        ray.cloudpickle.register_pickle_by_value(clone)  # nodes may have an older version of it, or none
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task, shared = ray.remote(num_cpus=arguments.cpus, num_gpus=gpus)(clone.trained), ray.put(origin)
        waiting = {task.remote(stage, shared): stage for stage in stages}
        while waiting:
            [done], _ = ray.wait(list(waiting))
            stage = waiting.pop(done)
            try:
                outcome = ray.get(done)
                wrong = outcome if isinstance(outcome, str) else ""
                if not wrong:
                    transfer.take_over(stage, *outcome)
            except (ray.exceptions.RayError, Error) as fault:
                wrong = " ".join(str(fault).split())
            print(f"{stage}: {wrong or 'trained'}; {len(waiting)} to go", flush=True)
            faults += [f"{stage}: {wrong}"] if wrong else []
    if faults:
        raise Error(f"{len(faults)} of {len(stages)} trainings failed; the first: {faults[0]}")
    print(f"{len(stages)} trained; now `dvc repro` evaluates them")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="such as train@quick-mnist-capsnet-r3-0; else all")
    parser.add_argument("--scale", default="", help="only the trainings of this scale")
    parser.add_argument("--remote", default="", metavar="NAME", help="DVC remote, for nodes without a shared folder")
    parser.add_argument("--address", help="of the Ray cluster; else RAY_ADDRESS, a running local Ray, or a new one")
    parser.add_argument("--cpus", type=at_least(1), default=1, help="cores per training, in addition to a GPU if any")
    run_cli(main, parser)
