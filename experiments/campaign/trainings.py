"""Trains and evaluates the runs of a campaign as far as the time allows."""

import argparse
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from capsrepro.core.params import Params
from capsrepro.core.paths import RunPaths
from . import pace, progress
from .processes import Processes

Outcomes = dict[RunPaths, str]  # done, failed, or left, for lack of time


class Trainings:
    """Runs groups of seeds, from several threads."""

    def __init__(self, arguments: argparse.Namespace, known: Params, state: Path) -> None:
        """Takes the command line, the settings and the folder of the backups; the time runs from here."""
        self.arguments, self.known, self.state, self.processes = arguments, known, state, Processes()
        self.ends = time.monotonic() + 60 * arguments.minutes
        self.is_predicting = arguments.minutes > 0 and not arguments.even_unfinished

    def run(self, group: Sequence[RunPaths]) -> Outcomes:
        """Trains those seeds of a run that are not trained, and evaluates all; of several seeds, one may fail."""
        settings = self.known.settings(group[0].run, group[0].scale)
        untrained = [where for where in group if not progress.is_trained(where, settings)]
        outcomes = dict.fromkeys(group, "done") | dict.fromkeys(untrained, self._train(untrained) if untrained else "")
        for where in group:
            if outcomes[where] == "done" or progress.is_trained(where, settings):
                outcomes[where] = self._outcome(self._start("evaluate", [where]))
            if outcomes[where] == "done":
                print(f"{where.name}: done", flush=True)
        return outcomes

    def _train(self, group: Sequence[RunPaths]) -> str:
        """Trains seeds of a run, unless they are predicted not to finish; the time of a step is known or measured."""
        settings = self.known.settings(group[0].run, group[0].scale)
        known = pace.known(group, settings) if self.is_predicting else None
        expected = known[1] if known and settings.stop_pct is not None else settings.steps * settings.members
        if known and not self._fits(group, expected, known[0], "not started"):
            return "left"
        began, process, measured = time.time(), self._start("train", group), None
        while process and self.is_predicting and not known and not measured:
            try:
                process.wait(self.arguments.calibration)
                break
            except subprocess.TimeoutExpired:
                measured = pace.measured(group[0], self.state, began)
            if measured and not self._fits(group, expected, measured, "stopped"):
                self.processes.end(process)
        return self._outcome(process)

    def _fits(self, group: Sequence[RunPaths], expected: int, each: float, otherwise: str) -> bool:
        """Whether what is left to train fits into the time that is left; else a line says so."""
        left = expected - progress.steps_done(group, self.state)
        needed, time_left = pace.seconds(left, each), self.ends - time.monotonic()
        if needed > time_left:
            names = " ".join(where.name for where in group)
            minutes = f"{needed / 60:.1f} minutes, {max(0.0, time_left) / 60:.1f} are left"
            print(f"{names}: {otherwise}: {left} steps of {1000 * each:.3g} ms would take {minutes}", flush=True)
        return bool(needed <= time_left)

    def _start(self, script: str, group: Sequence[RunPaths]) -> subprocess.Popen[bytes] | None:
        where, seeds = group[0], [str(one.seed) for one in group]
        words = [where.run, "--scale", where.scale, *(["--seed"] if len(group) == 1 else ["--seeds"]), *seeds]
        words += ["--params", str(self.arguments.params), "--data", str(self.arguments.data)]
        return self.processes.start(script, *words)

    def _outcome(self, process: subprocess.Popen[bytes] | None) -> str:
        return "left" if process is None else self.processes.outcome(process)
