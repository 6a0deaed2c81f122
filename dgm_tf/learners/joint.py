"""Joint training, the upper reference: DGM's classifier on all real images seen so far."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgm_tf import distribution, randomness
from dgm_tf.errors import InputError
from dgm_tf.learners.base import position_table
from dgm_tf.learners.classifier import ClassifierPhase
from dgm_tf.learners.critic_learner import CriticLearner
from dgm_tf.learners.shared_gan import SharedGANLearner
from dgm_tf.settings import JointSettings, recorded
from dgm_tf.stream import Task, TaskStream


class JointClassifier(CriticLearner):
    """A critic trained for each task on the real images of all classes seen: no memory at all.

    The one learner that reads old images, by the stream's own door for it. Its classifier has the
    shape and the distortions of DGM's, goes on from the one of the task before or is begun anew as
    DGM's does (`consolidation_start`), and takes as many steps a task as DGM's critic and
    consolidation together with the same number of epochs, each on `consolidation_batch` images:
    more than the classifier of DGM sees. The difference between the two is what replay costs.

    Args:
        stream: where the images come from.
        settings: a task takes as many steps as DGM's critic does with the same ones.
    """

    name = "joint"
    generates = False

    def __init__(self, stream: TaskStream, settings: JointSettings):
        super().__init__(settings)
        self._stream = stream

    def learn(
        self, task: Task, *, epochs: int | None = None, callbacks: Sequence[Any] = ()
    ) -> dict[str, list[float]]:
        settings = self.settings
        number = self.finished_tasks + 1
        classes = self.classes_with(task)
        critic = self.first_classifier(task)
        steps_per_epoch = task.steps_per_epoch(settings.batch_size)
        epochs = settings.epochs_for(steps_per_epoch) if epochs is None else epochs
        steps = epochs * steps_per_epoch + settings.consolidation_steps
        phase = ClassifierPhase(
            critic,
            settings,
            positions=position_table(classes),
            steps=steps,
            seed=randomness.pair(settings.seed, "joint", number),
        )
        counts = self._stream.describe()["train_images"]
        batch = min(settings.consolidation_batch, sum(counts[label] for label in classes))
        batches = functools.partial(
            self._stream.joint_batches,
            task.index,
            batch - batch % distribution.present().replicas,
            epochs=steps,  # more passes than needed: `fit` stops at the last step
            seed=randomness.derive(settings.seed, "joint order", number),
        )
        history = phase.run(
            batches,
            epochs=1,
            steps_per_epoch=steps,
            callbacks=callbacks,
        )
        self.task_learnt(task, critic)
        return history

    def generate(self, labels: Sequence[int] | np.ndarray, *, seed: int = 0) -> np.ndarray:
        raise InputError("joint training of a classifier has no generator")

    def growth(self) -> dict[str, Any]:
        return {}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return self.critic_state()

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "JointClassifier":
        raise InputError("joint training needs its stream to go on: use restored()")

    def restored(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "JointClassifier":
        learner = JointClassifier(self._stream, self.settings)
        learner.restore_critic(meta, arrays)
        return learner


class JointGAN(SharedGANLearner):
    """The conditional GAN trained on, at each task, with the real images of all classes seen.

    What the GAN can do where nothing is forgotten: the upper reference for generated images.

    Args:
        stream: where the images come from.
        **settings: fields of `dgm_tf.settings.GANSettings`.
    """

    name = "joint_gan"

    def __init__(self, stream: TaskStream, **settings: Any):
        super().__init__(**settings)
        self._stream = stream

    def drawn(self, task: Task) -> Sequence[int]:
        return range(len(self.classes_with(task)))

    def batches(self, task: Task, *, epochs: int, seed: int, start: int) -> Any:
        # More passes than needed: `fit` stops at the last step.
        steps = epochs * task.steps_per_epoch(self.settings.batch_size)
        return self._stream.joint_batches(
            task.index, self.settings.batch_size, epochs=steps, seed=seed, start=start
        )

    @classmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "JointGAN":
        raise InputError("joint training needs its stream to go on: use restored()")

    def restored(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "JointGAN":
        settings = recorded(self.settings_class, meta["settings"])
        learner = JointGAN(self._stream, **dataclasses.asdict(settings))
        learner.take_state(meta, arrays)
        return learner
