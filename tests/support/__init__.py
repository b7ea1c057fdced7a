"""What tests share: small inputs, damage to files, gradients on every backend, clones of the project."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the project
