"""What learners share whose classifier is a critic, new for every task."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy

from dgm_tf import _checks, distribution, randomness
from dgm_tf.errors import InputError
from dgm_tf.learners.base import Learner
from dgm_tf.networks import Critic
from dgm_tf.settings import LearnerSettings

_CHUNK = 256
_LAST_CLASS = 2**20  # a table by class id is made


class CriticLearner(Learner):
    """Keeps the tasks learnt and the last task's critic, and classifies with it."""

    def __init__(self, settings: LearnerSettings):
        self.settings = settings
        self._tasks: list[tuple[int, ...]] = []
        self._class_names: list[str] = []
        self._critic: Critic | None = None
        self._classify: Any = None

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
    def critic(self) -> Critic:
        """The critic of the last task, which is the classifier."""
        if self._critic is None:
            raise InputError("nothing has been learnt yet: call learn(task) first")
        return self._critic

    @contextlib.contextmanager
    def slowed(self, factor: float) -> Iterator[None]:
        settings = self.settings
        rates = {
            field.name: factor * getattr(settings, field.name)
            for field in dataclasses.fields(settings)
            if field.name.endswith("learning_rate")
        }
        self.settings = dataclasses.replace(settings, **rates)
        try:
            yield
        finally:
            self.settings = settings

    def classify(self, images: np.ndarray) -> np.ndarray:
        critic = self.critic
        if self._classify is None:
            self._classify = traced(
                lambda batch: tf.argmax(critic(batch)[1], axis=1, output_type=tf.int32),
                tf.TensorSpec([None, *critic.image_shape]),
            )
        parts = [
            self._classify(tf.cast(images[first : first + _CHUNK], tf.float32)).numpy()
            for first in range(0, len(images), _CHUNK)
        ]
        return np.asarray(self.classes_seen, np.int32)[np.concatenate(parts)]

    # For subclasses.

    def classes_with(self, task: Any) -> tuple[int, ...]:
        """Classes in order of arrival once `task` is learnt.

        Raises:
            InputError: one of the task's classes has been learnt before, or the replicas of the
                block that the program is in cannot share the batches.
        """
        self.settings.check_replicas(distribution.present().replicas)
        again = sorted(set(task.classes) & set(self.classes_seen))
        if again:
            raise InputError(f"classes {again} have been learnt before; each comes once")
        return (*self.classes_seen, *task.classes)

    def new_critic(self, image_shape: tuple[int, ...], classes: int) -> Critic:
        """A critic for the task to be learnt, with weights of its own."""
        settings = self.settings
        critic = Critic(
            image_shape,
            classes,
            size=settings.critic_size,
            norm=settings.critic_norm,
            initializer=settings.critic_initializer,
            seed=randomness.derive(settings.seed, "critic", self.finished_tasks + 1),
            dtype=settings.dtype,
            name="critic",
        )
        critic.build()
        return critic

    def first_classifier(self, task: Any) -> Critic:
        """What the classifier of `task` is trained from, as `consolidation_start` has it."""
        classes = len(self.classes_with(task))
        if self.settings.consolidation_start == "previous" and self._critic is not None:
            return self._critic.successor(classes)
        return self.new_critic(task.image_shape, classes)

    def task_learnt(self, task: Any, critic: Critic) -> None:
        """Counts the task as finished; `critic` is the classifier from now on."""
        self._tasks.append(tuple(task.classes))
        self._class_names += task.class_names
        self._critic = critic
        self._classify = None

    def critic_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings, tasks and critic as `state` gives them."""
        meta = {
            "settings": dataclasses.asdict(self.settings),
            "tasks": [list(classes) for classes in self._tasks],
            "class_names": list(self._class_names),
            "critic": self.critic.get_config(),
        }
        return meta, network_arrays(self.critic)

    def restore_critic(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Takes over what `critic_state` gave."""
        self._tasks = [
            tuple(_checks.integer(label, "a class", low=0, high=_LAST_CLASS) for label in classes)
            for classes in meta["tasks"]
        ]
        seen = self.classes_seen
        # Older states have no names.
        self._class_names = list(meta.get("class_names", map(str, seen)))
        self._critic = restored_network(Critic, meta["critic"], arrays)
        if not all(self._tasks) or not len(seen) == len(set(seen)) == self._critic.classes:
            raise InputError(
                f"the saved state has tasks {_checks.one_line(self._tasks)} and a classifier of "
                f"{self._critic.classes} classes, which do not fit; use another checkpoint"
            )


def traced(function: Callable[..., tf.Tensor], *signature: tf.TensorSpec) -> Callable[..., Any]:
    """The function as a graph, traced once; `tf.function` would warn of one graph per task."""
    return tf.function(function, autograph=False).get_concrete_function(*signature)


def network_arrays(network: keras.Model) -> dict[str, np.ndarray]:
    """Every variable of a network by its path."""
    return {variable.path: convert_to_numpy(variable) for variable in network.weights}


def restored_network(kind: type, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """A network of a saved state, built only if it is no larger than the arrays that came with it.

    Args:
        kind: the network's class.
        config: what its `get_config` gave.
        arrays: what `network_arrays` gave, maybe among others.

    Raises:
        InputError: an array is missing, or sizes or types do not fit.
    """
    network = kind.from_config(config)
    numbers = max((array.size for array in arrays.values()), default=0)
    if network.largest_kernel() > numbers:
        raise InputError(
            f"the saved state describes a {network.name} with a kernel of "
            f"{network.largest_kernel()} numbers; its largest array has {numbers}"
        )
    assign_arrays(network, arrays)
    return network


def assign_arrays(network: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Builds a network and gives every variable its array.

    Raises:
        InputError: an array is missing or has another shape or type.
    """
    network.build()
    for variable in network.weights:
        value = arrays.get(variable.path)
        wanted = tuple(variable.shape), np.dtype(variable.dtype)
        if value is None or (value.shape, value.dtype) != wanted:
            found = "none" if value is None else f"one of shape {value.shape} and {value.dtype}"
            raise InputError(
                f"the saved state must hold an array {variable.path} of shape "
                f"{wanted[0]} and {wanted[1]}; it holds {found}"
            )
        variable.assign(value)
