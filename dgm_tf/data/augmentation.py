"""Small distortions of images, made in the graph."""

import math

import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.devices import distribution

_ANGLE, _ZOOM, _SHIFT, _NOISE = 0.15, 0.1, 0.06, 0.1
_CONTRAST, _BRIGHTNESS, _COLOUR = 0.5, 0.4, 0.2
_MARGINS_IN_WIDTH = 6


def distorted(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Images turned, zoomed, shifted and with noise, each in its own way.

    Resampling and noise also cover the fine traces by which generated images differ from real ones.

    Args:
        images: float32 [B, S, S, C] in [-1, 1].
        seed: int32 [2].
    """
    size = float(images.shape[1])
    rows, *rest = tf.unstack(tf.shape(images))
    draws = distribution.part_drawn(randomness.uniform, [rows, 6], randomness.fold(seed, 0))
    draws = draws * 2.0 - 1.0
    angle, zoom_x, zoom_y, shift_x, shift_y, loudness = tf.unstack(draws, axis=1)
    angle = angle * _ANGLE
    zoom_x, zoom_y = 1.0 + _ZOOM * zoom_x, 1.0 + _ZOOM * zoom_y
    a, b = tf.cos(angle) * zoom_x, -tf.sin(angle) * zoom_y
    c, d = tf.sin(angle) * zoom_x, tf.cos(angle) * zoom_y
    centre = (size - 1.0) / 2.0
    # About the centre, so that turning and zooming do not shift.
    left = centre - a * centre - b * centre + shift_x * _SHIFT * size
    top = centre - c * centre - d * centre + shift_y * _SHIFT * size
    zero = tf.zeros_like(a)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, left, c, d, top, zero, zero], axis=1),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    noise = distribution.part_drawn(randomness.uniform, [rows, *rest], randomness.fold(seed, 1))
    # Of variance 1. Normals would take four times as long to draw.
    noise = (2.0 * noise - 1.0) * math.sqrt(3.0)
    return moved + noise * (_NOISE * tf.abs(loudness)[:, None, None, None])


def mirrored(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Images half of which, chosen at random, have left and right exchanged.

    Args:
        images: float32 [B, S, S, C].
        seed: int32 [2].
    """
    draws = distribution.part_drawn(randomness.uniform, [tf.shape(images)[0]], seed)
    return tf.where((draws < 0.5)[:, None, None, None], images[:, :, ::-1], images)


def recoloured(images: tf.Tensor, seed: tf.Tensor, *, inverted: float) -> tf.Tensor:
    """Images of other contrast, brightness and tint, some of them inverted, each in its own way.

    In statistics such as these generated images differ from real ones. A pixel x of channel c
    becomes `+-exp(k + k_c) x + b + b_c`, uniformly drawn for each image: k up to 0.5, b up to 0.4,
    k_c and b_c up to 0.2 either way. Nothing is cut off, so values can lie outside [-1, 1].

    Args:
        images: float32 [B, S, S, C] in [-1, 1].
        seed: int32 [2].
        inverted: fraction of images with the minus sign, 0 to 1.
    """
    channels = images.shape[3]
    shape = [tf.shape(images)[0], 3 + 2 * channels]
    draws = distribution.part_drawn(randomness.uniform, shape, seed)
    either_way = 2.0 * draws - 1.0
    tints = _COLOUR * either_way[:, 3:]
    factor = tf.exp(_CONTRAST * either_way[:, 1:2] + tints[:, :channels])
    factor = tf.where(draws[:, :1] < inverted, -factor, factor)
    offset = _BRIGHTNESS * either_way[:, 2:3] + tints[:, channels:]
    return images * factor[:, None, None, :] + offset[:, None, None, :]


def with_real_margins(
    images: tf.Tensor, seed: tf.Tensor, *, real: int, fraction: float
) -> tf.Tensor:
    """Some images with the left and right margins, a sixth of the width rounded down, of real ones.

    The next digits of a house number stand there, whatever the class of the one in the middle, and
    any task's real images show them as they are. It is CutMix (Yun et al. 2019) with the label of
    the middle only. A margin comes as its image has been distorted and recoloured, which may be
    otherwise than the middle.

    Args:
        images: float32 [B, S, S, C], B known when this is traced; the last ones are real.
        seed: int32 [2].
        real: how many are; at least 1.
        fraction: of the others that change, 0 to 1.
    """
    count = images.shape[0] - real
    draws = distribution.part_drawn(randomness.uniform, [count, 2], seed)
    chosen = tf.minimum(tf.cast(draws[:, 0] * real, tf.int32), real - 1)
    size = images.shape[2]
    margin = size // _MARGINS_IN_WIDTH
    columns = tf.range(size)
    outside = (columns < margin) | (columns >= size - margin)
    changed = (draws[:, 1] < fraction)[:, None, None, None] & outside[None, None, :, None]
    others = tf.where(changed, tf.gather(images[count:], chosen), images[:count])
    return tf.concat([others, images[count:]], axis=0)
