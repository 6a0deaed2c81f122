"""Accuracy and its measures over tasks, against values by hand and against NumPy."""

import doctest
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.evaluation import accuracy
from dgm_tf.evaluation.accuracy import AccuracyMatrix, Evaluation, evaluate

# Three tasks; classes 7, then 4, then 0 and 9 together. By hand, after task 3:
#   average      (0.75 + 0.5 + 0.25 + 1) / 4             = 0.625
#   forgetting   7: max(0.5, 1) - 0.75, 4: 0.25 - 0.5    = 0.25, -0.25, mean 0
#   BWT          7: 0.75 - 0.5, 4: 0.5 - 0.25            = 0.25, 0.25, mean 0.25
ROWS = [{7: 0.5}, {7: 1.0, 4: 0.25}, {7: 0.75, 4: 0.5, 0: 0.25, 9: 1.0}]

LABELS = [5, 5, 5, 5, 5, 5, 2, 2]
GUESSES = [5, 5, 5, 2, 2, 8, 2, 2]  # class 5: 3 of 6 right; class 2: 2 of 2; one 8


def matrix_of(rows):
    matrix = AccuracyMatrix()
    for task, row in enumerate(rows, start=1):
        matrix.add(task, row)
    return matrix


def dataset(size):
    """Images that hold their own position, so that a stand-in classifier can look up its guess."""
    images = tf.range(len(LABELS), dtype=tf.float32)[:, None, None, None]
    return tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(size)


def look_up(images):
    return tf.gather(GUESSES, images[:, 0, 0, 0].astype(int))


@pytest.mark.parametrize("size", [1, 3, 8])
def test_accuracy_is_the_mean_over_classes_whatever_the_size_of_the_batches(size):
    result = evaluate(look_up, dataset(size))
    assert result.class_accuracy == {2: 1.0, 5: 0.5}
    assert result.average_accuracy == 0.75  # over images it would be 5/8
    assert json.loads(json.dumps(result.class_accuracy)) == {"2": 1.0, "5": 0.5}
    assert str(result) == "accuracy 75.00 % (mean over 2 classes, 8 test images)"


def test_predictions_are_counted_even_of_a_class_without_test_images():
    result = evaluate(look_up, dataset(3))
    assert result.predictions == {2: 4, 5: 3, 8: 1}
    assert result.test_images == {2: 2, 5: 6}
    assert result.newest_class_share([2]) == {"predictions": 4 / 8, "test_set": 2 / 8}
    assert result.newest_class_share([2, 8]) == {"predictions": 5 / 8, "test_set": 2 / 8}
    assert "over 1 class," in str(Evaluation({1: 1.0}, {1: 4}, {1: 4}))


def test_no_images_and_predictions_of_another_shape_are_refused():
    with pytest.raises(InputError, match="empty"):
        evaluate(look_up, [])
    with pytest.raises(ValueError, match=r"\(8,\).*\(1,\)"):
        evaluate(lambda images: np.array([5]), dataset(8))


# Measures.


def test_the_measures_are_as_by_hand_and_none_where_they_are_not_defined():
    matrix = matrix_of(ROWS)
    tasks = (1, 2, 3)
    assert [matrix.average(task) for task in tasks] == [0.5, 0.625, 0.625]
    # Negative: class 7 was never better before; the present row is not among the earlier.
    assert [matrix.forgetting(task) for task in tasks] == [None, -0.5, 0.0]
    assert [matrix.backward_transfer(task) for task in tasks] == [None, 0.5, 0.25]


def test_the_measures_agree_with_numpy_on_a_random_stream():
    rng = np.random.default_rng(3)
    order, sizes = rng.permutation(12).tolist(), [1, 3, 2, 1, 5]
    rows = [{c: rng.random() for c in order[:n]} for n in np.cumsum(sizes)]
    matrix = matrix_of(rows)
    table = np.array([[row.get(c, np.nan) for c in order] for row in rows])
    arrival = np.repeat(np.arange(5), sizes)
    for t in range(1, 5):
        old = arrival < t
        best = np.nanmax(table[:t, old], axis=0)
        at_first = table[arrival, np.arange(12)][old]
        expected = {
            "average_accuracy": np.nanmean(table[t]),
            "forgetting": np.mean(best - table[t, old]),
            "backward_transfer": np.mean(table[t, old] - at_first),
        }
        assert matrix.summary(t + 1) == pytest.approx(expected)


