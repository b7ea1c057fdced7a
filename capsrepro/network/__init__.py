"""The networks of the paper in Keras 3, for any backend: routing, layers, losses, weights, evaluation."""
