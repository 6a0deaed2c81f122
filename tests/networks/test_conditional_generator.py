"""The shared conditional generator: each class by its own statistics, and old ones carried over."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.layers.class_batch_norm import ClassBatchNormalization
from dgm_tf.networks import ConditionalGenerator
from tests.layers.layer_check import check_model

LATENT = 6


def built(classes=3, **options):
    generator = ConditionalGenerator((16, 16, 2), classes, size=2, latent_dim=LATENT, **options)
    generator.build()
    return generator


def noise(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=[*shape, LATENT]), tf.float32)


def numpy_norm(values, gamma, beta):
    """Batch norm of one group [n, H, W, C] by hand."""
    mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
    return (values - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def filled_norm(classes=3, units=4):
    layer = ClassBatchNormalization(classes)
    layer.build((None, units))
    generator = np.random.default_rng(1)
    layer.gamma.assign(generator.uniform(0.5, 2, [classes, units]))
    layer.beta.assign(generator.normal(size=[classes, units]))
    return layer


def test_a_group_is_normalised_by_itself_with_its_classes_scale_and_offset():
    layer = filled_norm()
    values = np.random.default_rng(2).normal(3, 2, [2, 5, 3, 3, 4]).astype(np.float32)
    found = layer(tf.constant(values), tf.constant([2, 0]), training=True).numpy()
    for group, position in enumerate([2, 0]):
        gamma, beta = layer.gamma.numpy()[position], layer.beta.numpy()[position]
        expected = numpy_norm(values[group], gamma, beta)
        np.testing.assert_allclose(found[group], expected, rtol=1e-4, atol=1e-5)


def test_measured_statistics_are_the_groups_own_and_leave_other_classes_alone():
    layer = filled_norm()
    values = tf.constant(np.random.default_rng(2).normal(3, 2, [1, 5, 3, 3, 4]), tf.float32)
    layer.calibrate(values, tf.constant([1]))
    found = layer(values, tf.constant([1])).numpy()
    expected = layer(values, tf.constant([1]), training=True).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert layer.mean.numpy()[[0, 2]].tolist() == np.zeros([2, 4]).tolist()


def test_a_class_is_drawn_alike_whatever_is_drawn_beside_it():
    generator = built()
    generator.calibrate(randomness.pair(0, "statistics"))
    z = noise(2, 4)
    together = generator(z, tf.constant([2, 1]), training=True)
    alone = generator(z[1:], tf.constant([1]), training=True)
    np.testing.assert_allclose(together[1], alone[0], atol=1e-6)
    # By measured statistics not even the group's other images matter.
    np.testing.assert_allclose(
        generator.recall(1, z[1])[:1], generator.recall(1, z[1, :1]), atol=1e-6
    )
    assert together.shape == (2, 4, 16, 16, 2) and np.abs(together).max() <= 1


def test_recalled_images_have_the_statistics_of_a_large_batch_of_the_class():
    generator = built()
    generator.calibrate(randomness.pair(0, "statistics"))
    z = noise(1, 4000, seed=5)
    by_batch = generator(z, tf.constant([1]), training=True)[0]
    np.testing.assert_allclose(generator.recall(1, z[0]), by_batch, atol=0.06)


def test_a_successor_draws_the_old_classes_bit_for_bit_and_begins_new_ones_at_the_newest():
    generator = built(classes=2)
    for index, variable in enumerate(generator.trainable_variables):
        draws = np.random.default_rng(index).normal(size=variable.shape)
        variable.assign(variable.numpy() + 0.1 * draws)
    generator.calibrate(randomness.pair(0, "statistics"))
    grown = generator.successor(4)
    z = noise(5)
    for position in (0, 1):
        np.testing.assert_array_equal(grown.recall(position, z), generator.recall(position, z))
    for position in (2, 3):
        np.testing.assert_array_equal(grown.recall(position, z), generator.recall(1, z))
    # A copy, not the same variables.
    grown.projection.kernel.assign(tf.zeros_like(grown.projection.kernel))
    assert np.abs(generator.projection.kernel.numpy()).max() > 0


def test_it_is_made_again_of_configuration_and_weights_and_of_a_keras_file(tmp_path):
    generator = built()
    generator.calibrate(randomness.pair(0, "statistics"))
    check_model(generator, lambda generator: [generator.recall(1, noise(3))], tmp_path)


def test_an_odd_size_is_refused():
    with pytest.raises(InputError, match="S a multiple of 4"):
        ConditionalGenerator((14, 14, 1), 2)
