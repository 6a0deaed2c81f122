"""results/targets.csv: what each method reaches at which budget, and that it still does.

A row says: after task `after_task` the `measure` of a method, 0 to 1, mean over the seeds at hand,
is at least `value - tolerance`. `budget` is a preset, whose runs are committed under results/, or
`quick`, the budget of `trainers.table1 --quick`, which is learnt anew here (-m slow).
"""

import csv
import statistics
from pathlib import Path

import pytest

from dgm_tf.experiments import grid
from dgm_tf.reporting.run import read_run
from trainers import table1

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
COLUMNS = [
    "dataset", "tasks", "method", "budget", "measure", "after_task", "value", "tolerance"
]  # fmt: skip


def targets(*budgets):
    with open(RESULTS / "targets.csv", encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["budget"] in budgets]


def reached(target, root):
    """The mean over the runs that a target is about."""
    runs = Path(root).glob(f"{target['dataset']}-{target['tasks']}/{target['method']}/seed*")
    rows = [read_run(folder).rows[int(target["after_task"]) - 1] for folder in runs]
    return statistics.fmean(row[target["measure"]] for row in rows)


def lowest(target):
    return float(target["value"]) - float(target["tolerance"])


def named(target):
    return "-".join(target[column] for column in ("dataset", "method", "measure", "after_task"))


def test_the_file_is_as_it_is_read_here():
    with open(RESULTS / "targets.csv", encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == COLUMNS
    every = targets("cpu", "paper", "quick")
    assert len(every) == len({tuple(row.values()) for row in every}) > 0
    for target in every:
        assert target["method"] in grid.METHODS
        assert 0 < lowest(target) <= float(target["value"]) <= 1


@pytest.mark.parametrize("target", targets("cpu", "paper"), ids=named)
def test_committed_results_reach_their_targets(target):
    assert reached(target, RESULTS) >= lowest(target)


@pytest.mark.parametrize("target", targets("cpu", "paper")[:1], ids=named)
def test_a_result_that_falls_short_is_noticed(target):
    short = {**target, "value": str(float(target["value"]) + 0.2)}
    assert reached(short, RESULTS) < lowest(short)


@pytest.mark.parametrize(
    "folder",
    sorted([*RESULTS.glob("*/dgm-*/seed*"), *RESULTS.glob("accuracy/*/dgm-*/seed*")]),
    ids=lambda path: "-".join(path.relative_to(RESULTS).parts),
)
def test_committed_memories_are_exact_and_have_room(folder):
    rows = read_run(folder).rows
    assert [pixels for row in rows for pixels in row["audit"].values() if pixels] == []
    assert [len(row["audit"]) for row in rows] == list(range(len(rows)))
    with open(folder / "growth.csv", encoding="utf-8", newline="") as file:
        layers = list(csv.DictReader(file))
    assert [layer for layer in layers if int(layer["free"]) < int(layer["initial_free"])] == []
    assert len(layers) == 3 * len(rows)


@pytest.mark.slow
def test_quick_runs_reach_their_targets(tmp_path):
    assert table1.main(["--quick", f"--results={tmp_path}"]) == 0
    short = {
        named(target): (reached(target, tmp_path / "quick"), lowest(target))
        for target in targets("quick")
        if not reached(target, tmp_path / "quick") >= lowest(target)
    }
    assert targets("quick") and short == {}
