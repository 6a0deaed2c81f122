"""What a judging command has left in a JSON file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.storage.files import read_text

_MAX_BYTES = 1 << 20


def read(path: Path, *, trainer: str) -> Mapping[str, Any]:
    """The content of a file that `trainers.<trainer>` has written.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return json.loads(read_text(path, limit=_MAX_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path}, write it anew by trainers.{trainer}: {_checks.one_line(error)}"
        ) from error


def percent(share: float) -> str:
    """A share from 0 to 1 as a table has it."""
    return f"{100 * share:.2f}"
