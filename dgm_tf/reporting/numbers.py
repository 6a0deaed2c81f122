"""The numbers behind each picture: pure functions of the rows of metrics.jsonl.

Rows are as `dgm_tf.reporting.tables` describes them. A quantity that a row does not have is left
out and never taken for 0: a learner without a generator gives fewer pictures. Percent are 0 to 100.
"""

import dataclasses
import itertools
import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.reporting.run import Row, Run

# (task or another x, value) in order.
Curve = list[tuple[float, float]]

ALL_LAYERS = "all layers"
_BOUNDS = {"joint": "upper bound, ", "fine_tune": "lower bound, "}  # by learner


def curve(rows: Sequence[Row], key: str, *, factor: float = 1.0) -> Curve:
    """A quantity after each task that has it, times a factor."""
    return [(row["task"], factor * row[key]) for row in rows if row.get(key) is not None]


def by_class(row: Row, key: str) -> dict[int, Any]:
    """A dictionary of a row by class id or task; JSON has made text of its keys."""
    return {int(label): value for label, value in row.get(key, {}).items()}


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
    place = {label: index for index, label in enumerate(classes)}
    table = np.full((len(rows), len(classes)), np.nan)
    for task, row in enumerate(rows):
        for label, value in by_class(row, key).items():
            table[task, place[label]] = 100.0 * value
    return classes, table


def growth(rows: Sequence[Row]) -> dict[str, Curve]:
    """Units of all layers together, then of each by its name.

    Returns:
        (task, units) before task 1, which is task 0, and after the growth of each task; empty for
        a learner that does not grow.
    """
    if not rows or "layer_widths" not in rows[0]:
        return {}
    widths = [rows[0]["initial_layer_widths"], *(row["layer_widths"] for row in rows)]
    tasks = [0, *(row["task"] for row in rows)]
    found = {ALL_LAYERS: list(zip(tasks, map(sum, widths), strict=True))}
    for layer, units in zip(rows[0]["layers"], zip(*widths, strict=True), strict=True):
        found[layer["layer"].replace("_", " ")] = list(zip(tasks, units, strict=True))
    return found


def worst_case(units: Curve) -> Curve:
    """The growth that adds the initial size after every task (Figure 2), over the same tasks."""
    (_, initial), *_ = units
    return [(task, worst_units(initial, task)) for task, _ in units]


def worst_units(initial: int, task: int) -> int:
    """Units after a task of a generator that adds its initial units after each (Figure 2)."""
    return initial * (task + 1)


def mask_use(rows: Sequence[Row]) -> dict[str, Curve]:
    """Numbers of weights (variant w) or units (variant a) after each task, by their use.

    Returns:
        By "newly reserved" (free ones that the task's mask took), "reused" (earlier tasks' that it
        uses too) and "left free" (before the generator grew); empty unless every row has masks.
    """
    if not rows or not all("layers" in row and "mask_overlap" in row for row in rows):
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
    """Percent [tasks, tasks] of the mask of the row's task that the column's task uses too.

    NaN where a row has no count: it has those of the last tasks. None unless every row has some.
    """
    if not rows or not all("mask_overlap" in row for row in rows):
        return None
    counts = [row["mask_overlap"] for row in rows]
    both = np.full((len(counts), len(counts)), np.nan)
    for task, shared in enumerate(counts):
        others = slice(task + 1 - len(shared), task + 1)
        both[task, others] = both[others, task] = shared
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
        last = {name: [value] for name, value in row["last_epoch"].items()}
        for name, values in row.get("history", last).items():
            found.setdefault(name, []).extend(
                (row["task"] - 0.5 + (epoch + 0.5) / len(values), value)
                for epoch, value in enumerate(values)
                if value is not None
            )
    return found


# Several runs.


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (None for one value) and number of some values."""

    mean: float
    deviation: float | None
    n: int


# Means and spreads over tasks, or over other x, in order.
Points = list[tuple[float, Spread]]


def spread(values: Sequence[float]) -> Spread:
    """Mean, deviation and number of one value or more."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, len(values))


