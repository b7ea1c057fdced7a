"""Runs the trainings that `dvc repro` would run in parallel, on a Ray cluster or on a local Ray.

Each training is a Ray task with its own GPU and its own clone of HEAD. Its results return through DVC's run-cache:
either in this machine's cache, which all nodes must share, or through a DVC remote (`--remote`).
"""

import argparse
import os
import re
import tempfile
from pathlib import Path

from capsrepro.core.errors import Error
from .. import at_least, run_cli
from . import clone

PASSED = ("CAPSREPRO_", "JAX_", "KERAS_", "OMP_", "TF_", "XLA_")  # prefixes of variables passed to each task


def main(arguments: argparse.Namespace) -> None:
    """Submits all trainings and waits for them; failures are reported at the end and do not affect others."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as fault:
        raise Error("ray is not installed; run `pip install capsrepro[sweep]`") from fault
    origin = packed(arguments.remote)
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
    """Packs everything that clones need, after running the stages that all trainings depend on.

    Raises:
        Error: a change is not committed, so that a clone would lack it.
    """
    if changed := clone.call("git", "status", "--porcelain", "--", ".", ":!results", ":!dvc.lock").splitlines():
        raise Error(f"{changed[0][3:]}: differs from HEAD, which is what is trained; commit the change or undo it")
    clone.dvc("repro", *clone.READ)
    environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    if remote:
        clone.dvc("push", "--remote", remote, *clone.READ)
    else:  # backups outlive the clones, so that trainings resume
        environment["CAPSREPRO_STATE"] = str(Path(os.environ.get("CAPSREPRO_STATE", "state")).absolute())
    with tempfile.TemporaryDirectory() as folder:
        clone.call("git", "bundle", "create", "--quiet", f"{folder}/bundle", "HEAD")
        bundle = Path(folder, "bundle").read_bytes()
    return clone.Origin(bundle, Path("dvc.lock").read_bytes(), environment, clone.dvc("cache", "dir").strip(), remote)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="such as train@quick-mnist-capsnet-r3-0; else all")
    parser.add_argument("--scale", default="", help="only the trainings of this scale")
    parser.add_argument("--remote", default="", metavar="NAME", help="DVC remote, for nodes without a shared folder")
    parser.add_argument("--address", help="of the Ray cluster; else RAY_ADDRESS, a running local Ray, or a new one")
    parser.add_argument("--cpus", type=at_least(1), default=1, help="cores per training, in addition to a GPU if any")
    run_cli(main, parser)
