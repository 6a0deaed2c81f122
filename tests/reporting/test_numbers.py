"""The numbers behind each picture, against values found by hand."""

import pathlib
import statistics

import numpy as np
import pytest

from dgm_tf.data.stream import class_incremental
from dgm_tf.reporting import numbers
from dgm_tf.reporting.numbers import Spread
from dgm_tf.reporting.run import Run
from dgm_tf.runs.run_format import OPEN
from tests.refusals import refused
from tests.reporting.example import description, row


def run(seed=0, tasks=2, learner="dgm-w", rows=None, **settings):
    rows = [row(task) for task in range(1, tasks + 1)] if rows is None else rows
    described = description(seed=seed, learner=learner, **settings)
    return Run(pathlib.Path(f"run-{seed}"), described, tuple(rows))


def test_a_curve_has_the_tasks_that_have_the_value():
    rows = [row(1), row(2, oracle_accuracy=0.875), row(3, oracle_accuracy=None)]
    assert numbers.curve(rows, "oracle_accuracy") == [(2, 0.875)]
    assert numbers.curve(rows, "oracle_accuracy", factor=100) == [(2, 87.5)]
    assert numbers.curve(rows, "forgetting") == [(2, 0.01), (3, 0.01)]  # not 0 at task 1


def test_the_accuracy_matrix_is_in_order_of_arrival_with_gaps_before_it():
    rows = [
        {"task": 1, "class_accuracy": {"7": 1.0}},
        {"task": 2, "class_accuracy": {"2": 0.5, "7": 0.75}},
    ]
    classes, table = numbers.accuracy_matrix(rows)
    assert classes == [7, 2]
    np.testing.assert_array_equal(table, [[100, np.nan], [75, 50]])
    rows[1]["oracle_class_accuracy"] = {"2": 0.25}
    _, table = numbers.accuracy_matrix(rows, "oracle_class_accuracy")
    np.testing.assert_array_equal(table, [[np.nan, np.nan], [np.nan, 25]])


def test_growth_starts_before_task_1_and_the_worst_case_adds_the_initial_size_each_time():
    found = numbers.growth([row(1), row(2)])
    assert found == {
        "all layers": [(0, 6), (1, 7), (2, 8)],
        "block 1": [(0, 4), (1, 5), (2, 6)],
        "block 2": [(0, 2), (1, 2), (2, 2)],
    }
    assert numbers.worst_case(found["all layers"]) == [(0, 6), (1, 12), (2, 18)]
    assert numbers.growth([row(1, generates=False)]) == {}


def test_mask_use_counts_what_is_new_reused_and_left():
    # Task 1 finds 40 free, takes 10; growth refills to 40. Task 2 takes 10 more, reuses 4.
    assert numbers.mask_use([row(1), row(2)]) == {
        "newly reserved": [(1, 10), (2, 10)],
        "reused": [(1, 0), (2, 4)],
        "left free": [(1, 30), (2, 30)],
    }
    assert numbers.mask_use([row(1, generates=False)]) == numbers.mask_use([]) == {}


def test_what_is_left_free_counts_the_growth_before_the_task():
    layers = [
        [{"reserved": 10, "free": 50, "initial_free": 40}],  # 60 in all after growth
        [{"reserved": 25, "free": 45, "initial_free": 40}],
    ]
    rows = [row(task, layers=found) for task, found in enumerate(layers, start=1)]
    assert numbers.mask_use(rows)["left free"] == [(1, 40 - 10), (2, 60 - 25)]


def test_mask_overlap_is_of_the_rows_task():
    rows = [row(1, mask_overlap=[10]), row(2, mask_overlap=[4, 16])]
    np.testing.assert_allclose(numbers.mask_overlap(rows), [[100, 40], [25, 100]])
    later = [*rows, row(3, mask_overlap=[8, 20])]  # the last two tasks'
    expected = [[100, 40, np.nan], [25, 100, 50], [np.nan, 40, 100]]
    np.testing.assert_allclose(numbers.mask_overlap(later), expected)
    assert numbers.mask_overlap([row(1), row(2, generates=False)]) is None
    empty = numbers.mask_overlap([row(1, mask_overlap=[0])])
    assert np.isnan(empty).all()  # no fraction of nothing


def test_epochs_lie_evenly_within_their_task():
    rows = [
        row(1, history={"loss": [4.0, 3.0]}),
        row(2, history={"loss": [2.0, None], "other": [None]}),
    ]
    found = numbers.within_tasks(rows)
    assert found == {"loss": [(0.75, 4.0), (1.25, 3.0), (1.75, 2.0)], "other": []}


def test_without_a_history_the_last_epoch_stands_for_it():
    old = row(1, last_epoch={"loss": 3.0})
    del old["history"]
    assert numbers.within_tasks([old]) == {"loss": [(1.0, 3.0)]}


