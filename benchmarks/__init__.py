"""How fast things are: each module prints its figures beside the bars that they must reach."""

import statistics
import time
from collections.abc import Callable


def rates(work: Callable[[], object], items: int, repeats: int = 7) -> tuple[float, float]:
    """Items a second, the best and the median of several repeats after one that warms up.

    The best says what the code can do; a median far below it says that the machine was busy.
    """
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return items / min(seconds), items / statistics.median(seconds)
