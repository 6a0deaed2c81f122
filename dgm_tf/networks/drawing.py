"""Images of a finished task, from its own parameters alone.

Everything about a task's network is in the shapes of its parameters. So one graph, traced once in a
process, draws the images of every task, however wide the generator was when the task ended, and
takes no longer to make for the thousandth task than for the first.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dgm_tf.layers import FinishedLayer

# Rows that `in_groups` puts through the network together. A product sums a row in another order
# when there are other numbers of rows beside it; among always so many each row has its own bits.
GROUP = 8


class FinishedGenerator(NamedTuple):
    """The parameters of one finished task's images; see `Generator.finished_generator`."""

    blocks: tuple[FinishedLayer, ...]
    head: Any  # float32, kernel of the output layer [4, 4, channels, units used]


def draw(latent: tf.Tensor, finished: FinishedGenerator) -> tf.Tensor:
    """Images float32 [B, S, S, channels] in (-1, 1) of a finished task.

    Args:
        latent: float32 [B, latent], from `Generator.latent`.
        finished: tensors or arrays.
    """
    first, *others = finished.blocks
    kernel = tf.convert_to_tensor(first.kernel)
    side, units = kernel.shape[0], tf.shape(kernel)[2]
    # One input pixel: the kernel is the whole output.
    flat = tf.reshape(kernel, [-1, kernel.shape[-1] or tf.shape(kernel)[-1]])
    outputs = tf.linalg.matmul(latent, flat, transpose_b=True)
    outputs = _activated(tf.reshape(outputs, [-1, side, side, units]), first)
    for layer in others:
        outputs = _activated(_doubled(outputs, layer.kernel), layer)
    return tf.tanh(_doubled(outputs, finished.head))


def _doubled(inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
    """A transposed convolution of stride 2."""
    rows, height, width, _ = tf.unstack(tf.shape(inputs))
    shape = tf.stack([rows, 2 * height, 2 * width, tf.shape(kernel)[2]])
    return tf.nn.conv2d_transpose(inputs, kernel, shape, 2, "SAME")


def _activated(outputs: tf.Tensor, layer: FinishedLayer) -> tf.Tensor:
    scale, shift = tf.unstack(layer.affine)
    outputs = tf.nn.relu(outputs * scale + shift)
    if layer.mask is None:
        return outputs
    return tf.where(layer.mask, outputs, tf.zeros_like(outputs))


def drawn(latent: tf.Tensor, finished: FinishedGenerator) -> tf.Tensor:
    """The images of `draw`, by a graph that is traced once for all tasks."""
    flat = [tensor for tensor in tf.nest.flatten(finished) if tensor is not None]
    return _traced(_form(finished), latent.shape[1])(latent, *map(tf.convert_to_tensor, flat))


def in_groups(latent: tf.Tensor, finished: FinishedGenerator) -> np.ndarray:
    """The images float32 [B, S, S, channels] of `draw`, always so many rows at a time.

    An image depends on its own row only, to the last bit: a batch can be split, or mixed with other
    rows.
    """
    rows = latent.shape[0]
    count = max(1, -(-rows // GROUP))
    padded = tf.pad(latent, [[0, count * GROUP - rows], [0, 0]])
    return np.concatenate([drawn(group, finished) for group in tf.split(padded, count)])[:rows]


def _form(finished: FinishedGenerator) -> tuple[tuple[int, bool], ...]:
    """What the graph depends on: the kernels' sides, and whether masks lie on units."""
    return tuple((layer.kernel.shape[0], layer.mask is not None) for layer in finished.blocks) + (
        (finished.head.shape[2], False),
    )


@functools.cache
def _traced(form: tuple[tuple[int, bool], ...], latent_dim: int) -> Callable[..., tf.Tensor]:
    *blocks, (channels, _) = form
    layers = []
    for index, (side, masked) in enumerate(blocks):
        inputs = latent_dim if index == 0 else None
        layers.append(
            FinishedLayer(
                tf.TensorSpec([side, side, None, inputs]),
                tf.TensorSpec([2, None]),
                tf.TensorSpec([None], tf.bool) if masked else None,
            )
        )
    wanted = FinishedGenerator(tuple(layers), tf.TensorSpec([4, 4, channels, None]))
    specs = [spec for spec in tf.nest.flatten(wanted) if spec is not None]

    def function(latent: tf.Tensor, *flat: tf.Tensor) -> tf.Tensor:
        parts = iter(flat)
        filled = [spec if spec is None else next(parts) for spec in tf.nest.flatten(wanted)]
        return draw(latent, tf.nest.pack_sequence_as(wanted, filled))

    graph = tf.function(function, autograph=False)
    return graph.get_concrete_function(tf.TensorSpec([None, latent_dim]), *specs)
