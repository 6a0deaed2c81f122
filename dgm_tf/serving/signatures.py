"""The functions of an exported memory: what a server calls, and what a phone can be given.

Every input and output of a signature has one row per image, and a row's answer depends on that row
alone, to the last bit. A server may merge the requests of several clients, split them, and fill a
batch up with rows of its own. A row that cannot be answered is said to be so in `valid`, and does
not disturb its neighbours: its numbers are NaN, its label is -1 and its texts are empty.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data.pixels import to_float
from dgm_tf.networks import Generator
from dgm_tf.networks.drawing import GROUP, draw
from dgm_tf.networks.replay import to_levels
from dgm_tf.serving.shared_kernels import SharedKernels

ROWS_END = 2**40  # so that row * noise length stays an int64
# Standard normals stay below 10; far above this one what is computed could become infinite.
NOISE_LIMIT = 1e4

_AT_ONCE = 8  # single rows that are computed side by side
_NAN = np.float32(np.nan)


def generating(root: tf.Module, generator: Generator, classes: Sequence[int]) -> dict[str, Any]:
    """The signatures that make images.

    Args:
        root: the module that is saved. The variables are attached to it, and `generate_class`:
            images float32 [B, S, S, C] of one class, `label` int32 [], and of noise float32
            [B, latent], by a graph without loops. With the label as a constant all of it that is
            not the drawing of images can be computed beforehand. Images of an unknown class are
            NaN.
        generator: with at least one finished task.
        classes: class ids in order of arrival.
    """
    kernels = SharedKernels(root, generator)
    latent_rows = _LatentRows(generator, classes)
    size, shape = generator.latent_dim, generator.image_shape
    labels_spec = tf.TensorSpec([None], tf.int32, "labels")
    noise_spec = tf.TensorSpec([None, size], tf.float32, "noise")
    by_key = (
        labels_spec,
        tf.TensorSpec([None], tf.int64, "keys"),
        tf.TensorSpec([None], tf.int64, "rows"),
    )

    @_traced(tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, size], tf.float32))
    def made(labels: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        tasks, latent, known = latent_rows(labels, noise)
        images = tf.ensure_shape(_by_task(kernels, tasks, latent, shape), [None, *shape])
        return images, known

    def from_keys(
        labels: tf.Tensor, keys: tf.Tensor, rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        labels, keys, rows = _together(labels=labels, keys=keys, rows=rows)
        inside = tf.logical_and(rows >= 0, rows < ROWS_END)
        noise = tf.map_fn(
            lambda pair: randomness.normal_row(size, randomness.pair_of(pair[0]), pair[1]),
            (keys, rows),
            fn_output_signature=tf.TensorSpec([size], tf.float32),
            parallel_iterations=_AT_ONCE,
        )
        images, known = made(labels, noise)
        return images, tf.logical_and(known, inside)

    @_traced(*by_key)
    def generate(labels: tf.Tensor, keys: tf.Tensor, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        images, valid = from_keys(labels, keys, rows)
        return {"images": _or_nan(images, valid), "valid": valid}

    @_traced(*by_key)
    def generate_png(labels: tf.Tensor, keys: tf.Tensor, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        images, valid = from_keys(labels, keys, rows)
        # TensorFlow Serving's REST interface encodes outputs called *_bytes in base 64.
        encoded = tf.io.encode_png(to_levels(images))
        return {"png_bytes": tf.where(valid, encoded, ""), "valid": valid}

    @_traced(labels_spec, noise_spec)
    def generate_from_noise(labels: tf.Tensor, noise: tf.Tensor) -> dict[str, tf.Tensor]:
        labels, noise = _together(labels=labels, noise=noise)
        inside = tf.reduce_all(tf.abs(noise) <= NOISE_LIMIT, axis=1)  # NaN is not
        images, known = made(labels, noise)
        valid = tf.logical_and(known, inside)
        return {"images": _or_nan(images, valid), "valid": valid}

    @_traced(tf.TensorSpec([], tf.int32, "label"), noise_spec)
    def generate_class(label: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        task = latent_rows.task(label)
        _, latent, known = latent_rows(tf.repeat(label, tf.shape(noise)[0]), noise)
        images = tf.ensure_shape(draw(latent, kernels.finished(task)), [None, *shape])
        return _or_nan(images, known)

    root.generate_class = generate_class
    return {
        "serving_default": generate,
        "generate": generate,
        "generate_from_noise": generate_from_noise,
        "generate_png": generate_png,
    }


class _LatentRows:
    """The generator's inputs for classes, each by the task in which it was learnt.

    Args:
        generator: with at least one finished task.
        classes: class ids in order of arrival.
    """

    def __init__(self, generator: Generator, classes: Sequence[int]):
        self._size = generator.latent_dim
        self._counts = np.asarray(generator.finished, np.int32)
        order = np.argsort(classes)
        self._known = np.asarray(classes, np.int32)[order]
        tasks = np.repeat(np.arange(len(self._counts), dtype=np.int32), self._counts)
        own = np.concatenate([np.arange(count, dtype=np.int32) for count in self._counts])
        self._tasks, self._own = tasks[order], own[order]

    def task(self, label: tf.Tensor) -> tf.Tensor:
        """The task int32 [] from 0 of a class int32 []."""
        return tf.gather(self._tasks, self._place(label[tf.newaxis]))[0]

    def _place(self, labels: tf.Tensor) -> tf.Tensor:
        return tf.minimum(tf.searchsorted(self._known, labels), len(self._known) - 1)

    def __call__(
        self, labels: tf.Tensor, noise: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Tasks int32 [B] from 0, latents float32 [B, latent], and whether a class is known.

        An unknown class has the latent of a known one.

        Args:
            labels: int32 [B].
            noise: float32 [B, latent].
        """
        place = self._place(labels)
        known = tf.equal(tf.gather(self._known, place), labels)
        tasks, own = tf.gather(self._tasks, place), tf.gather(self._own, place)
        # As `Generator.latent` does, where tasks have other numbers of classes.
        column = tf.range(self._size)
        label = tf.cast(column == own[:, None], tf.float32)
        latent = tf.where(column < tf.gather(self._counts, tasks)[:, None], label, noise)
        return tasks, latent, known


