"""The nearest class mean in pixels: what a classifier must at least be better than."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

from dgm_tf.errors import InputError
from dgm_tf.learners.learner import Learner


class NearestMean(Learner):
    """The nearest class mean in pixels: keeps the mean image of each class, float32.

    An image gets the class whose mean is nearest. The probabilities are those of one Gaussian per
    class, of unit variance in each pixel. Nothing is trained, nothing is forgotten, and of the
    images the means alone are kept.

    Args:
        settings: all settings; None for those of data without a preset.
        **changes: settings that replace those, by name.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.NearestMean()
        for task in stream:
            model.learn(task)
            print(task, model.evaluate(stream.seen_test(task)))
        ```
    """

    method = "nearest_mean"
    shares_steps = True
    _means = np.zeros([0, 0, 0, 0], np.float32)  # [classes, S, S, C], in order of arrival

    @property
    def image_shape(self) -> tuple[int, int, int]:
        if not len(self._means):
            raise InputError("nothing has been learnt yet: call learn(data) first")
        return self._means.shape[1:]

    def learn_task(self, task: Any, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        sums = np.zeros([len(task.classes), *task.image_shape])
        counts = np.zeros(len(task.classes))
        for images, labels in task.each_once().as_numpy_iterator():
            for position, label in enumerate(task.classes):
                own = images[labels == label]
                sums[position] += own.sum(axis=0, dtype=np.float64)
                counts[position] += len(own)
        means = (sums / counts[:, None, None, None]).astype(np.float32)
        self._means = np.concatenate([self._means.reshape(-1, *task.image_shape), means])
        self.count_task(task)
        return {}

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        means = self._means.reshape(len(self._means), -1)
        # Minus half the squared distance, but for what all classes have in common.
        closeness = images.reshape(len(images), -1) @ means.T - 0.5 * (means**2).sum(axis=1)
        return scipy.special.softmax(closeness, axis=1)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        ends = np.cumsum([len(classes) for classes in self.task_classes])[:-1]
        parts = enumerate(np.split(self._means, ends), start=1)
        return super().state()[0], {_array_name(task): means for task, means in parts}

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        parts = [arrays[_array_name(task)] for task in range(1, self.finished_tasks + 1)]
        if [len(means) for means in parts] != [len(classes) for classes in self.task_classes]:
            raise InputError(
                f"the saved state must hold a mean image of each class of {self.task_classes}, it "
                f"holds {[len(means) for means in parts]}; use another checkpoint"
            )
        self._means = np.concatenate(parts)


def _array_name(task: int) -> str:
    return f"finished/{task:05d}/means"  # where a run writes it once, with its own task
