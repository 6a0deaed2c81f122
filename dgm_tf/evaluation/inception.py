"""Features of the Inception network, in which the usual Frechet distance (FID) is measured."""

import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dgm_tf.errors import InputError

_SIDE = 299
_CHUNK = 64


class Inception:
    """InceptionV3 without its last layer, with weights from a file.

    The file is the one that Keras calls `inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5`,
    trained on ImageNet. Distances in its features are close to those of the network of 2015 that
    published FIDs come from, but not the same number: compare them with each other alone.

    Args:
        weights: the file, in a format of Keras: .h5, .weights.h5 or .keras.

    Raises:
        InputError: it is not there or does not hold that network's weights.
    """

    def __init__(self, weights: str | Path):
        if not Path(weights).is_file():
            raise InputError(
                f"expected the weights of Keras' InceptionV3 without its top, {weights} is no file"
            )
        network = keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")
        try:
            with warnings.catch_warnings():
                # Of another network's file Keras first tells each part that it misses, then fails.
                warnings.simplefilter("ignore", UserWarning)
                network.load_weights(weights)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"expected the weights of Keras' InceptionV3 without its top, {weights} does not "
                f"hold them ({str(error).splitlines()[0]})"
            ) from error
        self._network = tf.function(
            lambda images: network(images, training=False),
            input_signature=[tf.TensorSpec([None, _SIDE, _SIDE, 3])],
            autograph=False,
        )

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features float32 [N, 2048] of images float32 [N, H, W, C] in [-1, 1], C 1 or 3."""
        parts = []
        for first in range(0, len(images), _CHUNK):
            some = tf.image.resize(images[first : first + _CHUNK], [_SIDE, _SIDE])
            if some.shape[-1] == 1:
                some = tf.image.grayscale_to_rgb(some)
            parts.append(self._network(some).numpy())
        return np.concatenate(parts)
