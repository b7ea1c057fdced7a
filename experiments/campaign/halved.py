"""Packs trained weights in half precision."""

import dataclasses
import tempfile
from pathlib import Path

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.paths import RunPaths
from . import packed


def leave(folder: Path, where: RunPaths, data: Path) -> None:
    """Packs the weights of a training in half precision, with the hashes that tie them to its provenance.

    Where there are none to round, published ones are packed. What fails is told in one line, since the results of the
    campaign are packed already.
    """
    published = (where.published, where.publication)
    names = [f"{where.scale}/weights/{path.name}" for path in published]
    if not where.weights.exists():
        if all(path.exists() for path in published):
            packed.pack(folder, dict(zip(names, published, strict=True)))
        return
    try:
        with tempfile.TemporaryDirectory() as temporary:
            paths = [Path(temporary, path.name) for path in published]
            _halve(where, data, *paths)
            packed.pack(folder, dict(zip(names, paths, strict=True)))
    except Error as fault:
        print(f"{where.name}: its weights are not packed: {fault}")


def _halve(where: RunPaths, data: Path, weights: Path, publication: Path) -> None:
    from capsrepro.core.origin import origin_of
    from capsrepro.data import loading
    from capsrepro.network import devices, ties
    from capsrepro.network.weights import load_weights, save_weights

    devices.share_gpus()
    origin = origin_of(where)
    dataset = loading.load(dataclasses.replace(origin.for_evaluation, test_pairs=1), "test", data, where.scale)
    model, _, as_trained = ties.restored(where, origin, dataset)
    save_weights(model, weights, origin=origin, half=True)
    load_weights(model, weights)
    entry = {"bytes": weights.stat().st_size, "sha256": files.sha256(weights), "note": ""}
    files.write_json(publication, entry | ties.hashes(as_trained, model))
