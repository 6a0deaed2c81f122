import doctest
import json
import math

import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.evaluation import accuracy
from dgm_tf.evaluation.accuracy import AccuracyMatrix, Evaluation, evaluate

# Three tasks; classes 7, then 4, then 0 and 9 together. By hand, after task 3:
#   average      (0.75 + 0.5 + 0.25 + 1) / 4             = 0.625
#   forgetting   7: max(0.5, 1) - 0.75, 4: 0.25 - 0.5    = 0.25, -0.25, mean 0
#   BWT          7: 0.75 - 0.5, 4: 0.5 - 0.25            = 0.25, 0.25, mean 0.25
ROWS = [{7: 0.5}, {7: 1.0, 4: 0.25}, {7: 0.75, 4: 0.5, 0: 0.25, 9: 1.0}]


def matrix_of(rows):
    matrix = AccuracyMatrix()
    for task, row in enumerate(rows, start=1):
        matrix.add(task, row)
    return matrix


def as_array(rows):
    """The same accuracies as a NumPy array, NaN for classes not seen yet."""
    return np.array([[row.get(c, np.nan) for c in rows[-1]] for row in rows])


def batches(labels, size):
    """Images that hold their own label's position, so that a stand-in classifier can look it up."""
    images = np.arange(len(labels), dtype=np.float32)[:, None, None, None]
    for start in range(0, len(labels), size):
        yield images[start : start + size], np.asarray(labels[start : start + size], np.int32)


def looks_up(predictions):
    return lambda images: np.asarray(predictions)[images[:, 0, 0, 0].astype(int)]


class TestEvaluate:
    labels = [5, 5, 5, 5, 5, 5, 2, 2]
    guesses = [5, 5, 5, 2, 2, 8, 2, 2]  # class 5: 3 of 6 right; class 2: 2 of 2; one 8

    def test_accuracy_is_the_mean_over_classes_not_over_images(self):
        result = evaluate(looks_up(self.guesses), batches(self.labels, 8))
        assert result.class_accuracy == {2: 1.0, 5: 0.5}
        assert result.average_accuracy == 0.75  # over images it would be 5/8

    @pytest.mark.parametrize("size", [1, 3, 5, 8])
    def test_the_size_of_the_batches_changes_nothing(self, size):
        whole = evaluate(looks_up(self.guesses), batches(self.labels, 8))
        assert evaluate(looks_up(self.guesses), batches(self.labels, size)) == whole

    def test_counts_predictions_of_every_class_even_one_without_test_images(self):
        result = evaluate(looks_up(self.guesses), batches(self.labels, 3))
        assert result.predictions == {2: 4, 5: 3, 8: 1}
        assert result.test_images == {2: 2, 5: 6}

    def test_newest_class_share_is_predictions_beside_test_set(self):
        result = evaluate(looks_up(self.guesses), batches(self.labels, 3))
        assert result.newest_class_share([2]) == {"predictions": 4 / 8, "test_set": 2 / 8}
        assert result.newest_class_share([2, 8]) == {"predictions": 5 / 8, "test_set": 2 / 8}

    def test_reads_a_tensorflow_data_set_and_results_go_into_json(self):
        tf = pytest.importorskip("tensorflow")
        images = tf.range(8, dtype=tf.float32)[:, None, None, None]
        dataset = tf.data.Dataset.from_tensor_slices((images, self.labels)).batch(3)
        result = evaluate(lambda x: tf.constant(looks_up(self.guesses)(x)), dataset)
        assert json.loads(json.dumps(result.class_accuracy)) == {"2": 1.0, "5": 0.5}

    def test_reads_well(self):
        result = evaluate(looks_up(self.guesses), batches(self.labels, 3))
        assert str(result) == "accuracy 75.00 % (mean over 2 classes, 8 test images)"
        assert "over 1 class," in str(Evaluation({1: 1.0}, {1: 4}, {1: 4}))

    def test_no_images_is_an_input_error(self):
        with pytest.raises(InputError, match="empty"):
            evaluate(looks_up([]), [])

    def test_predictions_of_another_shape_are_refused_not_broadcast(self):
        with pytest.raises(ValueError, match=r"\(8,\).*\(1,\)"):
            evaluate(lambda images: np.array([5]), batches(self.labels, 8))


