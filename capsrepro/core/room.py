"""Checks that what is asked for fits into memory and onto the disk, before any of it is allocated."""

import os
import shutil
from pathlib import Path

from capsrepro.core.errors import Error


def check_memory(size: int, what: str) -> None:
    """Checks that `size` bytes could fit into this machine's memory at all.

    Raises:
        Error: they could not; the message has `what`, which says which setting asks for them.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise Error(
            f"{what}: needs {_gigabytes(size)} of memory at least, this machine has {_gigabytes(memory)}; ask for less"
        )


def check_disk(folder: Path, size: int, what: str) -> None:
    """Checks that `size` bytes would fit onto the disk of `folder`, which need not exist yet.

    Raises:
        Error: they would not; the message has `what`, which says which setting asks for them.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Error(f"{what}: needs {_gigabytes(size)} in {folder}, {_gigabytes(free)} are free; ask for less")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