class TestSeveralRuns:
    def test_spread_is_the_samples_and_none_for_one(self):
        values = [0.25, 0.5, 1.5]
        assert numbers.spread(values) == Spread(0.75, pytest.approx(np.std(values, ddof=1)), 3)
        assert numbers.spread([0.5]) == Spread(0.5, None, 1)

    def test_a_mean_curve_ends_where_a_run_ends(self):
        found = numbers.mean_curve([[(1, 2.0), (2, 4.0)], [(1, 4.0)]])
        assert found == [(1, Spread(3.0, statistics.stdev([2.0, 4.0]), 2))]

    def test_mean_curves_are_those_that_all_runs_have(self):
        each = [
            {"loss": [(0.75, 1.0), (1.25, 2.0), (2.0, 9.0)], "own": [(1.0, 5.0)], "none": []},
            {"loss": [(0.75, 3.0)], "none": []},
        ]
        wanted = {"loss": [(0.75, Spread(2.0, statistics.stdev([1, 3]), 2))]}
        assert numbers.mean_curves(each) == wanted
        assert numbers.mean_curves(each[1:]) == {"loss": [(0.75, Spread(3.0, None, 1))]}

    def test_seeds_are_one_group_and_other_settings_another(self):
        runs = [run(seed=1), run(seed=0), run(seed=0, epochs=9), run(learner="joint")]
        found = numbers.groups(runs)
        assert [group.title for group in found] == [
            "DGMw, epochs 2 (n = 2)", "DGMw, epochs 9 (n = 1)",
            "joint training (upper bound, n = 1)",
        ]  # fmt: skip
        assert [member.seed for member in found[0].runs] == [0, 1]

    def test_a_copy_of_a_run_is_no_second_trial(self):
        with refused("run-1 and run-1 have the same settings and seed 1", "name one of them"):
            numbers.groups([run(seed=1), run(seed=0), run(seed=1)])

    def test_seeds_of_a_stream_that_shuffles_its_classes_are_one_group(self):
        images = np.random.RandomState(0).randint(0, 256, (24, 16, 16, 1), np.uint8)
        data = images, np.arange(24) % 3, images, np.arange(24) % 3
        runs = [run(seed=seed, tasks=3 - seed) for seed in (0, 1, 2)]
        for each in runs:
            stream = class_incremental(data, class_order="random", image_size=16, seed=each.seed)
            each.description["stream"] = stream.describe()
        assert len({str(each.stream["task_classes"]) for each in runs}) > 1
        (group,) = numbers.groups(runs)
        assert group.learnt == 1  # that of the shortest run

    @pytest.mark.parametrize(
        ("key", "value", "name"),
        [
            ("fingerprint", "beef", "DGMw, images beef"),
            ("image_shape", [16, 16, 1], "DGMw, image shape [16, 16, 1]"),
            ("validation_fraction", 0.5, "DGMw, validation fraction 0.5"),
        ],
    )
    def test_other_images_under_the_same_name_are_another_group(self, key, value, name):
        other = run(seed=1)
        other.description["stream"][key] = value
        found = numbers.groups([run(), other])
        assert [len(group.runs) for group in found] == [1, 1] and found[1].name == name

    def test_the_same_method_on_other_data_is_another_group(self):
        other = run()
        other.description["stream"] |= {"name": "more toys", "fingerprint": "f01"}
        found = numbers.groups([run(), other, run(seed=1, lr=0.5)])
        assert [group.name for group in found] == [
            "DGMw, data toys, lr None", "DGMw, data more toys", "DGMw, data toys, lr 0.5",
        ]  # fmt: skip

    def test_methods_on_several_streams_say_which(self):
        other = run(learner="joint")
        other.description["stream"] |= {"name": "more toys", "fingerprint": "f01"}
        longer = run(learner="ewc")
        longer.description["stream"]["task_classes"] = [[0], [1], [2], [3]]
        assert [group.name for group in numbers.groups([run(), other, longer])] == [
            "DGMw, data toys, tasks 3 of 1 each", "joint training, data more toys",
            "EWC, data toys, tasks 4 of 1 each",
        ]  # fmt: skip

    def test_a_memory_next_to_its_longer_copy_has_a_short_name(self):
        rows = [row(task, fingerprints=[f"{task:016x}"]) for task in range(1, 7)]
        runs = [run(rows=rows), run(rows=rows[:4])]
        for each in runs:
            each.description["stream"]["kind"] = OPEN
        names = [group.name for group in numbers.groups(runs)]
        assert [name.partition(", images ")[0] for name in names] == [
            "DGMw, tasks 6 of 1 each", "DGMw, tasks 4 of 1 each",
        ]  # fmt: skip
        assert max(map(len, names)) < 60

    def test_the_same_images_from_a_folder_that_was_moved_are_one_group(self):
        moved = run(seed=1)
        moved.description["stream"]["name"] = "moved"
        (group,) = numbers.groups([run(), moved])
        assert len(group.runs) == 2