class TestMeasures:
    def test_average_is_over_the_classes_seen(self):
        matrix = matrix_of(ROWS)
        assert [matrix.average(t) for t in (1, 2, 3)] == [0.5, 0.625, 0.625]

    def test_forgetting_is_the_best_before_less_now(self):
        matrix = matrix_of(ROWS)
        assert matrix.forgetting_by_class(3) == {7: 0.25, 4: -0.25}
        assert matrix.forgetting(3) == 0.0
        # Negative: class 7 was never better before; the present row is not among the earlier.
        assert matrix.forgetting(2) == -0.5

    def test_backward_transfer_compares_with_the_row_of_arrival(self):
        matrix = matrix_of(ROWS)
        assert matrix.backward_transfer(2) == 0.5
        assert matrix.backward_transfer(3) == 0.25

    def test_what_is_not_defined_is_none_and_never_zero(self):
        matrix = matrix_of(ROWS)
        assert matrix.forgetting(1) is None
        assert matrix.backward_transfer(1) is None
        assert matrix.forgetting_by_class(1) == {}
        assert all(matrix.summary(t)["forward_transfer"] is None for t in (1, 2, 3))

    def test_agrees_with_numpy_on_a_random_stream(self):
        rng = np.random.default_rng(3)
        order, sizes = rng.permutation(12).tolist(), [1, 3, 2, 1, 5]
        seen = np.cumsum(sizes)
        rows = [{c: rng.random() for c in order[:n]} for n in seen]
        matrix, table = matrix_of(rows), as_array(rows)
        arrival = np.repeat(np.arange(5), sizes)
        for t in range(1, 5):
            old = arrival < t
            best = np.nanmax(table[:t, old], axis=0)
            at_first = table[arrival, np.arange(12)][old]
            expected = {
                "average_accuracy": np.nanmean(table[t]),
                "forgetting": np.mean(best - table[t, old]),
                "backward_transfer": np.mean(table[t, old] - at_first),
                "forward_transfer": None,
            }
            assert matrix.summary(t + 1) == pytest.approx(expected)

    def test_the_example_runs(self):
        assert doctest.testmod(accuracy).failed == 0


class TestRows:
    def test_columns_stand_in_order_of_arrival(self):
        assert matrix_of(ROWS).classes == (7, 4, 0, 9)
        assert list(matrix_of([{3: 1.0}, {1: 1.0, 3: 0.5}]).row(2)) == [3, 1]

    def test_rows_of_metrics_jsonl_give_the_same_matrix(self):
        lines = [
            json.dumps({"task": task, "class_accuracy": row, "steps": 3})
            for task, row in enumerate(ROWS, start=1)
        ]
        matrix = AccuracyMatrix.from_rows(map(json.loads, lines))
        assert matrix.classes == (7, 4, 0, 9)
        assert [matrix.row(t) for t in (1, 2, 3)] == ROWS

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
    def test_a_row_that_cannot_be_is_refused_and_leaves_nothing_behind(self, task, row, message):
        matrix = matrix_of(ROWS[:2])
        with pytest.raises(ValueError, match=message):
            matrix.add(task, row)
        assert (len(matrix), matrix.classes) == (2, (7, 4))

    @pytest.mark.parametrize("task", [0, -1, 4])
    def test_a_task_that_has_no_row_is_refused(self, task):
        with pytest.raises(ValueError, match="from 1 to 3"):
            matrix_of(ROWS).average(task)


class TestCsv:
    def test_the_file_has_a_column_per_class_and_empty_cells_for_the_unseen(self, tmp_path):
        matrix_of(ROWS).to_csv(tmp_path / "accuracy_matrix.csv")
        assert (tmp_path / "accuracy_matrix.csv").read_text() == (
            "task,7,4,0,9\n1,0.5,,,\n2,1.0,0.25,,\n3,0.75,0.5,0.25,1.0\n"
        )

    def test_reading_gives_every_bit_back(self, tmp_path):
        rows = [{7: 1 / 3}, {7: 0.1 + 0.2, 4: 2 / 7}]
        matrix_of(rows).to_csv(tmp_path / "matrix.csv")
        read = AccuracyMatrix.from_csv(tmp_path / "matrix.csv")
        assert [read.row(t) for t in (1, 2)] == rows

    @pytest.mark.parametrize(
        "content", ["", "task,0\n1,x\n", "task,0\n1,0.5,0.5\n", "task,0\n2,1\n"]
    )
    def test_another_file_is_an_input_error_of_one_line(self, tmp_path, content):
        (tmp_path / "matrix.csv").write_text(content)
        with pytest.raises(InputError, match="accuracy_matrix.csv") as caught:
            AccuracyMatrix.from_csv(tmp_path / "matrix.csv")
        assert "\n" not in str(caught.value)

    def test_a_missing_file_is_an_input_error(self, tmp_path):
        with pytest.raises(InputError, match="No such file"):
            AccuracyMatrix.from_csv(tmp_path / "matrix.csv")
