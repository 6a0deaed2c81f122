"""Learners that generate every class that they have learnt."""

import abc
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, randomness
from dgm_tf.data import inputs
from dgm_tf.data.task import Task, untuned
from dgm_tf.errors import InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.learners.classifier_learner import ClassifierLearner, learnt, position_table
from dgm_tf.learners.classifier_phase import (
    CONSOLIDATION_BATCH,
    ClassifierPhase,
    ConsolidationImages,
)
from dgm_tf.methods.settings import LearnerSettings
from dgm_tf.networks import Critic, OwnClassifier
from dgm_tf.networks.replay import BalancedReplay, Memory
from dgm_tf.runs import provenance
from dgm_tf.terminal import printing

_CHUNK = 256
_CONSOLIDATION_EPOCHS = 10


class GeneratingLearner(ClassifierLearner):
    """Base class of learners that generate every class, and can train a classifier on that."""

    generates = True

    def __init__(self, settings: LearnerSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        self._generator: Any = None
        self._memory: Memory | None = None
        self._audit: list[dict[str, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_memory": None}  # It can have a graph.

    @property
    def generator(self) -> Any:
        """The generator.

        Raises:
            InputError: nothing has been learnt.
        """
        return learnt(self._generator)

    @abc.abstractmethod
    def memory(self) -> Memory:
        """Returns the generator of the classes seen.

        Raises:
            InputError: nothing has been learnt.
        """

    def generate(self, labels: Any, *, seed: int = 0) -> np.ndarray:
        if (memory := self._memory) is None:
            self._memory = memory = self.memory()
        labels = inputs.class_ids(labels, self._named_classes())
        seed = _checks.integer(seed, "seed", low=0)
        positions = position_table(self.classes_seen).numpy()[labels]
        noise = randomness.normal(
            [len(labels), memory.latent_dim], randomness.pair(seed, "generate")
        )
        images = np.empty((len(labels), *self.classifier.image_shape), np.float32)
        for position in np.unique(positions).tolist():
            rows = np.flatnonzero(positions == position)
            for first in range(0, len(rows), _CHUNK):
                part = rows[first : first + _CHUNK]
                images[part] = memory.recall(position, tf.gather(noise, part))
        return images

    def audit(self) -> dict[int, bool]:
        found = {
            entry["task"]: _digest(entry["classes"], self.generate) == entry["sha256"]
            for entry in self._audit
        }
        if not all(found.values()) and self.origin and (line := provenance.elsewhere(self.origin)):
            printing.warn(line)
        return found

    def audit_as_rounded_here(self, tasks: Collection[int]) -> None:
        """Has `audit` compare with images of finished tasks as this machine generates them."""
        self._audit = [
            self._entry(entry["task"], entry["classes"]) if entry["task"] in tasks else entry
            for entry in self._audit
        ]

    # For subclasses.

    def remember(self, task: Task) -> None:
        self._audit = [*self._audit, self._entry(self.finished_tasks, list(task.classes))]

    def _entry(self, task: int, classes: list[int]) -> dict[str, Any]:
        return {"task": task, "classes": classes, "sha256": _digest(classes, self.generate)}

    def task_learnt(self, task: Any, classifier: Critic | OwnClassifier) -> None:
        super().task_learnt(task, classifier)
        self._memory = None

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta, arrays = super().state()
        return meta | {"audit": list(self._audit)}, arrays

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        self._memory = None
        self._audit = [self._checked(entry) for entry in meta["audit"]]

    def _checked(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        task = _checks.integer(entry["task"], "an audited task", low=1, high=len(self._tasks))
        classes = list(self._tasks[task - 1])
        if entry["classes"] != classes or not isinstance(entry["sha256"], str):
            raise InputError(
                f"the saved state has an audit of task {task} that is not of its classes; use "
                "another checkpoint"
            )
        return {"task": task, "classes": classes, "sha256": entry["sha256"]}

    def balanced_replay(
        self, memory: Memory, use: str, *, batch_size: int = CONSOLIDATION_BATCH
    ) -> BalancedReplay:
        """Returns replay through a buffer, with random numbers of its own for each use and task."""
        return BalancedReplay(
            memory,
            batch_size=batch_size,
            size=self.settings.replay_buffer,
            seed=randomness.pair(self.settings.seed, use, self.finished_tasks + 1),
        )

    def consolidate(
        self,
        classifier: Critic | OwnClassifier,
        task: Any,
        callbacks: Sequence[Any],
        *,
        images: ConsolidationImages | None,
        teacher: Critic | OwnClassifier | None = None,
    ) -> dict[str, list[float]]:
        """Trains a classifier on replayed images of all classes seen, `task`'s included.

        Args:
            classifier: changed in place.
            task: the newest one.
            callbacks: Keras callbacks.
            images: the images and their weights; None for the real ones only.
            teacher: the classifier to distil from; see `ClassifierPhase`.
        """
        settings, number = self.settings, self.finished_tasks + 1
        steps = settings.consolidation_steps
        phase = ClassifierPhase(
            classifier,
            settings,
            images=images,
            teacher=teacher,
            positions=position_table(self.classes_with(task)),
            steps=steps,
            seed=randomness.pair(settings.seed, "consolidation", number),
        )
        batches = functools.partial(_no_images, steps)
        if images is None or images.needs_real:
            batches = functools.partial(
                task.batches,
                settings.batch_size,
                epochs=-(-steps // task.steps_per_epoch(settings.batch_size)),
                seed=randomness.derive(settings.seed, "consolidation order", number),
            )
        epochs = largest_divisor(steps, at_most=_CONSOLIDATION_EPOCHS)
        return phase.run(
            batches, epochs=epochs, steps_per_epoch=steps // epochs, callbacks=callbacks
        )


def _no_images(steps: int, *, start: int) -> tf.data.Dataset:
    return untuned(tf.data.Dataset.range(start, steps))


def largest_divisor(number: int, *, at_most: int) -> int:
    """Returns the largest divisor of `number` that is at most `at_most`."""
    return max(n for n in range(1, min(at_most, number) + 1) if number % n == 0)


def _digest(classes: Sequence[int], generate: Callable[..., np.ndarray]) -> str:
    return memory_audit.recorded(classes, generate).digest()
