"""What is written for others: the citation, the workflow files of docs/ci, the Dockerfile, the versions of Python."""

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import capsrepro
from tests.support import ROOT

WORKFLOWS = sorted((ROOT / "docs" / "ci").glob("*.yml"))
# Docker knows more; these are enough here, so that a misspelt one is found.
INSTRUCTIONS = {"CMD", "COPY", "FROM", "RUN", "WORKDIR"}


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in parsed(path)["jobs"].values() for step in job["steps"]]


def test_citation_and_bibtex_say_the_version_and_have_a_place_for_the_address() -> None:
    citation, readme = parsed(ROOT / "CITATION.cff"), (ROOT / "README.md").read_text(encoding="utf-8")
    assert citation["version"] == capsrepro.__version__
    assert citation["repository-code"].startswith("https://github.com/")
    [entry] = re.findall(r"```bibtex\n(@software\{.*?\n\})\n```", readme, re.DOTALL)
    assert f"version = {{{capsrepro.__version__}}}" in entry
    assert citation["title"] in entry
    assert entry.count("{") == entry.count("}")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_names_what_there_is(path: Path) -> None:
    workflow = parsed(path)
    assert {"name", "jobs", "permissions"} <= workflow.keys()
    assert True in workflow or "on" in workflow  # YAML 1.1 reads the key `on` as true
    assert all(job["runs-on"] and job["timeout-minutes"] for job in workflow["jobs"].values())
    for step in steps(path):
        assert len({"uses", "run"} & step.keys()) == 1
        assert re.match(r"actions/[a-z-]+@", step.get("uses", "actions/checkout@"))  # pinned: test_workflows.py
        if step.get("shell") == "python":
            ast.parse(step["run"])
        for name in re.findall(r"\btests/\S+", step.get("run", "")):
            assert (ROOT / name).is_file()


def test_published_weights_make_as_many_errors_as_the_workflow_expects() -> None:
    [code] = [step["run"] for step in steps(ROOT / "docs" / "ci" / "evaluate.yml") if step.get("shell") == "python"]
    run = re.findall(r'load\("([^"]+)"\)', code)[0]
    counted = json.loads((ROOT / "results" / "full" / "weights" / f"{run}-seed0.json").read_text(encoding="utf-8"))
    assert f"abs(score.wrong - {counted['wrong']}) <= 2" in code


def test_dockerfile_has_known_instructions_and_runs_environments_of_tox() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    assert {line.split()[0] for line in lines} == INSTRUCTIONS
    assert lines[0].startswith("FROM python:3.")
    assert lines[-1] == 'CMD ["python", "-m", "tox", "run", "-e", "repro"]'
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for names in re.findall(r"tox run -e ([\w,-]+)", text):
        assert all(re.search(rf"^\[testenv:{name}[\]{{]", tox, re.MULTILINE) for name in names.split(","))


def test_same_versions_of_python_are_promised_tested_and_installed_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = {line.rpartition(":: ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)}
    assert project["requires-python"] == f">={min(promised)}"
    [job] = parsed(ROOT / ".github" / "workflows" / "tests.yml")["jobs"].values()
    assert set(job["strategy"]["matrix"]["python"]) == promised
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    assert {f"3.{minor}" for minor in re.findall(r"-py3(\d+)", tox)} == promised
