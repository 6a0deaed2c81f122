"""How near replayed memory comes to having kept the images, against what was aimed at."""

from collections.abc import Mapping, Sequence

from dgm_tf.reporting import numbers, table
from dgm_tf.reporting.numbers import Spread
from dgm_tf.reporting.run import Run

BEGIN, END = "<!-- goals:begin -->", "<!-- goals:end -->"

# Joint training's accuracy less this many points; of another data set, this share of it.
_POINTS: Mapping[str, float] = {"mnist": 1.0}
_SHARE = 0.95

_CLASSES = [1] * 10  # of each task; other streams are shown without a goal

_HEADER = (
    "data set", "tasks", "method", "n", "joint training", "A", "share of it", "goal", ""
)  # fmt: skip


def markdown(runs: Sequence[Run]) -> str:
    """A row for each method of each stream that joint training has learnt, too; in percent.

    Means over seeds after the last task.

    Args:
        runs: that have learnt all their tasks.
    """
    rows = []
    for scenario in dict.fromkeys(run.scenario for run in runs):
        found: dict[str, list[Run]] = {}
        for run in runs:
            if run.scenario == scenario:
                found.setdefault(run.learner, []).append(run)
        if joint := found.pop("joint", None):
            rows += [_cells(mine, joint) for mine in found.values()]
    return table.markdown_table(_HEADER, rows)


def _cells(mine: Sequence[Run], joint: Sequence[Run]) -> list[str]:
    run, bound, reached = mine[0], _accuracy(joint), _accuracy(mine)
    cells = [
        run.dataset,
        f"{run.tasks}",
        run.method,
        f"{len(mine)}",
        numbers.with_spread(bound),
        numbers.with_spread(reached),
        f"{reached.mean / bound.mean:.3f}",
    ]
    if [len(classes) for classes in run.stream["task_classes"]] != _CLASSES:
        return [*cells, "", ""]
    points = _POINTS.get(run.dataset)
    goal = _SHARE * bound.mean if points is None else bound.mean - points
    lacking = goal - reached.mean
    return [*cells, f"{goal:.2f}", "reached" if lacking <= 0 else f"missed by {lacking:.2f}"]


def _accuracy(runs: Sequence[Run]) -> Spread | None:
    return numbers.spread(100 * run.rows[-1]["average_accuracy"] for run in runs)
