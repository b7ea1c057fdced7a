"""The rules of the house (CONTRIBUTING.md), each held against the source. Nothing here needs TensorFlow."""

import ast
import functools
import graphlib
import itertools
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from capsrepro.training import fingerprint
from tests.support import ROOT
from tests.support.commands import run_code, run_module, tracked_files

# A room imports only rooms that stand before it.
# Above the rooms stand `api` and `datasets`, which no room imports.
ROOMS = "core sources data network training evidence ablations figures released report".split()
LIGHT_ROOMS = ["core", "sources", "evidence", "report"]  # a check of the paper's numbers answers in a second
LIGHT_SCRIPTS = ["claims", "fetch", "report", "sweep", "table"]
HEAVY = ("tensorflow", "keras", "torch", "jax")

# The released code's two commands, and what all command lines share; the others: 80.
LONGEST_SCRIPT = {"experiment.py": 120, "mnist_shift.py": 120, "__init__.py": 100}
COUNTER_BASED = {"BitGenerator", "Generator", "Philox", "SeedSequence"}
# Every address in a tracked file leads to one of these: data, papers, forges, formats. No package registry is there.
HOSTS = (
    "127.0.0.1 apache.org arxiv.org cs.nyu.edu cs.toronto.edu dvc.org github.com keepachangelog.com semver.org "
    "storage.googleapis.com ufldl.stanford.edu yann.lecun.com"
).split()
ABSOLUTE = r"(?<![\w.])/(?:work|root|home|Users)/|file:/{3}"

LIBRARY = sorted((ROOT / "capsrepro").rglob("*.py"))
SCRIPTS = sorted((ROOT / "experiments").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in [*SCRIPTS, ROOT / "benchmarks" / "__main__.py"]
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
PARAMETERS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PIPELINE = {
    name: stage
    for file in ("dvc.yaml", "released/dvc.yaml")
    for name, stage in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["stages"].items()
}
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE.items()}


import_closure = functools.cache(fingerprint.import_closure)


def each(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.relative_to(ROOT).as_posix())


@functools.cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path):
    """`capsrepro/data/mnist.py` is in `data`; capsrepro/__init__.py in none."""
    parts = Path(path).parts
    return parts[1] if parts[0] == "capsrepro" and len(parts) > 2 else ""


def rooms_of(paths):
    return {room_of(path) for path in paths} - {""}


@functools.cache
def imports(path, *, inside_functions=True):
    """The dotted names that a file imports; of `from a import b` it is `a.b`, whether `b` is a module or not."""
    waiting, names = [tree(path)], []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.parent.relative_to(ROOT).parts
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names += [f"{module}.{alias.name}" for alias in node.names]
        if inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return names


def roots(names):
    return {name.partition(".")[0] for name in names}


@functools.cache
def imported_files(path):
    """The files of the library that a file imports itself, without the packages on the way to them."""
    found = set()
    for name in imports(path):
        parts = name.split(".")
        while parts and parts[0] == "capsrepro":
            candidates = [Path(*parts[:-1], f"{parts[-1]}.py"), Path(*parts, "__init__.py")]
            if files := [file for file in candidates if (ROOT / file).is_file()]:
                found.add(files[0])
                break
            parts.pop()
    return found


# 1. Rooms, downhill, and light where they must be


def test_the_library_is_its_rooms_and_nothing_beside_them():
    assert {path.name for path in (ROOT / "capsrepro").iterdir() if path.is_dir()} - {"__pycache__"} == set(ROOMS)
    assert sorted(path.name for path in (ROOT / "capsrepro").glob("*.py")) == ["__init__.py", "api.py", "datasets.py"]


@each(LIBRARY)
def test_module_imports_only_rooms_before_its_own(path):
    room = room_of(path.relative_to(ROOT))
    allowed = {*ROOMS[: ROOMS.index(room)], room} if room else set(ROOMS)
    above = rooms_of(imported_files(path)) - allowed
    assert not above, f"{room} imports {sorted(above)}, which do not stand before it"
    assert not room or not {Path("capsrepro/api.py"), Path("capsrepro/datasets.py")} & imported_files(path)


