"""The networks of the paper: routing, layers, losses, weights, evaluation. Written once in Keras 3."""
