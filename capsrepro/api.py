"""The functions of `capsrepro` itself: load and build networks, evaluate them, and read the numbers of the paper.

`paper` and `results` answer in a second. The others need Keras and import it when they are called.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from capsrepro.core import files, params, paths
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.core.validation import validated
from capsrepro.evidence import comparison
from capsrepro.evidence import paper as numbers
from capsrepro.evidence import scale as scales

if TYPE_CHECKING:
    from capsrepro.data.batches import Dataset
    from capsrepro.network.evaluation import Score

# The run that a kind of network stands for, as the paper describes it.
RUNS = {
    "capsnet": "mnist-capsnet-r3-recon",
    "mnist_baseline": "mnist-baseline",
    "multimnist_baseline": "multimnist-baseline",
}
SHAPES = {  # height, width, depth of an image as a network gets it
    "mnist": (28, 28, 1),
    "multimnist": (36, 36, 1),
    "affnist": (40, 40, 1),
    "cifar10": (24, 24, 3),
    "smallnorb": (32, 32, 2),
    "svhn": (32, 32, 3),
}


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with the settings that it belongs to. N images, C classes, T digits in an image.

    Attributes:
        name: of its run.
        settings: see docs/settings.md.
        model: the Keras model; inputs `image` and, with a decoder, `mask`; outputs `scores` and `reconstruction`.
    """

    name: str
    settings: RunConfig
    model: Any

    def prepare(self, pictures: Path | str | Sequence[Path | str], first: int = 10) -> np.ndarray:
        """Reads pictures of single digits and prepares them as MNIST was: float32 `(N, 28, 28, 1)` in [0, 1].

        Args:
            pictures: one file or several; see docs/weights.md for the formats.
            first: largest number of images to read from an IDX file.

        Raises:
            Error: a file is no picture, or the network is not one for MNIST.
        """
        from capsrepro.data import pictures as reading

        if self.settings.data != "mnist":
            raise Error(f"{self.name}: is for {self.settings.data}; pictures can be prepared for MNIST's networks only")
        each = [pictures] if isinstance(pictures, Path | str) else pictures
        return np.stack([one.image for path in each for one in reading.read(Path(path), first)])

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The score of each class, for a CapsNet the lengths of its capsules: images `(N, H, W, D)` to `(N, C)`.

        Raises:
            Error: a score is not finite.
        """
        from capsrepro.network import evaluation

        return evaluation.scores_of(self.model, images, self.name)

    def classify(self, images: np.ndarray) -> np.ndarray:
        """The T classes with the highest scores, highest first: images `(N, H, W, D)` to `(N, T)`."""
        digits = 2 if self.settings.data == "multimnist" else 1
        return np.argsort(-self.scores(images), axis=1, kind="stable")[:, :digits]

    def reconstruct(self, images: np.ndarray, digits: np.ndarray | None = None) -> np.ndarray:
        """Draws what the decoder makes of the capsules of some digits: `(N, T, H, W)` in [0, 1].

        Args:
            images: `(N, H, W, D)`.
            digits: `(N, T)`, whose capsules; None: those of `classify`.

        Raises:
            Error: the network has no decoder.
        """
        from capsrepro.figures import reconstructions

        if not self.settings.reconstruction:
            raise Error(f"{self.name}: has no decoder; load or build a network with reconstruction=True")
        return reconstructions.draw(self.model, images, self.classify(images) if digits is None else digits)

    def routing_passes(self, images: np.ndarray, passes: int = 3) -> np.ndarray:
        """The lengths of the class capsules after each pass of routing: images `(N, H, W, D)` to `(passes, N, C)`.

        The network may have been trained with fewer passes.

        Raises:
            Error: the network has no capsules.
        """
        if self.settings.routing is None:
            raise Error(f"{self.name}: has no capsules to route; load or build a CapsNet")
        import itertools

        import keras

        from capsrepro.network import routing

        layer = self.model.get_layer("digit_capsules")
        votes = layer.votes(keras.Model(self.model.input["image"], layer.input)(images))
        each = routing.passes(votes, layer.bias, layer.leaky, layer.update)
        lengths = [routing.lengths(capsules) for capsules in itertools.islice(each, passes)]
        return np.stack([keras.ops.convert_to_numpy(length) for length in lengths])


def load(name: str = RUNS["capsnet"], *, scale: str = "", seed: int = 0) -> Network:
    """Loads trained weights with their settings, verified: yours if this folder has any, else the published ones.

    Args:
        name: a run of params.yaml.
        scale: of the training; if empty the first of `paper`, `full` and `quick` that has weights.
        seed: of the training.

    Raises:
        Error: the run is unknown, there are no weights of it, or they are damaged.
    """
    known = params.read()
    if name not in known.runs:
        raise Error(f"unknown run {name!r}; known: {', '.join(known.runs)}")
    chosen, path = paths.trained(name, seed, [scale] if scale else paths.BEST_FIRST)
    where = paths.RunPaths(chosen, name, seed)
    publication = paths.found(where.publication)
    if path == paths.found(where.published) and files.sha256(path) != files.read_json(publication).get("sha256"):
        raise Error(f"{path}: its sha256 is not the one of {publication.name}; install or check it out again")
    from capsrepro.core.origin import evaluation_settings
    from capsrepro.network.weights import load_weights

    network = _network(name, evaluation_settings(path, known.settings(name, chosen), where), seed)
    load_weights(network.model, path)
    return network


def build(name: str = "capsnet", *, scale: str = "paper", seed: int = 0, **changed: Any) -> Network:
    """Builds an untrained network of the paper, or a variant of it: `build("capsnet", routing=2)`.

    Args:
        name: `capsnet`, `mnist_baseline`, `multimnist_baseline`, or a run of params.yaml.
        scale: whose widths; `paper` and `full` have the paper's.
        seed: of the initial weights.
        **changed: settings that differ from those of the run.

    Raises:
        Error: the name or a setting is unknown.
    """
    run = RUNS.get(name, name)
    settings = dataclasses.asdict(params.read().settings(run, scale)) | {"precision": "float32", **changed}
    names = [field.name for field in dataclasses.fields(RunConfig)]
    checked: RunConfig = validated(RunConfig, settings, f"build({name!r})", known=names)
    return _network(run, checked, seed)


def evaluate(network: Any, dataset: "Dataset", *, examples: int | None = None) -> "Score":
    """Counts the wrong images of a split: `.wrong`, `.examples`, `.error_pct`.

    Args:
        network: a `Network` or a Keras model like its `model`.
        dataset: the split, such as `datasets.load("mnist")`.
        examples: number of images to take from its start; None: all.
    """
    from capsrepro.network import evaluation

    return evaluation.evaluate(getattr(network, "model", network), dataset, examples=examples)


def paper() -> pd.DataFrame:
    """The paper's numbers, a line for each row of this harness: value, deviation, margin and where it stands."""
    rows = numbers.read(paths.found(Path("results/paper.csv"))).values()
    return pd.DataFrame([dataclasses.asdict(row) for row in rows]).set_index("id")


def results(scale: str = "full") -> pd.DataFrame:
    """The results of a scale beside the paper's numbers, with verdicts: yours if this folder has any, else published.

    Raises:
        Error: the scale is unknown, or a file of it is malformed.
    """
    return comparison.build(scales.load(params.read(), Path("results"), scale)).set_index("id")


def _network(name: str, settings: RunConfig, seed: int) -> Network:
    from capsrepro.network import models

    about = {"classes": 5 if settings.data == "smallnorb" else 10, "digits": 2 if settings.data == "multimnist" else 1}
    members = [
        models.build(settings, SHAPES[settings.data], **about, seed=seed * settings.members + member)
        for member in range(settings.members)
    ]
    return Network(name, settings, models.ensemble(members))
