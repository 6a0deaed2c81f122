"""The format of `settings.json` and of the rows of `metrics.jsonl`.

Both can come from anyone. Readers rely on kinds, finite numbers and lists of one length: only these
are checked, not the truth of the content.
"""

import json
import re
from pathlib import Path
from typing import Any

from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.storage import schema
from dgm_tf.storage.files import read_text
from dgm_tf.storage.schema import ANY, IMAGE_SHAPE, NULL, NUMBER, POSITIVE, TEXT, Leaf, integer

# Bytes that the two files may have; the means of each epoch are most of the rows.
_MAX_SETTINGS_BYTES = 16 * 2**20
_MAX_METRICS_BYTES = 256 * 2**20

_MEASURE = NUMBER | NULL
_COUNT = integer()
_BY_TASK = Leaf(
    "an object of numbers by task",
    lambda it: (
        isinstance(it, dict)
        and all(re.fullmatch(r"\d{1,5}", key) for key in it)
        and all(map(_MEASURE.fits, it.values()))
    ),
)
_WIDTHS = ("layer_widths", "initial_layer_widths")

_DESCRIPTION = {
    **dict.fromkeys(("scenario?", "learner?", "command?", "date?"), TEXT),
    **dict.fromkeys(("settings?", "versions?", "machine?"), {}),
    "stream?": {
        "name?": TEXT,
        "class_names?": [TEXT],
        "task_classes?": [[_COUNT]],
        "image_shape?": IMAGE_SHAPE,
    },
}

_ROW = {
    "task": _COUNT,
    "class_accuracy": {ANY: NUMBER},
    **dict.fromkeys(
        (
            "average_accuracy?", "forgetting?", "backward_transfer?", "forward_transfer?",
            "epochs?", "steps?", "seconds?", "evaluation_seconds?", "peak_memory_mib?",
            "generator_parameters?", "free_fraction?", "oracle_accuracy?", "oracle_test_accuracy?",
            "oracle_frechet_distance?", "oracle_precision?", "oracle_recall?",
        ),
        _MEASURE,
    ),
    **dict.fromkeys(("classes?", "classes_seen?", "mask_overlap?"), [_COUNT]),
    **dict.fromkeys((f"{key}?" for key in _WIDTHS), [integer(1)]),
    **dict.fromkeys(("newest_class_share?", "last_epoch?"), {ANY: _MEASURE}),
    **dict.fromkeys(("audit?", "audit_pixels?"), _BY_TASK),
    "oracle_class_accuracy?": {ANY: NUMBER},
    "history?": {ANY: [_MEASURE]},
    "layers?": [{"layer": TEXT, "reserved": _COUNT, "free": _COUNT, "initial_free": POSITIVE}],
}  # fmt: skip


def read_description(path: Path) -> dict[str, Any]:
    """The content of `settings.json`.

    Raises:
        ValueError, RecursionError, OSError: it is not what a run writes, or cannot be read.
    """
    return schema.read(path, _DESCRIPTION, limit=_MAX_SETTINGS_BYTES)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`; none where there is no such file yet.

    Raises:
        ValueError, RecursionError, OSError: they are not what a run writes, or cannot be read.
    """
    text = read_text(path, limit=_MAX_METRICS_BYTES) if path.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    check_rows(rows, tasks=len(rows))
    return rows


def check_rows(rows: Any, *, tasks: int) -> None:
    """Makes sure that rows are those of tasks 1 to `tasks`; most keys may be missing.

    Raises:
        ValueError: they are not; the text says why.
    """
    schema.check(rows, [_ROW])
    if [row["task"] for row in rows] != list(range(1, tasks + 1)):
        raise ValueError(f"they are not numbered from 1 to {tasks}")
    if len({len(row[key]) for row in rows for key in _WIDTHS if key in row}) > 1:
        raise ValueError("their numbers of layers differ")
    AccuracyMatrix.from_rows(rows)
