"""How fast things are: each module measures one subject, beside the bars that it must reach."""

import statistics
import time
from collections.abc import Callable, Sequence

Seconds = tuple[float, float]  # by the wall's clock and by the CPU's


def in_turn(works: Sequence[Callable[[], object]], repeats: int) -> list[list[Seconds]]:
    """What each turn of each took, after one to warm up; they take turns, so that all meet the same neighbours."""
    taken: list[list[Seconds]] = [[] for _ in works]
    for _ in range(1 + repeats):
        for work, times in zip(works, taken, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return [times[1:] for times in taken]


def medians(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The median of the wall's seconds that each took, in turns, after one to warm up."""
    return [statistics.median(wall for wall, _ in times) for times in in_turn(works, repeats)]


def rates(work: Callable[[], object], items: int, repeats: int = 7) -> tuple[float, float]:
    """Items a second, the best and the median of several repeats after one that warms up.

    The best says what the code can do; a median far below it says that the machine was busy.
    """
    [times] = in_turn([work], repeats)
    seconds = [wall for wall, _ in times]
    return items / min(seconds), items / statistics.median(seconds)
