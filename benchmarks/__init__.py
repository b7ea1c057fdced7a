"""Benchmarks; each module measures one subject and compares it with its bounds."""

import statistics
import time
from collections.abc import Callable, Sequence

Seconds = tuple[float, float]  # wall-clock time and CPU time


def interleaved(works: Sequence[Callable[[], object]], repeats: int) -> list[list[Seconds]]:
    """Times several functions in turn, so that all run on an equally busy machine.

    Args:
        works: the functions.
        repeats: number of timed calls of each, after one call to warm up.

    Returns:
        The times of each call of each function.
    """
    taken: list[list[Seconds]] = [[] for _ in works]
    for _ in range(1 + repeats):
        for work, times in zip(works, taken, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return [times[1:] for times in taken]


def medians(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The median wall-clock seconds of each function, see `interleaved`."""
    return [statistics.median(wall for wall, _ in times) for times in interleaved(works, repeats)]


def rates(work: Callable[[], object], items: int, repeats: int = 7) -> tuple[float, float]:
    """Items per second, best and median of several calls after one to warm up.

    The best is the speed of the code; a much lower median shows that the machine was busy.
    """
    [times] = interleaved([work], repeats)
    seconds = [wall for wall, _ in times]
    return items / min(seconds), items / statistics.median(seconds)
