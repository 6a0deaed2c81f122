"""The conditional generator that the other methods of generative replay share."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf import _checks, randomness, sizes
from dgm_tf.layers.class_batch_norm import ClassBatchNormalization

_KERNEL = 5
_MEASURED_IMAGES = 256


@keras.saving.register_keras_serializable("dgm_tf")
class ConditionalGenerator(keras.Model):
    """Noise and class to image: dense, then transposed convolutions with conditional batch norm.

    z [B, latent] -> S/8 x S/8 x 4g -> 5x5, stride 2 -> 2g -> 5x5, stride 2 -> g -> 5x5, stride 2
    -> S x S x channels, tanh; conditional batch norm and ReLU between (Wu et al. 2018, MeRGAN, with
    g = 32). Other sizes have as many doublings as fit: see `dgm_tf.sizes`. The class enters only
    through the batch norm. With one class it is unconditional.

    Args:
        image_shape: (S, S, channels), S a multiple of 4.
        classes: number of classes it can draw.
        size: g.
        latent_dim: length of z.
        seed: where the weights come from.
        dtype: precision of everything below the last layer, such as "mixed_bfloat16".
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        classes: int,
        *,
        size: int = 32,
        latent_dim: int = 128,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        stages = sizes.doublings(image_shape[0])
        self.image_shape = _checks.square_images(image_shape, stages)
        self.classes = int(classes)
        self.size = int(size)
        self.latent_dim = int(latent_dim)
        self.seed = int(seed)
        self._side = self.image_shape[0] >> stages
        self._widths = widths = sizes.widths(self.size, stages)
        self.projection = keras.layers.Dense(
            self._side**2 * widths[0],
            use_bias=False,
            kernel_initializer=self._initializer("projection", 0),
            dtype=self.dtype_policy,
            name="projection",
        )
        self.norms = [
            ClassBatchNormalization(self.classes, dtype=self.dtype_policy, name=f"norm_{layer}")
            for layer in range(1, len(widths) + 1)
        ]
        self.convolutions = [
            keras.layers.Conv2DTranspose(
                width,
                _KERNEL,
                strides=2,
                padding="same",
                data_format="channels_last",
                use_bias=False,
                kernel_initializer=self._initializer("convolution", layer),
                # Half precision has too few shades for an image.
                dtype=self.dtype_policy if layer < len(widths) else "float32",
                name=f"convolution_{layer}",
            )
            for layer, width in enumerate((*widths[1:], self.image_shape[-1]), start=1)
        ]

    def _initializer(self, part: str, index: int) -> keras.initializers.Initializer:
        seed = randomness.derive(self.seed, part, index)
        return keras.initializers.RandomNormal(stddev=0.02, seed=seed)

    def build(self, input_shape: Any = None) -> None:
        self.projection.build((None, self.latent_dim))
        shape = (None, self._side, self._side, self._widths[0])
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            norm.build(shape)
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
        self.built = True

    def largest_kernel(self) -> int:
        """Numbers in the largest of its variables; to be known before it is built."""
        widths = (*self._widths, self.image_shape[-1])
        kernels = [inputs * units * _KERNEL**2 for inputs, units in itertools.pairwise(widths)]
        return max(*kernels, self.latent_dim * self._side**2 * widths[0], self.classes * widths[0])

    def call(self, noise: tf.Tensor, positions: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """Images float32 [K, n, S, S, channels] in (-1, 1), in groups of one class.

        Args:
            noise: float32 [K, n, latent].
            positions: the class of each group, int32 [K] in [0, classes).
            training: normalise a group by its own statistics instead of the measured ones.
        """
        features = self._projected(noise)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            features = tf.nn.relu(norm(features, positions, training=training))
            features = _on_groups(convolution, features)
        return tf.tanh(features)

    def recall(self, position: int | tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [n, S, S, channels] of one class, by its measured statistics.

        Args:
            position: the class, in [0, classes).
            noise: float32 [n, latent].
        """
        return self(noise[None], tf.reshape(position, [1]))[0]

    def calibrate(self, seed: tf.Tensor) -> None:
        """Measures the statistics that `recall` normalises by, again for every class.

        Args:
            seed: int32 [2].
        """
        for position in range(self.classes):
            noise = randomness.normal(
                [1, _MEASURED_IMAGES, self.latent_dim], randomness.fold(seed, position)
            )
            positions = tf.constant([position])
            features = self._projected(noise)
            for norm, convolution in zip(self.norms, self.convolutions, strict=True):
                norm.calibrate(features, positions)
                features = _on_groups(convolution, tf.nn.relu(norm(features, positions)))

    def _projected(self, noise: tf.Tensor) -> tf.Tensor:
        features = self.projection(noise)  # [K, n, side * side * width]
        return tf.reshape(features, [*_groups(noise), self._side, self._side, self._widths[0]])

    def successor(self, classes: int) -> "ConditionalGenerator":
        """A new generator of at least as many classes, the old ones' weights carried over.

        A new class begins with the scales and offsets of the newest old one, in which the shared
        weights are at home.
        """
        config = {**self.get_config(), "classes": classes}
        generator = type(self).from_config(config)
        generator.build()
        for mine, its in zip(generator.weights, self.weights, strict=True):
            value = to_numpy(its)
            if mine.shape != its.shape:
                last = value[-1:].repeat(classes - self.classes, axis=0)
                value = tf.concat([value, last], axis=0)
            mine.assign(value)
        return generator

    def parameters(self) -> int:
        """Weights, scales and offsets."""
        return sum(int(tf.size(variable)) for variable in self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "size": self.size,
            "latent_dim": self.latent_dim,
            "seed": self.seed,
            "dtype": self.dtype_policy.name,
        }


def _groups(tensor: tf.Tensor) -> list[Any]:
    dynamic = tf.shape(tensor)
    return [tensor.shape[axis] or dynamic[axis] for axis in (0, 1)]


def _on_groups(convolution: keras.layers.Layer, features: tf.Tensor) -> tf.Tensor:
    """A layer for [B, H, W, C] on [K, n, H, W, C]."""
    flat = tf.reshape(features, [-1, *features.shape[2:]])
    outputs = convolution(flat)
    return tf.reshape(outputs, [*_groups(features), *outputs.shape[1:]])
