"""A run folder as it is read: finished, just begun, damaged."""

import json

import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.reporting.pictures import to_uint8
from dgm_tf.reporting.run import read_run, read_runs
from tests.reporting.example import class_images, description, row, write_run


def test_a_run_has_its_rows_and_what_it_is(tmp_path):
    run = read_run(write_run(tmp_path, [row(1), row(2)]))
    assert [r["task"] for r in run.rows] == [1, 2] and run.tasks == 3
    assert (run.method, run.dataset, run.seed) == ("DGMw", "toys", 0)
    assert run.class_name(1) == "toy <1>" and run.class_name(77) == "77"
    assert [len(run.up_to(task).rows) for task in (1, 2, 3)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("learner", "label"),
    [("dgm-a", "DGMa"), ("joint", "joint training"), ("mergan_ra", "MeRGAN-RA"), ("new", "new")],
)
def test_a_method_has_its_label_and_one_that_nobody_knows_its_name(tmp_path, learner, label):
    assert read_run(write_run(tmp_path, [], description(learner=learner))).method == label


def test_the_papers_numbers_are_of_ten_tasks_of_one_class(tmp_path):
    def published(learner="dgm-w", name="mnist", **changes):
        described = description(tasks=10, learner=learner)
        described["stream"] |= {"name": name} | changes
        return read_run(write_run(tmp_path, [], described)).published

    assert published().percent == {5: 98.26, 10: 96.33}
    assert published().key == "average_accuracy"
    assert published("dgm-a", "svhn_cropped").percent == {5: 84.18, 10: 68.36}
    assert published("mergan_jtr").key == "oracle_accuracy"
    assert published("fine_tune") is published("dgm-w", "toys") is None
    assert published(task_classes=[[0, 1]] + [[label] for label in range(2, 11)]) is None


def test_a_run_that_has_just_begun_has_no_rows(tmp_path):
    folder = write_run(tmp_path, [])
    (folder / "metrics.jsonl").unlink()
    assert read_run(folder).rows == ()


def test_samples_are_each_classs_own_in_the_order_it_arrived(tmp_path):
    rows = [row(1, classes_seen=[2]), row(2, classes_seen=[2, 0])]
    run = read_run(write_run(tmp_path, rows, samples=[2]))
    found = run.samples(2)
    assert list(found) == [2, 0]
    for label, images in found.items():
        wanted = np.broadcast_to(to_uint8(class_images(label, 2)), (10, 8, 8, 3))
        np.testing.assert_array_equal(images, wanted)
    assert run.samples(1) == {}


def test_a_picture_of_another_size_is_an_input_error(tmp_path):
    folder = write_run(tmp_path, [row(1), row(2)], samples=[1])
    (folder / "samples" / "task-01.png").rename(folder / "samples" / "task-02.png")
    with pytest.raises(InputError, match="pictures of 2 classes in .*task-02.png"):
        read_run(folder).samples(2)


def test_a_folder_named_twice_is_one_run(tmp_path):
    first = write_run(tmp_path / "first", [row(1)])
    second = write_run(tmp_path / "second", [row(1)], description(seed=1))
    (tmp_path / "link").symlink_to(first)
    names = [str(first), second, first, f"{second}/../first/", tmp_path / "link"]
    assert [run.seed for run in read_runs(names)] == [0, 1]


def test_a_folder_that_is_no_run_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="expected the folder of a run, with settings.json"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settings.json", "{"),
        ("settings.json", "[]"),
        ("settings.json", json.dumps(description() | {"settings": []})),
        ("settings.json", json.dumps(description() | {"seed": None})),
        ("settings.json", json.dumps(description() | {"stream": {"name": "toys"}})),
        ("metrics.jsonl", "{"),
        ("metrics.jsonl", json.dumps(row(2))),
        ("metrics.jsonl", json.dumps(row(1, layer_widths=[4]))),
        ("metrics.jsonl", f"{json.dumps(row(1))}\n{json.dumps(row(2, generates=False))}"),
        ("metrics.jsonl", '{"task": 1, "class_accuracy": {"0": 1}}'),
        ("metrics.jsonl", "[]"),
    ],
)
def test_damaged_files_are_an_input_error_of_one_line(tmp_path, name, text):
    folder = write_run(tmp_path, [row(1)], description())
    (folder / name).write_text(text)
    with pytest.raises(InputError, match="restore") as error:
        read_run(folder)
    assert "\n" not in str(error.value)
