"""A data set cut into tasks, and the only door to training images.

The images of a finished task may not be kept. The training images of the open task lie in a store
which is destroyed when the stream moves on, so that neither the task, nor a dataset made from it
earlier, nor an iterator that is already running can read them any longer.

Three doors stay open: `TaskStream.seen_test` (real test images, for evaluation only),
`TaskStream.seen_validation` (held-out images, for a search for settings only) and
`TaskStream.joint_batches` (real training images of all classes so far, for joint training).
"""

import contextlib
import functools
import operator
import threading
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, datasets, inputs, randomness
from dgm_tf.errors import InputError

_CPU = "CPU:0"

# uint8 or, in [-1, 1], float32 [N, H, W, C]; class ids int32 [N]
_Images = tuple[np.ndarray, np.ndarray]


class TaskClosed(InputError):
    """The training images of a finished task were asked for; they are gone.

    Example:
        ```python
        tasks = iter(dgm_tf.class_incremental("digits"))
        first, second = next(tasks), next(tasks)
        try:
            first.batches(32, epochs=1, seed=0)
        except dgm_tf.TaskClosed as closed:
            print(closed)
        ```
    """


def to_float(images: tf.Tensor | np.ndarray, size: int) -> tf.Tensor:
    """Turns stored pixels into what the networks see.

    The central square is cut out and resized bilinearly, with antialiasing where it shrinks; the
    levels of uint8 become `x / 127.5 - 1`. The rule for arrays of any size, in streams, learners
    and exported models; `dgm_tf.image_file.read_image` reads files by the same.

    Args:
        images: uint8 or, in [-1, 1], float32 [B, H, W, C]; H and W may be unknown in a graph.
        size: side S of the square images that are wanted.

    Returns:
        float32 [B, S, S, C] in [-1, 1].
    """
    images = _central_square(tf.convert_to_tensor(images))
    pixels = tf.cast(images, tf.float32)
    side = images.shape[1]
    if side != size:
        # In a graph for any size: antialiasing changes nothing where an image grows.
        shrinks = side is None or side > size
        pixels = tf.image.resize(pixels, (size, size), method="bilinear", antialias=shrinks)
    if images.dtype == tf.uint8:
        pixels = pixels / 127.5 - 1.0
    return tf.clip_by_value(pixels, -1.0, 1.0)


def _central_square(images: tf.Tensor) -> tf.Tensor:
    height, width = images.shape[1], images.shape[2]
    if None in (height, width):
        height, width = tf.unstack(tf.shape(images)[1:3])
        side = tf.minimum(height, width)
    elif height == width:
        return images
    else:
        side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]