@pytest.mark.parametrize("room", ROOMS)
def test_files_of_a_room_import_each_other_in_no_circle(room):
    paths = sorted((ROOT / "capsrepro" / room).glob("*.py"))
    graph = {path.relative_to(ROOT): imported_files(path) for path in paths}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_light_room_and_all_it_imports_name_no_framework(room):
    files = {file for path in (ROOT / "capsrepro" / room).glob("*.py") for file in import_closure(path, ROOT)}
    assert not {str(file) for file in files if roots(imports(ROOT / file)) & set(HEAVY)}


def test_light_rooms_and_scripts_load_no_framework():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in LIBRARY
        if room_of(path.relative_to(ROOT)) in LIGHT_ROOMS
    ]
    names = [name.removesuffix(".__init__") for name in modules] + [f"experiments.{name}" for name in LIGHT_SCRIPTS]
    code = f"import sys, {', '.join(names)}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    answer = run_code(code)
    assert (answer.returncode, answer.stdout.strip()) == (0, ""), answer.stderr


# 2. One Keras source, any backend


@each(LIBRARY)
def test_no_backend_is_imported_outside_of_functions(path):
    assert not roots(imports(path, inside_functions=False)) & {"tensorflow", "torch", "jax"}


@each([path for path in LIBRARY if room_of(path.relative_to(ROOT)) in ("network", "training")])
def test_network_and_training_ask_a_backend_for_devices_determinism_a_pipeline_or_a_scan_and_nothing_else(path):
    inside = path.name in ("devices.py", "feeding.py", "loop.py", "scanning.py")
    assert not roots(imports(path, inside_functions=not inside)) & {"tensorflow", "torch", "jax"}


# 3. The library stands alone


@each(LIBRARY)
def test_library_imports_no_script_and_parses_no_arguments(path):
    assert not roots(imports(path)) & {"experiments", "benchmarks", "argparse", "tests"}


@each([*SCRIPTS, *LIBRARY])
def test_scripts_import_each_other_relatively_and_the_library_itself_absolutely(path):
    """The scripts are the package `experiments` in a checkout and `capsrepro.commands` where they are installed."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert "experiments" not in roots(filter(None, names)), f"{path.name}:{node.lineno}: write `from .`"
            relative = isinstance(node, ast.ImportFrom) and node.level > 0
            assert not relative or path in SCRIPTS, f"{path.name}:{node.lineno}: imports here are absolute"


@each(BENCHMARKS)
def test_benchmarks_import_no_stage(path):
    stages = {f"experiments.{script}" for stage in STAGES for script in script_of(stage)}
    assert not {name for name in imports(path) if any(f"{name}.".startswith(f"{stage}.") for stage in stages)}


@each(TESTS)
def test_no_test_imports_a_test(path):
    assert not [name for name in imports(path) if re.match(r"tests\.(unit|golden|pipeline|conftest)\b", name)]


@each([*LIBRARY, *SCRIPTS, *BENCHMARKS, *TESTS])
def test_nothing_imports_dvc(path):
    assert not {name for name in roots(imports(path)) if name == "dvc" or name.startswith("dvc_")}


# 4. Small files, no state, no chance


def test_no_file_is_called_utils():
    everywhere = [*LIBRARY, *SCRIPTS, *BENCHMARKS, *TESTS]
    assert not [path for path in everywhere if path.stem in {"util", "utils", "helpers", "misc", "common"}]


@each([*LIBRARY, *SCRIPTS, *BENCHMARKS])
def test_file_has_at_most_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@each(SCRIPTS)
def test_script_has_at_most_80_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_SCRIPT.get(path.name, 80)


@each(LIBRARY)
def test_function_has_at_most_40_lines(path):
    """From `def` to its last line, a docstring and what is in brackets after `def` not counted."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = 1 + (body[-1].end_lineno - body[0].lineno + 1 if body else 0)
            assert lines <= 40, f"{path.name}:{node.lineno}: {node.name} has {lines} lines"


@each(LIBRARY)
def test_module_holds_no_state(path):
    """Module-level names are constants, types or the log, and no function writes a global."""
    module = tree(path)
    for node in module.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        changing = [name for name in names if not re.fullmatch(r"_?[A-Z]\w*|__\w+__|log", name)]
        assert not changing, f"{path.name}:{node.lineno}: {changing}: module-level names are CONSTANTS, Types or `log`"
    assert not [node.lineno for node in ast.walk(module) if isinstance(node, ast.Global)]


