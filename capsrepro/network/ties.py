"""Ties trained weights to the provenance of their training, so that no file of another training passes for it."""

from pathlib import Path

import keras
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.origin import Origin, provenance_settings
from capsrepro.core.params import same_settings
from capsrepro.core.paths import RunPaths
from capsrepro.core.validation import Natural, Text, validated
from capsrepro.data.batches import Dataset
from capsrepro.network import models
from capsrepro.network.weights import load_weights, weights_sha256


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="ignore"))
class _Hashes:
    """The hashes of the weights at the end of a training and after rounding; files older than these keys lack them."""

    trained_sha256: Text = ""
    rounded_sha256: Text = ""
    steps_done: Natural | None = None


def restored(where: RunPaths, origin: Origin, dataset: Dataset) -> tuple[keras.Model, list[keras.Model], str]:
    """Builds the network of a run as it is evaluated, and loads its weights, see `load`.

    Args:
        where: the run.
        origin: the origin that is stored with the weights.
        dataset: gives the shape of an image and the numbers of its digits and classes.

    Returns:
        The network or ensemble, its members, and the hash of the weights as trained.

    Raises:
        Error: as for `load`.
    """
    run, shape = origin.for_evaluation, {"classes": dataset.classes, "digits": dataset.digits}
    members = [models.build(run, dataset.image_shape, **shape) for _ in range(run.members)]
    model = models.ensemble(members)
    return model, members, load(model, where, origin)


def load(model: keras.Model, where: RunPaths, origin: Origin) -> str:
    """Loads the weights of a run, and checks that they are of the training that its provenance describes.

    A training that is killed, or runs out of space, may leave new provenance beside older weights. A provenance without
    a hash is compared by settings and steps.

    Args:
        model: the network or ensemble of these settings.
        where: the run.
        origin: the origin that is stored with the weights.

    Returns:
        The hash of the weights as trained. It differs from that of the model if these are the published weights in half
        precision.

    Raises:
        Error: the weights are of another training, or a file is missing or malformed.
    """
    load_weights(model, where.weights)
    sha256, trained = weights_sha256(model), _read(where.origin)
    if trained.trained_sha256:
        published = _read(where.publication) if where.publication.exists() else _Hashes()
        rounded = (published.trained_sha256, published.rounded_sha256) == (trained.trained_sha256, sha256)
        if not rounded and sha256 != trained.trained_sha256:
            both = f"weights of sha256 {sha256[:12]}, but {where.origin} is of {trained.trained_sha256[:12]}"
            raise Error(f"{where.weights}: {both}; train again")
        return trained.trained_sha256
    same = same_settings(provenance_settings(where).as_json(), origin.settings.as_json())
    if not same or trained.steps_done not in (None, origin.steps):
        raise Error(f"{where.weights}: not of the training that {where.origin} describes; train again")
    return sha256


def hashes(trained: str, model: keras.Model | None = None) -> dict[str, str]:
    """The entries of provenance and publications that `load` reads.

    Args:
        trained: the hash of the weights as trained.
        model: the network with the same weights in half precision; None: they are not published.
    """
    return {"trained_sha256": trained} | ({} if model is None else {"rounded_sha256": weights_sha256(model)})


def _read(path: Path) -> _Hashes:
    hashes: _Hashes = validated(_Hashes, files.read_json(path), str(path))
    return hashes
