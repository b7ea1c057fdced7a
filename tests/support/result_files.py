"""Metrics and provenance of a run as the stages write them, with values that are made up."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsrepro.evidence.intervals import wilson


def metrics(
    run: str, settings: Mapping[str, Any], wrong: int, *, seed: int = 0, scale: str = "full", examples: int = 10_000
) -> dict[str, Any]:
    """What a metrics file holds of a run with these settings, as JSON has them."""
    low, high = wilson(wrong, examples)
    return {
        "run": run,
        "seed": seed,
        "scale": scale,
        "recipe": settings["recipe"],
        "routing": settings["routing"],
        "reconstruction": settings["reconstruction"],
        "wrong": wrong,
        "examples": examples,
        "test_error_pct": 100 * wrong / examples,
        "wilson_low_pct": round(low, 4),
        "wilson_high_pct": round(high, 4),
        "parameters": 1,
        "steps": settings["steps"],
        "weights_sha256": f"{seed}a" * 32,
    }


def provenance(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a provenance file holds of a training with these settings."""
    return {
        "settings": dict(settings),
        "data": f"{settings['data']}-train",
        "data_sha256": "cd" * 32,
        "train_examples": 60_000,
        "device": "a slide rule",
        "train_seconds": 12.5,
        "images_per_second": 100.25,
        "peak_memory_mb": 900,
        "versions": {"keras": "3.15.1"},
        "arithmetic": {},
        "git_revision": "0123" * 10,
        "git_dirty": False,
    }


def write(folder: Path, scale: str, stem: str, score: Mapping[str, Any], origin: Mapping[str, Any]) -> Path:
    """Writes both below a results folder; returns the path of the metrics."""
    for kind, content in (("provenance", origin), ("metrics", score)):
        path = folder / scale / kind / f"{stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return path
