"""Methods next to each other: their numbers by hand, and the text around them."""

import csv
import io

import numpy as np
import pytest

from dgm_tf.reporting import comparison
from dgm_tf.reporting.numbers import groups
from dgm_tf.reporting.run import read_run
from tests.reporting.example import description, row, write_run

TASKS = 5


def run(root, learner, seed=0, *, accuracy=0.9, learnt=TASKS, tasks=TASKS, **changes):
    """A run whose accuracy is the same after every task."""
    rows = [
        row(task, generates=learner != "joint", average_accuracy=accuracy, seconds=60.0, **changes)
        for task in range(1, learnt + 1)
    ]
    described = description(tasks=tasks, learner=learner, seed=seed)
    return write_run(root / f"toys-{tasks}" / learner / f"seed{seed}", rows, described)


@pytest.fixture
def root(tmp_path):
    run(tmp_path, "dgm-w", 0, accuracy=0.8, oracle_accuracy=0.5)
    run(tmp_path, "dgm-w", 1, accuracy=0.9, oracle_accuracy=0.7)
    run(tmp_path, "joint", 0, accuracy=0.95)
    run(tmp_path, "joint", 1, accuracy=0.99)
    run(tmp_path, "ewc", 0, accuracy=0.3)
    run(tmp_path, "dgr", 0, learnt=3)  # still running
    return tmp_path


def finished_runs(root):
    runs = [read_run(path.parent) for path in root.glob("*/*/seed*/metrics.jsonl")]
    return comparison.in_order(run for run in runs if len(run.rows) == run.tasks)


def rows_by_learner(root):
    runs = finished_runs(root)
    return {group.runs[0].learner: comparison.cells_of(group, runs) for group in groups(runs)}


def test_mean_deviation_and_number_of_seeds(root):
    found = rows_by_learner(root)["dgm-w"]
    assert found["A5"].mean == pytest.approx(85.0) and found["A5"].n == 2
    assert found["A5"].deviation == pytest.approx(np.std([80, 90], ddof=1))
    assert found["G5"].mean == pytest.approx(60.0)
    assert found["minutes"].mean == pytest.approx(TASKS)
    assert found["A10"] is None and found["last A"] is None  # it is A5
    assert rows_by_learner(root)["ewc"]["A5"].deviation is None


def test_a_stream_of_another_number_of_tasks_has_its_last_accuracy(tmp_path):
    for learner, last in (("dgm-w", 0.75), ("joint", 0.25)):
        run(tmp_path, learner, accuracy=last, tasks=2, learnt=2, oracle_accuracy=0.625)
    found = rows_by_learner(tmp_path)
    assert [found[learner]["last A"].mean for learner in ("dgm-w", "joint")] == [75, 25]
    assert found["dgm-w"]["last G"].mean == 62.5 and found["dgm-w"]["A5"] is None


def test_the_gap_to_joint_is_the_distance_to_joint_training_of_the_same_stream_and_seed(root):
    found = rows_by_learner(root)
    assert found["dgm-w"]["gap to joint"].mean == pytest.approx((15 + 9) / 2)
    assert found["joint"]["gap to joint"] is None
    run(root, "joint", 0, accuracy=0.1, tasks=3, learnt=3)
    assert rows_by_learner(root)["dgm-w"]["gap to joint"].mean == pytest.approx((15 + 9) / 2)


def test_of_two_joint_trainings_by_other_settings_none_is_the_bound(root):
    rows = [row(task, generates=False) for task in range(1, TASKS + 1)]
    write_run(root / "x" / "y" / "seed0", rows, description(tasks=TASKS, learner="joint", epochs=9))
    assert rows_by_learner(root)["dgm-w"]["gap to joint"] is None


