"""DGM's memory: each class through the binary masks of the task that brought it."""

import numpy as np
import tensorflow as tf

from dgm_tf.networks import Generator


class TaskMemory:
    """A `dgm_tf.replay.Memory` of a generator's finished tasks.

    Args:
        generator: with any number of finished tasks; the one being learnt is not touched.
    """

    def __init__(self, generator: Generator):
        self._generator = generator
        self.classes = sum(generator.finished)
        self.latent_dim = generator.latent_dim
        self.tasks = generator.class_tasks

    def recall(self, position: int | tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [n, S, S, C] of one class; see `dgm_tf.replay.Memory`."""
        positions = tf.fill([noise.shape[0] or tf.shape(noise)[0]], position)
        if isinstance(position, int):
            return self.recall_task(int(self.tasks[position]), positions, noise)

        def of_task(task: int):
            return lambda: self.recall_task(task, positions, noise)

        branches = [of_task(task) for task in range(1, len(self._generator.finished) + 1)]
        return tf.switch_case(tf.gather(self.tasks.astype(np.int32), position) - 1, branches)

    def recall_task(self, task: int, positions: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [B, S, S, C] of one finished task.

        Args:
            task: from 1.
            positions: int32 [B], positions of its classes.
            noise: float32 [B, latent].
        """
        seen = sum(self._generator.finished[:task])
        return self._generator.recall(self._generator.latent(noise, positions, seen), task)