def mean_curve(curves: Sequence[Curve]) -> Points:
    """Mean and spread after each task, or at each other x, that every curve has.

    Beyond the last common task the mean would be over other runs than before it, and a step in
    the curve would be theirs.
    """
    by_task = [dict(values) for values in curves]
    common = sorted(set.intersection(*map(set, by_task)))
    return [(task, spread([values[task] for values in by_task])) for task in common]


def mean_curves(each: Sequence[Mapping[str, Curve]]) -> dict[str, Points]:
    """The same of several curves by name: those that every run has, and of which a point is left.

    Args:
        each: curves of each run, such as `mask_use` or `within_tasks` gives.
    """
    common = [name for name in each[0] if all(name in curves for curves in each)]
    means = {name: mean_curve([curves[name] for curves in each]) for name in common}
    return {name: points for name, points in means.items() if points}


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
        """The name with the number of runs, and whether it is a bound of accuracy."""
        bound = _BOUNDS.get(self.runs[0].learner, "")
        return f"{self.name} ({bound}n = {len(self.runs)})"

    @property
    def learnt(self) -> int:
        """Number of tasks that every run has finished."""
        return min(len(run.rows) for run in self.runs)


def groups(runs: Sequence[Run]) -> list[Group]:
    """Runs in groups of one method, settings and tasks, in the order they are given.

    Raises:
        InputError: two of a group have one seed, so that they are no two trials.
    """
    members: dict[str, list[Run]] = {}
    for run in runs:
        # A folder that was moved has another name: the fingerprint tells its images.
        same = {key: value for key, value in _identity(run).items() if key != "data"}
        members.setdefault(_as_text(same), []).append(run)
    gathered = [sorted(found, key=lambda run: run.seed) for found in members.values()]
    for first, second in (pair for found in gathered for pair in itertools.pairwise(found)):
        if first.seed == second.seed:
            raise InputError(
                f"{first.path} and {second.path} have the same settings and seed {first.seed}, so "
                "that they are no two trials: name one of them"
            )
    names = _names([_identity(found[0]) for found in gathered], _stream(runs[0]) if runs else ())
    return [Group(name, tuple(found)) for name, found in zip(names, gathered, strict=True)]


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def stream_key(run: Run) -> str:
    """The same text for runs on the same images and tasks, whatever the order of the classes."""
    return run.scenario if run.is_open else _as_text(_stream(run))


def _stream(run: Run) -> dict[str, Any]:
    """What tells a stream's images and tasks from others, except for a folder's name."""
    classes = [len(task) for task in run.task_classes]
    sizes = f"{classes[0]} each" if len(set(classes)) == 1 else str(classes)
    return {
        "image shape": run.stream["image_shape"],
        "validation fraction": run.stream["validation_fraction"],
        "tasks": f"{run.tasks} of {sizes}",
        # The same name may stand for other images; whatever the seed, the fingerprint is the same.
        "images": run.fingerprint,
    }


def _identity(run: Run) -> dict[str, Any]:
    """All that a group's runs have in common, by which one is told from others of its method."""
    settings = {key: value for key, value in run.settings.items() if key != "seed"}
    return {"method": run.method, "data": run.dataset, **_stream(run), **settings}


def _names(identities: Sequence[Mapping[str, Any]], of_stream: Collection[str]) -> list[str]:
    """Methods, with what sets groups apart that stand together.

    That is the data; and on the same data the tasks and whatever else is `of_stream`, and the
    settings in which groups of one method differ.
    """
    names = []
    for identity in identities:
        of_data = [each for each in identities if _same_data(identity, each)]
        of_method = [other for other in of_data if other["method"] == identity["method"]]
        differing = [
            f"{key} {identity.get(key)}"
            for key in dict.fromkeys(key for other in of_method for key in other if key != "data")
            if _differ(of_data if key in of_stream else of_method, key)
        ]
        data = [f"data {identity['data']}"] if len(of_data) < len(identities) else []
        names.append(", ".join([identity["method"], *data, *differing]))
    return names


def _same_data(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs are on one data set; a folder that was moved has another name."""
    return any(one[key] == other[key] for key in ("data", "images"))


def _differ(identities: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({_as_text(identity.get(key)) for identity in identities}) > 1
