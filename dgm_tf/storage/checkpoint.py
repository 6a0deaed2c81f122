"""Checkpoints: a folder of a JSON file and an array file, written whole or not at all.

Nothing in a checkpoint is ever unpickled. `state.json` holds a JSON-able dictionary and a SHA-256
of it and of `arrays.safetensors`.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.storage.arrays import pack, unpack
from dgm_tf.storage.files import read_text, whole_folder

FORMAT = "dgm_tf checkpoint"
VERSION = 2
STATE_FILE = "state.json"
ARRAYS_FILE = "arrays.safetensors"

# The text takes kilobytes per task; its arrays are elsewhere.
MAX_STATE_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Every:
    """Interval of the checkpoints inside a task; none unless one of the two is given.

    Attributes:
        steps: training steps between two.
        seconds: time between two.
    """

    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Every":
        """Reads `500` (steps), `90s`, `5m`, `2h`, or `0` for never.

        Raises:
            ValueError: it is none of these.
        """
        match = re.fullmatch(r"(\d+)(?P<unit>[smh]?)", text.strip())
        if not match:
            raise ValueError("expected a number of steps such as 500, a time such as 5m, or 0")
        if unit := match["unit"]:
            return cls(seconds=int(match[1]) * {"s": 1, "m": 60, "h": 3600}[unit])
        return cls(steps=int(match[1]))

    def __str__(self) -> str:
        if self.seconds and not self.seconds % 60:
            return f"{self.seconds / 60:g}m"
        return f"{self.seconds:g}s" if self.seconds else str(self.steps)


DEFAULT_EVERY = Every(seconds=300)


class DamagedError(InputError):
    """The checkpoint is missing or not whole; another one may be."""


def save(
    folder: str | os.PathLike,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes a checkpoint, which takes the place of one that is there; see `whole_folder`.

    Args:
        folder: the checkpoint.
        meta: a JSON-able dictionary with string keys (tuples come back as lists).
        arrays: by name, of any shape, of boolean, integer or floating type.
        files: further files by name, which `load` does not read.

    Returns:
        The folder, as a `Path`.

    Raises:
        TypeError: `meta` is not JSON-able, or an array would need pickle.
        InputError: the folder cannot be written; a checkpoint that was there still is.
    """
    folder = Path(folder)
    content, text = pack(arrays), _dumps(meta)
    state = {
        "format": FORMAT,
        "version": VERSION,
        "sha256": _digest(content, text),
        "meta": json.loads(text),
    }
    with whole_folder(folder, replace=True) as aside:
        (aside / ARRAYS_FILE).write_bytes(content)
        (aside / STATE_FILE).write_text(f"{json.dumps(state, indent=1)}\n", encoding="utf-8")
        for name, data in (files or {}).items():
            (aside / name).write_bytes(data)
    return folder


def load(folder: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads a checkpoint and checks it against its own record.

    Returns:
        The dictionary and the arrays by name, equal to those saved.

    Raises:
        DamagedError: the folder is missing, damaged or no checkpoint.
        InputError: it is of another format.
    """
    folder = Path(folder)
    state = _read_state(folder)
    try:
        content, meta = (folder / ARRAYS_FILE).read_bytes(), state["meta"]
        if not isinstance(meta, dict) or _digest(content, _dumps(meta)) != state["sha256"]:
            raise _damaged(folder, "its files are not those that were saved together")
        return meta, unpack(content)
    except InputError:
        raise
    except (OSError, KeyError, ValueError, RecursionError, MemoryError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads(read_text(folder / STATE_FILE, limit=MAX_STATE_BYTES))
    except FileNotFoundError as error:
        raise DamagedError(
            f"expected a checkpoint folder with {STATE_FILE}, found none at {folder}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"{STATE_FILE} cannot be read: {_checks.reason(error)}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedError(f"expected a checkpoint of dgm_tf, {folder} holds something else")
    if state.get("version") != VERSION:
        raise InputError(
            f"expected a checkpoint of format {VERSION}, {folder} has format "
            f"{_checks.one_line(state.get('version'), 60)}: use the version of dgm_tf that wrote it"
        )
    return state


def _digest(content: bytes, text: str) -> str:
    """SHA-256 of the arrays' bytes and the dictionary's text."""
    digest = hashlib.sha256(content)
    digest.update(text.encode())
    return digest.hexdigest()


def _dumps(meta: Mapping[str, Any]) -> str:
    return json.dumps(meta, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """Turns NumPy numbers into Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a checkpoint's dictionary must be JSON-able, found {type(value).__name__}")


def _damaged(folder: Path, why: str) -> DamagedError:
    why = _checks.one_line(why)
    return DamagedError(f"the checkpoint {folder} is damaged ({why}): delete it or use another")
