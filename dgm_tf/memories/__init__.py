"""Memories that come with the package, to be tried without training. Nothing needs TensorFlow here.

Each is a subfolder, a run's folder with its last checkpoint only, and goes by the subfolder's name.
`benchmarks/demo_memory.py` makes them.
"""

import os
import pathlib
from typing import Any

from dgm_tf.errors import InputError
from dgm_tf.storage import paths

_HOME = pathlib.Path(__file__).parent
_MARK = "settings.json"

NAMES = tuple(sorted(path.parent.name for path in _HOME.glob(f"*/{_MARK}")))


def is_shipped(memory: Any) -> bool:
    """Whether this is the name of a memory of the package, and of nothing in the working folder."""
    return str(memory) in NAMES and not os.path.lexists(memory)


def folder(memory: Any) -> pathlib.Path:
    """The folder of a memory that is only read: the user's own, or one of the package by its name.

    Raises:
        InputError: as `paths.expanded` does.
    """
    if not is_shipped(memory):
        return paths.expanded(memory)
    # Bazel has links in the place of files, and links that lead out of a run's folder are refused.
    return (_HOME / str(memory) / _MARK).resolve().parent


def check_not_written(memory: Any, remedy: str) -> None:
    """Refuses to write into a memory of the package.

    Args:
        memory: as the user names it.
        remedy: what to do instead.

    Raises:
        InputError: it is one.
    """
    if is_shipped(memory):
        raise InputError(f"{memory} comes with the package and is only read: {remedy}")
