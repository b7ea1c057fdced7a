"""Paths of all files of the pipeline, relative to the root of the project; dvc.yaml has the same paths."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from capsrepro.core.errors import Error

BEST_FIRST = ("paper", "full", "quick")  # the scales in the order in which weights are wanted


def published(package: Path = Path(__file__).parents[1]) -> Path:
    """The folder with params.yaml and the published results: of the checkout, or part of the installed package."""
    installed = package / "project"  # see `package-dir` in pyproject.toml
    return installed if installed.is_dir() else package.parent


def found(path: Path, holding: str = "") -> Path:
    """A file or folder of the project: `path` itself if it exists or is absolute, else its published version.

    Commands read their input with it, so that they work in a folder that has no project. They write to `path`.

    Args:
        path: relative to the root of the project.
        holding: what a folder must hold to count; a table that was written into it is no result.
    """
    elsewhere = published() / path
    return path if path.is_absolute() or (path / holding).exists() or not elsewhere.exists() else elsewhere


def stem(run: str, seed: int) -> str:
    """The stem of the file names of a run with one seed: `mnist-baseline-seed0`."""
    return f"{run}-seed{seed}"


@dataclasses.dataclass(frozen=True)
class RunPaths:
    """The paths of the files of one run at one scale with one seed."""

    scale: str
    run: str
    seed: int

    @property
    def name(self) -> str:
        """`scale/run-seedN`."""
        return f"{self.scale}/{stem(self.run, self.seed)}"

    @property
    def weights(self) -> Path:
        """Keras weights; stored in DVC's cache."""
        return Path("checkpoints", f"{self.name}.weights.h5")

    @property
    def training(self) -> Path:
        """JSON: the provenance as training wrote it, in DVC's cache beside the weights; evaluating publishes it."""
        return Path("checkpoints", f"{self.name}.json")

    @property
    def logs(self) -> Path:
        """Folder of TensorBoard logs; neither committed nor cached."""
        return Path("logs", self.name)

    @property
    def history(self) -> Path:
        """CSV: a line for each interval of training."""
        return self._result("history", "csv")

    @property
    def provenance(self) -> Path:
        """JSON: the origin of the weights; committed."""
        return self._result("provenance", "json")

    @property
    def origin(self) -> Path:
        """The provenance that belongs to the weights in `checkpoints`: the one beside them if there is one."""
        return self.training if self.training.exists() else self.provenance

    @property
    def metrics(self) -> Path:
        """JSON: the evaluation of the weights."""
        return self._result("metrics", "json")

    @property
    def published(self) -> Path:
        """The weights in half precision; committed."""
        return self._result("weights", "weights.h5")

    @property
    def publication(self) -> Path:
        """JSON: the evaluation of the weights in half precision."""
        return self._result("weights", "json")

    @property
    def predictions(self) -> Path:
        """NumPy archive: the prediction for each test image."""
        return self._result("predictions", "npz")

    @property
    def evaluation(self) -> Path:
        """JSON: the environment in which the weights were evaluated."""
        return self._result("evaluations", "json")

    @property
    def tried(self) -> Path:
        """CSV: the trainings of a scale that did not finish, and other trainings that belong to no row."""
        return Path("results", self.scale, "studies", "tried.csv")

    @property
    def card(self) -> Path:
        """Markdown: the model card of all published weights of the scale."""
        return Path("results", self.scale, "MODEL.md")

    def _result(self, kind: str, suffix: str) -> Path:
        return Path("results", self.scale, kind, f"{stem(self.run, self.seed)}.{suffix}")


def trained(run: str, seed: int, scales: Sequence[str] = BEST_FIRST) -> tuple[str, Path]:
    """Finds trained weights of a run: at the first scale that has any, the published ones before the pipeline's.

    Weights in this folder come before those of the package.

    Returns:
        The scale and the path of the weights.

    Raises:
        Error: no scale has weights of the run.
    """
    tried = [RunPaths(scale, run, seed) for scale in scales]
    here = [(where.scale, path) for where in tried for path in (where.published, where.weights)]
    for scale, path in (*here, *((where.scale, found(where.published)) for where in tried)):
        if path.is_file():
            return scale, path
    last = tried[-1]
    command = f"python -m experiments.train {run} --scale {last.scale} --seed {seed}"
    raise Error(
        f"{last.published}, {last.weights}: no such weights; train them with `{command}`, or name a file of yours"
    )
