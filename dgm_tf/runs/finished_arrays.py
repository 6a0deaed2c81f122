"""Arrays of finished tasks, which never change again: each is written once.

A learner names them `finished/<task, five digits>/...`. They stand in a file of their own in the
checkpoint of that task, and in no later one. A checkpoint knows the digest of all of them up to its
own task: `chain(chain(digest(task 1)), digest(task 2)) ...`.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dgm_tf import _checks
from dgm_tf.storage.arrays import pack, unpack
from dgm_tf.storage.checkpoint import DamagedError

FILE = "finished.safetensors"
_PREFIX = "finished/"

Arrays = Mapping[str, np.ndarray]


def split(arrays: Arrays, task: int) -> tuple[dict[str, np.ndarray], bytes | None]:
    """Divides a learner's arrays into what a task's checkpoint holds.

    Args:
        arrays: of the learner after the task.
        task: the one just finished, from 1.

    Returns:
        The arrays that later tasks change, and the bytes of the task's own finished ones; None for
        a learner that has none.
    """
    rest = {name: array for name, array in arrays.items() if not name.startswith(_PREFIX)}
    if len(rest) == len(arrays):
        return rest, None
    own = {name: array for name, array in arrays.items() if name.startswith(_of(task))}
    return rest, pack(own)


def chain(before: str, content: bytes) -> str:
    """The digest of one more task's bytes on top of those before."""
    return hashlib.sha256(before.encode() + hashlib.sha256(content).digest()).hexdigest()


def read(folders: Mapping[int, Path]) -> tuple[str, dict[str, np.ndarray]]:
    """The digest and the arrays of tasks, from their checkpoint folders.

    Raises:
        DamagedError: a file is missing or holds something else.
    """
    digest, arrays = "", {}
    for task, folder in folders.items():
        content = _content(task, folder)
        digest = chain(digest, content)
        try:
            found = unpack(content)
        except ValueError as error:
            raise _lost(task, folder, str(error)) from error
        if foreign := [name for name in found if not name.startswith(_of(task))]:
            raise _lost(task, folder, f"it holds {foreign[0]!r}")
        arrays |= found
    return digest, arrays


def _content(task: int, folder: Path) -> bytes:
    try:
        return (folder / FILE).read_bytes()
    except OSError as error:
        raise _lost(task, folder, _checks.reason(error)) from error


def _lost(task: int, folder: Path, why: str) -> DamagedError:
    return DamagedError(
        f"{folder / FILE} does not hold what task {task} has left for all later ones "
        f"({_checks.one_line(why, 200)}): restore it"
    )


def _of(task: int) -> str:
    return f"{_PREFIX}{task:05d}/"
