"""Trains a run with one seed or several, and writes the files of each."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.origin import Origin
from capsrepro.core.params import RunConfig
from capsrepro.core.paths import RunPaths
from capsrepro.data.batches import Dataset
from capsrepro.network import devices, models, ties
from capsrepro.network.weights import save_weights, weights_sha256
from capsrepro.training import loop, provenance
from capsrepro.training.tried import listed_if_unfinished


def train_and_save(
    run: RunConfig,
    dataset: Dataset,
    places: Sequence[RunPaths],
    *,
    state: Path,
    together: Sequence[RunPaths] = (),
    stop: Dataset | None = None,
    watch: Mapping[str, Dataset] | None = None,
    verbose: int = 1,
) -> None:
    """Trains a run with each seed of `places`, writes its three files and prints a line.

    Args:
        run: settings of the run.
        dataset: the training split.
        places: the paths of one run, one for each seed.
        state: folder for the backups; they are removed once the files of their seed are written.
        together: further seeds to train in the same program with JAX, see `loop.train_together`. Their files are not
            written, but their backups are kept, so that a later call for them has nothing left to train.
        stop: the split whose accuracy ends a training early, if the run has a `stop_pct`.
        watch: splits whose accuracy is a column of the history, see `loop.train`.
        verbose: as for Keras's `fit`.

    Raises:
        Error: a seed could not be trained to its end; the files of the others are written.
        Stopped: a signal was received; the states of all seeds are saved.
    """
    began, everyone = time.perf_counter(), {where.seed: where for where in (*together, *places)}
    with contextlib.ExitStack() as lists:
        for where in places:
            lists.enter_context(listed_if_unfinished(where, run))
        members = [
            loop.train_together(
                run,
                dataset,
                # The seed of a member is unique over all seeds and members.
                {seed * run.members + member: state / where.name / str(member) for seed, where in everyone.items()},
                wanted=[where.seed * run.members + member for where in places],
                logs={where.seed * run.members + member: where.logs / str(member) for where in places},
                stop=stop,
                watch=watch,
                verbose=verbose,
            )
            for member in range(run.members)
        ]
    faults = []
    for where, results in zip(places, zip(*members, strict=True), strict=True):
        try:
            with listed_if_unfinished(where, run, time.perf_counter() - began):
                trained = [loop.finished(result) for result in results]
        except Error as fault:
            faults.append(fault)
        else:
            print(save(run, dataset, where, trained), flush=True)
    if faults and len(places) > 1:
        raise Error(f"{len(faults)} of {len(places)} seeds not trained to their end: {'; '.join(map(str, faults))}")
    if faults:
        raise faults[0]


def save(run: RunConfig, dataset: Dataset, where: RunPaths, trained: Sequence[loop.Trained]) -> str:
    """Writes history, provenance and weights of a training, the weights last; then removes its backups.

    Args:
        run: settings of the run.
        dataset: the training split.
        where: the paths.
        trained: the results, one for each member.

    Returns:
        A line about it.
    """
    facts = provenance.describe(run, dataset, trained)
    model = models.ensemble([one.model for one in trained])
    names = {"run": where.run, "scale": where.scale, "seed": where.seed}
    history = [{"member": number, **line} for number, one in enumerate(trained) for line in one.history]
    files.write_text(where.history, pandas.DataFrame(history).to_csv(index=False, float_format="%.6g"))
    # It has the hash of the weights, so that older weights do not pass for its own if writing ends here.
    files.write_json(where.training, {**names, **facts, **ties.hashes(weights_sha256(model))})
    origin = Origin(where.run, where.scale, where.seed, facts["steps_done"], devices.resolved(run))
    save_weights(model, where.weights, origin=origin)
    for one in trained:
        one.backups.clear()
    message = f"{facts['steps_done']} steps in {facts['train_seconds']} s, {facts['images_per_second']} images/s"
    return f"{where.weights}: {message}"
