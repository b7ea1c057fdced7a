"""Where each thing that the pipeline makes lies, relative to the root of the project. dvc.yaml says the same."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Run:
    """The files of one run at one scale with one seed."""

    scale: str
    run: str
    seed: int

    @property
    def name(self) -> str:
        """`scale/run-seedN`."""
        return f"{self.scale}/{self.run}-seed{self.seed}"

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

    def _result(self, kind: str, suffix: str) -> Path:
        return Path("results", self.scale, kind, f"{self.run}-seed{self.seed}.{suffix}")
