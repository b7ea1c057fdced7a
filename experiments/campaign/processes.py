"""The processes of a campaign, which can be ended together."""

import subprocess
import sys
import threading
from pathlib import Path

SCRIPTS = (__package__ or "").rpartition(".")[0]  # `experiments`, or `capsrepro.commands` where it is installed
STDERR = 2  # the file descriptor: what scripts print does not mix with the account of the campaign


class Processes:
    """Starts scripts from several threads until `stop` is called."""

    def __init__(self) -> None:
        self._lock, self._is_over, self._running = threading.Lock(), False, set[subprocess.Popen[bytes]]()

    def start(self, script: str, *words: str) -> subprocess.Popen[bytes] | None:
        """Starts `python -m experiments.SCRIPT WORDS`; None: it is too late."""
        command = [sys.executable, "-m", f"{SCRIPTS}.{script}", *words]
        with self._lock:
            if self._is_over:
                return None
            # Its own group: Ctrl-C would reach it twice, and a training that gets a second signal ends without saving.
            process = subprocess.Popen(command, stdout=STDERR, process_group=0)
            self._running.add(process)
            return process

    def outcome(self, process: subprocess.Popen[bytes]) -> str:
        """Waits for a process: it is done, it failed, or something was left to do when it was stopped."""
        status = process.wait()
        with self._lock:
            was_stopped = self._is_over or process not in self._running
            self._running.discard(process)
        return "done" if status == 0 else "left" if was_stopped else "failed"

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Sends a process one signal; a training saves its state."""
        with self._lock:
            if process in self._running:
                self._running.remove(process)
                process.terminate()

    def stop(self) -> None:
        """Ends all processes, and starts no more."""
        with self._lock:
            self._is_over = True
        for process in self._running.copy():
            self.end(process)


def fetch(source: str, data: Path) -> None:
    """Fetches a data set; where that fails, its trainings fail and say so."""
    subprocess.run([sys.executable, "-m", f"{SCRIPTS}.fetch", source, "--data", str(data)], check=False)
