"""The wheel in a new environment, used in an empty folder: every command works, or says in one line what it needs."""

import zipfile
from pathlib import Path

import matplotlib.image
import pytest

from tests.support import ROOT
from tests.support.clones import PUBLISHED, write_digits
from tests.support.installed import Installed, install

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
RUN = "mnist-capsnet-r3-recon"
NOTE = "no params.yaml here: what is not in this folder is read from the package\n"
# What each command says in an empty folder that has no data and no network.
NEEDS = {
    "ablations": "run `capsrepro fetch mnist`",
    "affnist": "run `capsrepro build affnist expanded`",
    "build affnist": "run `capsrepro fetch mnist`",
    f"evaluate {RUN}": "train them with `dvc repro` or `capsrepro train`",
    "experiment --data_dir . --summary_dir run": "run `capsrepro fetch mnist`",
    "fetch mnist": "CAPSREPRO_OFFLINE",
    "figures data mnist": "run `capsrepro fetch mnist`",
    "mnist-shift": "run `capsrepro fetch mnist`",
    "paper-figures": "run `capsrepro train",
    "predict nothing.png": "nothing.png: not readable",
    f"publish {RUN}": "train them with `dvc repro` or `capsrepro train`",
    f"released {RUN}": "CAPSREPRO_OFFLINE",
    "sweep": "not a git repository",
    f"train {RUN}": "run `capsrepro fetch mnist`",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def commands(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Those that its help lists."""
    answer = installed.run("--help", cwd=tmp_path_factory.mktemp("empty"))
    assert answer.returncode == 0, answer.stderr
    return {line.split()[0] for line in answer.stdout.partition("commands:\n")[2].splitlines()}


def test_wheel_has_one_package_and_what_it_reads_once(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"capsrepro"}
    for name in (
        "params.yaml",
        "results/paper.csv",
        "results/claims.csv",
        f"results/full/weights/{RUN}-seed0.weights.h5",
    ):
        assert f"capsrepro/project/{name}" in names
    assert not [name for name in names if name.endswith((".png", ".pdf", ".html")) and "capsrepro/report/" not in name]
    assert installed.wheel.stat().st_size < 20_000_000


def test_every_script_is_a_command(commands: set[str]) -> None:
    assert commands == {
        path.stem.replace("_", "-") for path in (ROOT / "experiments").iterdir() if not path.name.startswith("__")
    }
    assert commands == {words.split()[0] for words in NEEDS} | {"campaign", "claims", "new", "report", "table"}


@pytest.mark.parametrize("words", NEEDS)
def test_command_says_in_one_line_what_it_needs(installed: Installed, tmp_path: Path, words: str) -> None:
    answer = installed.run(*words.split(), cwd=tmp_path, CAPSREPRO_OFFLINE="1")
    assert answer.returncode == 1, answer.stderr
    fault = answer.stderr.removeprefix(NOTE)
    assert fault.startswith("error: ")
    assert fault.count("\n") == 1
    assert NEEDS[words] in fault
    assert "python -m" not in fault


@pytest.mark.parametrize("command", ["claims", "report", "table"])
def test_command_shows_the_published_results(installed: Installed, tmp_path: Path, command: str) -> None:
    answer = installed.run(command, "--scale", "full", cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, NOTE)
    name = {"claims": "claims.md", "report": "report.md", "table": "table.md"}[command]
    text = (tmp_path / "results" / "full" / name).read_text()
    assert text.splitlines()[0] == (ROOT / "results" / "full" / name).read_text().splitlines()[0]
    assert "0.333 ± 0.047" in text or command == "claims"
    if command == "table":
        assert text == (ROOT / "results" / "full" / name).read_text()


def test_a_digit_is_predicted_with_the_published_weights_and_nothing_else_on_the_console(
    installed: Installed, tmp_path: Path, digits: tuple
) -> None:
    matplotlib.image.imsave(tmp_path / "seven.png", digits[0][0, ..., 0], cmap="gray")
    answer = installed.run("predict", "seven.png", cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, NOTE)
    assert [line.split()[:2] for line in answer.stdout.splitlines() if line.startswith("seven")] == [["seven.png", "7"]]
    assert (tmp_path / "reconstruction.png").is_file()
    answer = installed.run("predict", "seven.png", "--verbose", cwd=tmp_path)
    assert answer.returncode == 0
    assert len(answer.stderr) > len(NOTE)


def test_a_run_of_ones_own_is_added_trained_evaluated_and_in_the_table(installed: Installed, tmp_path: Path) -> None:
    """With MNIST's test digits in place of its training digits, which the table of sources is told."""
    hashes = write_digits(tmp_path / "digits")
    table = installed.package / "sources" / "published.py"
    text = before = table.read_text()
    for name, published in PUBLISHED.items():
        text = text.replace(published, hashes[name])
    table.write_text(text)
    try:
        for words in (
            ["fetch", "mnist"],
            ["new", "tiny", "--like", RUN, "routing=1", "steps=4", "conv_channels=[4]", "primary_types=1"],
            ["train", "tiny"],
            ["evaluate", "tiny"],
            ["table"],
        ):
            variables = {"CAPSREPRO_OFFLINE": "1", "CAPSREPRO_DATA": str(tmp_path / "digits")}
            answer = installed.run(*words, cwd=tmp_path, **variables)
            assert (answer.returncode, answer.stderr.removeprefix(NOTE)) == (0, ""), words
    finally:
        table.write_text(before)
    assert f"| tiny | {RUN} | " in " ".join(answer.stdout.split())


def test_python_has_the_package_without_a_checkout(installed: Installed, tmp_path: Path) -> None:
    code = f"import capsrepro; print(capsrepro.paper().loc['{RUN}', 'value'], *capsrepro.results('full').verdict)"
    answer = installed.python(code, cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("0.25 underpowered")
    assert not list(tmp_path.iterdir())
