"""Trains many runs at once: hands what `dvc repro` would train to a Ray cluster, or to a Ray of this machine.

Each training is a task with its GPU, in its own clone of HEAD. What it made comes back through DVC's run-cache, in this
machine's cache, which all nodes have to see, or through a DVC remote (`--remote`); `dvc repro` then finds it done.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path

from capsrepro.core.errors import Error
from experiments import at_least, run_cli
from experiments.sweep import clone

PASSED = ("CAPSREPRO_", "JAX_", "KERAS_", "OMP_", "TF_", "XLA_")  # variables that begin so go with each task


def main(arguments: argparse.Namespace) -> None:
    """Lists the trainings, hands them out and waits; a failure is reported at the end and undoes no other."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as fault:
        raise Error("ray is not installed; run `pip install capsrepro[sweep]`") from fault
    origin = packed(arguments.remote)
    scale = f"{re.escape(arguments.scale)}-" if arguments.scale else ""
    dry = clone.dvc("repro", "--dry", *(arguments.stages or ["train"]))
    stages = re.findall(rf"^Running stage '(train@{scale}[^']*)'", dry, re.MULTILINE)
    faults = []
    if stages:
        ray.init(address=arguments.address, include_dashboard=False, log_to_driver=False)
        ray.cloudpickle.register_pickle_by_value(clone)  # a node may have an older one, or none
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task, shared = ray.remote(num_cpus=arguments.cpus, num_gpus=gpus)(clone.trained), ray.put(origin)
        waiting = {task.remote(stage, shared): stage for stage in stages}
        while waiting:
            [done], _ = ray.wait(list(waiting))
            stage = waiting.pop(done)
            try:
                if not (wrong := ray.get(done)):
                    clone.take_over(stage, arguments.remote)
            except ray.exceptions.RayError as lost:
                wrong = " ".join(str(lost).split())
            print(f"{stage}: {wrong or 'trained'}; {len(waiting)} to go", flush=True)
            faults += [f"{stage}: {wrong}"] if wrong else []
    if faults:
        raise Error(f"{len(faults)} of {len(stages)} trainings failed; the first: {faults[0]}")
    print(f"{len(stages)} trained; now `dvc repro` evaluates them")


def packed(remote: str) -> clone.Origin:
    """What the clones are made of; what all trainings read is made first, once.

    Raises:
        Error: something is not committed, so that a clone would lack it.
    """
    if changed := clone.call("git", "status", "--porcelain", "--", ".", ":!results", ":!dvc.lock").splitlines():
        raise Error(f"{changed[0][3:]}: differs from HEAD, which is what is trained; commit the change or undo it")
    clone.dvc("repro", *clone.READ)
    environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    if remote:
        clone.dvc("push", "--remote", remote, *clone.READ)
    else:  # backups too stay where the next start finds them
        environment["CAPSREPRO_STATE"] = str(Path(os.environ.get("CAPSREPRO_STATE", "state")).absolute())
    with tempfile.TemporaryDirectory() as folder:
        clone.call("git", "bundle", "create", "--quiet", f"{folder}/bundle", "HEAD")
        bundle = Path(folder, "bundle").read_bytes()
    return clone.Origin(bundle, Path("dvc.lock").read_bytes(), environment, clone.dvc("cache", "dir").strip(), remote)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="such as train@quick-mnist-capsnet-r3-0; none: all")
    parser.add_argument("--scale", default="", help="only the trainings of this scale")
    parser.add_argument("--remote", default="", metavar="NAME", help="DVC remote, for nodes that see no folder of ours")
    parser.add_argument("--address", help="of the Ray cluster; else RAY_ADDRESS, one that runs here, or a local Ray")
    parser.add_argument("--cpus", type=at_least(1), default=1, help="cores of a training, beside its GPU if any")
    run_cli(main, parser)
