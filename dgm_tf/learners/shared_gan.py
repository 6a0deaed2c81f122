"""Learners around one conditional GAN that is trained on, task after task."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.learners.base import position_table
from dgm_tf.learners.critic_learner import network_arrays, restored_network
from dgm_tf.learners.gan_phase import GANPhase, Protection
from dgm_tf.learners.generating import GeneratingLearner
from dgm_tf.networks import ConditionalGenerator, Critic
from dgm_tf.replay import Memory
from dgm_tf.settings import GANSettings, recorded
from dgm_tf.stream import Task


class SharedGANLearner(GeneratingLearner):
    """One generator and one critic for all tasks; nothing in them is frozen.

    A task trains both on its images; what keeps the old classes is a subclass's `protection`. Then
    a classifier of the critic's shape is trained on generated images of all classes seen. Begun
    anew (`consolidation_start`), it measures what the generator remembers, and nothing else.

    Args:
        **settings: fields of the method's settings class.
    """

    settings_class: ClassVar[type[GANSettings]] = GANSettings
    conditional: ClassVar[bool] = True

    def __init__(self, **settings: Any):
        super().__init__(self.settings_class(**settings))
        self._gan_critic: Critic | None = None

    # What a subclass adds.

    def protection(self, task: Task) -> Protection:
        """What keeps the old classes while `task` is learnt; not called for the first task."""
        del task
        return Protection()

    def memory(self) -> Memory:
        return self.generator

    def drawn(self, task: Task) -> Sequence[int]:
        """Positions of the classes that the generator draws while `task` is learnt."""
        old = len(self.classes_seen)
        return range(old, old + len(task.classes))

    def batches(self, task: Task, *, epochs: int, seed: int, start: int) -> tf.data.Dataset:
        """The real images that `task` is learnt from, less the first `start` batches."""
        return task.batches(self.settings.batch_size, epochs=epochs, seed=seed, start=start)

    def gan_learnt(self, generator: ConditionalGenerator, critic: Critic) -> None:
        """Called when a task's networks are trained, before the learner takes them over."""

    def train_classifier(
        self, generator: ConditionalGenerator, task: Task, callbacks: Sequence[Any]
    ) -> tuple[Critic, dict[str, list[float]]]:
        """The classifier of all classes seen, and what its training logged."""
        classifier = self.first_classifier(task)
        replay = self.balanced_replay(
            generator,
            self.settings.consolidation_batch,
            "consolidation replay",
            self.finished_tasks + 1,
        )
        return classifier, self.consolidate(classifier, task, callbacks, replay=replay)

    # Learning.

    def learn(
        self, task: Task, *, epochs: int | None = None, callbacks: Sequence[Any] = ()
    ) -> dict[str, list[float]]:
        settings, number = self.settings, self.finished_tasks + 1
        steps_per_epoch = task.steps_per_epoch(settings.batch_size)
        epochs = settings.epochs_for(steps_per_epoch) if epochs is None else epochs
        phase = self.gan_phase(task, epochs=epochs)
        history = phase.run(
            functools.partial(
                self.batches,
                task,
                epochs=epochs,
                seed=randomness.derive(settings.seed, "order", number),
            ),
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks,
        )
        generator, critic = phase.generator, phase.critic
        generator.measure(randomness.pair(settings.seed, "statistics", number))
        classifier, classified = self.train_classifier(generator, task, callbacks)
        # From here on nothing is left half done: a task that was broken off can be learnt again.
        self.gan_learnt(generator, critic)
        self._generator, self._gan_critic = generator, critic
        self.task_learnt(task, classifier)
        return history | classified

    def gan_phase(self, task: Task, *, epochs: int) -> GANPhase:
        """The Keras model whose `fit` learns the next task; `learn` does this and what follows."""
        settings, number = self.settings, self.finished_tasks + 1
        classes = self.classes_with(task)
        if self._generator is None:
            generator, critic = self._first_networks(task.image_shape, len(classes))
            protection = Protection()
        else:
            generator = self._generator.successor(len(classes) if self.conditional else 1)
            critic = self._gan_critic.successor(len(classes))
            protection = self.protection(task)
        return GANPhase(
            generator,
            critic,
            settings,
            positions=position_table(classes),
            drawn=self.drawn(task) if self.conditional else [0],
            protection=protection,
            classified=self.conditional,
            steps_per_epoch=task.steps_per_epoch(settings.batch_size),
            epochs=epochs,
            seed=randomness.pair(settings.seed, "adversarial", number),
        )

    def _first_networks(
        self, image_shape: tuple[int, ...], classes: int
    ) -> tuple[ConditionalGenerator, Critic]:
        settings = self.settings
        generator = ConditionalGenerator(
            image_shape,
            classes if self.conditional else 1,
            size=settings.generator_size,
            latent_dim=settings.latent_dim,
            seed=randomness.derive(settings.seed, "generator"),
            dtype=settings.dtype,
            name="generator",
        )
        critic = Critic(
            image_shape,
            classes,
            size=settings.critic_size,
            norm="none",  # the penalty is about single images
            initializer=settings.gan_critic_initializer,
            seed=randomness.derive(settings.seed, "gan critic"),
            dtype=settings.dtype,
            name="gan_critic",
        )
        generator.build()
        critic.build()
        return generator, critic

    # Size and state.

    def growth(self) -> dict[str, Any]:
        return {"generator_parameters": self.generator.parameters()}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta, arrays = self.critic_state()
        meta["generator"] = self.generator.get_config()
        meta["gan_critic"] = self._gan_critic.get_config()
        return meta, arrays | network_arrays(self.generator) | network_arrays(self._gan_critic)

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "SharedGANLearner":
        learner = cls.from_settings(recorded(cls.settings_class, meta["settings"]))
        learner.take_state(meta, arrays)
        return learner

    def take_state(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Takes over what `state` gave, in a learner that has learnt nothing."""
        self.restore_critic(meta, arrays)
        self._generator = restored_network(ConditionalGenerator, meta["generator"], arrays)
        self._gan_critic = restored_network(Critic, meta["gan_critic"], arrays)


def frozen(generator: ConditionalGenerator) -> ConditionalGenerator:
    """A copy that training does not touch."""
    return generator.successor(generator.classes)
