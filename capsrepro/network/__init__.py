"""The networks of the paper in Keras 3, for any backend: routing, layers, losses, weights, evaluation."""

import contextlib
import gc
from collections.abc import Iterator

from capsrepro.core import console
from capsrepro.core.errors import Error


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage while a framework is imported, nor among its modules afterwards.

    TensorFlow makes half a million objects that all stay. Looking through them again and again took a third of the
    import's time, and each later collection looked through them too.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()


with console.quiet(), _uncollected():
    try:
        import keras  # noqa: F401  (loads the backend, before anything else of this room does)
    except ValueError as fault:  # Keras knows no such backend
        raise Error(f"KERAS_BACKEND: {fault}; choose tensorflow or jax") from fault
