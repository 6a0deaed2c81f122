"""Kernels that see each pixel repeated, at the price of a transposed convolution."""

import keras
import tensorflow as tf


def spread(kernel: tf.Tensor, extra: int) -> tf.Tensor:
    """Returns a kernel's copies, shifted by 0 to `extra` pixels along each side, added up.

    A kernel that sees each pixel repeated comes to this one on pixels among zeros, where `extra` is
    the stride less 1.

    Args:
        kernel: [k, k, units, inputs].
        extra: by how much the result's sides are longer; 0 returns the kernel.
    """
    if not extra:
        return kernel
    for axis in (0, 1):
        copies = []
        for before in range(extra + 1):
            paddings = [[0, 0]] * 4
            paddings[axis] = [before, extra - before]
            copies.append(tf.pad(kernel, paddings))
        kernel = tf.add_n(copies)
    return kernel


@keras.saving.register_keras_serializable("dgm_tf")
class RepeatedPixels(keras.layers.Conv2DTranspose):
    """A convolution of an image whose pixels are repeated `strides` times along each side.

    Its kernel is as large as its arguments say: that of the transposed convolution is longer by
    `strides - 1`. Without bias and activation.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel = spread(tf.convert_to_tensor(self.kernel), self.strides[0] - 1)
        return keras.ops.conv_transpose(
            inputs, kernel, self.strides, self.padding, data_format=self.data_format
        )
