"""The numbers behind each picture: pure functions of the rows of metrics.jsonl.

Rows are as `dgm_tf.reporting.tables` describes them. Functions leave out a quantity that a row does
not have, and never take it for 0: a learner without a generator gives fewer pictures. Percent are
0 to 100.
"""

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.reporting.run import Row, Run

# (task or another x, value) in order.
Curve = list[tuple[float, float]]

_T = TypeVar("_T")

ALL_LAYERS = "all layers"


def curve(rows: Sequence[Row], key: str, *, factor: float = 1.0) -> Curve:
    """A quantity after each task that has it, times a factor."""
    return [(row["task"], factor * row[key]) for row in rows if row.get(key) is not None]


def by_class(row: Row, key: str) -> dict[int, Any]:
    """A dictionary of a row by class id or task; JSON has made text of its keys."""
    return {int(label): value for label, value in (row.get(key) or {}).items()}


def accuracy_matrix(
    rows: Sequence[Row], key: str = "class_accuracy"
) -> tuple[list[int], np.ndarray]:
    """Accuracy of each class after each task.

    Args:
        rows: of a run.
        key: which accuracy, 0 to 1 by class id.

    Returns:
        Class ids in order of arrival, and percent [tasks, classes], NaN where a row has none.
    """
    classes = list(AccuracyMatrix.from_rows(rows).classes)
    table = np.full((len(rows), len(classes)), np.nan)
    for task, row in enumerate(rows):
        for label, value in by_class(row, key).items():
            table[task, classes.index(label)] = np.nan if value is None else 100.0 * value
    return classes, table


def growth(rows: Sequence[Row]) -> dict[str, Curve]:
    """Units of all layers together, then of each by its name.

    Returns:
        (task, units) before task 1, which is task 0, and after the growth of each task; empty for
        a learner that does not grow.
    """
    rows = [row for row in rows if row.get("layer_widths") and row.get("initial_layer_widths")]
    if not rows:
        return {}
    widths = [rows[0]["initial_layer_widths"], *(row["layer_widths"] for row in rows)]
    tasks = [0, *(row["task"] for row in rows)]
    layers = rows[0].get("layers") or [{} for _ in widths[0]]
    names = [layer.get("layer", f"layer {index + 1}") for index, layer in enumerate(layers)]
    found = {ALL_LAYERS: list(zip(tasks, map(sum, widths), strict=True))}
    for name, units in zip(names, zip(*widths, strict=True), strict=False):
        found[str(name).replace("_", " ")] = list(zip(tasks, units, strict=True))
    return found


def worst_case(units: Curve) -> Curve:
    """The growth that adds the initial size after every task (Figure 2), over the same tasks."""
    (_, initial), *_ = units
    return [(task, initial * (task + 1)) for task, _ in units]


def mask_use(rows: Sequence[Row]) -> dict[str, Curve]:
    """Numbers of weights (variant w) or units (variant a) after each task, by their use.

    Returns:
        By "newly reserved" (free ones that the task's mask took), "reused" (earlier tasks' that it
        uses too) and "left free" (before the generator grew); empty unless every row has masks.
    """
    if not rows or not all(row.get("layers") and row.get("mask_overlap") for row in rows):
        return {}
    found = {"newly reserved": [], "reused": [], "left free": []}
    before, capacity = 0, _sum_over_layers(rows[0], "initial_free")
    for row in rows:
        reserved = _sum_over_layers(row, "reserved")
        new = reserved - before
        counts = new, row["mask_overlap"][-1] - new, capacity - reserved
        for points, count in zip(found.values(), counts, strict=True):
            points.append((row["task"], count))
        before, capacity = reserved, reserved + _sum_over_layers(row, "free")
    return found


def _sum_over_layers(row: Row, key: str) -> int:
    return sum(layer[key] for layer in row["layers"])


def mask_overlap(rows: Sequence[Row]) -> np.ndarray | None:
    """How much of a task's mask another task uses too.

    Returns:
        Percent [tasks, tasks]: of the mask of the row's task, what the column's task has as well.
        None unless every row has its overlaps.
    """
    counts = [row.get("mask_overlap") for row in rows]
    if not counts or not all(counts):
        return None
    both = np.zeros((len(counts), len(counts)))
    for task, shared in enumerate(counts):
        both[task, : task + 1] = both[: task + 1, task] = shared
    sizes = both.diagonal()[:, None]
    return np.divide(100.0 * both, sizes, out=np.full_like(both, np.nan), where=sizes > 0)


