"""What learning tasks again has shown, as a table."""

import json

import pytest

from dgm_tf.errors import InputError
from dgm_tf.reporting import relearnings


def outcome(accuracy, own, recognised, distance):
    def quality(share, distance):
        return {
            "recognised": share, "frechet_distance": distance, "precision": 0.5, "recall": 0.25,
        }  # fmt: skip

    return {
        "accuracy": accuracy,
        "own_accuracy": own,
        "quality": {"4": quality(recognised, distance), "7": quality(recognised - 0.2, distance)},
    }


def found(task, again, before=(0.8, 0.7, 0.9, 20.0), **changes):
    return {
        "dataset": "toys", "learner": "dgm-w", "settings": {"seed": 3, "epochs": 9, "replay": "b"},
        "task": task, "changes": changes, "before": outcome(*before), "again": outcome(*again),
        "command": f"relearn {changes}",
    }  # fmt: skip


def write(root, **files):
    folder = root / relearnings.FOLDER
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_every_change_has_a_line_below_that_of_the_run(tmp_path):
    write(
        tmp_path,
        a=found(2, (0.81, 0.72, 0.95, 10.0), epochs=18),
        b=found(3, (0.5, 0.4, 0.3, 50.5), replay="full"),
        c=found(2, (0.75, 0.6, 0.85, 30.0), epochs=4, replay="full"),
    )
    table, commands = relearnings.markdown(tmp_path).split("\n\nMade by\n\n")
    assert table.splitlines()[2:] == [
        "| toys, dgm-w, seed 3 | 2 | nothing | 80.00 | 70.00 | 80.00 | 20.00 | 50.00 | 25.00 |",
        "| toys, dgm-w, seed 3 | 2 | epochs 18, was 9 | 81.00 | 72.00 | 85.00 | 10.00 | 50.00 | "
        "25.00 |",
        "| toys, dgm-w, seed 3 | 2 | epochs 4, was 9; replay full, was b | 75.00 | 60.00 | 75.00 | "
        "30.00 | 50.00 | 25.00 |",
        "| toys, dgm-w, seed 3 | 3 | nothing | 80.00 | 70.00 | 80.00 | 20.00 | 50.00 | 25.00 |",
        "| toys, dgm-w, seed 3 | 3 | replay full, was b | 50.00 | 40.00 | 20.00 | 50.50 | 50.00 | "
        "25.00 |",
    ]
    assert len(commands.splitlines()) == 3
    assert len({len(line.split("|")) for line in table.splitlines()}) == 1


def test_the_same_task_of_another_run_has_its_own_line(tmp_path):
    write(
        tmp_path,
        a=found(2, (0.8, 0.7, 0.9, 20.0), epochs=1),
        b=found(2, (0.8, 0.7, 0.9, 20.0), before=(0.1, 0.7, 0.9, 20.0), epochs=1),
    )
    assert relearnings.markdown(tmp_path).count("| nothing |") == 2


def test_without_files_there_is_nothing(tmp_path):
    assert relearnings.markdown(tmp_path) == ""


def test_what_cannot_be_read_is_said(tmp_path):
    write(tmp_path)
    (tmp_path / relearnings.FOLDER / "a.json").write_text("{")
    with pytest.raises(InputError, match="write it anew by trainers.relearn"):
        relearnings.markdown(tmp_path)
