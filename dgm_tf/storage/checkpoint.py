"""Checkpoints: a folder with `state.json` and `arrays.npz`, written whole or not at all.

Nothing in a checkpoint is ever unpickled: `state.json` holds a JSON-able dictionary and says which
arrays `arrays.npz` must hold, in which order, of which shape and type, and the file's SHA-256. What
these files say of their own sizes is checked before memory is taken for it.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.storage import npz
from dgm_tf.storage.files import read_text, write_atomically

FORMAT = "dgm_tf checkpoint"
VERSION = 1
STATE_FILE = "state.json"
ARRAYS_FILE = "arrays.npz"

# The text takes kilobytes per task; its arrays are elsewhere.
_MAX_STATE_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Every:
    """How often a task writes checkpoints while it is learnt; never, unless one is given.

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
DEFAULT_KEPT = 2


class DamagedError(InputError):
    """What stands there is not a whole checkpoint; another one may be."""


def save(
    folder: str | os.PathLike, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Path:
    """Writes a checkpoint beside `folder` and renames it into place.

    After a crash `folder` holds the whole new checkpoint or what it held before. Only where an old
    checkpoint is replaced is there a moment, between two renames, at which a crash leaves
    both beside it under hidden names; a run never replaces one.

    Args:
        folder: Where the checkpoint goes. An existing checkpoint there is replaced.
        meta: A JSON-able dictionary with string keys (tuples come back as lists).
        arrays: Arrays by name, of any shape, of boolean, integer, floating or string type.

    Returns:
        The folder, as a `Path`.

    Raises:
        TypeError: If `meta` is not JSON-able, or an array would need pickle.
        InputError: If the folder cannot be written; what was at `folder` is still there then.
    """
    folder = Path(folder)
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    unfit = [name for name, array in arrays.items() if array.dtype.kind not in npz.KINDS]
    if unfit:
        raise TypeError(f"a checkpoint holds plain arrays only; not so: {', '.join(unfit)}")
    text = _dumps(meta)
    aside = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        _write_arrays(aside / ARRAYS_FILE, arrays)
        state = {
            "format": FORMAT,
            "version": VERSION,
            "arrays_sha256": _sha256(aside / ARRAYS_FILE),
            "arrays": {
                name: {"dtype": array.dtype.str, "shape": list(array.shape)}
                for name, array in arrays.items()
            },
            "meta_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "meta": json.loads(text),
        }
        write_atomically(aside / STATE_FILE, f"{json.dumps(state, indent=1)}\n".encode())
        _sync(aside)
        _rename_into_place(aside, folder)
    except OSError as error:
        raise InputError(
            f"cannot write the checkpoint {folder}: {error.strerror or error}; free some space or "
            "name a folder that can be written"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # Gone after a success.
    return folder


def load(folder: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads a checkpoint and checks it against its own record.

    Args:
        folder: A folder written by `save`.

    Returns:
        The dictionary and the arrays by name, equal to those saved.

    Raises:
        DamagedError: If the folder is missing, damaged or no checkpoint.
        InputError: If it is of another format.
    """
    folder = Path(folder)
    state = _read_state(folder)
    path = folder / ARRAYS_FILE
    try:
        if _sha256(path) != state["arrays_sha256"]:
            raise _damaged(folder, f"{ARRAYS_FILE} is not the file that was saved")
        arrays = _read_arrays(path, state["arrays"])
        if hashlib.sha256(_dumps(state["meta"]).encode()).hexdigest() != state["meta_sha256"]:
            raise _damaged(folder, f"the content of {STATE_FILE} was changed")
        if not isinstance(state["meta"], dict):
            raise _damaged(folder, f"{STATE_FILE} holds no dictionary")
        return state["meta"], arrays
    except InputError:
        raise
    # A damaged file makes zipfile, NumPy and JSON raise nearly anything.
    except Exception as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads(read_text(folder / STATE_FILE, limit=_MAX_STATE_BYTES))
    except FileNotFoundError as error:
        raise DamagedError(
            f"expected a checkpoint folder with {STATE_FILE}, found none at {folder}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"{STATE_FILE} cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedError(f"expected a checkpoint of dgm_tf, {folder} holds something else")
    if state.get("version") != VERSION:
        raise InputError(
            f"expected a checkpoint of format {VERSION}, {folder} has format "
            f"{state.get('version')}: use the version of dgm_tf that wrote it"
        )
    return state


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # Not np.savez: that cannot store an array called "file", and pickles when it must.
    with open(path, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _read_arrays(path: Path, described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = npz.read(path, described)
    for name, expected in described.items():
        array = arrays[name]
        if array.dtype.str != expected["dtype"] or list(array.shape) != expected["shape"]:
            raise _damaged(path.parent, f"array {name} is not as {STATE_FILE} describes it")
    return arrays


def _rename_into_place(aside: Path, folder: Path) -> None:
    replaced = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        # A folder cannot be renamed over one that is not empty.
        os.rename(folder, replaced)
    try:
        os.rename(aside, folder)
    except OSError:
        if replaced.exists():
            os.rename(replaced, folder)
        raise
    _sync(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _dumps(meta: Mapping[str, Any]) -> str:
    return json.dumps(meta, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """Turns NumPy numbers into Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a checkpoint's dictionary must be JSON-able, found {type(value).__name__}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    """Makes a rename in `folder` last through a power cut, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders.
        return
    try:
        os.fsync(descriptor)
    except OSError:  # Some network file systems refuse; the rename itself has happened.
        pass
    finally:
        os.close(descriptor)


def _damaged(folder: Path, why: str) -> DamagedError:
    why = _checks.one_line(why)
    return DamagedError(f"the checkpoint {folder} is damaged ({why}): delete it or use another")
