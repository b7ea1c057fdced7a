"""Where each thing that the pipeline makes lies, relative to the root of the project. dvc.yaml says the same."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from capsrepro.core.errors import Error


def stem(run: str, seed: int) -> str:
    """How the files of a run with one seed are called: `mnist-baseline-seed0`."""
    return f"{run}-seed{seed}"


@dataclasses.dataclass(frozen=True)
class RunPaths:
    """The files of one run at one scale with one seed."""

    scale: str
    run: str
    seed: int

    @property
    def name(self) -> str:
        """`scale/run-seedN`."""
        return f"{self.scale}/{stem(self.run, self.seed)}"

    @property
    def weights(self) -> Path:
        """Keras weights, kept in DVC's cache."""
        return Path("checkpoints", f"{self.name}.weights.h5")

    @property
    def logs(self) -> Path:
        """TensorBoard's folder, kept nowhere."""
        return Path("logs", self.name)

    @property
    def history(self) -> Path:
        """CSV: a line for each interval of training."""
        return self._result("history", "csv")

    @property
    def provenance(self) -> Path:
        """JSON: what the weights came from."""
        return self._result("provenance", "json")

    @property
    def metrics(self) -> Path:
        """JSON: what the weights are worth."""
        return self._result("metrics", "json")

    @property
    def published(self) -> Path:
        """The weights in half precision, committed."""
        return self._result("weights", "weights.h5")

    @property
    def publication(self) -> Path:
        """JSON: what the weights in half precision are worth."""
        return self._result("weights", "json")

    @property
    def predictions(self) -> Path:
        """NumPy archive: the answer on each test image."""
        return self._result("predictions", "npz")

    @property
    def evaluation(self) -> Path:
        """JSON: the environment in which the weights were evaluated."""
        return self._result("evaluations", "json")

    @property
    def tried(self) -> Path:
        """CSV: the trainings of a scale that did not finish, and others that are no row."""
        return Path("results", self.scale, "studies", "tried.csv")

    @property
    def card(self) -> Path:
        """Markdown: the model card of all weights that a scale has published."""
        return Path("results", self.scale, "MODEL.md")

    def _result(self, kind: str, suffix: str) -> Path:
        return Path("results", self.scale, kind, f"{stem(self.run, self.seed)}.{suffix}")


def trained(run: str, seed: int, scales: Sequence[str]) -> tuple[str, Path]:
    """The first of the scales that has weights of a run, and those weights: the published ones, else the pipeline's.

    Raises:
        Error: none has any.
    """
    tried = [RunPaths(scale, run, seed) for scale in scales]
    for where in tried:
        for path in (where.published, where.weights):
            if path.is_file():
                return where.scale, path
    last = tried[-1]
    command = f"python -m experiments.train {run} --scale {last.scale} --seed {seed}"
    raise Error(
        f"{last.published}, {last.weights}: no such weights; train them with `{command}`, or name a file of yours"
    )
