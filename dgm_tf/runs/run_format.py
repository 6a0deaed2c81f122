"""The format of `settings.json` and of the rows of `metrics.jsonl`.

Both can come from anyone. Readers rely on kinds, finite numbers and lists of one length: only these
are checked, not the truth of the content.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dgm_tf.data.image_file import GEOMETRY
from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.storage import schema
from dgm_tf.storage.files import read_text
from dgm_tf.storage.schema import (
    ANY,
    IMAGE_SHAPE,
    LINE,
    NULL,
    NUMBER,
    POSITIVE,
    TEXT,
    Leaf,
    exactly,
    integer,
)

# Bytes that the two files may have; the means of each epoch are most of the rows.
_MAX_SETTINGS_BYTES = 16 * 2**20
_MAX_METRICS_BYTES = 256 * 2**20

_MEASURE = NUMBER | NULL
_COUNT = integer()
_LAYERS = ("layers", "layer_widths", "initial_layer_widths")
_BY_TASK = Leaf(
    "an object of counts by task",
    lambda it: (
        isinstance(it, dict)
        and all(re.fullmatch(r"\d{1,5}", key) for key in it)
        and all(map(_COUNT.fits, it.values()))
    ),
)

OPEN = "open"  # the kind of a memory's stream: it has no last task

_DESCRIPTION = {
    **dict.fromkeys(("scenario", "learner", "command", "date"), TEXT),
    "seed": _COUNT,
    **dict.fromkeys(("settings", "versions", "machine"), {}),
}
_STREAM = {
    **dict.fromkeys(("name", "source", "fingerprint"), TEXT),
    "class_names": [TEXT],
    "task_classes": [[_COUNT]],
    "image_shape": IMAGE_SHAPE,
    "validation_fraction": NUMBER,
}
_OPEN_STREAM = {
    "kind": exactly(OPEN),
    "name": TEXT,
    "geometry": Leaf(
        f"{GEOMETRY}, the rules for pictures that this release knows",
        lambda it: type(it) is int and it == GEOMETRY,
    ),
    "colours": exactly("grey") | exactly("RGB"),
    "image_shape": IMAGE_SHAPE,
    "validation_fraction": NUMBER,
}

_ROW = {
    "task": _COUNT,
    **dict.fromkeys(("classes", "classes_seen", "mask_overlap?"), [_COUNT]),
    "class_accuracy": {ANY: NUMBER},
    **dict.fromkeys(("class_names?", "fingerprints?"), [LINE]),
    "not_measured?": [_COUNT],
    "held_out?": {ANY: TEXT},
    **dict.fromkeys(("settings?", "versions?", "machine?"), {}),
    "newest_class_share": {"predictions": _MEASURE, "test_set": _MEASURE},
    **dict.fromkeys(
        (
            "epochs", "seconds", "evaluation_seconds", "generator_parameters?",
            "free_fraction?",
        ),
        NUMBER,
    ),
    **dict.fromkeys(
        (
            "average_accuracy", "forgetting", "backward_transfer", "steps",
            "peak_memory_mib?", "oracle_accuracy?", "oracle_test_accuracy?",
            "oracle_frechet_distance?", "oracle_precision?", "oracle_recall?",
        ),
        _MEASURE,
    ),
    **dict.fromkeys(("layer_widths?", "initial_layer_widths?"), [integer(1)]),
    **dict.fromkeys(("audit", "audit_pixels"), _BY_TASK),
    "last_epoch": {ANY: _MEASURE},
    "oracle_class_accuracy?": {ANY: NUMBER},
    "history?": {ANY: [_MEASURE]},
    "layers?": [{"layer": TEXT, "reserved": _COUNT, "free": _COUNT, "initial_free": POSITIVE}],
}  # fmt: skip


def read_description(path: Path) -> dict[str, Any]:
    """The content of `settings.json`.

    Raises:
        ValueError, RecursionError, OSError: it is not what a run writes, or cannot be read.
    """
    content = schema.read(path, {**_DESCRIPTION, "stream": {}}, limit=_MAX_SETTINGS_BYTES)
    kind = _OPEN_STREAM if "kind" in content["stream"] else _STREAM
    schema.check(content["stream"], kind)
    return content


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`; none where there is no such file yet.

    Raises:
        ValueError, RecursionError, OSError: they are not what a run writes, or cannot be read.
    """
    text = read_text(path, limit=_MAX_METRICS_BYTES) if path.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    check_rows(rows, tasks=len(rows))
    return rows


def origin(
    description: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The `versions` and the `machine` that the images on record were made by.

    Args:
        description: the content of `settings.json`, where a run began.
        rows: of `metrics.jsonl`; one that was learnt elsewhere says where.
    """
    newest = rows[-1] if rows else {}
    return {key: newest.get(key, description[key]) for key in ("versions", "machine")}


def class_names(
    description: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[int, str]:
    """Names of a run's classes by id; a memory's are in its rows.

    Args:
        description: the content of `settings.json`.
        rows: of `metrics.jsonl`.
    """
    if description["stream"].get("kind") != OPEN:
        return dict(enumerate(description["stream"].get("class_names", ())))
    return {
        label: name
        for row in rows
        for label, name in zip(row["classes"], row["class_names"], strict=True)
    }


def check_rows(rows: Any, *, tasks: int) -> None:
    """Makes sure that rows are those of tasks 1 to `tasks`.

    Raises:
        ValueError: they are not; the text says why.
    """
    schema.check(rows, [_ROW])
    if any(len(row.get("class_names", row["classes"])) != len(row["classes"]) for row in rows):
        raise ValueError("their classes have more or fewer names")
    for row in rows:
        if "fingerprints" in row and (
            "class_names" not in row or {*row.get("held_out", ())} != {*map(str, row["classes"])}
        ):
            raise ValueError("the classes of a memory lack names, or what was held out of them")
    if [row["task"] for row in rows] != list(range(1, tasks + 1)):
        raise ValueError(f"they are not numbered from 1 to {tasks}")
    if len({key in row for row in rows for key in (*_LAYERS, "free_fraction")}) > 1:
        raise ValueError("only some of them tell the generator's growth")
    layers = {len(row[key]) for row in rows for key in _LAYERS if key in row}
    if len(layers) > 1 or 0 in layers:
        raise ValueError("their numbers of layers differ, or are 0")
    AccuracyMatrix.from_rows(rows)
