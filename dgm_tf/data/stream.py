"""A data set cut into tasks, and the only door to training images.

A task's images are gone when the next one begins; see `dgm_tf.data.task`. Three doors stay open:
`TaskStream.seen_test` (real test images, for evaluation only), `TaskStream.seen_validation`
(held-out images, for a search for settings only) and `TaskStream.joint_batches` (real training
images of all classes so far, for joint training).
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks
from dgm_tf.data import datasets, division
from dgm_tf.data.pixels import as_seen, to_float
from dgm_tf.data.task import (
    Images,
    Task,
    TaskClosed,
    check_batch,
    rows_in_order,
    shuffled_rows,
    task_title,
    untuned,
)
from dgm_tf.errors import InputError


class TaskStream:
    """The tasks of one data set, in order, each readable until the next one begins.

    `class_incremental` makes it. Iterate over it once.
    `tasks(start=k)` begins at task k, as a resumed run does.

    Attributes:
        name: name of the data set.
        source: origin of its images, one line.
        remarks: lines on what was not taken of them.
        class_order: class ids in order of arrival.
        task_classes: class ids of each task.
        class_names: names of the classes, by class id.
        image_shape: (S, S, C) of the images that the networks see.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        for task in stream.tasks(last=3):
            print(task, [len(labels) for _, labels in stream.seen_test(task)])
        ```
    """

    def __init__(
        self,
        data: datasets.ImageData,
        *,
        task_classes: tuple[tuple[int, ...], ...],
        image_size: int,
        validation_fraction: float,
        seed: int,
    ):
        self.name = data.name
        self.source, self.remarks = data.source, data.remarks
        self.task_classes = task_classes
        self.class_order = tuple(c for classes in task_classes for c in classes)
        self.class_names = data.class_names
        self.image_shape = (image_size, image_size, data.train_images.shape[-1])
        self.validation_fraction = validation_fraction
        self.seed = seed
        self._data = data
        kept, held_out = datasets.stratified_cut(
            data.train_labels, validation_fraction, seed=seed, use="validation"
        )
        classes = range(len(data.class_names))
        self._train_rows = [kept[data.train_labels[kept] == c] for c in classes]
        self._validation_rows = [held_out[data.train_labels[held_out] == c] for c in classes]
        self._test_rows = [np.flatnonzero(data.test_labels == c) for c in classes]
        self._next_index = 1
        self._open_task: Task | None = None

    def __len__(self) -> int:
        return len(self.task_classes)

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        left = len(self) + 1 - self._next_index
        return (
            f"<TaskStream {self.name}: {len(self)} tasks, {left} to come, "
            f"{len(self.class_order)} classes, images {height}x{width}x{channels}>"
        )

    def __iter__(self) -> Iterator[Task]:
        return self.tasks()

    def tasks(self, start: int = 1, *, last: int | None = None) -> Iterator[Task]:
        """Yields the tasks from number `start` (1 to T + 1) on; earlier ones are never read.

        Each task is closed when the next one begins, the last one when the walk ends.

        Args:
            start: number of the first task.
            last: number of the last one, which the tasks' names count to; by default T.

        Yields:
            Tasks, each open until the next one begins.

        Raises:
            TaskClosed: the stream is past that task.
        """
        start = _checks.integer(start, "start", low=1, high=len(self) + 1)
        last = len(self) if last is None else _checks.integer(last, "last", low=1, high=len(self))
        self._check_ahead(start)
        return self._walk(start, last)

    def _walk(self, start: int, last: int) -> Iterator[Task]:
        for index in range(start, last + 1):
            self._check_ahead(index)
            self._move_to(index + 1)
            self._open_task = self._opened(index, last)
            yield self._open_task
        # Unless another walk has gone further: this one may not close its task, nor go back.
        if self._next_index <= last + 1:
            self._move_to(max(start, last + 1))

    def stands_at(self, task: Task) -> bool:
        """Returns whether `task` is this stream's open one.

        Args:
            task: any task.
        """
        return task is self._open_task

    def _check_ahead(self, index: int) -> None:
        if index < self._next_index:
            raise TaskClosed(
                f"a stream goes forward once: task {index} of {len(self)} was handed out already "
                "or passed over; make a new stream to see its images again"
            )

    def _move_to(self, index: int) -> None:
        if self._open_task is not None:
            self._open_task.close()
            self._open_task = None
        self._next_index = index

    def _opened(self, index: int, last: int) -> Task:
        classes = self.task_classes[index - 1]
        return Task(
            task_title(f"{index} of {last}", [self.class_names[label] for label in classes]),
            index,
            {label: self.class_names[label] for label in classes},
            self.image_shape,
            train=self._take(self._train_rows, classes),
            validation=self._take(self._validation_rows, classes),
            cuts=self._cuts,
        )

    @property
    def _cuts(self) -> tuple[float, float]:
        return self.validation_fraction, self._data.test_fraction

    def check_batch(self, batch_size: int, *, max_tasks: int | None = None) -> None:
        """Refuses a batch that is larger than a class of the first `max_tasks` tasks.

        Args:
            batch_size: images per batch.
            max_tasks: number of tasks to look at; None for all.

        Raises:
            InputError: it is larger; the line names the class and the images that it needs.
        """
        for classes in self.task_classes[:max_tasks]:
            for label in classes:
                count = len(self._train_rows[label])
                name = self.class_names[label]
                check_batch(name, count, batch_size, self._cuts, self.remarks)

    def _take(self, rows: list[np.ndarray], classes: Sequence[int]) -> Images:
        chosen = np.concatenate([rows[c] for c in classes])
        return self._data.train_images[chosen], self._data.train_labels[chosen].astype(np.int32)

    def _seen_classes(self, task: Task | int) -> tuple[int, ...]:
        """Class ids in order of arrival, up to and including `task`."""
        index = task.index if isinstance(task, Task) else task
        index = _checks.integer(index, "task", low=1, high=len(self))
        if isinstance(task, Task) and task.classes != self.task_classes[index - 1]:
            raise InputError(f"{task} belongs to another stream than {self.scenario}")
        return tuple(c for classes in self.task_classes[:index] for c in classes)

    def seen_test(self, task: Task | int, batch_size: int = 256) -> tf.data.Dataset:
        """Real test images of all classes seen up to and including `task`, for evaluation only.

        Args:
            task: a task of this stream, or its number (from 1).
            batch_size: images per batch; the last one may be smaller.

        Returns:
            Pairs of images, float32 [B, S, S, C] in [-1, 1], and class ids, int32 [B], class by
            class in order of arrival.

        Raises:
            InputError: a task of another stream, or no such number.
        """
        chosen = np.concatenate([self._test_rows[c] for c in self._seen_classes(task)])
        images, labels = self._data.test_images[chosen], self._data.test_labels[chosen]
        return self._open_door(rows_in_order(len(labels), batch_size), images, labels)

    def seen_validation(self, task: Task | int, batch_size: int = 256) -> tf.data.Dataset:
        """Held-out images of ALL classes seen up to and including `task`, for a search only.

        A run never looks at the validation images of finished tasks.

        Args:
            task: a task of this stream, or its number (from 1).
            batch_size: images per batch; the last one may be smaller.

        Returns:
            Pairs as `seen_test` gives them.

        Raises:
            InputError: `validation_fraction` is 0, or the task belongs to another stream.
        """
        images, labels = self._take(self._validation_rows, self._seen_classes(task))
        if not len(labels):
            raise InputError(
                f"validation images were wanted, validation_fraction is {self.validation_fraction}:"
                " hold some out"
            )
        return self._open_door(rows_in_order(len(labels), batch_size), images, labels)

    def joint_batches(
        self, task: Task | int, batch_size: int, *, epochs: int, seed: int, start: int = 0
    ) -> tf.data.Dataset:
        """Real training images of ALL classes up to and including `task`.

        The one exception to the rule that a finished task's images cannot be read, for joint
        training (the upper bound) and oracles. Tasks do not lead a continual learner here.

        Args:
            task: a task of this stream, or its number (from 1).
            batch_size: images per batch B; a pass drops its last, incomplete batch.
            epochs: number of passes.
            seed: integer that determines the order.
            start: number of batches to leave out at the beginning.

        Returns:
            Pairs as `Task.batches` gives them, without the validation parts.
        """
        images, labels = self._take(self._train_rows, self._seen_classes(task))
        rows = shuffled_rows(np.arange(len(labels)), batch_size, epochs, seed, start)
        return self._open_door(rows, images, labels)

    def _open_door(
        self, rows: tf.data.Dataset, images: np.ndarray, labels: np.ndarray
    ) -> tf.data.Dataset:
        size = self.image_shape[0]
        with tf.init_scope(), tf.device("CPU:0"):
            pixels, ids = tf.constant(as_seen(images, size)), tf.constant(labels, tf.int32)

        def load(batch):
            return to_float(tf.gather(pixels, batch), size), tf.gather(ids, batch)

        return untuned(rows.map(load).prefetch(2))

    def fresh(self, *, seed: int | None = None) -> "TaskStream":
        """A stream of the same images and tasks, before its first task.

        Args:
            seed: determines the validation part, and not the order of the classes; None keeps it.
        """
        return TaskStream(
            self._data,
            task_classes=self.task_classes,
            image_size=self.image_shape[0],
            validation_fraction=self.validation_fraction,
            seed=self.seed if seed is None else _checks.integer(seed, "seed", low=0),
        )

    @property
    def scenario(self) -> str:
        """One line that belongs next to every number measured on this stream."""
        sizes = sorted({len(classes) for classes in self.task_classes})
        per_task = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        noun = "class" if sizes == [1] else "classes"
        tasks = "task" if len(self) == 1 else "tasks"
        names = [self.class_names[label] for label in self.class_order]
        order = _checks.one_line(",".join(names), 200)
        if list(self.class_order) == list(range(len(self.class_order))):
            order = _checks.one_line(f"{names[0]}..{names[-1]}", 200)
        return (
            f"class-incremental, {len(self)} {tasks} of {per_task} {noun}, "
            f"order {order}, single head, {self.name} ({self.source})"
        )

    def describe(self) -> dict[str, Any]:
        """All that determines the stream, JSON-able."""
        return {
            "name": self.name,
            "source": self.source,
            "fingerprint": self._data.fingerprint,
            "scenario": self.scenario,
            "task_classes": [list(classes) for classes in self.task_classes],
            "class_names": list(self.class_names),
            "image_shape": list(self.image_shape),
            "validation_fraction": self.validation_fraction,
            "seed": self.seed,
            "train_images": [len(rows) for rows in self._train_rows],
            "validation_images": [len(rows) for rows in self._validation_rows],
            "test_images": [len(rows) for rows in self._test_rows],
        }


def class_incremental(
    data: str | datasets.ImageData | tuple,
    classes_per_task: int | Sequence[int] = 1,
    class_order: str | Sequence[int | str] | None = None,
    *,
    image_size: int | None = None,
    validation_fraction: float | None = None,
    seed: int = 0,
    data_dir: str | None = None,
) -> TaskStream:
    """Cuts a data set into tasks of new classes.

    Args:
        data: a data set's name (see `datasets.load_data`), an `ImageData`, or arrays (images,
            labels, test_images, test_labels) as `datasets.from_arrays` takes them.
        classes_per_task: a number, or one number per task where they differ.
        class_order: None for ascending ids, "random" for an order that depends on `seed`, or a
            permutation of the classes, by id (numbers) or by name (texts).
        image_size: side S of the square images that the networks see, a multiple of 4 and at
            least 16; None takes the data's own default (32; digits 16; arrays their smaller side,
            rounded up to the next of 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112 and 128).
        validation_fraction: fraction of each class's training images that is held out, in [0, 1);
            None takes the data's own default (0.15; SVHN 0.10).
        seed: determines the validation part and a random class order.
        data_dir: folder of prepared data, for data sets given by name.

    Returns:
        The stream, before its first task.

    Raises:
        InputError: the data cannot be had, or an argument does not fit it.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits", classes_per_task=2)
        for task in stream:
            for images, labels in task.batches(32, epochs=1, seed=0):
                ...  # float32 [32, 16, 16, 1] in [-1, 1], int32 [32]
        ```
    """
    data = _image_data(data, data_dir)
    seed = _checks.integer(seed, "seed", low=0)
    if validation_fraction is None:
        validation_fraction = data.validation_fraction
    validation_fraction = _checks.fraction(validation_fraction, "validation_fraction", zero=True)
    order = division.ordered(class_order, data.class_names, seed)
    return TaskStream(
        data,
        task_classes=division.cut(order, classes_per_task),
        image_size=_checks.image_size(data.image_size if image_size is None else image_size),
        validation_fraction=validation_fraction,
        seed=seed,
    )


def _image_data(data: Any, data_dir: str | None) -> datasets.ImageData:
    if isinstance(data, datasets.ImageData):
        return data
    if isinstance(data, str | os.PathLike):  # Of a path it says what to give.
        return datasets.load_data(os.fspath(data), data_dir=data_dir)
    if isinstance(data, tuple | list) and len(data) == 4:
        images, labels, test_images, test_labels = data
        return datasets.from_arrays(
            images, labels, test_images=test_images, test_labels=test_labels
        )
    raise InputError(
        "data must be a data set's name, an ImageData such as dgm_tf.from_folder gives, or the "
        f"tuple (images, labels, test_images, test_labels), got {type(data).__name__}"
    )
