"""Reruns Dynamic Routing Between Capsules. `capsrepro COMMAND --help` describes each command."""

import argparse
import ast
import pkgutil
import runpy
import sys
from pathlib import Path

import capsrepro

FOLDER = Path(__file__).parent


def main() -> None:
    """Runs one command as `python -m` would run its script, with the words that follow its name."""
    known = {module.name.replace("_", "-"): module for module in pkgutil.iter_modules([str(FOLDER)])}
    del known["--main--"]
    parser = argparse.ArgumentParser("capsrepro", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.epilog = "commands:\n" + "\n".join(f"  {name:14} {summary(module)}" for name, module in known.items())
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {capsrepro.__version__}")
    add("command", type=lambda name: name.replace("_", "-"), choices=known, metavar="COMMAND", help="see below")
    add("words", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    arguments = parser.parse_args()
    sys.argv = [f"capsrepro {arguments.command}", *arguments.words]
    runpy.run_module(f"{__package__}.{known[arguments.command].name}", run_name="__main__")


def summary(module: pkgutil.ModuleInfo) -> str:
    """The first line of a script's docstring, read without importing the script."""
    path = FOLDER / module.name / "__main__.py" if module.ispkg else FOLDER / f"{module.name}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


if __name__ == "__main__":
    main()
