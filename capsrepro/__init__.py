"""Reruns *Dynamic Routing Between Capsules* (arXiv 1710.09829) and judges each number of the paper."""

__version__ = "0.1.0"
