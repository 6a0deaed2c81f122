"""Whole runs by other settings."""

import dataclasses
from pathlib import Path

from dgm_tf.reporting import variations
from dgm_tf.reporting.run import Run, read_run
from dgm_tf.settings import settings_for
from tests.reporting.example import description, row, write_run


def described(seed=0, *, without=(), **changed):
    settings = dataclasses.asdict(settings_for("toys", "w", seed=seed)) | changed
    kept = {name: value for name, value in settings.items() if name not in without}
    return description(tasks=5, seed=seed) | {"settings": kept, "command": f"learn {changed}"}


def test_a_line_says_what_was_changed_and_what_came_of_it(tmp_path):
    rows = [row(task, oracle_accuracy=0.7) for task in range(1, 6)]
    folder = tmp_path / "variations"
    write_run(folder / "b/toys-5/dgm-w/seed0", rows, described(epochs=3, replay="full"))
    write_run(folder / "a/toys-5/dgm-w/seed0", rows, described(s_max=5.0))
    write_run(folder / "c/toys-5/dgm-w/seed0", rows[:4], described(epochs=9))  # not finished
    table, commands = variations.markdown(variations.runs(tmp_path)).split("\n\nMade by\n\n")
    todays = settings_for("toys", "w")
    first, second = table.splitlines()[2:]
    wanted = "| a | toys | 5 | DGMw | 0 | s_max 5.0 for 10000.0 | 95.00 | 70.00 | n/a | "
    assert first.startswith(wanted)
    assert second.startswith("| b | toys | 5 | DGMw | 0 | epochs 3")
    assert f" | epochs 3 for {todays.epochs}; replay full for balanced | 95.00 | " in second
    assert commands.splitlines() == [
        "    learn {'s_max': 5.0}",
        "    learn {'epochs': 3, 'replay': 'full'}",
    ]


def test_a_setting_that_a_run_is_too_old_for_was_what_was_done_then(tmp_path):
    found = described(without=["annealed_share", "least_steps"])
    write_run(tmp_path / "variations/a/toys-5/dgm-w/seed0", [row(t) for t in range(1, 6)], found)
    (run,) = variations.runs(tmp_path)
    assert variations.changes(run) == ["annealed_share 1.0 for 0.5"]


def test_somebody_elses_learner_has_its_results_and_no_changes(tmp_path):
    rows = [row(task) for task in range(1, 6)]
    found = described(without=["variant"]) | {"learner": "theirs"}
    write_run(tmp_path / "variations/a/toys-5/theirs/seed0", rows, found)
    line = variations.markdown(variations.runs(tmp_path)).splitlines()[2]
    assert line.startswith("| a | toys | 5 | theirs | 0 |  | 95.00 |")


def test_without_runs_there_is_nothing(tmp_path):
    assert variations.markdown(variations.runs(tmp_path)) == ""


def test_only_a_run_in_their_folder_has_a_name(tmp_path):
    names = {}
    for folder in ("variations/wider/toys-5/dgm-w/seed0", "accuracy/toys-5/dgm-w/seed0"):
        run = read_run(write_run(tmp_path / folder, [row(1)], described()))
        names[folder] = variations.name_of(run)
    assert list(names.values()) == ["wider", ""]
    assert variations.name_of(Run(Path("variations"), {})) == ""
