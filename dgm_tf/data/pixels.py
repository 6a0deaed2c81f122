"""Stored pixels as the networks see them."""

import numpy as np
import tensorflow as tf

_PIXELS_AT_ONCE = 2**24


def to_float(images: tf.Tensor | np.ndarray, size: int) -> tf.Tensor:
    """Turns stored pixels into what the networks see.

    The central square is cut out and resized bilinearly, with antialiasing where it shrinks; the
    levels of uint8 become `x / 127.5 - 1`. The rule for arrays of any size, in streams, learners
    and exported models; `dgm_tf.data.image_file.read_image` reads files by the same.

    Args:
        images: uint8 or, in [-1, 1], float32 [B, H, W, C]; H and W may be unknown in a graph.
        size: side S of the square images that are wanted.

    Returns:
        float32 [B, S, S, C] in [-1, 1].
    """
    images = _central_square(tf.convert_to_tensor(images))
    pixels = tf.cast(images, tf.float32)
    side = images.shape[1]
    if side != size:
        # In a graph for any size: antialiasing changes nothing where an image grows.
        shrinks = side is None or side > size
        pixels = tf.image.resize(pixels, (size, size), method="bilinear", antialias=shrinks)
    if images.dtype == tf.uint8:
        pixels = pixels / 127.5 - 1.0
    return tf.clip_by_value(pixels, -1.0, 1.0)


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """What `to_float` gives, of as many images at a time as a moderate memory has room for.

    Args:
        images: uint8 or float32 [N, H, W, C] as `to_float` takes them.
        size: side S of the square images that are wanted.

    Returns:
        float32 [N, S, S, C] in [-1, 1].
    """
    found = np.empty([len(images), size, size, images.shape[-1]], np.float32)
    step = max(1, _PIXELS_AT_ONCE // int(np.prod(images.shape[1:])))
    for first in range(0, len(images), step):
        part = images[first : first + step]
        found[first : first + step] = to_float(part, size).numpy()
    return found


def as_seen(images: np.ndarray, size: int) -> np.ndarray:
    """Images as the networks see them, where these take no more memory than the stored pixels.

    Large images are so resized once, and not in each step that reads them. The bits that `to_float`
    gives are the same either way.

    Args:
        images: uint8 or float32 [N, H, W, C] as `to_float` takes them.
        size: side S of the square images that are wanted.

    Returns:
        float32 [N, S, S, C] in [-1, 1], or `images`.
    """
    height, width = images.shape[1:3]
    is_seen = images.dtype == np.float32 and height == width == size
    larger = 4 * size**2 > height * width * images.itemsize
    return images if is_seen or larger else resized(images, size)


def _central_square(images: tf.Tensor) -> tf.Tensor:
    height, width = images.shape[1], images.shape[2]
    if None in (height, width):
        height, width = tf.unstack(tf.shape(images)[1:3])
        side = tf.minimum(height, width)
    elif height == width:
        return images
    else:
        side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]