def test_growth_and_drift(root):
    # Widths 9 and 2 against 6 times 4 and 2; nothing has drifted.
    found = rows_by_learner(root)["dgm-w"]
    assert found["of worst size"].mean == pytest.approx(100 * 11 / 36)
    assert found["changed pixels"].mean == 0.0
    run(root, "ewc", 0, audit={"1": 1024, "2": 0}, audit_pixels={"1": 1024, "2": 1024, "3": 9})
    assert rows_by_learner(root)["ewc"]["changed pixels"].mean == pytest.approx(50.0)
    assert rows_by_learner(root)["joint"]["changed pixels"] is None


def test_unfinished_runs_are_compared_where_all_of_a_method_are(root):
    def cells_with(learnt):
        run(root, "dgm-w", 1, accuracy=0.9, learnt=learnt)
        runs = [read_run(root / f"toys-5/dgm-w/seed{seed}") for seed in (0, 1)]
        return comparison.cells_of(*groups(runs), runs)

    found = cells_with(3)
    assert found["minutes"].mean == pytest.approx(3) and found["A5"] is None
    assert cells_with(0) == {}


def test_bytes_and_audits_are_those_after_the_last_task_that_all_have(root):
    run(root, "dgm-w", 1, learnt=3)
    for seed, learnt in ((0, 5), (1, 3)):
        saved = root / "toys-5" / "dgm-w" / f"seed{seed}" / "checkpoints"
        for task in range(1, learnt + 1):
            (saved / f"task-{task:02}").mkdir(parents=True)
            for name in ("finished", "arrays"):
                (saved / f"task-{task:02}" / f"{name}.safetensors").write_bytes(bytes(1_000_000))
    runs = [read_run(root / f"toys-5/dgm-w/seed{seed}") for seed in (0, 1)]
    table = comparison.compared(groups(runs))
    cells = dict(zip(table.header, table.rows[0], strict=True))
    # Each has 3 finished tasks and the arrays of one, and has audited 2 earlier tasks.
    assert (cells["kept, MB"], cells["exact memories"]) == ("4.00", "4 of 4")


def test_a_number_that_one_seed_lacks_is_na(root):
    run(root, "dgm-w", 1, oracle_accuracy=None)
    assert rows_by_learner(root)["dgm-w"]["G5"] is None


def test_rows_stand_from_the_bounds_to_ours_and_unfinished_runs_are_left_out(root):
    run(root, "dgm-a")
    assert list(rows_by_learner(root)) == ["joint", "ewc", "dgm-w", "dgm-a"]


def test_the_markdown_has_every_seed_the_scenario_and_the_commands(root):
    text = comparison.markdown(finished_runs(root))
    assert text.startswith("Class-incremental, 5 tasks of 1 class, toys.")
    lines = text.splitlines()
    assert lines[2].startswith("| method | n | A5 | G5 | mean A | forgetting |")
    assert any(
        line.startswith("| DGMw | 2 | 85.00 ± 7.07 | 60.00 ± 14.14 | 85.00 ± 7.07 |")
        for line in lines
    )
    assert any(line.startswith("| - seed 1 |  | 90.00 | 70.00 |") for line in lines)
    assert text.count("    python -m trainers.toys") == 5
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_a_star_marks_methods_that_see_real_images_of_earlier_tasks(root):
    run(root, "experience_replay", 0, accuracy=0.9)
    text = comparison.markdown(finished_runs(root))
    starred = {line.split(" |")[0] for line in text.splitlines() if " * |" in line}
    assert starred == {"| joint training *", "| experience replay *"}
    assert "\\* keeps or reads real images of earlier tasks" in text
    assert "?" not in text
    private = [each for each in finished_runs(root) if each.learner in ("dgm-w", "ewc")]
    assert "*" not in comparison.markdown(private)


def test_of_a_method_that_is_not_known_it_is_not_claimed_that_it_is_private(root):
    run(root, "elsewhere", 0, accuracy=0.9)
    text = comparison.markdown(finished_runs(root))
    assert (
        "| elsewhere ? |" in text
        and text.count("DGM_METHODS=MODULE before the command makes it known") == 1
    )


