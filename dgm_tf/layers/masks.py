"""Masks: Eq. 2 and 3 of the paper, the gradient of their embeddings, and their storage as bits."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

EMBEDDING_LIMIT = 6.0
_LOWEST_MASK = math.exp(-50.0)
# bool [256, 8], highest bit first.
_BITS_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(bool)


def soft_mask(embedding: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Eq. 2, `m = sigmoid(s e)`: float32 in [0, 1], of the embedding's shape."""
    return tf.sigmoid(scale * embedding)


def binary_mask(embedding: tf.Tensor) -> tf.Tensor:
    """The mask of a finished task, float32 of zeros and ones: 1 where `sigmoid(s_max e) >= 0.5`.

    For every s_max > 0 that is `e >= 0`; an embedding that was never moved keeps its weight.
    """
    return tf.cast(embedding >= 0.0, tf.float32)


def annealed_scales(
    step: tf.Tensor | int,
    *,
    steps_per_epoch: int,
    epochs: int,
    s_max: float,
    annealed_epochs: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Eq. 3: the steepness at one training step.

        s_max_i = 1/s_max + (s_max - 1/s_max) (i-1)/(I-1)
        s       = 1/s_max_i + (s_max_i - 1/s_max_i) (b-1)/(B-1)

    With I = 1, s_max_i = s_max; with B = 1, s = s_max_i. In the first epoch s_max_i = 1/s_max, so
    that s runs downwards there; embeddings start at 0, where the mask does not depend on s.

    Each epoch begins with masks near one half, which no finished task has: what they draw teaches
    generator and critic nothing of use. So an annealing can end before the task does, with
    s = s_max in every step from then on.

    Args:
        step: steps done in this task, from 0 (b - 1 + B (i - 1)); int, may be a graph tensor.
        steps_per_epoch: B, at least 1.
        epochs: of the task, at least 1.
        s_max: the steepest scale.
        annealed_epochs: I, the first ones of the task's; all of them (the paper) unless given.

    Returns:
        `(s_max_i, s)`, float32 scalars.
    """
    step = tf.cast(step, tf.int64)
    low, high = tf.constant(1.0 / s_max, tf.float32), tf.constant(s_max, tf.float32)
    annealed = epochs if annealed_epochs is None else annealed_epochs
    epoch = step // steps_per_epoch
    s_max_i = high
    if annealed > 1:
        s_max_i = _between(low, high, tf.minimum(epoch, annealed - 1), annealed)
    scale = s_max_i
    if steps_per_epoch > 1:
        scale = _between(1.0 / s_max_i, s_max_i, step % steps_per_epoch, steps_per_epoch)
    if annealed < epochs:
        scale = tf.where(epoch < annealed, scale, high)
    return s_max_i, scale


def _between(first: tf.Tensor, last: tf.Tensor, index: tf.Tensor, count: int) -> tf.Tensor:
    # Not first + (last - first) fraction: in float32 that is 0 at the end of the first epoch, where
    # first is 1e4 and last 1e-4, and at a scale of 0 every mask would be one half.
    fraction = tf.cast(index, tf.float32) / (count - 1)
    return first * (1.0 - fraction) + last * fraction


def embedding_gradient(
    gradient: tf.Tensor, embedding: tf.Tensor, mask: tf.Tensor, *, s_max_i: tf.Tensor
) -> tf.Tensor:
    """The gradient of an embedding, without the annealing (HAT, Serra et al. 2018, Eq. 6).

    A steep sigmoid passes no gradient, and embeddings would stop moving. HAT therefore multiplies
    the embedding's gradient, `g s m (1 - m)`, by

        (s_max_i / s) (cosh(clip(s e, -50, 50)) + 1) / (cosh(e) + 1)

    Since `m (1 - m) = 1 / (2 (cosh(s e) + 1))`, that is `g s_max_i sigmoid'(e)`, which is what is
    computed here: this runs over every weight in every step. Where the mask is 1 to float32's last
    bit, or below e^-50, HAT's product is 0 or vanishes, and the gradient here is 0.

    Args:
        gradient: g, that of the mask, float32.
        embedding: e, of the same shape.
        mask: m = sigmoid(s e), from `soft_mask`.
        s_max_i: of Eq. 3.
    """
    moved = s_max_i * tf.raw_ops.SigmoidGrad(y=tf.sigmoid(embedding), dy=gradient)
    sloping = tf.logical_and(mask < 1.0, mask > _LOWEST_MASK)
    return tf.where(sloping, moved, tf.zeros_like(moved))


def packed_size(shape: Sequence[int]) -> int:
    """Bytes that a mask of this shape takes as bits."""
    return -(-int(np.prod(shape)) // 8)


def pack_bits(mask: np.ndarray) -> np.ndarray:
    """A mask of zeros and ones as uint8 [ceil(size / 8)], first element in the highest bit."""
    return np.packbits(np.asarray(mask).astype(bool).reshape(-1))


def unpack_bits(bits: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The mask of `pack_bits`, bool of the given shape."""
    return np.unpackbits(bits, count=int(np.prod(shape))).view(bool).reshape(shape)


def unpacked(bits: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """The same inside a graph, for a shape that only the graph knows."""
    spread = tf.reshape(tf.gather(_BITS_OF_BYTE, tf.cast(bits, tf.int32)), [-1])
    return tf.reshape(spread[: tf.reduce_prod(shape)], shape)
