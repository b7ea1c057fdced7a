"""The import import_closure, on small packages that each test writes."""

from pathlib import Path

import pytest

from capsrepro.training.fingerprint import import_closure

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
