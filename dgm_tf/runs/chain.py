"""The chain of a run's log: each task's row ends in a hash of itself and of all that came before.

A row also names the bytes of the task's audit record and of its checkpoint, so that the chain binds
these, too. A change anywhere shows at the first row that it touches, unless every later link is
made anew; against that helps the last link alone, kept where the run is not.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LINK = "link"
RECORD = "audit_record_sha256"
STATE = "state_sha256"

# Another process takes other times: without them, the same results end in the same link.
_UNLINKED = (LINK, "seconds", "evaluation_seconds", "peak_memory_mib")


def links(identity: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The link of each row, as SHA-256 in hex: over the link before and the row's own content.

    Args:
        identity: what the run is, JSON-able; the first link goes on from its hash.
        rows: the rows of metrics.jsonl in order, with or without links of their own.
    """
    found = []
    last = _hash(identity)
    for row in rows:
        content = {key: value for key, value in row.items() if key not in _UNLINKED}
        last = _hash([last, content])
        found.append(last)
    return found


def first_broken(identity: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The first task (from 1) whose link is missing or not that of the rows, None if all hold.

    Rows before the first link, written by a version that had none, are vouched for by it.
    """
    begun = False
    for task, (row, link) in enumerate(zip(rows, links(identity, rows), strict=True), start=1):
        begun = begun or LINK in row
        if begun and row.get(LINK) != link:
            return task
    return None


def state_digest(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 in hex over a learner's state, the same before it is saved and after.

    Args:
        meta: its dictionary, JSON-able but for NumPy's numbers.
        arrays: its arrays; names, types, shapes and bytes count, the order does not.
    """
    text = json.dumps(meta, sort_keys=True, default=lambda number: number.item())
    sha = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        array = np.asarray(array)
        sha.update(f" {name} {array.dtype.str} {array.shape} ".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
