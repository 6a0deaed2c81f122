"""What `settings.json` and the rows of `metrics.jsonl` must hold for their readers to use them.

Both can come from anyone. What is checked is what readers rely on: kinds, finite numbers, lists of
one length. Whether the content is true is for `dgm_tf.experiments.run_audit` to say.
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dgm_tf import _checks
from dgm_tf.evaluation.accuracy import AccuracyMatrix

# Bytes that the two files may have; the means of each epoch are most of the rows.
MAX_SETTINGS_BYTES = 16 * 2**20
MAX_METRICS_BYTES = 256 * 2**20

_LARGEST = 2**63  # anything counted or measured is smaller

_TEXTS = ("scenario", "learner", "command", "memory_of", "date")
_OBJECTS = ("settings", "stream", "versions", "machine")


def check_description(content: Any) -> None:
    """Makes sure that `settings.json` is what a run writes; a key may be missing.

    Raises:
        ValueError: it is not; the text says why.
    """
    if not isinstance(content, dict):
        raise ValueError("it holds no object")
    check_text(content)
    for key in _TEXTS:
        require(isinstance(content.get(key, ""), str), f"{key} is no text")
    for key in _OBJECTS:
        require(isinstance(content.get(key), dict | None), f"{key} is no object")
    stream = content.get("stream") or {}
    tasks, names = stream.get("task_classes", []), stream.get("class_names", [])
    require(isinstance(stream.get("name", ""), str), "stream.name is no text")
    require(is_list(names, is_text), "stream.class_names is no list of texts")
    lists = is_list(tasks, lambda classes: isinstance(classes, list))
    require(lists, "stream.task_classes is no list of lists")
    for label in itertools.chain(*tasks):
        _checks.integer(label, "a class", low=0)
    shape = stream.get("image_shape", [1, 1, 1])
    require(is_list(shape) and len(shape) == 3, "stream.image_shape is no list of three")
    for size in shape:
        _checks.integer(size, "a side of stream.image_shape", low=1, high=2**16)


def check_rows(rows: Any, *, tasks: int) -> None:
    """Makes sure that rows are those of tasks 1 to `tasks`; most keys may be missing.

    Raises:
        ValueError: they are not; the text says why.
    """
    require(is_list(rows, lambda row: isinstance(row, dict)), "they are no list of objects")
    check_text(rows)
    numbered = [row.get("task") for row in rows] == list(range(1, tasks + 1))
    require(numbered, f"they are not numbered from 1 to {tasks}")
    for row in rows:
        for key, fits in _ROW.items():
            require(key not in row or fits(row[key]), f"{key} of task {row['task']} is unusable")
    widths = {len(row.get(key, ())) for row in rows for key in _WIDTHS if key in row}
    require(len(widths) < 2, "their numbers of layers differ")
    try:
        AccuracyMatrix.from_rows(rows)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"an accuracy is missing: {error!r}") from error


def require(fits: bool, otherwise: str) -> None:
    """Raises a `ValueError` with the text `otherwise` unless it fits."""
    if not fits:
        raise ValueError(otherwise)


def check_text(content: Any) -> None:
    """Raises a `ValueError` at what JSON can say and UTF-8 cannot: half of a surrogate pair."""
    json.dumps(content, ensure_ascii=False).encode()


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    # NaN compares as false.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_number_or_null(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def is_count(value: Any) -> bool:
    """Whether it is an integer in [0, 2**63)."""
    return isinstance(value, int) and _is_number(value) and value >= 0


def is_list(value: Any, fits: Callable[[Any], bool] = lambda item: True) -> bool:
    """Whether it is a list whose items all fit."""
    return isinstance(value, list) and all(map(fits, value))


def is_object(value: Any, fits: Callable[[Any], bool] = lambda item: True) -> bool:
    """Whether it is an object whose values all fit."""
    return isinstance(value, dict) and all(map(fits, value.values()))


def are_counts(value: Any) -> bool:
    return is_list(value, is_count)


def _are_widths(value: Any) -> bool:
    return is_list(value, lambda units: is_count(units) and units > 0)


def _are_numbers(value: Any) -> bool:
    return is_object(value, _is_number_or_null)


def _by_task(value: Any) -> bool:
    return _are_numbers(value) and all(re.fullmatch(r"\d{1,5}", key) for key in value)


def _by_class(value: Any) -> bool:
    return is_object(value, _is_number) and len(value) > 0


def _is_history(value: Any) -> bool:
    return is_object(value, lambda means: is_list(means, _is_number_or_null))


def _are_layers(value: Any) -> bool:
    return is_list(value, _is_layer)


def _is_layer(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and is_text(value.get("layer"))
        and is_count(value.get("reserved"))
        and is_count(value.get("free"))
        and _is_positive(value.get("initial_free"))
    )


_WIDTHS: Sequence[str] = ("layer_widths", "initial_layer_widths")
_ROW: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        (
            "average_accuracy", "forgetting", "backward_transfer", "forward_transfer", "epochs",
            "steps", "seconds", "evaluation_seconds", "peak_memory_mib", "generator_parameters",
            "free_fraction", "oracle_accuracy", "oracle_test_accuracy", "oracle_frechet_distance",
            "oracle_precision", "oracle_recall",
        ),
        _is_number_or_null,
    ),
    **dict.fromkeys(("classes", "classes_seen", "mask_overlap"), are_counts),
    **dict.fromkeys(_WIDTHS, _are_widths),
    **dict.fromkeys(("newest_class_share", "last_epoch"), _are_numbers),
    **dict.fromkeys(("audit", "audit_pixels"), _by_task),
    **dict.fromkeys(("class_accuracy", "oracle_class_accuracy"), _by_class),
    "history": _is_history,
    "layers": _are_layers,
}  # fmt: skip
