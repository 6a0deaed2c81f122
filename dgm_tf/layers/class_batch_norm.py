"""Batch norm whose scale, offset and statistics belong to a class."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from dgm_tf.devices import distribution


@keras.saving.register_keras_serializable("dgm_tf")
class ClassBatchNormalization(keras.layers.Layer):
    """Conditional batch norm (Dumoulin et al. 2017; de Vries et al. 2017) on groups of one class.

    Inputs come in groups, each of one class, and a group is normalised by its own statistics: a
    class is drawn alike whatever is drawn beside it. Statistics for use after training are
    measured, not averaged on the way: see `measure`.

    Args:
        classes: rows of scales, offsets and statistics.
        epsilon: added to the variance.
    """

    def __init__(self, classes: int, *, epsilon: float = 1e-5, **kwargs: Any):
        super().__init__(**kwargs)
        self.classes = int(classes)
        self.epsilon = epsilon

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape = (self.classes, input_shape[-1])
        self.gamma = self._table(shape, "gamma", "ones")
        self.beta = self._table(shape, "beta", "zeros")
        self.mean = self._table(shape, "mean", "zeros", trainable=False)
        self.variance = self._table(shape, "variance", "ones", trainable=False)

    def _table(
        self, shape: tuple[int, int], name: str, initializer: str, *, trainable: bool = True
    ) -> keras.Variable:
        # Read as float32 under mixed precision too: statistics in half precision drift.
        return self.add_weight(
            shape=shape, initializer=initializer, trainable=trainable, autocast=False, name=name
        )

    def call(self, inputs: tf.Tensor, positions: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """Normalises float32 [K, n, H, W, units].

        Args:
            inputs: K groups of n images' features.
            positions: the class of each group, int32 [K] in [0, classes).
            training: by the group's own statistics instead of the measured ones.
        """
        inputs = tf.cast(inputs, self.variable_dtype)
        if training:
            mean, variance = distribution.moments(inputs, axes=[1, 2, 3])  # [K, units]
        else:
            mean, variance = self._rows(self.mean, positions), self._rows(self.variance, positions)
        scale = self._rows(self.gamma, positions) * tf.math.rsqrt(variance + self.epsilon)
        shift = self._rows(self.beta, positions) - mean * scale
        return tf.cast(inputs * _spread(scale) + _spread(shift), self.compute_dtype)

    def calibrate(self, inputs: tf.Tensor, positions: tf.Tensor) -> None:
        """Takes the groups' statistics as those of their classes; arguments as in `call`."""
        moments = tf.nn.moments(tf.cast(inputs, self.variable_dtype), axes=[1, 2, 3])
        for variable, values in zip((self.mean, self.variance), moments, strict=True):
            variable.assign(tf.tensor_scatter_nd_update(variable, positions[:, None], values))

    @staticmethod
    def _rows(variable: keras.Variable, positions: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.convert_to_tensor(variable), positions)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes, "epsilon": self.epsilon}


def _spread(rows: tf.Tensor) -> tf.Tensor:
    return rows[:, None, None, None, :]
