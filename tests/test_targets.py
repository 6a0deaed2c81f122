"""results/targets.csv: what each method reaches at which budget, and that it still does.

A row says: after task `after_task` the `measure` of a method, 0 to 1, mean over the seeds at hand,
is at least `value - tolerance`. `budget` is a preset, whose runs are rows of results/runs.csv, or
`quick`, the budget of `trainers.table1 --quick`, which is learnt here (-m slow).
"""

import csv
import json
import statistics
from pathlib import Path

import pytest

from dgm_tf.experiments import grid
from dgm_tf.reporting.run import read_run
from studies import results
from trainers import table1

RESULTS = results.RUNS.parent
MEASURES = {"average_accuracy": "A", "oracle_accuracy": "G"}
COLUMNS = [
    "dataset", "tasks", "method", "budget", "measure", "after_task", "value", "tolerance"
]  # fmt: skip


def targets(*budgets):
    with open(RESULTS / "targets.csv", encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["budget"] in budgets]


def reached(target):
    """The mean over the committed runs that a target is about."""
    name, _, variant = target["method"].partition("-")
    tasks = int(target["tasks"])
    runs = results.whole_runs(results.read(), target["dataset"], name, variant, tasks)
    measure = MEASURES[target["measure"]] + target["after_task"]
    return statistics.fmean(row[measure] for row in runs) / 100


def learnt(target, root):
    """The same of runs whose folders are there."""
    runs = Path(root).glob(f"{target['dataset']}-{target['tasks']}/{target['method']}/seed*")
    rows = [read_run(folder).rows[int(target["after_task"]) - 1] for folder in runs]
    return statistics.fmean(row[target["measure"]] for row in rows)


def lowest(target):
    return float(target["value"]) - float(target["tolerance"])


def named(target):
    return "-".join(
        target[column] for column in ("dataset", "tasks", "method", "measure", "after_task")
    )


def test_the_file_is_as_it_is_read_here():
    with open(RESULTS / "targets.csv", encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == COLUMNS
    every = targets("tuned", "paper", "quick")
    assert len(every) == len({tuple(row.values()) for row in every}) > 0
    for target in every:
        assert target["method"] in grid.METHODS
        assert 0 < lowest(target) <= float(target["value"]) <= 1


@pytest.mark.parametrize("target", targets("tuned", "paper"), ids=named)
def test_committed_results_reach_their_targets(target):
    assert reached(target) >= lowest(target)


def test_every_whole_run_by_the_defaults_has_floors():
    held = {
        (target["dataset"], int(target["tasks"]), target["method"]) for target in targets("tuned")
    }
    runs = {
        (row["dataset"], row["tasks"], "-".join(filter(None, (row["method"], row["variant"]))))
        for row in results.read()
        if row["group"] == results.DEFAULTS and row["tasks"] in (5, 10)
    }
    assert held == runs


@pytest.mark.parametrize("target", targets("tuned", "paper")[:1], ids=named)
def test_a_result_that_falls_short_is_noticed(target):
    short = {**target, "value": str(float(target["value"]) + 0.2)}
    assert reached(short) < lowest(short)


def test_committed_memories_are_exact():
    memories = [row for row in results.read() if row["method"] == "dgm"]
    # Learnt on a GPU before it was made exact there.
    inexact = {row["group"] for row in memories if row["changed_pixels"]}
    assert inexact == {"variations/generator-24-batch-128"}
    assert all(row["changed_pixels"] is not None for row in memories)


@pytest.mark.parametrize(
    "metrics",
    sorted(RESULTS.rglob("dgm-*/seed*/metrics.jsonl")),
    ids=lambda path: "-".join(path.relative_to(RESULTS).parts[:-1]),
)
def test_committed_memories_have_room(metrics):
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    layers = [layer for row in rows for layer in row["layers"]]
    assert [layer for layer in layers if layer["free"] < layer["initial_free"]] == []
    tasks = int(metrics.parts[-4].rpartition("-")[2])
    assert len(layers) == 3 * len(rows) == 3 * tasks


@pytest.mark.slow
def test_quick_runs_reach_their_targets(tmp_path):
    assert table1.main(["--quick", f"--results={tmp_path}"]) == 0
    short = {
        named(target): (learnt(target, tmp_path / "quick"), lowest(target))
        for target in targets("quick")
        if not learnt(target, tmp_path / "quick") >= lowest(target)
    }
    assert targets("quick") and short == {}
