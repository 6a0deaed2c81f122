"""The critic: tells real from generated images and is the classifier of all classes seen."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf import randomness, sizes
from dgm_tf.layers import TaskBatchNormalization
from dgm_tf.layers.task_batch_norm import replacing_statistics

_SLOPE = 0.2


@keras.saving.register_keras_serializable("dgm_tf")
class Critic(keras.Model):
    """5x5 convolutions of stride 2 (d, 2d, 4d, ... channels, leaky ReLU 0.2) and two heads.

    There are three below a side of 64 pixels, four from 64 and five from 128.

    Args:
        image_shape: (S, S, channels).
        classes: logits of the class head, one per class seen.
        size: d.
        norm: `"batch"` puts batch norm after all convolutions but the first (the reference),
            `"none"` leaves it out: a gradient penalty is about single images, and batch norm ties
            the images of a batch together.
        initializer: `"normal"` draws all weights with standard deviation 0.02 (the reference),
            which batch norm makes up for; `"he"` scales each layer's by its inputs, so that without
            norm the features begin as large as the image (He et al. 2015).
        seed: where the weights come from.
        dtype: precision of everything below the heads, such as "mixed_bfloat16".
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        classes: int,
        *,
        size: int = 32,
        norm: str = "none",
        initializer: str = "normal",
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.image_shape = tuple(int(n) for n in image_shape)
        self.classes = int(classes)
        self.size = int(size)
        self.norm = norm
        self.initializer = initializer
        self.seed = int(seed)
        layers = range(sizes.halvings(self.image_shape[0]))
        self._widths = tuple(self.size << layer for layer in layers)
        self.convolutions = [
            keras.layers.Conv2D(
                width,
                5,
                strides=2,
                padding="same",
                data_format="channels_last",
                use_bias=norm == "none" or layer == 0,
                kernel_initializer=self._initializer("convolution", layer),
                dtype=self.dtype_policy,
                name=f"convolution_{layer + 1}",
            )
            for layer, width in enumerate(self._widths)
        ]
        self.norms = [
            # With no finished task it is a plain one, and its statistics are those of all replicas.
            TaskBatchNormalization(name=f"norm_{layer}", dtype=self.dtype_policy)
            if norm == "batch"
            else None
            for layer in range(2, len(self._widths) + 1)
        ]
        self.source_head = keras.layers.Dense(
            1, kernel_initializer=self._initializer("source", 0), dtype="float32", name="source"
        )
        self.class_head = keras.layers.Dense(
            self.classes,
            kernel_initializer=self._initializer("class", 0),
            dtype="float32",
            name="class",
        )

    def _initializer(self, part: str, index: int) -> keras.initializers.Initializer:
        seed = randomness.derive(self.seed, part, index)
        if self.initializer == "he":
            # Nothing rectifies the heads' outputs.
            if part == "convolution":
                return keras.initializers.HeNormal(seed=seed)
            return keras.initializers.LecunNormal(seed=seed)
        return keras.initializers.RandomNormal(stddev=0.02, seed=seed)

    def build(self, input_shape: Any = None) -> None:
        shape = (None, *self.image_shape)
        for convolution, norm in zip(self.convolutions, [None, *self.norms], strict=True):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            if norm is not None:
                norm.build(shape)
        features = (None, shape[1] * shape[2] * shape[3])
        self.source_head.build(features)
        self.class_head.build(features)
        self.built = True

    def largest_kernel(self) -> int:
        """Numbers in the largest of its variables; to be known before it is built."""
        widths = (self.image_shape[-1], *self._widths)
        kernels = [25 * inputs * units for inputs, units in itertools.pairwise(widths)]
        height, width = (-(-side >> len(self._widths)) for side in self.image_shape[:2])
        return max(*kernels, height * width * widths[-1] * self.classes)

    def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Source scores float32 [B] (higher: more real) and class logits float32 [B, classes].

        Args:
            images: float32 [B, S, S, channels] in [-1, 1].
            training: batch statistics where there is batch norm.
        """
        features = self._features(images, training)
        return self.source_head(features)[:, 0], self.class_head(features)

    def class_logits(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Class logits only, float32 [B, classes]; arguments as in `call`."""
        return self.class_head(self._features(images, training))

    def calibrate(self, images: tf.Tensor) -> None:
        """Measures the statistics of batch norm on images like those that will be classified.

        Training leaves moving averages over real images of the newest classes, generated ones and
        mixtures, each in batches of its own.

        Args:
            images: float32 [B, S, S, channels] in [-1, 1], equally many of each class.
        """
        with replacing_statistics([*filter(None, self.norms)]):
            self(images, training=True)

    def keras_model(self) -> keras.Model:
        """A copy as a classifier of Keras' own layers; see `ClassifierLearner.keras_model`."""
        inputs = outputs = keras.Input(self.image_shape, dtype="float32", name="images")
        copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

        def copied(layer: keras.layers.Layer, copy: keras.layers.Layer) -> keras.KerasTensor:
            copies.append((layer, copy))
            return copy(outputs)

        for convolution, norm in zip(self.convolutions, [None, *self.norms], strict=True):
            config = {**convolution.get_config(), "dtype": "float32"}
            outputs = copied(convolution, keras.layers.Conv2D.from_config(config))
            if norm is not None:
                plain = keras.layers.BatchNormalization(
                    epsilon=norm.epsilon, dtype="float32", name=norm.name
                )
                outputs = copied(norm, plain)
            outputs = keras.layers.LeakyReLU(_SLOPE, dtype="float32")(outputs)
        outputs = keras.layers.Flatten("channels_last", dtype="float32", name="features")(outputs)
        head = keras.layers.Dense(self.classes, dtype="float32", name="class")
        outputs = copied(self.class_head, head)
        for layer, copy in copies:
            copy.set_weights([to_numpy(variable) for variable in layer.weights])
        softmax = keras.layers.Softmax(dtype="float32", name="probabilities")
        return keras.Model(inputs, softmax(outputs))

    def class_variables(self) -> list[keras.Variable]:
        """Returns the variables that `class_logits` depends on."""
        layers = [*self.convolutions, *filter(None, self.norms), self.class_head]
        return [variable for layer in layers for variable in layer.weights]

    def random_variables(self) -> list[keras.Variable]:
        """Returns the states of its random numbers: it draws none."""
        return []

    def trainable_class_variables(self) -> list[keras.Variable]:
        """Returns all trainable variables but those of the source head."""
        source = {id(variable) for variable in self.source_head.trainable_variables}
        return [each for each in self.trainable_variables if id(each) not in source]

    def _features(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        outputs = images
        for convolution, norm in zip(self.convolutions, [None, *self.norms], strict=True):
            outputs = convolution(outputs)
            if norm is not None:
                outputs = norm(outputs, training=training)
            outputs = tf.nn.leaky_relu(outputs, _SLOPE)
        return tf.reshape(outputs, [-1, outputs.shape[1] * outputs.shape[2] * outputs.shape[3]])

    def successor(self, classes: int) -> "Critic":
        """A new critic of at least as many classes, the old ones' weights carried over."""
        critic = type(self).from_config({**self.get_config(), "classes": classes})
        critic.build()
        for mine, its in zip(critic.weights, self.weights, strict=True):
            value = to_numpy(mine)
            value[tuple(slice(size) for size in its.shape)] = to_numpy(its)
            mine.assign(value)
        return critic

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "size": self.size,
            "norm": self.norm,
            "initializer": self.initializer,
            "seed": self.seed,
            "dtype": self.dtype_policy.name,
        }
