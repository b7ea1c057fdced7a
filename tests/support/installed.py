"""The project as it is installed: a wheel of the tracked files, in an environment of its own."""

import dataclasses
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.support import ROOT
from tests.support.commands import tracked_files


@dataclasses.dataclass(frozen=True)
class Installed:
    """An environment with the wheel; what it depends on is that of the environment that runs the tests."""

    folder: Path
    wheel: Path

    def run(self, *words: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs `capsrepro WORDS` as from a plain shell: nothing is set but `variables`, PATH and HOME."""
        return self._call(self.folder / "bin" / "capsrepro", *words, cwd=cwd, variables=variables)

    def python(self, code: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs `python -c CODE`, otherwise as `run`."""
        return self._call(self.folder / "bin" / "python", "-c", code, cwd=cwd, variables=variables)

    @property
    def package(self) -> Path:
        """The folder `capsrepro` in it."""
        return next(self.folder.glob("lib/python*/site-packages/capsrepro"))

    def _call(self, *words: object, cwd: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | variables
        return subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def install(folder: Path) -> Installed:
    """Builds the wheel of the tracked files, as they are now, and installs it into a new environment."""
    source = folder / "source"
    for path in tracked_files():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    words = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder / "wheel", source]
    subprocess.run([*pip, *words], check=True)
    [wheel] = (folder / "wheel").iterdir()
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    words = ["--python", environment / "bin" / "python", "install", "--no-deps", "--no-index", wheel]
    subprocess.run([*pip, *words], check=True)
    installed = Installed(environment, wheel)
    (installed.package.parent / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return installed
