"""Reruns *Dynamic Routing Between Capsules* (arXiv 1710.09829) and judges each number of the paper.

The functions of `capsrepro.api` are also here. They are imported at their first use, so that `import capsrepro` is
instant and loads no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capsrepro import datasets
    from capsrepro.api import build, evaluate, load, paper, results

__all__ = ["__version__", "build", "datasets", "evaluate", "load", "paper", "results"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports what `__all__` promises at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "datasets":
        return importlib.import_module("capsrepro.datasets")
    return getattr(importlib.import_module("capsrepro.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
