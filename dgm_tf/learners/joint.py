"""Joint training, the upper bound: a classifier or a GAN trained on all real images seen so far."""

import functools
from collections.abc import Sequence
from typing import Any

from dgm_tf import randomness
from dgm_tf.data.stream import TaskStream
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.learners.classifier_learner import ClassifierLearner, position_table
from dgm_tf.learners.classifier_phase import CONSOLIDATION_BATCH, ClassifierPhase
from dgm_tf.learners.shared_gan import SharedGANLearner
from dgm_tf.methods.settings import LearnerSettings


class _OfStream(ClassifierLearner):
    """A learner that reads the images of earlier tasks, from the stream."""

    def __init__(
        self,
        settings: LearnerSettings | None = None,
        stream: TaskStream | None = None,
        **changes: Any,
    ):
        super().__init__(settings, **changes)
        self._stream = stream

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_stream": None}  # Its images belong to this process.


class JointClassifier(_OfStream):
    """A classifier trained for each task on the real images of all classes seen: the upper bound.

    It reads old images through the stream, which no other classifier may. The classifier has the
    shape, the distortions and the initial weights (`consolidation_start`) of DGM's. With the same
    number of epochs it takes as many steps a task as DGM's critic and consolidation together, each
    on 128 images. That is more than DGM's classifier sees. The difference between the two is the
    cost of replay and of fewer steps.

    Args:
        settings: all settings; None for those of data without a preset.
        stream: source of the images; without one nothing can be learnt.
        **changes: settings that replace those, by name, and `classifier`, a function that makes the
            classifier; see `dgm_tf.DGM`.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.JointClassifier.from_preset(
            "digits", stream=stream, epochs=1, consolidation_steps=4  # a trial
        )
        for task in stream.tasks(last=2):
            model.learn(task)
        ```
    """

    method = "joint"
    shares_steps = True

    def learn_task(self, task: Task, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        stream = _readable(self._stream, task)
        settings, number = self.settings, self.finished_tasks + 1
        classes = self.classes_with(task)
        budget = self.budget(task)
        classifier = self.initial_classifier(task)
        steps = budget["epochs"] * budget["steps_per_epoch"] + settings.consolidation_steps
        phase = ClassifierPhase(
            classifier,
            settings,
            positions=position_table(classes),
            steps=steps,
            seed=randomness.pair(settings.seed, "joint", number),
        )
        counts = stream.describe()["train_images"]
        batch = min(CONSOLIDATION_BATCH, sum(counts[label] for label in classes))
        batches = functools.partial(
            stream.joint_batches,
            task.index,
            batch - batch % distribution.present().replicas,
            epochs=steps,  # more passes than needed: the phase stops at its last step
            seed=randomness.derive(settings.seed, "joint order", number),
        )
        history = phase.run(batches, epochs=1, steps_per_epoch=steps, callbacks=callbacks)
        self.task_learnt(task, classifier)
        return history


class JointGAN(_OfStream, SharedGANLearner):
    """The conditional GAN trained at each task with the real images of all classes seen.

    It shows what the GAN can do in the same number of steps where nothing is forgotten.

    Args:
        settings: all settings; None for those of data without a preset.
        stream: source of the images; without one nothing can be learnt.
        **changes: settings that replace those, by name, and `classifier`, a function that makes the
            classifier; see `dgm_tf.DGM`.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.JointGAN.from_preset(
            "digits", stream=stream, epochs=1, consolidation_steps=4  # a trial
        )
        for task in stream.tasks(last=2):
            model.learn(task)
        ```
    """

    method = "joint_gan"

    def generated(self, task: Task) -> Sequence[int]:
        return range(len(self.classes_with(task)))

    def batches(self, task: Task, *, epochs: int, seed: int, start: int) -> Any:
        # More passes than needed: the phase stops at its last step.
        steps = epochs * task.steps_per_epoch(self.settings.batch_size)
        return _readable(self._stream, task).joint_batches(
            task.index, self.settings.batch_size, epochs=steps, seed=seed, start=start
        )


def _readable(stream: TaskStream | None, task: Task) -> TaskStream:
    """The stream, if the task is the one it stands at: old images are read from it, too."""
    if stream is None:
        raise InputError("joint training reads old images: give the stream that it is to learn")
    if not stream.stands_at(task):
        raise InputError(
            f"joint training reads old images from its own stream: {task} is not the task that "
            "this stream stands at"
        )
    return stream
