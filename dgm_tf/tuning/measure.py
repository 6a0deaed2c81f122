"""What one trial is: learning the first tasks of a stream, and what comes of it."""

import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dgm_tf.learners.base import Learner
from dgm_tf.stream import Task, TaskStream

# A class whose images differ less than this share of what its real ones do has collapsed.
LEAST_SPREAD = 0.05
_IMAGES = 64  # generated of each class to see whether they differ
_SEED = 11


class Unusable(Exception):
    """Learning led nowhere: numbers that are none, a collapsed generator, exhausted memory.

    Its text is one line that says which.
    """


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a learner reached on the first tasks of a stream.

    Attributes:
        accuracies: after each task, 0 to 1: mean over the classes seen of the accuracy on each
            class's validation images.
        initial_units: units of the generator before the first task.
        units: after the last task and the growth that follows it.
        parameters: of the generator, then.
        seconds: that learning and measuring took.
    """

    accuracies: tuple[float, ...]
    initial_units: int
    units: int
    parameters: int
    seconds: float

    @property
    def accuracy(self) -> float:
        """After the last task, 0 to 1."""
        return self.accuracies[-1]

    @property
    def mean_accuracy(self) -> float:
        """Mean over the tasks, 0 to 1."""
        return statistics.fmean(self.accuracies)


def measure(
    learner: Learner,
    stream: TaskStream,
    *,
    tasks: int,
    epochs: int | None = None,
    callbacks: Sequence[Any] = (),
) -> Measured:
    """Learns the first tasks and looks at validation images of all classes seen after each.

    No test image is read.

    Args:
        learner: one with a generator that has learnt nothing.
        stream: none of its tasks is opened yet.
        tasks: how many of them.
        epochs: passes over each task's images; the learner's setting for None.
        callbacks: Keras callbacks for each phase of each task.

    Raises:
        Unusable: see there.
        InputError: the learner's settings do not fit the stream, which may have fewer tasks or no
            validation images.
    """
    stream.seen_validation(tasks)  # So that what does not fit is said before any work.
    start = time.monotonic()
    accuracies = []
    try:
        for task in itertools.islice(stream, tasks):
            learner.learn(task, epochs=epochs, callbacks=[_FiniteLogs(task), *callbacks])
            seen = list(stream.seen_validation(task))
            _check_spread(learner, task, seen)
            accuracies.append(learner.evaluate(seen).average_accuracy)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise Unusable("out of memory") from error
    growth = learner.growth()
    return Measured(
        accuracies=tuple(accuracies),
        initial_units=sum(growth["initial_layer_widths"]),
        units=sum(growth["layer_widths"]),
        parameters=growth["generator_parameters"],
        seconds=time.monotonic() - start,
    )


class _FiniteLogs(keras.callbacks.Callback):
    """Ends the learning of a task at the first epoch whose logs are no finite numbers."""

    def __init__(self, task: Task):
        super().__init__()
        self._task = task

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        broken = [name for name, value in (logs or {}).items() if not math.isfinite(float(value))]
        if broken:
            raise Unusable(
                f"{' and '.join(broken)} not a finite number in {self._task}, epoch {epoch + 1}"
            )


def _check_spread(learner: Learner, task: Task, seen: Iterable[tuple[Any, Any]]) -> None:
    """Raises `Unusable` where the images generated of a new class are all but the same.

    Args:
        learner: has just learnt the task.
        task: brought the new classes.
        seen: batches (images, class ids) of real images of all classes seen.
    """
    images, labels = (np.concatenate(part) for part in zip(*seen, strict=True))
    for label in task.classes:
        made = learner.generate(np.full(_IMAGES, label, np.int32), seed=_SEED)
        if not np.isfinite(made).all():
            raise Unusable(f"generated images of class {label} hold no finite numbers")
        real = images[labels == label]
        if len(real) and _spread(made) < LEAST_SPREAD * _spread(real):
            raise Unusable(f"the generator has collapsed: its images of class {label} are alike")


def _spread(images: np.ndarray) -> float:
    """Standard deviation over images [N, H, W, C], mean over pixels."""
    return float(np.std(images, axis=0).mean())
