"""Replayed images of finished tasks, made by the generator while they are needed.

Nothing here is kept from one task to the next, and no amount of tasks makes it larger.
"""

from typing import Protocol

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.networks import Generator

_LEVELS = 127.5
# Each image is drawn about this often before a new one takes its place, and they are made this many
# steps' worth at a time: cutting a task's weights out of the generator costs as much as ten images.
_USES = 4
_STEPS_PER_RENEWAL = 8


class Replay(Protocol):
    """Replayed images of all old classes for one training step."""

    def draw(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images float32 [R, S, S, C] in [-1, 1] and class positions int32 [R]."""


def class_tasks(generator: Generator) -> np.ndarray:
    """The finished task (from 1) of each class position, int [classes]."""
    return np.repeat(np.arange(1, len(generator.finished) + 1), generator.finished)


def recalled(generator: Generator, task: int, positions: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Images float32 [B, S, S, C] of a finished task for class positions and noise [B, latent]."""
    seen = sum(generator.finished[:task])
    return generator.recall(generator.latent(noise, positions, seen), task)


class FullReplay:
    """As many replayed images per old class as there are current ones, new in every step.

    The paper's way. A step's cost grows with the number of old classes.
    """

    def __init__(self, generator: Generator, *, batch_size: int, seed: tf.Tensor):
        self._generator = generator
        self._batch_size = batch_size
        self._seed = seed

    def draw(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels, first = [], [], 0
        for task, classes in enumerate(self._generator.finished, start=1):
            positions = tf.repeat(tf.range(first, first + classes), self._batch_size)
            noise = randomness.normal(
                [classes * self._batch_size, self._generator.latent_dim],
                randomness.fold(randomness.fold(self._seed, step), task),
            )
            images.append(recalled(self._generator, task, positions, noise))
            labels.append(positions)
            first += classes
        return tf.concat(images, axis=0), tf.concat(labels, axis=0)


class BalancedReplay:
    """A fixed number of replayed images per step, spread evenly over all old classes.

    A buffer of fixed size holds equally many images of each class, as uint8. Every few steps the
    oldest ones of one class are renewed, the classes taking turns, so that each image is drawn
    about four times and the cost of a step depends on neither the number of tasks nor that of
    classes. uint8 also rounds away what a network's tanh leaves beside the 256 levels of real
    images.

    Args:
        generator: with at least one finished task.
        batch_size: images drawn per step.
        size: images in the buffer, at least one per class.
        seed: int32 [2].
    """

    def __init__(self, generator: Generator, *, batch_size: int, size: int, seed: tf.Tensor):
        self._generator = generator
        self._batch_size = batch_size
        self._seed = seed
        self._tasks = class_tasks(generator)
        self._classes = len(self._tasks)
        self._slots = size // self._classes
        if not self._slots:
            raise InputError(
                f"the replay buffer must hold at least one image of each of the {self._classes} "
                f"old classes; it holds {size}: raise replay_buffer"
            )
        self._fresh = min(-(-batch_size * _STEPS_PER_RENEWAL // _USES), self._slots)
        self._images = tf.Variable(self._first_images(), trainable=False)

    def _first_images(self) -> tf.Tensor:
        seed = randomness.fold(self._seed, 0)
        images = []
        for position in range(self._classes):
            noise = randomness.normal(
                [self._slots, self._generator.latent_dim], randomness.fold(seed, position)
            )
            positions = tf.fill([self._slots], position)
            made = recalled(self._generator, int(self._tasks[position]), positions, noise)
            images.append(to_levels(made))
        return tf.concat(images, axis=0)

    def draw(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = randomness.fold(randomness.fold(self._seed, 1), step)
        turn = tf.cast(step // _STEPS_PER_RENEWAL, tf.int32)
        renewed = tf.cond(
            step % _STEPS_PER_RENEWAL == 0,
            lambda: self._renew(turn, randomness.fold(seed, 0)),
            lambda: tf.constant(False),
        )
        with tf.control_dependencies([renewed]):
            # Evenly over the classes, beginning with another one each time.
            first = randomness.integers([], randomness.fold(seed, 1), self._classes)
            positions = (first + tf.range(self._batch_size)) % self._classes
            slots = randomness.integers([self._batch_size], randomness.fold(seed, 2), self._slots)
            images = tf.gather(self._images, positions * self._slots + slots)
        return tf.cast(images, tf.float32) / _LEVELS - 1.0, positions

    def _renew(self, turn: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Makes new images in place of a class's oldest ones; true, once that is done."""
        position = turn % self._classes
        noise = randomness.normal([self._fresh, self._generator.latent_dim], seed)
        positions = tf.fill([self._fresh], position)

        def of_task(task: int):
            return lambda: to_levels(recalled(self._generator, task, positions, noise))

        branches = [of_task(task) for task in range(1, len(self._generator.finished) + 1)]
        images = tf.switch_case(tf.gather(self._tasks.astype(np.int32), position) - 1, branches)
        oldest = (turn // self._classes) * self._fresh + tf.range(self._fresh)
        rows = position * self._slots + oldest % self._slots
        write = tf.raw_ops.ResourceScatterUpdate(
            resource=self._images.handle, indices=rows, updates=images
        )
        with tf.control_dependencies([write]):
            return tf.constant(True)


def to_levels(images: tf.Tensor) -> tf.Tensor:
    """Maps [-1, 1] to the nearest of 0..255, uint8."""
    return tf.cast(tf.round((images + 1.0) * _LEVELS), tf.uint8)
