"""The committed results and their golden, tests/golden/data/results.csv.

After a rerun that is to be committed, `python -m tests.support.committed_results` makes them the golden; the diff says
what has changed.
"""

import pandas as pd

from capsrepro.core import files
from tests.support import ROOT

GOLDEN = ROOT / "tests" / "golden" / "data" / "results.csv"
EXACT = [
    "run", "seed", "scale", "recipe", "routing", "reconstruction", "examples", "parameters", "steps", "precision",
    "counted_in", "train_examples",
]  # fmt: skip
COUNTED = ["wrong"]


def read() -> pd.DataFrame:
    """Every run and seed of every scale that has results."""
    found = [pd.read_csv(path) for path in sorted((ROOT / "results").glob("*/runs.csv"))]
    return pd.concat([one for one in found if len(one)], ignore_index=True)


if __name__ == "__main__":
    files.write_text(GOLDEN, read()[[*EXACT, *COUNTED]].to_csv(index=False))
