"""A trial: a learner learns the first tasks of a stream, and is measured there."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras_tuner.errors import FailedTrialError

from dgm_tf.data.stream import TaskStream
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution
from dgm_tf.errors import Diverged
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.watch import NumbersWatch

# A class has collapsed where the spread of its images is below this fraction of its real ones'.
_LEAST_SPREAD = 0.05
_IMAGES = 64  # generated of each class to see whether they differ
_SEED = 11


class Measured(NamedTuple):
    """Results of a learner on the first tasks of a stream.

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


def measure(
    learner: DGM, stream: TaskStream, *, tasks: int, callbacks: Sequence[Any] = ()
) -> Measured:
    """Learns the first tasks and looks at validation images of all classes seen after each.

    No test image is read.

    Args:
        learner: one with a generator that has learnt nothing.
        stream: none of its tasks is opened yet.
        tasks: their number.
        callbacks: Keras callbacks for each phase of each task.

    Raises:
        FailedTrialError: numbers that are not finite, a collapsed generator, exhausted memory. The
            text is one line that says which.
        InputError: the learner's settings do not fit the stream, which may have fewer tasks or no
            validation images, or the devices.
    """
    # So that what does not fit is said before any work.
    learner.check_replicas(distribution.present().replicas)
    stream.seen_validation(tasks)
    start = time.monotonic()
    accuracies = []
    for task in stream.tasks(last=tasks):
        try:
            learner.learn_task(task, callbacks=[NumbersWatch(task), *callbacks])
            seen = list(stream.seen_validation(task))
            _check_generated(learner, task, seen)
            accuracies.append(learner.evaluate(seen).average_accuracy)
        except Diverged as error:
            raise FailedTrialError(f"{error}, {task}") from error
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise FailedTrialError("out of memory") from error
    growth = learner.growth()
    return Measured(
        accuracies=tuple(accuracies),
        initial_units=sum(growth["initial_layer_widths"]),
        units=sum(growth["layer_widths"]),
        parameters=growth["generator_parameters"],
        seconds=time.monotonic() - start,
    )


def _check_generated(
    learner: DGM, task: Task, seen: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Raises `Diverged` where a class of the task just learnt has images that are all but the same.

    The watch looks at batches of a generator that is still trained. Only its finished masks show
    what is left of each class. `seen` are batches (images, class ids) of all classes seen.
    """
    images, labels = (np.concatenate(part) for part in zip(*seen, strict=True))
    for label, name in zip(task.classes, task.class_names, strict=True):
        real = images[labels == label]
        least = _LEAST_SPREAD * _spread(real) if len(real) else 0.0
        generated = learner.generate(np.full(_IMAGES, label, np.int32), seed=_SEED)
        if not _spread(generated) >= least:  # Also where it is no number.
            raise Diverged("the generator has collapsed", f"its images of class {name}")


def _spread(images: np.ndarray) -> float:
    """Standard deviation over images [N, H, W, C], mean over pixels."""
    return float(np.std(images, axis=0).mean())