def test_seeds_that_shuffle_the_classes_are_one_row_below_their_scenarios(tmp_path):
    for seed, order in ((0, "0, 1"), (1, "1, 0")):
        described = description(tasks=2, seed=seed)
        described["scenario"] = f"order {order}"
        described["stream"]["task_classes"] = [[int(order[0])], [int(order[-1])]]
        rows = [row(task, average_accuracy=0.5 + 0.2 * seed) for task in (1, 2)]
        write_run(tmp_path / str(seed), rows, described)
    runs = comparison.in_order(map(read_run, tmp_path.iterdir()))
    lines = comparison.as_text(runs).splitlines()
    assert lines[:2] == ["order 0, 1", "order 1, 0"] and len(lines) == 4
    assert lines[3].split()[:5] == ["DGMw", "2", "60.00", "±", "14.14"]
    assert comparison.markdown(runs).startswith("Order 0, 1. Order 1, 0.\n\n| method | n |")
    assert "order 0, 1; order 1, 0; mean and standard" in comparison.latex(runs)
    cell = next(csv.DictReader(io.StringIO(comparison.as_csv(runs))))
    assert (cell["scenario"], cell["n"]) == ("order 0, 1; order 1, 0", "2")


def test_no_name_is_a_command_to_latex(tmp_path):
    described = description(tasks=2)
    described["scenario"] = r"folder a^b~{c}\d 5%_#&$"
    write_run(tmp_path, [row(1), row(2)], described)
    assert (
        r"\caption{folder a\^{}b\~{}\{c\}\textbackslash{}d 5\%\_\#\&\$; mean and"
        in comparison.latex([read_run(tmp_path)])
    )


def test_csv_and_latex_hold_the_same_numbers(root):
    runs = finished_runs(root)
    lines = list(csv.DictReader(io.StringIO(comparison.as_csv(runs))))
    (found,) = [line for line in lines if (line["method"], line["measure"]) == ("DGMw", "A5")]
    assert float(found["mean"]) == 85.0 and found["n"] == "2"
    text = comparison.latex(runs)
    assert r"85.00 $\pm$ 7.07" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.count("&") for line in rows}) == 1


def test_the_mean_over_tasks_is_the_average_incremental_accuracy(tmp_path):
    path = run(tmp_path, "dgm-w")
    rows = [row(task, average_accuracy=value) for task, value in enumerate((1.0, 0.8, 0.6), 1)]
    write_run(path, rows, description(tasks=3, learner="dgm-w"))
    assert comparison.measures(read_run(path))["mean A"] == pytest.approx(80.0)
    rows[1]["average_accuracy"] = None
    write_run(path, rows, description(tasks=3, learner="dgm-w"))
    assert comparison.measures(read_run(path))["mean A"] is None


def test_the_text_shows_budgets_and_bytes_next_to_each_other(root):
    run(root, "ewc", 0, accuracy=0.3, steps=None)
    saved = root / "toys-5" / "dgm-w" / "seed0" / "checkpoints"
    for task, size in (1, 500_000), (5, 1_000_000):
        (saved / f"task-{task:02}").mkdir(parents=True)
        (saved / f"task-{task:02}" / "finished.safetensors").write_bytes(bytes(size))
    (saved / "task-05" / "arrays.safetensors").write_bytes(bytes(2_000_000))
    runs = [each for each in finished_runs(root) if each.seed == 0]
    lines = comparison.as_text(runs).splitlines()
    assert lines[0] == runs[0].scenario
    steps, kept = lines[1].index("steps") + 5, lines[1].index("kept, MB") + 8
    found = {
        line.split("  ")[0].strip() or line.split()[0]: (
            line[:steps].split()[-1],
            line[:kept].split()[-1],
        )
        for line in lines[2:]
        if line.strip().startswith(("DGMw", "EWC", "joint"))
    }
    each = row(1)["steps"]
    assert found["DGMw"] == (str(5 * each), "3.50")
    assert found["EWC"] == ("n/a", "n/a")
    assert lines[-1].startswith("* keeps or reads real images")