class _ImageStore:
    """Images and labels in TensorFlow's memory that can be taken away from everyone at once.

    A dataset keeps the arrays and tensors that it captures alive. This store lets it capture a
    resource handle, and `close` destroys the resource behind it. The raw operations stand in for
    `tf.Variable`, which a distribution strategy's scope would mirror.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, closed_text: str):
        self.size = len(labels)
        self.closed_text = closed_text
        self._image_shape = images.shape[1:]
        self._dtype = tf.as_dtype(images.dtype)
        with tf.init_scope(), tf.device(_CPU):
            self._images = _new_resource(images, self._dtype)
            self._labels = _new_resource(labels, tf.int32)
        self.close = weakref.finalize(self, _destroy, self._images, self._labels)
        # When the process ends TensorFlow may be gone before this runs, and frees it anyway.
        self.close.atexit = False

    @property
    def is_open(self) -> bool:
        return self.close.alive

    def check_open(self) -> None:
        if not self.is_open:
            raise TaskClosed(self.closed_text)

    def gather(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows [B] -> (pixels [B, H, W, C], int32 [B]), for use in a tf.data graph."""
        with tf.control_dependencies([self._assert_open()]):
            images = tf.raw_ops.ResourceGather(
                resource=self._images, indices=rows, dtype=self._dtype
            )
            labels = tf.raw_ops.ResourceGather(resource=self._labels, indices=rows, dtype=tf.int32)
        images = tf.ensure_shape(images, [rows.shape[0], *self._image_shape])
        return images, tf.ensure_shape(labels, rows.shape)

    def guard(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Lets a finished batch through only while the store is open."""
        with tf.control_dependencies([self._assert_open()]):
            return tf.identity(images), tf.identity(labels)

    def _assert_open(self) -> tf.Operation:
        is_open = tf.raw_ops.VarIsInitializedOp(resource=self._images)
        return tf.debugging.Assert(is_open, [self.closed_text])


def _new_resource(values: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    handle = tf.raw_ops.VarHandleOp(
        dtype=dtype, shape=values.shape, shared_name=f"dgm_tf_images_{uuid.uuid4().hex}"
    )
    tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(values, dtype))
    return handle


def _destroy(*handles: tf.Tensor) -> None:
    # Garbage may be collected while a graph is being traced.
    with tf.init_scope():
        if tf.executing_eagerly():
            for handle in handles:
                tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)
            return
    # Or inside a graph that is no function's, such as that of a SavedModel that is being written,
    # which `init_scope` does not leave; a new thread begins outside of all.
    outside = threading.Thread(target=_destroy, args=handles)
    outside.start()
    outside.join()


class _TaskDataset(tf.data.Dataset):
    """A dataset over an `_ImageStore` that says in one line that its images are gone."""

    def __init__(self, dataset: tf.data.Dataset, store: _ImageStore):
        self._dataset = dataset
        self._store = store
        super().__init__(dataset._variant_tensor)

    def _inputs(self):
        return [self._dataset]

    @property
    def element_spec(self):
        return self._dataset.element_spec

    def __iter__(self):
        if not tf.executing_eagerly():
            return super().__iter__()
        self._store.check_open()
        return _iterator_class()(self, self._store)


@functools.cache
def _iterator_class() -> type:
    """TensorFlow's own iterator, so that `fit` takes it, which raises `TaskClosed`.

    Inside a compiled function the error is TensorFlow's, with the same text.
    """
    base = type(iter(tf.data.Dataset.range(0)))

    class TaskIterator(base):
        def __init__(self, dataset: _TaskDataset, store: _ImageStore):
            super().__init__(dataset)
            self._store = store

        def __next__(self):
            return self._unless_closed(super().__next__)

        def get_next(self):
            return self._unless_closed(super().get_next)

        def _unless_closed(self, read):
            if tf.executing_eagerly():
                self._store.check_open()
            return read()

    return TaskIterator


class Task:
    """One task of a stream, whose images can be read until the stream moves on.

    Attributes:
        index: position in the stream, from 1.
        classes: class ids that arrive with this task, as the data set has them.
        class_names: their names.
        image_shape: (S, S, C) of the images that `batches` yields.
        train_size: training images in a pass, the validation part excluded.
        validation_size: images held out.

    Args:
        name: text for errors and progress.
        index: as above.
        classes: names by class id.
        image_shape: as above.
        train: images and class ids, class by class.
        validation: the same, held out.
        least: images of a class that a pass has at least: fewer are repeated in it.
        cuts: fractions of a class that were held out before: for validation and for the test.

    Example:
        ```python
        tasks = iter(dgm_tf.class_incremental("digits"))
        task = next(tasks)
        print(task.class_names, task.train_size)
        batches = task.batches(32, epochs=2, seed=0)
        ```
    """

    def __init__(
        self,
        name: str,
        index: int,
        classes: Mapping[int, str],
        image_shape: tuple[int, int, int],
        *,
        train: _Images,
        validation: _Images,
        least: int = 1,
        cuts: tuple[float, float] = (0.0, 0.0),
    ):
        self.index = index
        self.classes = tuple(classes)
        self.class_names = tuple(classes.values())
        self.image_shape = image_shape
        self._name = name
        closed = (
            f"{name} is finished and its training images are gone: "
            "only the task the stream stands at can be read"
        )
        self._train = _ImageStore(*train, closed)
        self._validation = _ImageStore(*validation, closed)
        parts = [np.flatnonzero(train[1] == label) for label in classes]
        parts = [np.tile(rows, repeats(len(rows), least)) for rows in parts]
        self._rows = np.concatenate(parts)  # those of a pass
        self.train_size = len(self._rows)
        self.validation_size = self._validation.size
        sizes = dict(zip(self.class_names, map(len, parts), strict=True))
        self._smallest_class = min(sizes.items(), key=lambda item: item[1])
        self._cuts = cuts

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        there = f"{self.train_size} training images" if self.is_open else "its images are gone"
        return f"<{self._name}, {there}>"

    @property
    def is_open(self) -> bool:
        """True while the training images can be read."""
        return self._train.is_open

    def steps_per_epoch(self, batch_size: int) -> int:
        """Full batches in one pass over the task.

        Args:
            batch_size: images per batch, from 1.

        Raises:
            InputError: `batch_size` is larger than the task's smallest class.
        """
        batch_size = _checks.integer(batch_size, "batch_size", low=1)
        check_batch(*self._smallest_class, batch_size, self._cuts)
        return self.train_size // batch_size

    def batches(
        self, batch_size: int, *, epochs: int, seed: int, start: int = 0
    ) -> tf.data.Dataset:
        """Training batches in random order, `epochs` passes in one dataset.

        Images that are repeated count as so many images.

        The order of pass e depends only on (seed, e): the same call with `start=k` resumes an
        interrupted pass exactly.

        Args:
            batch_size: images per batch B; a pass drops its last, incomplete batch.
            epochs: number of passes.
            seed: integer that determines the order.
            start: number of batches to leave out at the beginning.

        Returns:
            `epochs * steps_per_epoch(batch_size) - start` pairs of images, float32 [B, S, S, C]
            in [-1, 1], and data-set class ids, int32 [B].

        Raises:
            TaskClosed: the stream has moved on. A dataset made before raises it too.
            InputError: an argument is out of range.
        """
        self._train.check_open()
        self.steps_per_epoch(batch_size)  # Refuses a batch that is too large.
        rows = _shuffled_rows(self._rows, batch_size, epochs, seed, start)
        return self._dataset(rows, self._train)

    def each_once(self, batch_size: int = 256) -> tf.data.Dataset:
        """Each training image once, class by class; the last batch may be smaller.

        Args:
            batch_size: images per batch, from 1.

        Returns:
            Pairs of images and class ids as `batches` gives them.

        Raises:
            TaskClosed: the stream has moved on.
        """
        self._train.check_open()
        return self._dataset(_rows_in_order(self._train.size, batch_size), self._train)

    def validation(self, batch_size: int = 256) -> tf.data.Dataset:
        """The task's own held-out images, in fixed order; the last batch may be smaller.

        Args:
            batch_size: images per batch, from 1.

        Returns:
            Pairs of images and class ids as `batches` gives them.

        Raises:
            TaskClosed: the stream has moved on.
        """
        self._validation.check_open()
        rows = _rows_in_order(self.validation_size, batch_size)
        return self._dataset(rows, self._validation)

    def _dataset(self, rows: tf.data.Dataset, store: _ImageStore) -> tf.data.Dataset:
        size = self.image_shape[0]

        def load(batch):
            images, labels = store.gather(batch)
            return to_float(images, size), labels

        # The second look at the store stands behind the prefetch: a batch that already waits in
        # its buffer when the task is closed is not handed out either. TensorFlow adds no buffer
        # of its own behind it where nothing is tuned.
        guarded = rows.map(load).prefetch(2).map(store.guard)
        return _TaskDataset(untuned(guarded), store)

    def close(self) -> None:
        """Destroys the images; a dataset of them can no longer be read."""
        self._train.close()
        self._validation.close()


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset without TensorFlow's tuning of its buffers.

    Nothing of ours can be tuned, and the end of an iterator can wait for the tuning thread, which
    sleeps: a training phase lost up to five seconds to it.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def check_batch(
    name: str,
    images: int,
    batch_size: int,
    cuts: tuple[float, float],
    remarks: Sequence[str] = (),
) -> None:
    """Refuses a batch that is larger than a class, and says how many images it would take.

    Args:
        name: of the class.
        images: to learn from.
        batch_size: wanted.
        cuts: fractions of a class that are held out before: for validation and for the test.
        remarks: lines on images that were not taken, such as copies.

    Raises:
        InputError: the class has fewer.
    """
    if images >= batch_size:
        return
    validation, test = cuts
    held_out = [f"{part} {fraction:g}" for part, fraction in (
        ("test_fraction", test), ("validation_fraction", validation)) if fraction]  # fmt: skip
    needed = datasets.images_needed(batch_size, validation, test)
    after = f" ({' and '.join(held_out)} held out)" if held_out else ""
    raise InputError(
        f"a batch must not be larger than a class: class {_checks.one_line(name, 80)} has {images} "
        f"image{'s' * (images != 1)} to learn from, batch_size is {batch_size}, for which a class "
        f"needs {needed} images{after}: add images, or give a smaller batch_size"
        + (" or validation_fraction" if validation else "")
        + (f" ({'; '.join(remarks)})" if remarks else "")
    )


def repeats(images: int, least: int) -> int:
    """How often a pass has each image of a class, for it to have `least` of the class."""
    return max(1, -(-least // max(images, 1)))


def told_repeated(name: str, images: int, least: int) -> str:
    """A line on a class whose images are repeated; empty where they are not."""
    if repeats(images, least) == 1:
        return ""
    return (
        f"{name} has {images} image{'s' * (images > 1)} to learn from, fewer than a batch of "
        f"{least}: {'it is' if images == 1 else 'they are'} repeated"
    )


def _rows_in_order(size: int, batch_size: int) -> tf.data.Dataset:
    return tf.data.Dataset.range(size).batch(_checks.integer(batch_size, "batch_size", low=1))


def _shuffled_rows(
    rows: np.ndarray, batch_size: int, epochs: int, seed: int, start: int
) -> tf.data.Dataset:
    """Rows [B] of every batch, from batch `start` on; pass e depends only on (seed, e)."""
    size = len(rows)
    batch_size = _checks.integer(batch_size, "batch_size", low=1, high=size)
    steps = size // batch_size
    epochs = _checks.integer(epochs, "epochs", low=1)
    seed = _checks.integer(seed, "seed", low=-(2**63), high=2**63 - 1)
    start = _checks.integer(start, "start", low=0, high=epochs * steps)

    def one_pass(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.constant(rows, tf.int64), seed=tf.stack([seed, epoch]), alg="philox"
        )
        return tf.data.Dataset.from_tensor_slices(
            tf.reshape(order[: steps * batch_size], [steps, batch_size])
        )

    first = start // steps
    batches = tf.data.Dataset.range(first, epochs).flat_map(one_pass).skip(start - first * steps)
    return batches.apply(tf.data.experimental.assert_cardinality(epochs * steps - start))


def task_title(number: str, classes: Sequence[str]) -> str:
    """Name of a task by the names of its classes, such as "task 2 of 5: classes cat, dog"."""
    noun = "class" if len(classes) == 1 else "classes"
    return f"task {number}: {noun} {_checks.one_line(', '.join(classes), 80)}"


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

    def _take(self, rows: list[np.ndarray], classes: Sequence[int]) -> _Images:
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
        return self._open_door(_rows_in_order(len(labels), batch_size), images, labels)

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
        return self._open_door(_rows_in_order(len(labels), batch_size), images, labels)

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
        rows = _shuffled_rows(np.arange(len(labels)), batch_size, epochs, seed, start)
        return self._open_door(rows, images, labels)

    def _open_door(
        self, rows: tf.data.Dataset, images: np.ndarray, labels: np.ndarray
    ) -> tf.data.Dataset:
        size = self.image_shape[0]
        with tf.init_scope(), tf.device(_CPU):
            pixels, ids = tf.constant(images), tf.constant(labels, tf.int32)

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
    order = _class_order(class_order, data.class_names, seed)
    return TaskStream(
        data,
        task_classes=_cut(order, classes_per_task),
        image_size=_checks.image_size(data.image_size if image_size is None else image_size),
        validation_fraction=validation_fraction,
        seed=seed,
    )


def _image_data(data: Any, data_dir: str | None) -> datasets.ImageData:
    if isinstance(data, datasets.ImageData):
        return data
    if isinstance(data, str):
        return datasets.load_data(data, data_dir=data_dir)
    if isinstance(data, tuple | list) and len(data) == 4:
        images, labels, test_images, test_labels = data
        return datasets.from_arrays(
            images, labels, test_images=test_images, test_labels=test_labels
        )
    raise InputError(
        "data must be a data set's name, an ImageData such as dgm_tf.from_folder gives, or the "
        f"tuple (images, labels, test_images, test_labels), got {type(data).__name__}"
    )


def _class_order(
    order: str | Sequence[int | str] | None, names: Sequence[str], seed: int
) -> tuple[int, ...]:
    classes = len(names)
    if order is None:
        return tuple(range(classes))
    if isinstance(order, str) and order == "random":
        # NumPy froze the stream of its legacy generator: a seed's order stays for ever.
        shuffle = np.random.RandomState(randomness.derive(seed, "class_order"))
        return tuple(shuffle.permutation(classes).tolist())
    given = list(order) if isinstance(order, Iterable) and not isinstance(order, str) else []
    ids: Sequence[int] = ()
    if all(isinstance(each, str) for each in given):
        ids = inputs.asked_classes(given, dict(enumerate(names)))
    else:
        with contextlib.suppress(TypeError):
            ids = tuple(operator.index(each) for each in given)
    if sorted(ids) != list(range(classes)):
        raise InputError(
            f'class_order must be None, "random" or a permutation of the {classes} classes, by id '
            f"(0 to {classes - 1}) or by name ({_checks.listed(names)}), got "
            f"{_checks.one_line(repr(order), 200)}"
        )
    return tuple(ids)


def _cut(order: tuple[int, ...], per_task: int | Sequence[int]) -> tuple[tuple[int, ...], ...]:
    if isinstance(per_task, Sequence | np.ndarray) and not isinstance(per_task, str):
        sizes = [_checks.integer(size, "each of classes_per_task", low=1) for size in per_task]
        if sum(sizes) != len(order):
            raise InputError(
                f"classes_per_task must sum up to the {len(order)} classes of the data, "
                f"{sizes} sums up to {sum(sizes)}"
            )
    else:
        size = _checks.integer(per_task, "classes_per_task", low=1)
        if len(order) % size:
            raise InputError(
                f"classes_per_task {size} does not divide the {len(order)} classes of the data: "
                "give one number per task"
            )
        sizes = [size] * (len(order) // size)
    ends = np.cumsum(sizes)
    return tuple(order[end - size : end] for size, end in zip(sizes, ends, strict=True))
