"""Weights files as Keras writes them, without a checksum of the numbers, damaged: refused, or all numbers are finite.

`python -m tests.support.unsealed_weights FOLDER` is a process of its own: what reads HDF5 is C and sees the damage.
"""

import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from capsrepro.core.origin import SEAL
from capsrepro.network.weights import load_weights, save_weights
from tests.support.bad_input import REFUSED, answer, damaged, frugal, often, put, tallied
from tests.support.runs import tiny_network

READER = "weights without our checksum"


def unsealed(path: Path) -> bytes:
    """The weights of a tiny network without what `save_weights` adds at the end."""
    save_weights(tiny_network(), path)
    return path.read_bytes()[: -(len(SEAL) + 32)]


def check_all(folder: Path) -> None:
    """Damages them in many ways, one after the other."""
    path, known, stranger = folder / "some.weights.h5", tiny_network(), tiny_network(1)
    whole = unsealed(path)

    @often
    @given(st.data())
    def check(data: st.DataObject) -> None:
        put(path, data.draw(damaged(whole, 2000)))
        with frugal(path):
            read = answer(READER, lambda: load_weights(stranger, path), path)
        if read is not REFUSED:
            assert [variable.shape for variable in stranger.weights] == [variable.shape for variable in known.weights]
            assert all(np.isfinite(np.asarray(variable)).all() for variable in stranger.weights)

    check()


if __name__ == "__main__":
    check_all(Path(sys.argv[1]))
    print(tallied())