def _by_task(
    kernels: SharedKernels, tasks: tf.Tensor, latent: tf.Tensor, shape: Sequence[int]
) -> tf.Tensor:
    """Images of rows of any tasks, in groups of one task, as `drawing.in_groups` makes them.

    A task that no row asks for costs nothing.

    Args:
        kernels: of all tasks.
        tasks: int32 [B], from 0.
        latent: float32 [B, latent].
        shape: (S, S, C).
    """
    order = tf.argsort(tasks, stable=True)
    present, _, counts = tf.unique_with_counts(tf.gather(tasks, order))
    groups = -(-counts // GROUP)
    # Where each row stands among the groups, each of which is filled up with zeros.
    skipped = tf.cumsum(groups * GROUP - counts, exclusive=True)
    slots = tf.range(tf.size(tasks)) + tf.repeat(skipped, counts)
    total, length = tf.reduce_sum(groups), latent.shape[-1]
    rows = tf.scatter_nd(slots[:, None], tf.gather(latent, order), [total * GROUP, length])
    rows = tf.reshape(rows, [total, GROUP, length])
    images = kernels.images(tf.repeat(present, groups), rows, shape)
    images = tf.reshape(images, [-1, *shape])
    slot_of_row = tf.scatter_nd(order[:, None], slots, [tf.size(tasks)])
    return tf.gather(images, slot_of_row)


def classifying(root: tf.Module, learner: Any) -> dict[str, Any]:
    """The signatures that classify images; their variables are attached to `root`.

    Args:
        root: the module that is saved.
        learner: with at least one finished task.
    """
    critic = learner.classifier
    root.classifier = [variable.value for variable in critic.class_variables()]
    # Behind the classes stands what a row gets that cannot be answered.
    labels = tf.constant([*learner.classes_seen, -1], tf.int32)
    names = tf.constant([*learner.class_names, ""])
    classes, shape = len(learner.classes_seen), critic.image_shape

    def classified(images: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
        # One by one: what is computed for many rows at once depends on their number.
        probabilities = tf.map_fn(
            lambda image: tf.nn.softmax(critic.class_logits(image[tf.newaxis]))[0],
            images,
            fn_output_signature=tf.TensorSpec([classes], tf.float32),
            parallel_iterations=_AT_ONCE,
        )
        best = tf.where(valid, tf.argmax(probabilities, axis=1, output_type=tf.int32), classes)
        return {
            "probabilities": _or_nan(probabilities, valid),
            "label": tf.gather(labels, best),
            "class_name": tf.gather(names, best),
            "valid": valid,
        }

    @_traced(tf.TensorSpec([None, *shape], tf.float32, "images"))
    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.ensure_shape(images, [None, *shape])
        valid = tf.reduce_all(tf.abs(images) <= 1.0, axis=[1, 2, 3])  # NaN is not
        return classified(images, valid)

    @_traced(tf.TensorSpec([None, *shape], tf.uint8, "images"))
    def classify_uint8(images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.ensure_shape(images, [None, *shape])
        valid = tf.fill(tf.shape(images)[:1], True)
        return classified(to_float(images, shape[0]), valid)

    return {"classify": classify, "classify_uint8": classify_uint8}


def _traced(*signature: tf.TensorSpec) -> Callable[[Callable[..., Any]], Any]:
    return tf.function(input_signature=signature, autograph=False)


def _together(**inputs: tf.Tensor) -> list[tf.Tensor]:
    """Inputs of as many rows; others fail the call with a line that says what was wanted."""
    # A server feeds what it is sent, whatever the signature says.
    values = [tf.ensure_shape(value, value.shape) for value in inputs.values()]
    rows = tf.stack([tf.shape(value)[0] for value in values])
    wanted = f"expected as many rows of {', '.join(inputs)}, received"
    equal = tf.debugging.Assert(tf.reduce_all(tf.equal(rows, rows[0])), [wanted, rows])
    with tf.control_dependencies([equal]):
        return [tf.identity(value) for value in values]


def _or_nan(values: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """The rows of float32 [B, ...] that are valid, NaN in place of the others."""
    return tf.where(tf.reshape(valid, [-1] + [1] * (values.shape.rank - 1)), values, _NAN)
