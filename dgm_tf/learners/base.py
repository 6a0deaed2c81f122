"""The contract that every row of the comparison table keeps."""

import abc
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import Evaluation, evaluate


class Learner(abc.ABC):
    """Learns classes task by task, classifies among all seen, and generates each of them.

    Class labels are the data set's own ids, in every argument and result. All randomness derives
    from the learner's seed, the task's index and the step, so that a learner restored from the end
    of a task goes on exactly as the one that was saved.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Short name for tables and folders, such as `dgm-w`."""

    generates = True  # whether there is a generator to be audited, drawn and measured
    memory_of: str | None = None  # the run whose generators are taken, instead of learning any

    @property
    @abc.abstractmethod
    def classes_seen(self) -> tuple[int, ...]:
        """Classes of the finished tasks, in order of arrival."""

    @property
    @abc.abstractmethod
    def finished_tasks(self) -> int:
        """Number of tasks learnt so far."""

    @abc.abstractmethod
    def learn(
        self, task: Any, *, epochs: int | None = None, callbacks: Sequence[Any] = ()
    ) -> dict[str, list[float]]:
        """Learns one task and returns the logged quantities, one value per epoch."""

    def slowed(self, factor: float) -> contextlib.AbstractContextManager[None]:
        """A block in which all learning rates are multiplied by a factor; here there are none."""
        del factor
        return contextlib.nullcontext()

    @abc.abstractmethod
    def classify(self, images: np.ndarray) -> np.ndarray:
        """Class ids int32 [N] of float32 images [N, H, W, C] in [-1, 1], among all seen."""

    @abc.abstractmethod
    def generate(self, labels: Sequence[int] | np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Images float32 [N, H, W, C] in [-1, 1] of the given class ids [N]."""

    def evaluate(self, dataset: Any) -> Evaluation:
        """Accuracy of `classify` on images and class ids, such as a stream's `seen_test(task)`."""
        return evaluate(self.classify, dataset)

    @abc.abstractmethod
    def growth(self) -> dict[str, Any]:
        """Size of the generator.

        `layer_widths` and `initial_layer_widths` (units per block), `generator_parameters`,
        `free_fraction` and `layers` (a dictionary per block). A learner with a mask per task adds
        `mask_overlap`: what the last task's mask shares with each one's so far, its own included.
        """

    @abc.abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Everything needed to go on: a JSON-able dictionary and named arrays."""

    @classmethod
    @abc.abstractmethod
    def from_state(cls, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Learner":
        """A learner equal to the one whose `state` is given."""

    def restored(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Learner":
        """What `from_state` gives, for a learner that is at hand."""
        return type(self).from_state(meta, arrays)


@contextlib.contextmanager
def reading_state() -> Iterator[None]:
    """Around the making of a learner from a state that a file held.

    Raises:
        InputError: the state is not what a learner gave.
    """
    try:
        yield
    except InputError:
        raise
    # A dictionary that anyone can have written makes constructors raise nearly anything.
    except Exception as error:
        reason = _checks.one_line(f"{type(error).__name__}: {error}")
        raise InputError(
            f"the saved state is not that of such a learner ({reason}); use another checkpoint"
        ) from error


def position_table(classes: Sequence[int]) -> tf.Tensor:
    """Position in order of arrival by class id, int32 [largest id + 1]; -1 for no class."""
    table = np.full(max(classes) + 1, -1, np.int32)
    table[list(classes)] = np.arange(len(classes))
    return tf.constant(table)