def within_tasks(rows: Sequence[Row]) -> dict[str, Curve]:
    """Each logged quantity over the epochs of all tasks.

    Where a row has no history, its last epoch stands for it.

    Returns:
        By quantity (x, value). Task t lies from t - 0.5 to t + 0.5, its epochs spread evenly;
        values that are not finite are left out.
    """
    found: dict[str, Curve] = {}
    for row in rows:
        last = {name: [value] for name, value in (row.get("last_epoch") or {}).items()}
        for name, values in (row.get("history") or last).items():
            found.setdefault(name, []).extend(
                (row["task"] - 0.5 + (epoch + 0.5) / len(values), value)
                for epoch, value in enumerate(values)
                if value is not None
            )
    return found


def range_below_100(table: np.ndarray) -> tuple[float, float]:
    """Limits for colours of percentages: 100 and the ten below the lowest value."""
    lowest = np.nanmin(table)
    return min(90.0, 10.0 * np.floor(lowest / 10.0)), 100.0


# Several runs.


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (None for one value) and number of some values."""

    mean: float
    deviation: float | None
    n: int


def spread(values: Iterable[float]) -> Spread | None:
    """Of values; None where there are none."""
    values = list(values)
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, len(values))


def with_spread(value: Spread | None, *, digits: int = 2) -> str:
    """Mean ± sample standard deviation as text; the mean by itself where n = 1."""
    if value is None:
        return "n/a"
    text = f"{value.mean:,.{digits}f}"
    return text if value.deviation is None else f"{text} ± {value.deviation:,.{digits}f}"


def mean_curve(curves: Sequence[Curve]) -> list[tuple[float, Spread]]:
    """Mean and spread after each task, or at each other x, that every curve has.

    Beyond the last common task the mean would be over other runs than before it, and a step in
    the curve would be theirs.
    """
    by_task = [dict(values) for values in curves]
    common = sorted(set.intersection(*map(set, by_task))) if by_task else []
    return [(task, spread(values[task] for values in by_task)) for task in common]


def mean_curves(each: Sequence[Mapping[str, Curve]]) -> dict[str, list[tuple[float, Spread]]]:
    """The same of several curves by name: those that every run has, and of which a point is left.

    Args:
        each: curves of each run, such as `mask_use` or `within_tasks` gives.
    """
    common = [name for name in each[0] if all(name in curves for curves in each)]
    means = {name: mean_curve([curves[name] for curves in each]) for name in common}
    return {name: points for name, points in means.items() if points}


def common_tasks(runs: Sequence[Run]) -> int:
    """Tasks that every run has finished."""
    return min(len(run.rows) for run in runs)


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed.

    Attributes:
        name: the method, with what sets it apart from other groups of the same method.
        runs: at least one, by seed.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def title(self) -> str:
        """The name with the number of runs."""
        return f"{self.name} (n = {len(self.runs)})"


def groups(runs: Sequence[Run]) -> list[Group]:
    """Runs in groups that share method, settings and tasks, in the order they are given."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(_as_text(_identity(run)), []).append(run)
    gathered = [sorted(found, key=lambda run: str(run.seed)) for found in members.values()]
    names = _names([_identity(found[0]) for found in gathered])
    return [Group(name, tuple(found)) for name, found in zip(names, gathered, strict=True)]


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _identity(run: Run) -> dict[str, Any]:
    """What a group's runs share, flat; with it a group is told from others of its method."""
    classes = [len(task) for task in run.task_classes]
    sizes = f"{classes[0]} each" if len(set(classes)) == 1 else str(classes)
    return {
        "method": run.method,
        "data": run.dataset,
        # The same name may stand for other images; the fingerprint is of them alone, whatever the
        # seed.
        "images": run.stream.get("fingerprint") or run.stream.get("source"),
        "image shape": run.stream.get("image_shape"),
        "validation fraction": run.stream.get("validation_fraction"),
        "tasks": f"{run.tasks} of {sizes}",
    } | {key: value for key, value in run.settings.items() if key != "seed"}


def _names(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Methods, with the settings in which groups of the same method differ."""
    names = []
    for identity in identities:
        same = [other for other in identities if other["method"] == identity["method"]]
        differing = [
            f"{key} {identity.get(key)}"
            for key in dict.fromkeys(key for other in same for key in other)
            if len({_as_text(other.get(key)) for other in same}) > 1
        ]
        names.append(", ".join([identity["method"], *differing]))
    return names


def front(
    found: Iterable[_T], *, little: Callable[[_T], float], much: Callable[[_T], float]
) -> list[_T]:
    """Those that no other has more of `much` than without more of `little`, by `little`."""
    best: list[_T] = []
    for one in sorted(found, key=lambda one: (little(one), -much(one))):
        if not best or much(one) > much(best[-1]):
            best.append(one)
    return best
