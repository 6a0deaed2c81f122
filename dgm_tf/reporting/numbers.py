"""The numbers behind each picture: pure functions of the rows of metrics.jsonl.

Rows are as `dgm_tf.reporting.report` describes them. What a row does not have is left out, never 0;
a run of an older version, or of a learner that has no generator, gives fewer pictures. Percent are
0 to 100.
"""

import dataclasses
import itertools
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.reporting.run import Row, Run

# One value per task: (task, value) in order.
Curve = list[tuple[int, float]]

_T = TypeVar("_T")

ALL_LAYERS = "all layers"


def curve(rows: Sequence[Row], key: str) -> Curve:
    """A quantity after each task that has it, as it stands in the rows."""
    return [(row["task"], row[key]) for row in rows if row.get(key) is not None]


def percent(values: Curve) -> Curve:
    """Shares of 0 to 1 as percent."""
    return [(task, 100.0 * value) for task, value in values]


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


@dataclasses.dataclass(frozen=True)
class Growth:
    """Units of one layer, or of all, before task 1 (task 0) and after the growth of each task.

    Attributes:
        name: the layer's, or `ALL_LAYERS`.
        units: (task, units) from task 0.
        worst: (task, units) had the initial size been added after every task (Figure 2).
    """

    name: str
    units: Curve
    worst: Curve


def growth(rows: Sequence[Row]) -> list[Growth]:
    """All layers together, then each by itself; empty for a learner that does not grow."""
    rows = [row for row in rows if row.get("layer_widths") and row.get("initial_layer_widths")]
    if not rows:
        return []
    initial = rows[0]["initial_layer_widths"]
    # The layers' names, where the rows have them.
    layers = rows[0].get("layers") or [{} for _ in initial]
    found = [_growth(ALL_LAYERS, rows, slice(None))]
    for index, layer in enumerate(layers):
        name = str(layer.get("layer", f"layer {index + 1}")).replace("_", " ")
        found.append(_growth(name, rows, slice(index, index + 1)))
    return found


def _growth(name: str, rows: Sequence[Row], part: slice) -> Growth:
    initial = sum(rows[0]["initial_layer_widths"][part])
    units = [(0, initial), *((row["task"], sum(row["layer_widths"][part])) for row in rows)]
    return Growth(name, units, [(task, initial * (task + 1)) for task, _ in units])


@dataclasses.dataclass(frozen=True)
class MaskUse:
    """What one task did with the weights (variant w) or units (variant a) that its masks cover.

    Attributes:
        task: from 1.
        reserved: free ones that its mask took.
        reused: earlier tasks' that its mask uses too; None where the row does not say.
        free: what it left free, before the generator grew.
    """

    task: int
    reserved: int
    reused: int | None
    free: int


def mask_use(rows: Sequence[Row]) -> list[MaskUse]:
    """Of each task in turn, up to the first row without layer sizes."""
    found = []
    reserved_before, capacity = 0, None
    for row in rows:
        layers = row.get("layers")
        if not layers:
            break
        if capacity is None:
            capacity = sum(layer["initial_free"] for layer in layers)
        reserved = sum(layer["reserved"] for layer in layers)
        new = reserved - reserved_before
        overlap = row.get("mask_overlap")
        reused = overlap[-1] - new if overlap else None
        found.append(MaskUse(row["task"], new, reused, capacity - reserved))
        reserved_before = reserved
        capacity = reserved + sum(layer["free"] for layer in layers)
    return found


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


def within_tasks(rows: Sequence[Row]) -> dict[str, list[list[tuple[float, float]]]]:
    """Each logged quantity over the epochs of each task.

    Where a row has no history there is its last epoch alone.

    Returns:
        By quantity a list of (x, value) per task, empty for a task that has none. Task t lies from
        t - 0.5 to t + 0.5, its epochs spread evenly; values that are not finite are left out.
    """
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for index, row in enumerate(rows):
        last = {name: [value] for name, value in (row.get("last_epoch") or {}).items()}
        for name, values in (row.get("history") or last).items():
            start, width = row["task"] - 0.5, 1.0 / max(len(values), 1)
            points = [
                (start + (epoch + 0.5) * width, value)
                for epoch, value in enumerate(values)
                if value is not None
            ]
            found.setdefault(name, [[] for _ in rows])[index] = points
    return {name: tasks for name, tasks in found.items() if any(tasks)}


