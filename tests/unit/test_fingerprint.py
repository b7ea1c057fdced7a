"""The fingerprint of a training, and the imports behind it, on small packages that each test writes."""

import dataclasses
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capsrepro.core.errors import Error
from capsrepro.core.params import RunConfig
from capsrepro.data.mnist import Mnist
from capsrepro.training import loop
from capsrepro.training.fingerprint import fingerprint, import_closure, sources_of
from tests.support.runs import CAPSNET

SMALL = {
    "capsrepro/__init__.py": "",
    "capsrepro/errors.py": "",
    "capsrepro/files.py": "from capsrepro.errors import Error\n",
    "capsrepro/data/__init__.py": "",
    "capsrepro/data/mnist.py": "from capsrepro import files\n",
    "capsrepro/unused.py": "",
    "experiments/__init__.py": "",
}


@pytest.fixture
def small(tmp_path):
    """Writes the files of `SMALL` and those given; returns the closure of experiments/script.py as strings."""

    def write(script, **others):
        for name, text in {**SMALL, **others, "experiments/script.py": script}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return [path.as_posix() for path in import_closure(Path("experiments/script.py"), tmp_path)]

    return write


ALONE = ["experiments/__init__.py", "experiments/script.py"]
ERRORS = ["capsrepro/__init__.py", "capsrepro/errors.py"]
MNIST = ["capsrepro/__init__.py", "capsrepro/data/__init__.py", "capsrepro/data/mnist.py"]


def test_closure_of_a_script_without_imports_is_the_script_and_its_package(small):
    assert small("import os, json\nimport capsrepro_other, numpy.random\n") == ALONE


@pytest.mark.parametrize(
    "statement",
    [
        "import capsrepro.errors",
        "import os, capsrepro.errors as faults",
        "from capsrepro import errors",
        "from capsrepro.errors import Error",
        "from capsrepro.errors import *",
    ],
)
def test_closure_follows_each_form_of_import(small, statement):
    assert small(statement) == [*ERRORS, *ALONE]


def test_closure_follows_what_is_imported_in_turn(small):
    assert small("from capsrepro.data import mnist") == sorted([*ERRORS, "capsrepro/files.py", *MNIST[1:], *ALONE])


def test_closure_takes_several_modules_of_one_statement(small):
    assert small("from capsrepro import errors, files") == [*ERRORS, "capsrepro/files.py", *ALONE]


def test_closure_has_what_a_package_on_the_way_imports(small):
    found = small("import capsrepro.data.mnist", **{"capsrepro/data/__init__.py": "import capsrepro.unused"})
    assert "capsrepro/unused.py" in found


@pytest.mark.parametrize(
    "script",
    [
        "def main():\n    from capsrepro import errors\n",
        "class A:\n    def main(self):\n        if self:\n            import capsrepro.errors\n",
        "try:\n    import capsrepro.errors\nexcept ImportError:\n    pass\n",
        "async def main():\n    with open('x') as x:\n        import capsrepro.errors\n",
    ],
)
def test_closure_looks_into_functions_and_blocks(small, script):
    assert small(script) == [*ERRORS, *ALONE]


def test_closure_leaves_out_what_is_for_the_type_checker_alone(small):
    script = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from capsrepro import files\n"
    assert small(script) == ALONE
    assert small(script.replace("if ", "import typing\nif typing.")) == ALONE
    assert small(script + "else:\n    from capsrepro import errors\n") == [*ERRORS, *ALONE]
    assert "capsrepro/files.py" in small(script.replace("if ", "if not "))


def test_closure_follows_relative_imports(small):
    others = {
        "capsrepro/data/mnist.py": "from . import batches\nfrom .. import errors\n",
        "capsrepro/data/batches.py": "",
    }
    assert small("from capsrepro.data import mnist", **others) == sorted(
        [*ERRORS, "capsrepro/data/__init__.py", "capsrepro/data/batches.py", "capsrepro/data/mnist.py", *ALONE]
    )


def test_closure_follows_relative_imports_of_a_package(small):
    others = {
        "capsrepro/data/__init__.py": "from .mnist import load\nfrom ..errors import Error\n",
        "capsrepro/data/mnist.py": "",
    }
    assert small("import capsrepro.data", **others) == sorted([*ERRORS, *MNIST[1:], *ALONE])


def test_closure_ends_where_imports_go_round(small):
    others = {"capsrepro/errors.py": "import capsrepro.files", "capsrepro/files.py": "import capsrepro.errors"}
    assert small("import capsrepro.files", **others) == [*ERRORS, "capsrepro/files.py", *ALONE]


def test_closure_does_not_depend_on_how_paths_are_given(small, tmp_path, monkeypatch):
    small("from capsrepro import errors")
    monkeypatch.chdir(tmp_path)
    script = Path("experiments/script.py")
    assert (
        import_closure(script, Path())
        == import_closure(tmp_path / script, tmp_path)
        == import_closure(tmp_path / script, Path())
    )


