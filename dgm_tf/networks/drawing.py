"""Images of a finished task, from its own parameters alone.

Everything about a task's network is in the shapes of its parameters. So one graph, traced once in a
process, generates the images of every task, however wide the generator was when the task ended, and
takes no longer to make for the thousandth task than for the first.

Replay takes many rows of a task at once (`drawn`). Where an image must have its own bits whatever
is asked for with it, always so many rows go through the network together (`in_groups`).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dgm_tf.layers import FinishedLayer

# Rows that `draw_group` puts through the network together. A product sums a row in another order
# when there are other numbers of rows beside it; among always so many each row has its own bits.
# Few, since a row of a task that nobody else asks for pays for the whole group.
GROUP = 2

_KERNEL, _TAPS = 4, 16  # side and area of the kernels that double an image
# A processor puts so many rows (2, 4, 6 or 8) through a product at a time, and sums what is left
# over in another order: each image of a group has a multiple of it.
_BLOCK = 12


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
    scale, shift = tf.unstack(layer.affine, num=2)
    outputs = tf.nn.relu(outputs * scale + shift)
    if layer.mask is None:
        return outputs
    return tf.where(layer.mask, outputs, tf.zeros_like(outputs))


def draw_group(latent: tf.Tensor, finished: FinishedGenerator, image_shape: Any) -> tf.Tensor:
    """The images float32 [GROUP, S, S, channels] of `draw`, by products of always the same shapes.

    Args:
        latent: float32 [GROUP, latent].
        finished: with kernels as matrices, from `as_matrix`.
        image_shape: (S, S, channels).
    """
    side = image_shape[0] >> len(finished.blocks)
    for layer in finished.blocks:
        if layer is finished.blocks[0]:
            outputs = tf.linalg.matmul(latent, layer.kernel)
            outputs = tf.reshape(outputs, [GROUP, side * side, -1])
        else:
            outputs = _doubled_rows(outputs, layer.kernel, side)
            side *= 2
        outputs = _activated(outputs, layer)
    images = tf.tanh(_doubled_rows(outputs, finished.head, side))
    return tf.reshape(images, [GROUP, *image_shape])


def as_matrix(kernel: Any) -> tf.Tensor:
    """A kernel [k, k, units, inputs] as float32 [inputs, k * k * units]."""
    kernel = tf.convert_to_tensor(kernel)
    return tf.transpose(tf.reshape(kernel, tf.stack([-1, tf.shape(kernel)[3]])))


def _doubled_rows(inputs: tf.Tensor, matrix: tf.Tensor, side: int) -> tf.Tensor:
    """A transposed convolution of stride 2: pixels [GROUP, side^2, inputs] to four times as many.

    One product for all taps. TensorFlow's own can take ten times as long for so few rows.
    """
    pixels = side * side
    padded = -(-(pixels + 1) // _BLOCK) * _BLOCK  # at least one, to be read outside the image
    inputs = tf.pad(inputs, [[0, 0], [0, padded - pixels], [0, 0]])
    products = tf.linalg.matmul(tf.reshape(inputs, [GROUP * padded, -1]), matrix)
    products = tf.reshape(products, [GROUP, padded * _TAPS, -1])
    return tf.reduce_sum(tf.gather(products, _summands(side), axis=1), axis=2)


@functools.cache
def _summands(side: int) -> np.ndarray:
    """The products that each output pixel adds up, int32 [4 side^2, 4].

    Output y gets input i by tap y + 1 - 2 i, which has to be in [0, 4): two inputs along each axis.
    """
    position = np.arange(2 * side)
    inputs = (position[:, None] + 1) // 2 - np.arange(2)  # [2 side, 2]
    taps = position[:, None] + 1 - 2 * inputs
    inside = (inputs >= 0) & (inputs < side)
    down, right = (slice(None), None, slice(None), None), (None, slice(None), None, slice(None))
    pixel = inputs[down] * side + inputs[right]
    found = pixel * _TAPS + taps[down] * _KERNEL + taps[right]
    found = np.where(inside[down] & inside[right], found, side * side * _TAPS)
    return found.reshape(4 * side * side, 4).astype(np.int32)


def drawn(latent: tf.Tensor, finished: FinishedGenerator) -> tf.Tensor:
    """The images of `draw`, by a graph that is traced once for all tasks."""
    return _by_graph(draw, latent, finished)


def in_groups(latent: tf.Tensor, finished: FinishedGenerator) -> np.ndarray:
    """The images float32 [B, S, S, channels] of `draw`, always so many rows at a time.

    An image depends on its own row only, to the last bit: a batch can be split, or mixed with other
    rows.
    """
    return _by_graph(_draw_in_groups, latent, finished).numpy()


def _draw_in_groups(latent: tf.Tensor, finished: FinishedGenerator) -> tf.Tensor:
    side = finished.blocks[0].kernel.shape[0] << len(finished.blocks)
    shape = (side, side, finished.head.shape[2])
    finished = FinishedGenerator(
        tuple(layer._replace(kernel=as_matrix(layer.kernel)) for layer in finished.blocks),
        as_matrix(finished.head),
    )
    rows = tf.shape(latent)[0]
    latent = tf.pad(latent, [[0, -rows % GROUP], [0, 0]])
    images = tf.map_fn(
        lambda group: draw_group(group, finished, shape),
        tf.reshape(latent, [-1, GROUP, latent.shape[1]]),
        fn_output_signature=tf.TensorSpec([GROUP, *shape]),
    )
    return tf.reshape(images, [-1, *shape])[:rows]


def _by_graph(
    function: Callable[..., tf.Tensor], latent: tf.Tensor, finished: FinishedGenerator
) -> tf.Tensor:
    flat = [tensor for tensor in tf.nest.flatten(finished) if tensor is not None]
    graph = _traced(function, _form(finished), latent.shape[1])
    return graph(latent, *map(tf.convert_to_tensor, flat))


def _form(finished: FinishedGenerator) -> tuple[tuple[int, bool], ...]:
    """What the graph depends on: the kernels' sides, and whether masks lie on units."""
    return tuple((layer.kernel.shape[0], layer.mask is not None) for layer in finished.blocks) + (
        (finished.head.shape[2], False),
    )


@functools.cache
def _traced(
    function: Callable[..., tf.Tensor], form: tuple[tuple[int, bool], ...], latent_dim: int
) -> Callable[..., tf.Tensor]:
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

    def of_flat(latent: tf.Tensor, *flat: tf.Tensor) -> tf.Tensor:
        parts = iter(flat)
        filled = [spec if spec is None else next(parts) for spec in tf.nest.flatten(wanted)]
        return function(latent, tf.nest.pack_sequence_as(wanted, filled))

    graph = tf.function(of_flat, autograph=False)
    return graph.get_concrete_function(tf.TensorSpec([None, latent_dim]), *specs)
