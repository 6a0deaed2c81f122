"""The contract of a learner, and what learners with a classifier and a generator share."""

import abc
import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, distribution, presets, randomness
from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import Evaluation, evaluate
from dgm_tf.learners.classifier import ClassifierPhase, ConsolidationImages
from dgm_tf.networks import Critic
from dgm_tf.networks.state import network_arrays, restored_network
from dgm_tf.replay import BalancedReplay, Memory
from dgm_tf.settings import LearnerSettings

_log = logging.getLogger(__name__)

# With fewer steps for each class some were visibly not learnt; see studies/budget.
FEWEST_STEPS = 300

CONSOLIDATION_BATCH = 128  # generated images in a step; real ones in joint training

_CHUNK = 256
_CONSOLIDATION_EPOCHS = 10
_LAST_CLASS = 2**20  # a table by class id is made


class Learner(abc.ABC):
    """Base class of all methods: learns classes task by task and classifies among all seen.

    Class labels are the data set's own ids, in every argument and result. All randomness derives
    from the learner's seed, the task's index and the step, so that a learner loaded from the end of
    a task learns on exactly as the one that was saved.

    Attributes:
        method: its name in `dgm_tf.registry`.
        settings: its `LearnerSettings`, which a run records.
        generates: whether it has a generator, to be audited and measured.
    """

    method: str
    settings: Any
    generates = True

    @property
    def name(self) -> str:
        """Short name for tables and folders, such as `dgm-w`."""
        return self.method

    @property
    @abc.abstractmethod
    def classes_seen(self) -> tuple[int, ...]:
        """Classes of the finished tasks, in order of arrival."""

    @property
    @abc.abstractmethod
    def finished_tasks(self) -> int:
        """Number of tasks learnt so far."""

    @abc.abstractmethod
    def learn(self, task: Any, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        """Learns one task.

        A task that is broken off, by an error or Ctrl-C, leaves the learner as it was.

        Args:
            task: the open task of a stream.
            callbacks: Keras callbacks of all its training phases.

        Returns:
            The logged quantities, one value per epoch.
        """

    @abc.abstractmethod
    def classify(self, images: np.ndarray) -> np.ndarray:
        """Returns class ids int32 [N] of float32 images [N, H, W, C] in [-1, 1], among all seen."""

    @abc.abstractmethod
    def generate(self, labels: Sequence[int] | np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Returns images float32 [N, H, W, C] in [-1, 1] of the given class ids [N]."""

    def evaluate(self, dataset: Any) -> Evaluation:
        """Returns the accuracy of `classify`.

        Args:
            dataset: batches of images and class ids, such as a stream's `seen_test(task)`.
        """
        return evaluate(self.classify, dataset)

    @abc.abstractmethod
    def growth(self) -> dict[str, Any]:
        """Returns the size of the generator.

        `layer_widths` and `initial_layer_widths` (units per block), `generator_parameters`,
        `free_fraction` and `layers` (a dictionary per block). A learner with a mask per task adds
        `mask_overlap`: what the last task's mask shares with each one's so far, its own included.
        """

    @abc.abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns all that later tasks depend on: a JSON-able dictionary and arrays by name.

        The dictionary has the `method` and its `settings`.
        """

    @abc.abstractmethod
    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `state` gave, in place of what was learnt so far.

        Raises:
            InputError: the state is not that of such a learner.
        """


class ClassifierLearner(Learner):
    """Base class of learners whose classifier has the critic's shape.

    Args:
        settings: of the method; None for those of data without a preset.
        **changes: settings that replace those; only without `settings`.
    """

    def __init__(self, settings: LearnerSettings | None = None, **changes: Any):
        if settings is None:
            settings = presets.settings_for(None, self.method, **changes)
        elif changes:
            settings = dataclasses.replace(settings, **changes)
        self.settings: Any = settings
        self._tasks: list[tuple[int, ...]] = []
        self._class_names: list[str] = []
        self._classifier: Critic | None = None
        self._classify: Any = None

    @classmethod
    def from_preset(cls, dataset: str, *, preset: str = "tuned", **changes: Any) -> Any:
        """Returns a learner with the settings of a known data set.

        Args:
            dataset: its name, such as "digits" or "mnist".
            preset: `"tuned"` or `"paper"`; see `dgm_tf.presets`.
            **changes: settings that replace those of the preset, and for DGM its `variant`.

        Raises:
            InputError: an unknown data set, preset or setting, or a value out of range.
        """
        return cls(presets.settings_for(dataset, cls.method, preset=preset, **changes))

    @property
    def classes_seen(self) -> tuple[int, ...]:
        return tuple(label for classes in self._tasks for label in classes)

    @property
    def task_classes(self) -> tuple[tuple[int, ...], ...]:
        """Classes of each finished task, in order of arrival."""
        return tuple(self._tasks)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of `classes_seen`."""
        return tuple(self._class_names)

    @property
    def finished_tasks(self) -> int:
        return len(self._tasks)

    @property
    def classifier(self) -> Critic:
        """The classifier of all classes seen.

        Raises:
            InputError: nothing has been learnt.
        """
        return _learnt(self._classifier)

    def classify(self, images: np.ndarray) -> np.ndarray:
        classifier = self.classifier
        if self._classify is None:
            self._classify = traced(
                lambda batch: tf.argmax(classifier(batch)[1], axis=1, output_type=tf.int32),
                tf.TensorSpec([None, *classifier.image_shape]),
            )
        parts = [
            self._classify(tf.cast(images[first : first + _CHUNK], tf.float32)).numpy()
            for first in range(0, len(images), _CHUNK)
        ]
        return np.asarray(self.classes_seen, np.int32)[np.concatenate(parts)]

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta = {
            "method": self.method,
            "settings": dataclasses.asdict(self.settings),
            "tasks": [list(classes) for classes in self._tasks],
            "class_names": list(self._class_names),
            "critic": self.classifier.get_config(),
        }
        return meta, network_arrays(self.classifier)

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._tasks = [
            tuple(_checks.integer(label, "a class", low=0, high=_LAST_CLASS) for label in classes)
            for classes in meta["tasks"]
        ]
        self._class_names = list(meta["class_names"])
        self._classifier = restored_network(Critic, meta["critic"], arrays)
        self._classify = None
        seen = self.classes_seen
        counts = len(seen), len(set(seen)), len(self._class_names), self._classifier.classes
        if not all(self._tasks) or len(set(counts)) > 1:
            raise InputError(
                f"the saved state has tasks {_checks.one_line(self._tasks)} and a classifier of "
                f"{self._classifier.classes} classes, which do not fit; use another checkpoint"
            )

    # For subclasses.

    def classes_with(self, task: Any) -> tuple[int, ...]:
        """Returns classes in order of arrival once `task` is learnt.

        Raises:
            InputError: one of the task's classes has been learnt before, or the replicas of the
                block that the program is in cannot share the batches.
        """
        self.settings.check_replicas(distribution.present().replicas)
        again = sorted(set(task.classes) & set(self.classes_seen))
        if again:
            raise InputError(f"classes {again} have been learnt before; each comes once")
        return (*self.classes_seen, *task.classes)

    def budget(self, task: Any) -> dict[str, int]:
        """Returns a task's `epochs` and `steps_per_epoch`, and warns if they are too few."""
        settings, classes = self.settings, len(task.classes)
        steps_per_epoch = task.steps_per_epoch(settings.batch_size)
        epochs = settings.passes(classes=classes, steps_per_epoch=steps_per_epoch)
        wanted = classes * (settings.steps if settings.epochs else FEWEST_STEPS)
        if epochs * steps_per_epoch < wanted:
            _log.warning(
                "%s gets %d training steps; its classes need about %d to be learnt: raise epochs "
                "or steps",
                task,
                epochs * steps_per_epoch,
                wanted,
            )
        return {"epochs": epochs, "steps_per_epoch": steps_per_epoch}

    def new_critic(self, image_shape: tuple[int, ...], classes: int) -> Critic:
        """Returns a critic for the task to be learnt, with random weights."""
        settings, recipe = self.settings, self.settings.details
        critic = Critic(
            image_shape,
            classes,
            size=settings.critic_size,
            norm=recipe.critic_norm,
            initializer=recipe.critic_initializer,
            seed=randomness.derive(settings.seed, "critic", self.finished_tasks + 1),
            name="critic",
        )
        critic.build()
        return critic

    def initial_classifier(self, task: Any) -> Critic:
        """Returns what the classifier of `task` is trained from, by `consolidation_start`."""
        classes = len(self.classes_with(task))
        if self.settings.consolidation_start == "previous" and self._classifier is not None:
            return self._classifier.successor(classes)
        return self.new_critic(task.image_shape, classes)

    def task_learnt(self, task: Any, classifier: Critic) -> None:
        """Counts the task as finished; `classifier` predicts from now on."""
        self._tasks.append(tuple(task.classes))
        self._class_names += task.class_names
        self._classifier = classifier
        self._classify = None


class GeneratingLearner(ClassifierLearner):
    """Base class of learners that generate every class, and can train a classifier on that."""

    def __init__(self, settings: LearnerSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        self._generator: Any = None
        self._memory: Memory | None = None

    @property
    def generator(self) -> Any:
        """The generator.

        Raises:
            InputError: nothing has been learnt.
        """
        return _learnt(self._generator)

    @abc.abstractmethod
    def memory(self) -> Memory:
        """Returns the generator of the classes seen.

        Raises:
            InputError: nothing has been learnt.
        """

    def generate(self, labels: Sequence[int] | np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Returns images float32 [N, H, W, C] in [-1, 1] of the given class ids [N].

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
        if self._memory is None:
            self._memory = self.memory()
        memory = self._memory
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

    # For subclasses.

    def task_learnt(self, task: Any, classifier: Critic) -> None:
        super().task_learnt(task, classifier)
        self._memory = None

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        self._memory = None

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
        classifier: Critic,
        task: Any,
        callbacks: Sequence[Any],
        *,
        images: ConsolidationImages | None,
        teacher: Critic | None = None,
    ) -> dict[str, list[float]]:
        """Trains a classifier on replayed images of all classes seen, `task`'s included.

        Of one class only there is nothing to learn, and no step is taken.

        Args:
            classifier: changed in place.
            task: the newest one.
            callbacks: Keras callbacks.
            images: the images and their weights; None for the real ones only.
            teacher: the classifier to distil from; see `ClassifierPhase`.
        """
        if classifier.classes == 1:  # Its loss is 0, whatever it says: no step would change it.
            return {}
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
    return tf.data.Dataset.range(start, steps)


def largest_divisor(number: int, *, at_most: int) -> int:
    """Returns the largest divisor of `number` that is at most `at_most`."""
    return max(n for n in range(1, min(at_most, number) + 1) if number % n == 0)


def position_table(classes: Sequence[int]) -> tf.Tensor:
    """Returns positions in order of arrival by class id, int32 [largest id + 1]; -1 for none."""
    table = np.full(max(classes) + 1, -1, np.int32)
    table[list(classes)] = np.arange(len(classes))
    return tf.constant(table)


def traced(function: Callable[..., tf.Tensor], *signature: tf.TensorSpec) -> Callable[..., Any]:
    """Returns the function as a graph, traced once; `tf.function` would warn of one per task."""
    return tf.function(function, autograph=False).get_concrete_function(*signature)


def _learnt(part: Any) -> Any:
    if part is None:
        raise InputError("nothing has been learnt yet: call learn(task) first")
    return part