def test_closure_of_a_module_of_the_library_has_its_packages(small, tmp_path):
    small("")
    found = import_closure(Path("capsrepro/data/mnist.py"), tmp_path)
    assert [path.as_posix() for path in found] == sorted([*ERRORS, "capsrepro/files.py", *MNIST[1:]])
    assert not any(path.is_absolute() for path in found)


def test_closure_of_a_script_elsewhere_has_its_own_path(small, tmp_path, tmp_path_factory):
    small("")
    script = tmp_path_factory.mktemp("elsewhere") / "script.py"
    script.write_text("from capsrepro import errors\n")
    assert import_closure(script, tmp_path) == (*sorted([script, *map(Path, ERRORS)]),)
    with pytest.raises(FileNotFoundError):
        import_closure(script.with_name("missing.py"), tmp_path)


def test_closure_names_the_file_that_is_not_python(small):
    with pytest.raises(SyntaxError) as fault:
        small("import capsrepro.errors", **{"capsrepro/errors.py": "def"})
    assert fault.value.filename == str(Path("capsrepro/errors.py"))


# What a fingerprint has

OUTSIDE = """
from capsrepro.data.mnist import Mnist

class Others(Mnist):
    pass
"""


@pytest.fixture
def others(few: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Makes the first digits a data set whose class is in a module outside of the project."""
    path = tmp_path / "of_mine.py"

    def others(code: str = OUTSIDE) -> Any:
        path.write_text(code)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module.Others(few.images, few.labels, name="others", sha256="of others")

    return others


def recorded(run: RunConfig, data: Any, seed: int = 0) -> dict[str, Any]:
    return fingerprint(run, data, seed, sources_of(Path(loop.__file__), data))


def test_sources_are_the_loop_and_the_data_sets_module_with_what_they_import(few: Mnist) -> None:
    found = {path.as_posix() for path in sources_of(Path(loop.__file__), few)}
    assert {"capsrepro/training/loop.py", "capsrepro/network/losses.py", "capsrepro/data/mnist.py"} <= found
    assert not [name for name in found if name.startswith(("experiments/", "capsrepro/report/", "capsrepro/evidence/"))]


def test_a_module_outside_of_the_project_is_a_source_by_its_name_and_content(others: Callable[..., Any]) -> None:
    before = recorded(CAPSNET, others())["sources"]
    assert before["of_mine.py"] == hashlib.sha256(OUTSIDE.encode()).hexdigest()
    assert "capsrepro/data/mnist.py" in before  # which it imports
    assert not [name for name in before if Path(name).is_absolute()]
    after = recorded(CAPSNET, others(OUTSIDE + "# changed\n"))["sources"]
    assert {name for name in before if before[name] != after[name]} == {"of_mine.py"}


def test_a_data_set_of_a_module_outside_of_the_project_can_train_and_go_on(
    others: Callable[..., Any], tmp_path: Path
) -> None:
    run = dataclasses.replace(CAPSNET, steps=2)
    for resumed_at in (0, 2):
        assert loop.train(run, others(), 0, state=tmp_path / "state", verbose=0).resumed_at == resumed_at


@pytest.fixture
def typed(few: Mnist) -> Any:
    """A data set whose class was typed into an interpreter: no file holds its code."""
    names: dict[str, Any] = {"__name__": "typed"}
    exec(OUTSIDE, names)
    return names["Others"](few.images, few.labels, name="typed", sha256="of typed")


def test_a_class_typed_into_an_interpreter_is_refused_in_one_line(typed: Any, tmp_path: Path) -> None:
    with pytest.raises(Error) as fault:
        loop.train(CAPSNET, typed, 0, state=tmp_path, verbose=0)
    assert "Others" in str(fault.value)
    assert "`sources`" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_sources_that_are_given_stand_for_those_that_are_not_found(typed: Any, tmp_path: Path) -> None:
    source = tmp_path / "cell.py"
    source.write_text(OUTSIDE)
    run = dataclasses.replace(CAPSNET, steps=2)
    for resumed_at in (0, 2):
        trained = loop.train(run, typed, 0, state=tmp_path / "state", sources=[source], verbose=0)
        assert trained.resumed_at == resumed_at
    before = fingerprint(run, typed, 0, [source])["sources"]
    source.write_text(OUTSIDE + "# changed\n")
    assert fingerprint(run, typed, 0, [source])["sources"].keys() == before.keys() == {"cell.py"}
    assert fingerprint(run, typed, 0, [source])["sources"] != before


def test_a_fingerprint_is_json_and_tells_settings_seed_and_data_apart(few: Mnist) -> None:
    first = recorded(CAPSNET, few)
    assert json.loads(json.dumps(first)).keys() == {"settings", "seed", "data", "backend", "gpu", "sources"}
    assert recorded(CAPSNET, few) == first
    assert recorded(dataclasses.replace(CAPSNET, routing=1), few) != first
    assert recorded(CAPSNET, few, seed=1) != first
    few.sha256 = "of others"
    assert recorded(CAPSNET, few) != first
