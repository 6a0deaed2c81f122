"""Small distortions of images, made in the graph."""

import tensorflow as tf

from dgm_tf import randomness

_ANGLE, _ZOOM, _SHIFT, _NOISE = 0.15, 0.1, 0.06, 0.1


def distorted(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Images turned, zoomed, shifted and with noise, each in its own way.

    Resampling and noise also cover the fine traces by which generated images differ from real ones.

    Args:
        images: float32 [B, S, S, C] in [-1, 1].
        seed: int32 [2].
    """
    size = float(images.shape[1])
    draws = randomness.uniform([tf.shape(images)[0], 6], randomness.fold(seed, 0)) * 2.0 - 1.0
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
    noise = randomness.normal(tf.shape(images), randomness.fold(seed, 1))
    return moved + noise * _NOISE * tf.abs(loudness)[:, None, None, None]
