"""Replayed images of old classes, made by a finished generator while they are needed.

Nothing here is kept from one task to the next.
"""

import abc
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.devices import distribution

_LEVELS = 127.5
# Each image is drawn about this often before a new one takes its place, and they are made this many
# steps' worth at a time: cutting a task's weights out of the generator costs as much as ten images.
_USES = 4
_STEPS_PER_RENEWAL = 8
_FEWEST_SLOTS = 32


class Memory(Protocol):
    """A generator that replays classes by their position in order of arrival."""

    classes: int
    latent_dim: int

    def recall(self, position: int, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [n, S, S, C] in [-1, 1] of one class.

        Args:
            position: the class, in [0, classes).
            noise: standard normals [n, latent].
        """


class TracedMemory:
    """A `Memory` by one graph, of a generator that can be traced with the class as a tensor.

    Args:
        generator: with `classes`, `latent_dim` and a `recall` that takes int32 scalars.
    """

    def __init__(self, generator: Any):
        self.classes, self.latent_dim = generator.classes, generator.latent_dim
        self._recall = tf.function(generator.recall, autograph=False).get_concrete_function(
            tf.TensorSpec([], tf.int32), tf.TensorSpec([None, generator.latent_dim])
        )

    def recall(self, position: int, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [n, S, S, C] of one class; see `Memory`."""
        return self._recall(tf.constant(position, tf.int32), noise)


class Replay(abc.ABC):
    """Replayed images of all old classes for one training step, or a replica's part of them.

    Attributes:
        variables: what a draw depends on beside the step.
    """

    variables: Sequence[tf.Variable] = ()

    def refresh(self, step: int) -> None:  # noqa: B027 (most draws depend on the step only)
        """Makes the images that a step is the first to need; called before it, on the host."""

    @abc.abstractmethod
    def draw(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images float32 [R, S, S, C] in [-1, 1] and class positions int32 [R].

        Args:
            step: of the training.
        """


class FullReplay(Replay):
    """As many replayed images per old class as there are current ones, new in every step.

    DGM's paper's way. A step's cost grows with the number of old classes.
    """

    def __init__(self, memory: Memory, *, batch_size: int, seed: tf.Tensor):
        self._memory = memory
        self._batch_size = batch_size
        self._seed = seed
        # The first axis is the one that replicas divide.
        self._images = tf.Variable(self._made(0), trainable=False)
        self.variables = (self._images,)

    def _made(self, step: int) -> tf.Tensor:
        """Images float32 [batch, classes, S, S, C]."""
        seed = randomness.fold(self._seed, step)
        shape = [self._batch_size, self._memory.latent_dim]
        images = [
            self._memory.recall(position, randomness.normal(shape, randomness.fold(seed, position)))
            for position in range(self._memory.classes)
        ]
        return tf.stack(images, axis=1)

    def refresh(self, step: int) -> None:
        images = self._made(step)
        for copy in distribution.copies(self._images):
            copy.assign(images)

    def draw(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        del step
        images = distribution.part(tf.identity(self._images))
        positions = tf.tile(tf.range(self._memory.classes), [images.shape[0]])
        return tf.reshape(images, [-1, *images.shape[2:]]), positions


class BalancedReplay(Replay):
    """A fixed number of replayed images per step, spread evenly over all old classes.

    A buffer holds equally many images of each class, as uint8. Every few steps the oldest ones of
    one class are renewed, the classes taking turns, so that each image is drawn about four times;
    some more of many classes, whose renewals are smaller. A step draws as many images and renews
    one class whatever the number of classes. uint8 also rounds away what a network's tanh leaves
    beside the 256 levels of real images. Every replica of a step has the same images, in a buffer
    of its own.

    Args:
        memory: with at least one class.
        batch_size: images drawn per step.
        size: images in the buffer; more where that leaves a class with fewer than 32.
        seed: int32 [2].
    """

    def __init__(self, memory: Memory, *, batch_size: int, size: int, seed: tf.Tensor):
        self._memory = memory
        self._batch_size = batch_size
        self._seed = seed
        self._classes = memory.classes
        self._slots = max(size // self._classes, _FEWEST_SLOTS)
        wanted = -(-batch_size * _STEPS_PER_RENEWAL // _USES)
        self._fresh = min(wanted, self._slots)
        # Made at once, whatever the number of classes: oneDNN keeps code for each number of rows.
        self._rows = min(wanted, 64 if self._slots >= 64 else _FEWEST_SLOTS)
        self._images = tf.Variable(self._first_images(), trainable=False)
        self.variables = (self._images,)

    def _first_images(self) -> tf.Tensor:
        seed = randomness.fold(self._seed, 0)
        return tf.concat(
            [
                self._made(position, self._slots, randomness.fold(seed, position))
                for position in range(self._classes)
            ],
            axis=0,
        )

    def refresh(self, step: int) -> None:
        """Every few steps: new images in place of a class's oldest ones."""
        if step % _STEPS_PER_RENEWAL:
            return
        cycle, position = divmod(step // _STEPS_PER_RENEWAL, self._classes)
        seed = randomness.fold(self._step_seed(step), 0)
        images = self._made(position, self._fresh, seed)
        oldest = (cycle * self._fresh + np.arange(self._fresh)) % self._slots
        update = tf.IndexedSlices(images, tf.constant(position * self._slots + oldest))
        for copy in distribution.copies(self._images):
            copy.scatter_update(update)

    def _made(self, position: int, count: int, seed: tf.Tensor) -> tf.Tensor:
        """New images uint8 [count, S, S, C] of a class."""
        parts = -(-count // self._rows)
        noise = randomness.normal([parts * self._rows, self._memory.latent_dim], seed)
        images = [to_levels(self._memory.recall(position, part)) for part in tf.split(noise, parts)]
        return tf.concat(images, axis=0)[:count]

    def draw(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = self._step_seed(step)
        # Evenly over the classes, beginning with another one each time.
        first = randomness.integers([], randomness.fold(seed, 1), self._classes)
        rows = distribution.count() * distribution.per_replica(self._batch_size)
        positions = distribution.part((first + tf.range(rows)) % self._classes)
        slots = randomness.integers([rows], randomness.fold(seed, 2), self._slots)
        slots = distribution.part(slots)
        images = tf.gather(self._images, positions * self._slots + slots)
        return from_levels(images), positions

    def _step_seed(self, step: tf.Tensor | int) -> tf.Tensor:
        return randomness.fold(randomness.fold(self._seed, 1), step)


def from_levels(images: tf.Tensor) -> tf.Tensor:
    """Maps 0..255, uint8, to float32 in [-1, 1]."""
    return tf.cast(images, tf.float32) / _LEVELS - 1.0


def to_levels(images: tf.Tensor) -> tf.Tensor:
    """Maps [-1, 1] to the nearest of 0..255, uint8."""
    return tf.cast(tf.round((images + 1.0) * _LEVELS), tf.uint8)