def range_below_100(table: np.ndarray) -> tuple[float, float]:
    """Limits for colours of percentages: 100 and the ten below the lowest value."""
    lowest = np.nanmin(table)
    return min(90.0, 10.0 * np.floor(lowest / 10.0)), 100.0


# Several runs.


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


def with_spread(value: Spread | None, *, factor: float = 1.0, digits: int = 2) -> str:
    """Mean ± sample standard deviation as text; the mean alone where n = 1."""
    if value is None:
        return "n/a"
    text = f"{factor * value.mean:,.{digits}f}"
    if value.deviation is None:
        return text
    return f"{text} ± {factor * value.deviation:,.{digits}f}"


def mean_curve(
    curves: Sequence[Sequence[tuple[float, float]]],
) -> list[tuple[float, Spread]]:
    """Mean and spread after each task, or at each other x, that every curve has.

    Beyond the last common task the mean would be over other runs than before it, and a step in
    the curve would be theirs.
    """
    by_task = [dict(values) for values in curves]
    common = sorted(set.intersection(*map(set, by_task))) if by_task else []
    found = []
    for task in common:
        over_runs = spread(values[task] for values in by_task)
        if over_runs is not None:
            found.append((task, over_runs))
    return found


def common_tasks(runs: Sequence[Run]) -> int:
    """Tasks that every run has finished."""
    return min(len(run.rows) for run in runs)


def mean_table(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over runs of tables of one shape; NaN where any has no value."""
    return np.mean(tables, axis=0)


def mean_mask_use(each: Sequence[Sequence[MaskUse]]) -> dict[str, list[tuple[int, Spread]]]:
    """Means and spreads over runs after each task that all have.

    Returns:
        By "reserved", "reused" and "free" (task, count); without "reused" where a run does not say
        it, and empty where the runs have no task with masks in common.
    """
    found = {}
    for part in ("reserved", "reused", "free"):
        counts = [[(use.task, getattr(use, part)) for use in uses] for uses in each]
        if all(count is not None for points in counts for _, count in points):
            found[part] = mean_curve(counts)
    return {part: points for part, points in found.items() if points}


def mean_within_tasks(
    each: Sequence[Mapping[str, Sequence[Sequence[tuple[float, float]]]]],
) -> dict[str, list[list[tuple[float, Spread]]]]:
    """Means and spreads over runs of what `within_tasks` gives for each of them.

    Only tasks that all runs have finished, and quantities that all have logged.
    """
    found = {}
    for name in each[0]:
        if all(name in quantities for quantities in each):
            by_task = zip(*(quantities[name] for quantities in each), strict=False)
            found[name] = [mean_curve(points) for points in by_task]
    return {name: tasks for name, tasks in found.items() if any(tasks)}


def groups(runs: Sequence[Run]) -> list[Group]:
    """Runs in groups that share learner, settings and tasks, in the order they are given."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(json.dumps(_identity(run), sort_keys=True, default=str), []).append(run)
    gathered = [sorted(found, key=lambda run: str(run.seed)) for found in members.values()]
    names = _names([found[0] for found in gathered])
    return [Group(name, tuple(found)) for name, found in zip(names, gathered, strict=True)]


def _identity(run: Run) -> dict[str, Any]:
    """What a group's runs share, flat; with it a group is told from others of its method."""
    settings = {key: value for key, value in run.all_settings.items() if key != "seed"}
    classes = [len(task) for task in run.stream.get("task_classes", ())]
    sizes = f"{classes[0]} each" if len(set(classes)) == 1 else str(classes)
    return {
        "method": run.method,
        "data": run.dataset,
        # The same name may stand for other images; the fingerprint is of them alone, whatever the
        # seed.
        "images": run.stream.get("fingerprint") or run.stream.get("source"),
        "image shape": run.stream.get("image_shape"),
        "validation share": run.stream.get("validation_fraction"),
        "tasks": f"{run.tasks} of {sizes}",
    } | settings


def _names(first: Sequence[Run]) -> list[str]:
    """Methods, with the settings in which groups of the same method differ."""
    identities = [_identity(run) for run in first]
    names = []
    for identity in identities:
        same = [other for other in identities if other["method"] == identity["method"]]
        differing = [
            f"{key} {identity.get(key)}"
            for key in dict.fromkeys(itertools.chain(*same))
            if len({json.dumps(other.get(key), default=str) for other in same}) > 1
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


def by_class(row: Row, key: str) -> Mapping[int, Any]:
    """A dictionary of a row by class id or task; JSON has made text of its keys."""
    return {int(label): value for label, value in (row.get(key) or {}).items()}
