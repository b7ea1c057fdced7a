"""The networks of the paper in Keras 3, for any backend: routing, layers, losses, weights, evaluation."""

from capsrepro.core import console

with console.quiet():
    import keras  # noqa: F401  (loads the backend, before anything else of this room does)
