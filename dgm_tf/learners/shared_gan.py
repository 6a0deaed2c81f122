"""Learners around one conditional GAN that is trained on, task after task."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data.task import Task
from dgm_tf.learners.classifier_learner import position_table
from dgm_tf.learners.classifier_phase import ConsolidationImages
from dgm_tf.learners.gan_phase import GANPhase, Protection
from dgm_tf.learners.generating_learner import GeneratingLearner
from dgm_tf.methods.settings import LearnerSettings
from dgm_tf.networks import ConditionalGenerator, Critic, OwnClassifier
from dgm_tf.networks.replay import Memory, TracedMemory
from dgm_tf.networks.state import network_arrays, restored_network


class SharedGANLearner(GeneratingLearner):
    """One generator and one critic for all tasks; nothing in them is frozen.

    A task trains both on its images; a subclass's `protection` keeps the old classes. Then a
    classifier of the critic's shape is trained on generated images of all classes seen. It starts
    from random weights or from the previous classifier (`consolidation_start`).
    """

    conditional: ClassVar[bool] = True
    shares_steps = True

    def __init__(self, settings: LearnerSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        self._gan_critic: Critic | None = None

    # What a subclass adds.

    def protection(self, task: Task) -> Protection:
        """Returns what keeps the old classes while `task` is learnt, from the second task on."""
        del task
        return Protection()

    def memory(self) -> Memory:
        return TracedMemory(self.generator)

    def generated(self, task: Task) -> Sequence[int]:
        """Returns positions of the classes that the generator makes while `task` is learnt."""
        old = len(self.classes_seen)
        return range(old, old + len(task.classes))

    def batches(self, task: Task, *, epochs: int, seed: int, start: int) -> tf.data.Dataset:
        """Returns the real images that `task` is learnt from, minus the first `start` batches."""
        return task.batches(self.settings.batch_size, epochs=epochs, seed=seed, start=start)

    def gan_learnt(self, generator: ConditionalGenerator, critic: Critic) -> None:
        """Called when a task's networks are trained, before the learner takes them over."""

    def train_classifier(
        self, generator: ConditionalGenerator, task: Task, callbacks: Sequence[Any]
    ) -> tuple[Critic | OwnClassifier, dict[str, list[float]]]:
        """Returns the classifier of all classes seen, and what its training logged."""
        classifier = self.initial_classifier(task)
        images = ConsolidationImages(
            self.balanced_replay(TracedMemory(generator), "consolidation replay")
        )
        return classifier, self.consolidate(classifier, task, callbacks, images=images)

    # Learning.

    def learn_task(self, task: Task, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        settings, number = self.settings, self.finished_tasks + 1
        budget = self.budget(task)
        phase = self.gan_phase(task, **budget)
        batches = functools.partial(
            self.batches,
            task,
            epochs=budget["epochs"],
            seed=randomness.derive(settings.seed, "order", number),
        )
        history = phase.run(batches, **budget, callbacks=callbacks)
        generator, critic = phase.generator, phase.critic
        generator.calibrate(randomness.pair(settings.seed, "statistics", number))
        classifier, classified = self.train_classifier(generator, task, callbacks)
        # From here on nothing is left half done: a task that was broken off can be repeated.
        self.gan_learnt(generator, critic)
        self._generator, self._gan_critic = generator, critic
        self.task_learnt(task, classifier)
        return history | classified

    def gan_phase(self, task: Task, *, epochs: int, steps_per_epoch: int) -> GANPhase:
        """Returns the Keras model whose `run` trains both networks on the next task."""
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
            generated=self.generated(task) if self.conditional else [0],
            protection=protection,
            classified=self.conditional,
            steps_per_epoch=steps_per_epoch,
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
            dtype="float32",
            name="generator",
        )
        critic = Critic(
            image_shape,
            classes,
            size=settings.critic_size,
            norm="none",  # the penalty is about single images
            initializer="normal",  # as in the papers
            seed=randomness.derive(settings.seed, "gan critic"),
            dtype="float32",
            name="gan_critic",
        )
        generator.build()
        critic.build()
        return generator, critic

    # Size and state.

    def growth(self) -> dict[str, Any]:
        return {"generator_parameters": self.generator.parameters()}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta, arrays = super().state()
        meta["generator"] = self.generator.get_config()
        meta["gan_critic"] = self._gan_critic.get_config()
        return meta, arrays | network_arrays(self.generator) | network_arrays(self._gan_critic)

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        self._generator = restored_network(ConditionalGenerator, meta["generator"], arrays)
        self._gan_critic = restored_network(Critic, meta["gan_critic"], arrays)


class FineTune(SharedGANLearner):
    """Fine-tuning of a conditional GAN, task after task: the lower bound.

    Nothing is done against forgetting.

    Args:
        settings: all settings; None for those of data without a preset.
        **changes: settings that replace those, by name, and `classifier`, a function that makes the
            classifier; see `dgm_tf.DGM`.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.FineTune.from_preset("digits", epochs=1, consolidation_steps=4)  # a trial
        for task in stream.tasks(last=2):
            model.learn(task)
        images = model.generate([0, 1])
        ```
    """

    method = "fine_tune"


def frozen(generator: ConditionalGenerator) -> ConditionalGenerator:
    """Returns a copy that training does not touch."""
    return generator.successor(generator.classes)
