"""A task, whose training images can be read until its stream moves on.

The images of a finished task may not be kept. Those of the open task lie in a store which is
destroyed when the stream moves on, so that neither the task, nor a dataset made from it earlier,
nor an iterator that is already running can read them any longer.
"""

import functools
import threading
import uuid
import weakref
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from dgm_tf import _checks
from dgm_tf.data import datasets
from dgm_tf.data.pixels import as_seen, to_float
from dgm_tf.errors import InputError

# uint8 or, in [-1, 1], float32 [N, H, W, C]; class ids int32 [N]
Images = tuple[np.ndarray, np.ndarray]


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
        with tf.init_scope(), tf.device("CPU:0"):
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
        train: Images,
        validation: Images,
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
        self._train, self._validation = (
            _ImageStore(as_seen(images, image_shape[0]), labels, closed)
            for images, labels in (train, validation)
        )
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
        rows = shuffled_rows(self._rows, batch_size, epochs, seed, start)
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
        return self._dataset(rows_in_order(self._train.size, batch_size), self._train)

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
        rows = rows_in_order(self.validation_size, batch_size)
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


def rows_in_order(size: int, batch_size: int) -> tf.data.Dataset:
    return tf.data.Dataset.range(size).batch(_checks.integer(batch_size, "batch_size", low=1))


def shuffled_rows(
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
