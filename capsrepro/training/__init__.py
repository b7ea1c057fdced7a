"""Trains a network: the training loop, backups, history, and the provenance of the weights."""
