"""Experience replay: stored real images of old classes, which is no private memory."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.learners.classifier_learner import ClassifierLearner, position_table
from dgm_tf.learners.classifier_phase import (
    CONSOLIDATION_BATCH,
    ClassifierPhase,
    ConsolidationImages,
)
from dgm_tf.methods.settings import ExperienceReplaySettings
from dgm_tf.networks.replay import Replay, from_levels, to_levels


class StoredReplay(Replay):
    """Replay of stored images: each class is as likely as any other.

    Args:
        images: uint8 [N, S, S, C], class by class in order of arrival.
        counts: images of each class, at least one.
        batch_size: images in a draw.
        seed: int32 [2].
    """

    def __init__(
        self, images: np.ndarray, counts: Sequence[int], *, batch_size: int, seed: tf.Tensor
    ):
        self._images = tf.constant(images)
        self._counts = tf.constant(counts, tf.float32)
        self._first = tf.constant(np.cumsum([0, *counts[:-1]]), tf.int32)
        self._batch_size, self._seed = batch_size, seed

    def draw(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = [distribution.per_replica(self._batch_size), 2]
        chance = distribution.part_drawn(
            randomness.uniform, shape, randomness.fold(self._seed, step)
        )
        positions = tf.cast(chance[:, 0] * self._counts.shape[0], tf.int32)
        within = tf.cast(chance[:, 1] * tf.gather(self._counts, positions), tf.int32)
        images = tf.gather(self._images, tf.gather(self._first, positions) + within)
        return from_levels(images), positions


class ExperienceReplay(ClassifierLearner):
    """A classifier trained on a task's real images and on stored ones of all earlier classes.

    The buffer has `buffer_bytes` for all classes together, the same number of images for each,
    chosen at random when their task ends; a class gives up images as others come. The classifier
    has the shape, the distortions, the initial weights and the number of steps of joint training's.
    A step is on `batch_size` new images and 128 stored ones, in which new and old classes
    weigh by their numbers.

    Real images of finished tasks are kept: the method says what generated images are worth next to
    real ones of the same size in bytes. It is not private.

    Args:
        settings: all settings; None for those of data without a preset.
        **changes: settings that replace those, by name, and `classifier`, a function that makes the
            classifier; see `dgm_tf.DGM`.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.ExperienceReplay.from_preset("digits", epochs=1, consolidation_steps=4)
        for task in stream.tasks(last=2):
            model.learn(task)
        ```
    """

    method = "experience_replay"
    shares_steps = True

    def __init__(self, settings: ExperienceReplaySettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        self._images: np.ndarray | None = None  # uint8 [N, S, S, C], class by class
        self._counts: list[int] = []  # images of each class, in order of arrival

    def learn_task(self, task: Task, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        settings, number = self.settings, self.finished_tasks + 1
        classes, quota = self.classes_with(task), self._quota(task)
        budget = self.budget(task)
        steps = budget["epochs"] * budget["steps_per_epoch"] + settings.consolidation_steps
        classifier = self.initial_classifier(task)
        phase = ClassifierPhase(
            classifier,
            settings,
            positions=position_table(classes),
            steps=steps,
            seed=randomness.pair(settings.seed, "experience replay", number),
            images=self._stored(len(task.classes) / len(classes)) if self._counts else None,
        )
        batches = functools.partial(
            task.batches,
            settings.batch_size,
            epochs=-(-steps // budget["steps_per_epoch"]),
            seed=randomness.derive(settings.seed, "order", number),
        )
        history = phase.run(batches, epochs=1, steps_per_epoch=steps, callbacks=callbacks)
        self._images, self._counts = self._buffer_with(task, quota)
        self.task_learnt(task, classifier)
        return history

    def _stored(self, real_weight: float) -> ConsolidationImages:
        seed = randomness.pair(self.settings.seed, "stored images", self.finished_tasks + 1)
        replay = StoredReplay(self._images, self._counts, batch_size=CONSOLIDATION_BATCH, seed=seed)
        return ConsolidationImages(replay, real_weight=real_weight)

    def _quota(self, task: Task) -> int:
        """The number of images that each class may keep once `task` is learnt."""
        classes, size = len(self.classes_with(task)), int(np.prod(task.image_shape))
        if quota := self.settings.buffer_bytes // (classes * size):
            return quota
        raise InputError(
            f"buffer_bytes must hold an image of each class: {classes} classes of {size} bytes "
            f"each do not fit into {self.settings.buffer_bytes}; raise it"
        )

    def _buffer_with(self, task: Task, quota: int) -> tuple[np.ndarray, list[int]]:
        ends = np.cumsum(self._counts).tolist()
        # They are in random order, so that the first ones are as good as any.
        kept = [
            self._images[end - count : end][:quota]
            for end, count in zip(ends, self._counts, strict=True)
        ]
        kept += self._chosen(task, quota)
        return np.concatenate(kept), [len(images) for images in kept]

    def _chosen(self, task: Task, quota: int) -> list[np.ndarray]:
        """Of each class up to `quota` images uint8 [N, S, S, C], at random and in random order."""
        seed = randomness.derive(self.settings.seed, "buffer", self.finished_tasks + 1)
        # NumPy froze the stream of its legacy generator: a seed's choice stays for ever.
        random = np.random.RandomState(seed)
        # By the number that each image draws; the largest go as others come.
        best: dict[int, list[tuple[float, np.ndarray]]] = {label: [] for label in task.classes}
        for images, labels in task.each_once().as_numpy_iterator():
            drawn = random.random_sample(len(labels))
            levels = to_levels(images).numpy()
            for label, found in best.items():
                own = labels == label
                found += zip(drawn[own].tolist(), levels[own], strict=True)
                found[:] = sorted(found, key=lambda pair: pair[0])[:quota]
        return [np.stack([image for _, image in found]) for found in best.values()]

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta, arrays = super().state()
        return meta | {"stored": list(self._counts)}, arrays | {"stored_images": self._images}

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        self._images, self._counts = arrays["stored_images"], [int(n) for n in meta["stored"]]
        wanted = (sum(self._counts), *self.image_shape)
        fits = self._images.shape == wanted and self._images.dtype == np.uint8
        if not fits or len(self._counts) != len(self.classes_seen) or min(self._counts) < 1:
            raise InputError(
                f"the saved state must hold stored images uint8 of shape {wanted} and of each "
                f"class, it holds {self._images.dtype} of shape {self._images.shape}; use another "
                "checkpoint"
            )