def test_the_example_runs():
    assert doctest.testmod(accuracy).failed == 0


# Rows.


def test_rows_of_metrics_jsonl_give_the_same_matrix_in_order_of_arrival():
    lines = [
        json.dumps({"task": task, "class_accuracy": row, "steps": 3})
        for task, row in enumerate(ROWS, start=1)
    ]
    matrix = AccuracyMatrix.from_rows(map(json.loads, lines))
    assert matrix.classes == (7, 4, 0, 9)
    assert [matrix.row(t) for t in (1, 2, 3)] == ROWS
    assert list(matrix_of([{3: 1.0}, {1: 1.0, 3: 0.5}]).row(2)) == [3, 1]


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        (2, {7: 0.5, 4: 1.0, 0: 1.0}, "task 3 was wanted"),
        (4, {7: 0.5, 4: 1.0, 0: 1.0}, "task 3 was wanted"),
        (3, {7: 0.5, 0: 1.0}, r"known classes \[4\]"),
        (3, {7: 0.5, 4: 1.0}, "no new class"),
        (3, {7: 0.5, 4: 1.0, 0: 1.5}, "between 0 and 1"),
        (3, {7: 0.5, 4: 1.0, 0: math.nan}, "between 0 and 1"),
    ],
)
def test_a_row_that_cannot_be_is_refused_and_leaves_nothing_behind(task, row, message):
    matrix = matrix_of(ROWS[:2])
    with pytest.raises(ValueError, match=message):
        matrix.add(task, row)
    assert (len(matrix), matrix.classes) == (2, (7, 4))


@pytest.mark.parametrize("task", [0, -1, 4])
def test_a_task_that_has_no_row_is_refused(task):
    with pytest.raises(ValueError, match="from 1 to 3"):
        matrix_of(ROWS).average(task)


def test_the_file_has_a_column_per_class_every_bit_and_empty_cells_for_the_unseen(tmp_path):
    rows = [{7: 1 / 3}, {7: 0.1 + 0.2, 4: 0.5}]
    matrix_of(rows).to_csv(tmp_path / "matrix.csv")
    wanted = "task,7,4\n1,0.3333333333333333,\n2,0.30000000000000004,0.5\n"
    assert (tmp_path / "matrix.csv").read_text() == wanted


def test_classes_that_were_not_measured_are_left_out_of_every_mean():
    matrix = AccuracyMatrix()
    matrix.add(1, {}, not_measured=[0])
    matrix.add(2, {0: 0.5, 1: 1.0})
    matrix.add(3, {1: 0.25, 2: 0.75}, not_measured=[0])
    assert matrix.average(1) is None and matrix.average(2) == 0.75
    assert matrix.average(3) == 0.5  # of classes 1 and 2
    assert matrix.forgetting(3) == 0.75 and matrix.backward_transfer(3) == -0.75
    # Class 0 was not measured on arrival.
    assert matrix.backward_transfer(2) is None and matrix.classes == (0, 1, 2)


def test_a_class_neither_measured_nor_said_to_be_missing_is_refused():
    matrix = AccuracyMatrix()
    matrix.add(1, {0: 1.0})
    with pytest.raises(ValueError, match="no accuracy for the known classes"):
        matrix.add(2, {1: 1.0})
    with pytest.raises(ValueError, match="no new class"):
        matrix.add(2, {}, not_measured=[0])


def test_the_header_of_the_csv_has_names_where_there_are_some(tmp_path):
    matrix = AccuracyMatrix()
    matrix.add(1, {0: 1.0}, not_measured=[1])
    matrix.to_csv(tmp_path / "matrix.csv", names={0: "cat", 1: "a, b"})
    assert (tmp_path / "matrix.csv").read_text() == 'task,cat,"a, b"\n1,1.0,\n'
