"""Batch normalisation whose parameters and statistics belong to one task each."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf import _checks
from dgm_tf.devices import distribution
from dgm_tf.layers.kept_arrays import KeptArrays


@keras.saving.register_keras_serializable("dgm_tf")
class TaskBatchNormalization(KeptArrays, keras.layers.Layer):
    """Batch norm over the last axis with a scale, an offset and statistics per task.

    The task being learnt has trainable `gamma` and `beta` and moving statistics. A finished task is
    kept as the two vectors that its inference comes down to, `y = x * scale + shift` with
    `scale = gamma / sqrt(variance + epsilon)` and `shift = beta - mean * scale`: computed once, so
    that no later kernel, graph or width can round them differently.

    Args:
        momentum: of the moving statistics, in [0, 1).
        epsilon: added to the variance.
        finished: width (units) of each finished task; `finish_task` sets it.
        **kwargs: those of `keras.layers.Layer`.

    Example:
        ```python
        >>> layer = dgm_tf.TaskBatchNormalization()
        >>> images = layer(tf.random.normal([8, 4, 4, 3]), training=True)
        >>> later = layer.finish_task()
        >>> later(images, task=1).shape
        TensorShape([8, 4, 4, 3])
        ```
    """

    kept: ClassVar[str] = "affines"

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        finished: Sequence[int] = (),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.momentum = _checks.fraction(momentum, "momentum", zero=True)
        self.epsilon = epsilon
        self.finished = tuple(int(units) for units in finished)

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape = (input_shape[-1],)
        self.gamma = self._vector(shape, "gamma", initializer="ones")
        self.beta = self._vector(shape, "beta")
        # Every replica has the same new values.
        moving = {"trainable": False, "aggregation": "only_first_replica"}
        self.moving_mean = self._vector(shape, "moving_mean", **moving)
        self.moving_variance = self._vector(shape, "moving_variance", initializer="ones", **moving)
        # No variables: nothing trains them, and a thousand tasks would make thousands of them.
        self.affines = tuple(np.zeros((2, units), np.float32) for units in self.finished)

    def _vector(
        self, shape: tuple[int, ...], name: str, *, initializer: str = "zeros", **options: Any
    ) -> keras.Variable:
        # Read as float32 under mixed precision too: statistics in half precision drift.
        return self.add_weight(
            shape=shape, initializer=initializer, autocast=False, name=name, **options
        )

    def call(
        self, inputs: tf.Tensor, *, task: int | None = None, training: bool = False
    ) -> tf.Tensor:
        """Normalises inputs [..., units].

        Args:
            inputs: float32 [..., units]; for a finished task [..., units then].
            task: a finished task, from 1; None for the one being learnt.
            training: use and update batch statistics (never for a finished task).
        """
        values = tf.cast(inputs, self.variable_dtype)
        return tf.cast(self._normalized(values, task, training), self.compute_dtype)

    def _normalized(self, values: tf.Tensor, task: int | None, training: bool) -> tf.Tensor:
        if task is not None:
            scale, shift = tf.unstack(tf.convert_to_tensor(self.affine_of(task)))
            return values * scale + shift
        if training:
            mean, variance = distribution.moments(values, axes=range(values.shape.rank - 1))
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        else:
            mean, variance = self.moving_mean, self.moving_variance
        return tf.nn.batch_normalization(
            values, mean, variance, self.beta, self.gamma, self.epsilon
        )

    def affine_of(self, task: int) -> np.ndarray:
        """Scale and shift float32 [2, units then] of a finished task, from 1.

        Args:
            task: a finished task, from 1.

        Raises:
            InputError: no such task.
        """
        self._check_finished(task)
        return self.affines[task - 1]

    def finish_task(self) -> "TaskBatchNormalization":
        """A new layer in which the present task is finished and a fresh one can be learnt."""
        return self._successor(finish=True)

    def widen(self, units: int) -> "TaskBatchNormalization":
        """A new layer of `units` >= the present width; finished tasks keep theirs.

        Args:
            units: new number of units.

        Raises:
            InputError: fewer units than there are, or the layer is not built.
        """
        self._check_built()
        _checks.integer(units, "units", low=self.gamma.shape[0])
        return self._successor(units=units, finish=False)

    def _successor(self, *, units: int | None = None, finish: bool) -> "TaskBatchNormalization":
        self._check_built()
        units = self.gamma.shape[0] if units is None else units
        config = self.get_config()
        if finish:
            config["finished"] = [*self.finished, self.gamma.shape[0]]
        layer = type(self).from_config(config)
        layer.build((None, units))
        layer.inherit(self)
        return layer

    def inherit(self, old: "TaskBatchNormalization") -> None:
        """Takes over the state of a layer with the same tasks, or with one less (now finished).

        Args:
            old: a built layer.
        """
        if len(self.finished) > len(old.finished):
            self.affines = (*old.affines, old.folded())
            return
        self.affines = old.affines
        units = old.gamma.shape[0]
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            value = to_numpy(getattr(self, name))
            value[:units] = to_numpy(getattr(old, name))
            getattr(self, name).assign(value)

    def folded(self) -> np.ndarray:
        """Scale and shift float32 [2, units] of the task being learnt, as inference uses them."""
        gamma, beta, mean, variance = (
            to_numpy(variable).astype(np.float32)
            for variable in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        )
        scale = gamma / np.sqrt(variance + np.float32(self.epsilon))
        return np.stack([scale, beta - mean * scale])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "finished": list(self.finished),
        }


@contextlib.contextmanager
def replacing_statistics(norms: Sequence[TaskBatchNormalization]) -> Iterator[None]:
    """A block in which a training pass replaces moving statistics instead of averaging them.

    Args:
        norms: whose present task is meant.
    """
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
