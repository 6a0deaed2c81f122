"""Keras layers with a mask per task. They need nothing else of this package's machinery."""

from dgm_tf.layers.masked import (
    FinishedLayer,
    MaskedConv2D,
    MaskedConv2DTranspose,
    MaskedDense,
    MaskedLayer,
)
from dgm_tf.layers.task_batch_norm import TaskBatchNormalization

__all__ = [
    "FinishedLayer",
    "MaskedConv2D",
    "MaskedConv2DTranspose",
    "MaskedDense",
    "MaskedLayer",
    "TaskBatchNormalization",
]
