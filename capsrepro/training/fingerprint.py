"""The fingerprint of a training: everything that determines its weights, including the source code."""

import ast
import dataclasses
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras

from capsrepro.core import files
from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data.batches import Dataset
from capsrepro.network import devices

ROOT = Path(__file__).parents[2]  # holds the packages
PACKAGES = ("capsrepro", "experiments")

_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def fingerprint(run: RunConfig, dataset: Dataset, seed: int, sources: Iterable[Path]) -> dict[str, Any]:
    """Settings, seed, data, backend and source code of a training, as JSON values.

    Args:
        run: settings of the run.
        dataset: the training split.
        seed: seed of the training.
        sources: the source files that determine the weights, see `sources_of`; relative to the project, or absolute.
    """
    return {
        "settings": dataclasses.asdict(devices.resolved(run)),
        "seed": seed,
        "data": {"name": dataset.name, "sha256": dataset.sha256, "examples": len(dataset)},
        "backend": keras.backend.backend(),
        "gpu": bool(devices.gpus()),  # CPUs and GPUs compute convolutions differently
        "sources": {
            path.name if path.is_absolute() else path.as_posix(): files.sha256(ROOT / path) for path in sorted(sources)
        },
    }


def sources_of(loop: Path, dataset: Dataset) -> set[Path]:
    """The source files of the training loop and of a data set's module, with their imports from the project.

    Raises:
        Error: the data set's class has no source file, for instance in an interactive interpreter.
    """
    try:
        module = Path(inspect.getfile(type(dataset)))
    except (TypeError, OSError) as fault:
        name = type(dataset).__name__
        raise Error(f"{name}: no file holds its code; put it into a module, or give `train` its `sources`") from fault
    return {path for script in (loop, module) for path in import_closure(script, ROOT)}


def import_closure(script: Path, root: Path) -> tuple[Path, ...]:
    """A script and all files of `PACKAGES` that it imports, directly or indirectly.

    Files are only parsed, not imported. Imports inside functions count; those under `if TYPE_CHECKING:` do not, since
    they never run. The `__init__.py` of each parent package counts, as Python runs it first. Imports with `importlib`
    are not found.

    Args:
        script: a Python file; a relative path is relative to `root`.
        root: the folder of the packages.

    Returns:
        Sorted paths, relative to `root` if they are below it; a script outside of `root` keeps its path.

    Raises:
        OSError: the script is not readable.
        SyntaxError: a file of the closure is not Python.
    """
    found: set[Path] = set()
    waiting = [_relative(root / script, root)]
    while waiting:
        if (path := waiting.pop()) not in found:
            found.add(path)
            tree = ast.parse((root / path).read_bytes(), str(path))
            names = [".".join(path.with_suffix("").parts)]
            for name in (*names, *_imported(tree, path.parent.parts)):
                waiting.extend(_files(name, root))
    return tuple(sorted(found))


def _relative(path: Path, root: Path) -> Path:
    path, root = path.absolute(), root.absolute()
    return path.relative_to(root) if path.is_relative_to(root) else path


def _imported(node: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """The dotted names imported below `node` in a module of `package`; the last part may not be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) + 1 - node.level] if node.level else ()
        module = (*above, node.module) if node.module else above
        yield from (".".join((*module, alias.name)) for alias in node.names)
    never = isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
    for child in getattr(node, "orelse", ()) if never else ast.iter_child_nodes(node):
        if isinstance(child, _STATEMENTS):  # in expressions, most of a file, there are no imports
            yield from _imported(child, package)


def _files(name: str, root: Path) -> Iterator[Path]:
    """The files that Python runs to import `name`, parent packages first; none if it is outside of `PACKAGES`."""
    parts = name.split(".") if name.partition(".")[0] in PACKAGES else []
    for path in (Path(*parts[: count + 1]) for count in range(len(parts))):
        candidates = (path / "__init__.py", path.with_suffix(".py"))
        yield from [file for file in candidates if (root / file).is_file()][:1]
