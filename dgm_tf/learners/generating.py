"""What learners share that have a classifier and a generator of all classes seen."""

import abc
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.learners.base import position_table
from dgm_tf.learners.classifier import ClassifierPhase
from dgm_tf.learners.critic_learner import CriticLearner, traced
from dgm_tf.learners.phase import divisor_up_to
from dgm_tf.networks import Critic
from dgm_tf.replay import BalancedReplay, Memory, Replay
from dgm_tf.stream import Task

_CHUNK = 256
_CONSOLIDATION_EPOCHS = 10


class GeneratingLearner(CriticLearner):
    """Draws every class from its memory, and can train a classifier on what it draws."""

    def __init__(self, settings: Any):
        super().__init__(settings)
        self._generator: Any = None
        self._recall: Any = None

    @classmethod
    def from_settings(cls, settings: Any) -> "GeneratingLearner":
        """A learner with these settings that has learnt nothing."""
        return cls(**dataclasses.asdict(settings))

    @property
    def generator(self) -> Any:
        """The generator, once a task has been learnt.

        Raises:
            InputError: nothing has been learnt.
        """
        if self._generator is None:
            raise InputError("nothing has been learnt yet: call learn(task) first")
        return self._generator

    @abc.abstractmethod
    def memory(self) -> Memory:
        """The generator of the classes seen.

        Raises:
            InputError: nothing has been learnt.
        """

    def task_learnt(self, task: Any, critic: Critic) -> None:
        super().task_learnt(task, critic)
        self._recall = None

    def generate(self, labels: Sequence[int] | np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Images float32 [N, H, W, C] in [-1, 1] of the given class ids [N].

        The same `labels` and `seed` give bit-identical images from the same generator.

        Raises:
            InputError: a class that has not been learnt.
        """
        labels = np.asarray(labels, np.int64)
        unknown = sorted(set(labels.tolist()) - set(self.classes_seen))
        if unknown:
            raise InputError(
                f"classes {unknown} have not been learnt; known are {sorted(self.classes_seen)}"
            )
        memory = self.memory()
        if self._recall is None:
            self._recall = traced(
                memory.recall,
                tf.TensorSpec([], tf.int32),
                tf.TensorSpec([None, memory.latent_dim]),
            )
        positions = position_table(self.classes_seen).numpy()[labels]
        noise = randomness.normal(
            [len(labels), memory.latent_dim], randomness.pair(seed, "generate")
        )
        images = np.empty((len(labels), *self.critic.image_shape), np.float32)
        for position in np.unique(positions):
            rows = np.flatnonzero(positions == position)
            for first in range(0, len(rows), _CHUNK):
                part = rows[first : first + _CHUNK]
                images[part] = self._recall(
                    tf.constant(position, tf.int32), tf.gather(noise, part)
                ).numpy()
        return images

    # For subclasses.

    def balanced_replay(
        self, memory: Memory, batch_size: int, use: str, number: int
    ) -> BalancedReplay:
        """Replay through a buffer, with random numbers of its own for each use and task."""
        return BalancedReplay(
            memory,
            batch_size=batch_size,
            size=self.settings.replay_buffer,
            seed=randomness.pair(self.settings.seed, use, number),
        )

    def consolidate(
        self,
        critic: Critic,
        task: Task,
        callbacks: Sequence[Any],
        *,
        replay: Replay,
        real_share: float = 0.0,
        own_share: float = 0.0,
        margin_share: float = 0.0,
        teacher: Critic | None = None,
    ) -> dict[str, list[float]]:
        """Trains a classifier on replayed images of all classes seen, `task`'s included.

        Of one class alone there is nothing to learn, and no step is taken.

        Args:
            critic: the classifier.
            task: the newest one.
            callbacks: Keras callbacks.
            replay: images of all classes.
            real_share: as `ClassifierPhase` has it, of `task`'s real images.
            own_share: instead of that, see there.
            margin_share: see there.
            teacher: see there.
        """
        if critic.classes == 1:  # Its loss is 0, whatever it says: no step would change it.
            return {}
        settings, number = self.settings, self.finished_tasks + 1
        steps = settings.consolidation_steps
        phase = ClassifierPhase(
            critic,
            settings,
            replay=replay,
            real_share=real_share,
            own_share=own_share,
            margin_share=margin_share,
            known=len(self.classes_seen),
            teacher=teacher,
            positions=position_table(self.classes_with(task)),
            steps=steps,
            seed=randomness.pair(settings.seed, "consolidation", number),
        )
        batches = functools.partial(_no_images, steps)
        if real_share or own_share or margin_share:
            batches = functools.partial(
                task.batches,
                settings.batch_size,
                epochs=-(-steps // task.steps_per_epoch(settings.batch_size)),
                seed=randomness.derive(settings.seed, "consolidation order", number),
            )
        epochs = divisor_up_to(_CONSOLIDATION_EPOCHS, steps)
        return phase.run(
            batches, epochs=epochs, steps_per_epoch=steps // epochs, callbacks=callbacks
        )


def _no_images(steps: int, *, start: int) -> tf.data.Dataset:
    return tf.data.Dataset.range(start, steps)
