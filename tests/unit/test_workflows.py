"""The forge's workflows run pinned actions, may only read, and hold the pinned packages against known advisories."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / "docs" / "ci").glob("*.yml"))  # for the projects of others


def content(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [*WORKFLOWS, *TEMPLATES], ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_named_by_version(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_keeps_no_credentials(path: Path) -> None:
    workflow = content(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert checkout["with"]["persist-credentials"] is False


def test_pins_are_held_against_known_advisories() -> None:
    jobs = [job for path in WORKFLOWS for job in content(path)["jobs"].values()]
    commands = [step.get("run", "") for job in jobs for step in job["steps"]]
    assert any("pip_audit" in command and "constraints.txt" in command for command in commands)
    kinds = {one["package-ecosystem"] for one in content(ROOT / ".github" / "dependabot.yml")["updates"]}
    assert kinds == {"pip", "github-actions"}
