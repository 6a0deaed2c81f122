"""The table over methods: its numbers by hand, and the text around them."""

import csv
import io

import numpy as np
import pytest

from dgm_tf.reporting import table
from tests.reporting.example import description, row, write_run

TASKS = 5


def run(root, learner, seed=0, *, accuracy=0.9, tasks=TASKS, **changes):
    generates = learner != "joint"
    rows = [
        row(task, generates=generates, average_accuracy=accuracy, seconds=60.0, **changes)
        for task in range(1, tasks + 1)
    ]
    folder = root / f"toys-{TASKS}" / learner / f"seed{seed}"
    return write_run(folder, rows, description(tasks=TASKS, learner=learner, seed=seed))


@pytest.fixture
def root(tmp_path):
    run(tmp_path, "dgm-w", 0, accuracy=0.8, oracle_accuracy=0.5)
    run(tmp_path, "dgm-w", 1, accuracy=0.9, oracle_accuracy=0.7)
    run(tmp_path, "joint", 0, accuracy=0.95)
    run(tmp_path, "joint", 1, accuracy=0.99)
    run(tmp_path, "ewc", 0, accuracy=0.3)
    run(tmp_path, "dgr", 0, tasks=3)  # still running
    return tmp_path


def cells(root, learner):
    ((_, rows),) = table.tables(table.finished_runs(root)).items()
    (found,) = [row for row in rows if row.runs[0].learner == learner]
    return dict(zip([column.title for column in table.COLUMNS], found.cells, strict=True))


def test_mean_deviation_and_number_of_seeds(root):
    found = cells(root, "dgm-w")
    assert found["A5"].mean == pytest.approx(85.0) and found["A5"].n == 2
    assert found["A5"].deviation == pytest.approx(np.std([80, 90], ddof=1))
    assert found["G5"].mean == pytest.approx(60.0)
    assert found["minutes"].mean == pytest.approx(TASKS)
    assert found["A10"] is None
    assert cells(root, "ewc")["A5"].deviation is None


def test_a_stream_of_another_number_of_tasks_has_its_last_accuracy(root, tmp_path):
    used = table.markdown(table.finished_runs(root)).splitlines()[2]
    assert "last A" not in used  # it is A5
    for learner, last in (("dgm-w", 0.75), ("joint", 0.25)):
        rows = [
            row(1, generates=learner == "dgm-w", average_accuracy=0.5, oracle_accuracy=0.5),
            row(2, generates=learner == "dgm-w", average_accuracy=last, oracle_accuracy=0.625),
        ]
        folder = tmp_path / "other" / "toys-2" / learner / "seed0"
        write_run(folder, rows, description(tasks=2, learner=learner, seed=0))
    header, _, joint, memory = table.markdown(table.finished_runs(tmp_path / "other")).splitlines()[
        2:6
    ]
    assert header.startswith("| method | n | last A | last G | forgetting |")
    assert joint.startswith("| joint training | 1 | 25.00 | ")
    assert memory.startswith("| DGMw | 1 | 75.00 | 62.50 |")


def test_intransigence_is_the_distance_to_joint_training_of_the_same_seed(root):
    assert cells(root, "dgm-w")["intransigence"].mean == pytest.approx((15 + 9) / 2)
    assert cells(root, "joint")["intransigence"] is None


def test_joint_training_of_another_stream_is_no_reference_for_a_seed(root, tmp_path):
    before = table.markdown(table.finished_runs(root)).splitlines()
    described = description(tasks=TASKS, learner="joint", seed=0)
    described["scenario"] += " of another kind"
    rows = [row(task, generates=False, average_accuracy=0.1) for task in range(1, TASKS + 1)]
    write_run(tmp_path / f"more-{TASKS}" / "joint" / "seed0", rows, described)
    after = table.markdown(table.finished_runs(root)).splitlines()
    assert after[: len(before)] == before


def test_growth_and_drift(root, tmp_path):
    # Widths 9 and 2 against 6 times 4 and 2; nothing has drifted.
    found = cells(root, "dgm-w")
    assert found["of worst size"].mean == pytest.approx(100 * 11 / 36)
    assert found["changed pixels"].mean == 0.0
    run(tmp_path, "ewc", 0, audit={"1": 1024, "2": 0}, audit_pixels={"1": 1024, "2": 1024, "3": 9})
    assert cells(root, "ewc")["changed pixels"].mean == pytest.approx(50.0)
    assert cells(root, "joint")["changed pixels"] is None


def test_rows_stand_in_the_papers_order_and_unfinished_runs_are_left_out(root):
    ((_, rows),) = table.tables(table.finished_runs(root)).items()
    assert [row.runs[0].learner for row in rows] == ["joint", "ewc", "dgm-w"]


def test_the_markdown_has_every_seed_the_scenario_and_the_commands(root):
    text = table.markdown(table.finished_runs(root))
    assert text.startswith("Class-incremental, 5 tasks of 1 class, toys.")
    lines = text.splitlines()
    (header,) = [line for line in lines if line.startswith("| method")]
    assert "| A10 |" not in header and "| A5 | G5 |" in header
    assert any(line.startswith("| DGMw | 2 | 85.00 ± 7.07 |") for line in lines)
    assert any(line.startswith("| - seed 1 |  | 90.00 |") for line in lines)
    assert text.count("    python -m trainers.toys") == 5
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert len(widths) == 1


def test_the_papers_numbers_stand_beside_the_papers_stream_alone(tmp_path):
    described = description(tasks=10, learner="dgm-w")
    described["stream"]["name"] = "mnist"
    rows = [row(task) for task in range(1, 11)]
    write_run(tmp_path / "mnist-10" / "dgm-w" / "seed0", rows, described)
    assert "98.26, 96.33 |" in table.markdown(table.finished_runs(tmp_path))
    described["stream"]["task_classes"] = [[0, 1]] + [[label] for label in range(2, 11)]
    write_run(tmp_path / "mnist-10" / "dgm-w" / "seed0", rows, described)
    assert "98.26" not in table.markdown(table.finished_runs(tmp_path))


def test_csv_and_latex_hold_the_same_numbers(root):
    runs = table.finished_runs(root)
    lines = list(csv.DictReader(io.StringIO(table.as_csv(runs))))
    (found,) = [line for line in lines if (line["method"], line["measure"]) == ("DGMw", "A5")]
    assert float(found["mean"]) == 85.0 and found["n"] == "2"
    text = table.latex(runs)
    assert r"85.00 $\pm$ 7.07" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.count("&") for line in rows}) == 1


def test_runs_with_other_settings_are_not_averaged_with_the_rest(root, tmp_path):
    rows = [row(task, average_accuracy=0.1) for task in range(1, TASKS + 1)]
    described = description(tasks=TASKS, learner="dgm-w", seed=2, sparsity=0.5)
    write_run(tmp_path / f"toys-{TASKS}" / "dgm-w" / "seed2", rows, described)
    ((_, found),) = table.tables(table.finished_runs(root)).items()
    assert [len(row.runs) for row in found if row.runs[0].learner == "dgm-w"] == [2, 1]
