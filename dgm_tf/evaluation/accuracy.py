"""Accuracy on the real test images of all classes seen, and what follows from it over tasks.

Every mean is over classes, never over images or batches: a class with few test images weighs as
much as any other. A value that is not defined is None, never 0.
"""

import collections
import csv
import dataclasses
import io
import os
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dgm_tf.errors import InputError
from dgm_tf.storage.files import write_atomically


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Result of the classification of test images.

    Attributes:
        class_accuracy: fraction of the images of each class that are classified right.
        test_images: number of images of each class.
        predictions: number of images that each class was predicted for, where there are any.
    """

    class_accuracy: dict[int, float]
    test_images: dict[int, int]
    predictions: dict[int, int]

    @property
    def average_accuracy(self) -> float:
        """A_t, 0 to 1: the mean of the class accuracies."""
        return statistics.fmean(self.class_accuracy.values())

    def newest_class_share(self, classes: Iterable[int]) -> dict[str, float]:
        """Fractions of the predictions and of the test images that are of the given classes.

        Only the newest classes have real images in training, so a critic that merely tells real
        from generated gives them every real test image: `predictions` is far above `test_set`.
        """
        classes = set(classes)
        images = sum(self.test_images.values())
        return {
            "predictions": sum(self.predictions.get(c, 0) for c in classes) / images,
            "test_set": sum(self.test_images.get(c, 0) for c in classes) / images,
        }

    def __str__(self) -> str:
        count = len(self.class_accuracy)
        return (
            f"accuracy {100 * self.average_accuracy:.2f} % (mean over {count} "
            f"{'class' if count == 1 else 'classes'}, {sum(self.test_images.values())} test images)"
        )


def evaluate(
    classify: Callable[[np.ndarray], Any], dataset: Iterable[tuple[Any, Any]]
) -> Evaluation:
    """Classifies a data set batch by batch.

    Args:
        classify: class ids, integers [N], of images float32 [N, H, W, C].
        dataset: batches (images [N, H, W, C], class ids [N]) such as `TaskStream.seen_test`.

    Raises:
        InputError: the data set is empty.
        ValueError: `classify` does not return one class per image.
    """
    right, there, predicted = collections.Counter(), collections.Counter(), collections.Counter()
    for images, labels in dataset:
        labels = np.asarray(labels)  # [N]
        guesses = np.asarray(classify(np.asarray(images)))  # [N]
        if guesses.shape != labels.shape:
            raise ValueError(
                f"one class per image was wanted, shape {labels.shape}; "
                f"classify returned shape {guesses.shape}"
            )
        right.update(labels[guesses == labels].tolist())
        there.update(labels.tolist())
        predicted.update(guesses.tolist())
    if not there:
        raise InputError("test images were wanted, the data set is empty; give it at least one")
    return Evaluation(
        class_accuracy={label: right[label] / there[label] for label in sorted(there)},
        test_images=dict(sorted(there.items())),
        predictions=dict(sorted(predicted.items())),
    )


class AccuracyMatrix:
    """Accuracy of each class after each task: rows are tasks, columns classes in arrival order.

    Example:

    >>> matrix = AccuracyMatrix()
    >>> matrix.add(1, {7: 1.0})
    >>> matrix.add(2, {7: 0.75, 4: 0.5})
    >>> matrix.average(2), matrix.forgetting(2), matrix.forgetting(1)
    (0.625, 0.25, None)
    """

    def __init__(self) -> None:
        self._rows: list[dict[int, float]] = []
        self._arrival: dict[int, int] = {}  # class -> task that brought it, in arrival order

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> "AccuracyMatrix":
        """The matrix of a run, from its rows of metrics.jsonl (`task` and `class_accuracy`)."""
        matrix = cls()
        for row in rows:
            matrix.add(row["task"], row["class_accuracy"], row.get("not_measured", ()))
        return matrix

    def add(
        self, task: int, class_accuracy: Mapping[Any, float], not_measured: Iterable[int] = ()
    ) -> None:
        """Adds the row of a finished task.

        Args:
            task: from 1; one more than the last one added.
            class_accuracy: accuracy in 0..1 of every class seen so far; the new keys are the
                classes of this task. Text such as JSON's keys counts as its number.
            not_measured: classes seen so far of which no test image was at hand.

        Raises:
            ValueError: the row does not follow the last one.
        """
        row = {int(label): float(value) for label, value in class_accuracy.items()}
        if task != len(self) + 1:
            raise ValueError(f"task {len(self) + 1} was wanted, task {task} was given")
        seen = dict.fromkeys([*row, *not_measured])  # in this order
        missing = [label for label in self._arrival if label not in seen]
        if missing:
            raise ValueError(f"task {task} gives no accuracy for the known classes {missing}")
        if len(seen) == len(self._arrival):
            raise ValueError(f"task {task} brings no new class")
        wrong = {label: value for label, value in row.items() if not 0.0 <= value <= 1.0}
        if wrong:
            raise ValueError(f"accuracies between 0 and 1 were wanted, task {task} gives {wrong}")
        for label in seen:
            self._arrival.setdefault(label, task)
        self._rows.append({label: row[label] for label in self._arrival if label in row})

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def classes(self) -> tuple[int, ...]:
        """Class ids in order of arrival."""
        return tuple(self._arrival)

    def row(self, task: int) -> dict[int, float]:
        """Accuracy of each class seen and measured, after task `task` (from 1)."""
        if not 1 <= task <= len(self):
            raise ValueError(f"a task from 1 to {len(self)} was wanted, {task} was given")
        return dict(self._rows[task - 1])

    def average(self, task: int) -> float | None:
        """A_t: mean accuracy over the classes seen after task `task`, 0 to 1.

        Classes that were not measured are left out; None where none was.
        """
        return _mean(self.row(task).values())

    def forgetting(self, task: int) -> float | None:
        """Mean over the classes of earlier tasks of their best accuracy before minus that now.

        `f_j = max(a_lj for l < t) - a_tj` (Chaudhry et al. 2018), from -1 to 1: negative where
        later tasks helped. None for the first task.
        """
        now = self.row(task)
        before: dict[int, float] = {}
        for row in self._rows[: task - 1]:
            before |= {label: max(value, before.get(label, 0.0)) for label, value in row.items()}
        return _mean(before[label] - now[label] for label in before if label in now)

    def backward_transfer(self, task: int) -> float | None:
        """Mean over the classes of earlier tasks of accuracy now minus accuracy on arrival.

        `BWT = mean(a_tj - a_jj)` (Lopez-Paz and Ranzato 2017), from -1 to 1: negative where
        classes were forgotten. None for the first task.
        """
        now = self.row(task)
        then = {
            label: self._rows[arrival - 1].get(label)
            for label, arrival in self._arrival.items()
            if arrival < task
        }
        known = {label: value for label, value in then.items() if value is not None}
        return _mean(now[label] - value for label, value in known.items() if label in now)

    def summary(self, task: int) -> dict[str, float | None]:
        """The measures after a task by name, as they stand in metrics.jsonl.

        Forward transfer is not defined: a single head has no output for a class to come.
        """
        return {
            "average_accuracy": self.average(task),
            "forgetting": self.forgetting(task),
            "backward_transfer": self.backward_transfer(task),
        }

    def to_csv(
        self, path: str | os.PathLike[str], *, names: Mapping[int, str] | None = None
    ) -> None:
        """Writes the matrix, atomically: a column per class, a row per task, unseen cells empty.

        Args:
            path: the file.
            names: of the classes by id, for the header; ids unless given.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["task", *((names or {}).get(label, label) for label in self.classes)])
        for task, row in enumerate(self._rows, start=1):
            # repr keeps every bit.
            cells = (repr(row[label]) if label in row else "" for label in self.classes)
            writer.writerow([task, *cells])
        write_atomically(path, text.getvalue().encode())


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return statistics.fmean(values) if values else None
