"""Which source files a script may run: its import closure in this project, read from the syntax; nothing is imported.

The `deps` of dvc.yaml are held against it, and the fingerprint of a training covers it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("capsrepro", "experiments")


def closure(script: Path, root: Path) -> tuple[Path, ...]:
    """The files of `PACKAGES` that a script imports, they import, and so on, and the script itself.

    Imports inside functions count, those under `if TYPE_CHECKING:` do not, since they never run. The `__init__.py` of
    each package on the way to a module counts, as Python runs it first. `importlib` is not seen through.

    Args:
        script: a Python file under `root`; a relative path is taken from `root`.
        root: the folder that holds the packages.

    Returns:
        Sorted paths relative to `root`.

    Raises:
        ValueError: the script does not lie under `root`.
        OSError: the script is not readable.
        SyntaxError: a file of the closure is not Python.
    """
    found: set[Path] = set()
    waiting = [(root / script).absolute().relative_to(root.absolute())]
    while waiting:
        if (path := waiting.pop()) not in found:
            found.add(path)
            tree = ast.parse((root / path).read_bytes(), str(path))
            for name in (".".join(path.with_suffix("").parts), *_imported(tree, path.parent.parts)):
                waiting.extend(_files(name, root))
    return tuple(sorted(found))


def _imported(node: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """The dotted names in the imports below `node`, in a module of `package`; the last part may be no module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) + 1 - node.level] if node.level else ()
        module = (*above, node.module) if node.module else above
        yield from (".".join((*module, alias.name)) for alias in node.names)
    never = isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
    for child in getattr(node, "orelse", ()) if never else ast.iter_child_nodes(node):
        yield from _imported(child, package)


def _files(name: str, root: Path) -> Iterator[Path]:
    """The files that Python runs to import `name`, the packages first; none if it is not of `PACKAGES`."""
    parts = name.split(".") if name.partition(".")[0] in PACKAGES else []
    for path in (Path(*parts[: count + 1]) for count in range(len(parts))):
        candidates = (path / "__init__.py", path.with_suffix(".py"))
        yield from [file for file in candidates if (root / file).is_file()][:1]