@each([*LIBRARY, *SCRIPTS, *BENCHMARKS])
def test_every_random_number_comes_from_a_seed(path):
    """No legacy state of NumPy's, no `random` or `secrets`, nothing of NumPy's or Keras's drawn without a seed."""
    assert not roots(imports(path)) & {"random", "secrets"}
    assert not [name for name in imports(path) if name.startswith("numpy.random")], "write np.random.Philox"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"np.random", "numpy.random"}:
            assert node.attr in COUNTER_BASED, f"{path.name}:{node.lineno}: np.random.{node.attr}"
        if isinstance(node, ast.Call) and re.match(r"(np|numpy|keras)\.random\.", called := ast.unparse(node.func)):
            seeded = any(word.arg == "seed" for word in node.keywords) or not called.startswith("keras.random.")
            alone = not (node.args or node.keywords)
            assert seeded and not alone, f"{path.name}:{node.lineno}: {called} without a seed"


# 5. The pipeline


def template_values(stage):
    """Each way to fill the `${...}` of a stage, as `{'item.run': 'mnist-baseline', 'seeds': [0], ...}`."""
    matrix = PIPELINE[stage].get("matrix") or {}
    if "foreach" in PIPELINE[stage]:
        matrix = {"": PIPELINE[stage]["foreach"]}
    for axis, values in matrix.items():
        if isinstance(values, str):
            keys = values.removeprefix("${").removesuffix("}").split(".")
            matrix = {**matrix, axis: functools.reduce(lambda tree, key: tree[key], keys, PARAMETERS)}
    for choice in itertools.product(*matrix.values()):
        values = dict(zip(matrix, choice, strict=True))
        rows = {
            f"{axis}.{key}": part for axis, row in values.items() if isinstance(row, dict) for key, part in row.items()
        }
        yield {f"item.{axis}".rstrip("."): str(value) for axis, value in (values | rows).items()}


def filled(text, values):
    return re.sub(r"\$\{([\w.]+)\}", lambda match: values[match[1]], text)


def paths_of(entries):
    return [name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]


def script_of(stage):
    command = STAGES[stage]["cmd"]
    return re.findall(r"python -m experiments\.(\w+)", command if isinstance(command, str) else " ; ".join(command))


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_its_scripts_and_on_exactly_the_rooms_that_they_import(stage):
    scripts = script_of(stage)
    assert scripts, f"{stage}: its cmd runs no `python -m experiments.NAME`"
    closure = {file for script in scripts for file in import_closure(Path("experiments", f"{script}.py"), ROOT)}
    # capsrepro/__init__.py has the version, no code that a stage runs.
    derived = {f"capsrepro/{room}" for room in rooms_of(closure)}
    derived |= {file.as_posix() for file in closure if file.parts[0] == "experiments"}
    written = [name for name in paths_of(STAGES[stage]["deps"]) if name.startswith(("capsrepro/", "experiments/"))]
    add, remove = sorted(derived.difference(written)), sorted(set(written) - derived)
    assert not (add or remove), f"deps of {stage} in dvc.yaml: add {add}, remove {remove}"
    assert len(written) == len(set(written))


@pytest.mark.parametrize(("name", "most"), [("dvc.yaml", 260), ("dvc.lock", 3000)])
def test_the_pipeline_is_short(name, most):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= most


def test_dvc_metrics_shows_every_scale_that_has_a_table():
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    scales = STAGES["table"]["matrix"]["scale"]
    assert pipeline["metrics"] == [f"results/{scale}/metrics" for scale in scales]


def test_what_retrains_and_what_does_not():
    """A change of a loss retrains; one of the report does not; one of the training loop does not evaluate again."""
    deps = {stage: set(paths_of(STAGES[stage]["deps"])) for stage in STAGES}
    groups = ("medium", "full", "paper", "further")
    trained, evaluated = ({name, *(f"{name}-{group}" for group in groups)} for name in ("train", "evaluate"))
    assert {stage for stage in deps if "capsrepro/network" in deps[stage]} == {
        *trained,
        *evaluated,
        "figures-paper",
        "released",
    }
    assert {stage for stage in deps if "capsrepro/training" in deps[stage]} == {*trained, "released"}
    assert {stage for stage in deps if "capsrepro/report" in deps[stage]} == {"report"}
    assert not {"README.md", "docs"} & set().union(*deps.values())


def test_python_leaves_nothing_in_a_room_that_a_stage_would_depend_on():
    assert "__pycache__/" in (ROOT / ".dvcignore").read_text(encoding="utf-8").splitlines()


@functools.cache
def made():
    """All outputs of the pipeline."""
    return {
        filled(name, values)
        for stage in STAGES
        for kind in ("outs", "metrics", "plots")
        for values in template_values(stage)
        for name in paths_of(STAGES[stage].get(kind, []))
    }


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_files_that_exist_or_are_made(stage):
    for values in template_values(stage):
        for name in (filled(name, values) for name in paths_of(STAGES[stage]["deps"])):
            assert name in made() or (ROOT / name).exists(), f"{stage}: {name} neither exists nor is an output"


# 6. What is published


@pytest.mark.parametrize("command", COMMANDS)
def test_the_docs_name_each_command_and_its_help_works(command):
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(f"python -m {command}" in page.read_text(encoding="utf-8") for page in pages)
    answer = run_module(command, "--help")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("usage:")


def test_tracked_files_name_no_folder_of_one_machine():
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked_files()
        if (match := re.search(ABSOLUTE.encode(), path.read_bytes()))
    ]
    assert not found


def test_addresses_lead_to_known_hosts():
    found = {
        f"{path.relative_to(ROOT)}: {host.decode()}"
        for path in tracked_files()
        for host in re.findall(rb"https?://(?:www[.])?([A-Za-z0-9-]+(?:[.][A-Za-z0-9-]+)+)", path.read_bytes())
        if host.decode() not in HOSTS
    }
    assert not found


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line) for line in lines)
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): version for name, version in pairs}


def test_constraints_pin_each_dependency_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement
        assert {"<"} <= {bound.operator for bound in requirement.specifier}, f"{requirement}: no upper bound"


def test_dvc_parses_yaml_in_c():
    """DVC's library of YAML is silent where it does not find the parser in C, whose name changed with its releases."""
    ruamel = pytest.importorskip("ruamel.yaml", reason="needs DVC, which brings ruamel.yaml")
    assert ruamel.YAML(typ="safe").Parser is not ruamel.parser.Parser


def test_precommit_runs_the_pinned_versions():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    revisions = {entry["repo"].rpartition("/")[2]: entry["rev"].removeprefix("v") for entry in hooks}
    assert revisions["ruff-pre-commit"] == pins()["ruff"]
    assert revisions["mirrors-mypy"] == pins()["mypy"]
    stubs = [pin for entry in hooks for hook in entry["hooks"] for pin in hook.get("additional_dependencies", [])]
    assert {canonicalize_name(pin.split("==")[0]): pin.split("==")[1] for pin in stubs}.items() <= pins().items()


def test_every_room_and_every_folder_of_scripts_is_installed():
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    scripts = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in SCRIPTS}
    commands = {name.replace("experiments", "capsrepro.commands") for name in scripts}
    assert set(installed) == {"capsrepro", "capsrepro.project", *(f"capsrepro.{room}" for room in ROOMS), *commands}
    assert len(installed) == len(set(installed))


def test_declared_imports_are_all_that_the_code_imports():
    """What the library and the scripts import is the standard library, ourselves, a dependency, or one of an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = itertools.chain(*(lines for name, lines in project["optional-dependencies"].items() if name != "test"))
    lines = [*project["dependencies"], *extras]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    declared |= {"yaml", "pil", "pydantic-core"}  # what PyYAML and Pillow call themselves, and what Pydantic brings
    imported = set().union(*(roots(imports(path)) for path in [*LIBRARY, *SCRIPTS, *BENCHMARKS]))
    others = imported - set(sys.stdlib_module_names) - {"benchmarks", "capsrepro", "experiments"}
    assert {canonicalize_name(name) for name in others} <= declared
