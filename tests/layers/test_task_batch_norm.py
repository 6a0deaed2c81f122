"""Batch norm per task: the formula, and that a finished task's never moves again."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.layers import TaskBatchNormalization
from tests.layers.layer_check import bits, check_layer, fill

IMAGES = np.random.RandomState(0).normal(1, 2, (6, 3, 3, 4)).astype(np.float32)


def built(units=4, seed=0, **options):
    layer = TaskBatchNormalization(**options)
    layer.build((None, units))
    fill(layer, seed)
    return layer


def normalized(images, mean, variance, layer):
    """The formula in float64."""
    gamma, beta = np.float64(layer.gamma.numpy()), np.float64(layer.beta.numpy())
    return (np.float64(images) - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta


def test_it_stands_what_any_layer_must(tmp_path):
    check_layer(
        TaskBatchNormalization,
        IMAGES,
        tmp_path,
        later=lambda layer: layer.finish_task().finish_task(),
        recalls=[(1, IMAGES), (2, IMAGES)],
    )


def test_training_uses_the_batch_and_moves_the_statistics():
    layer = built(momentum=0.75)
    old_mean, old_variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    outputs = layer(IMAGES, training=True)
    mean, variance = IMAGES.mean((0, 1, 2)), IMAGES.var((0, 1, 2))
    np.testing.assert_allclose(outputs, normalized(IMAGES, mean, variance, layer), atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.75 * old_mean + 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(
        layer.moving_variance, 0.75 * old_variance + 0.25 * variance, rtol=1e-5
    )


def test_inference_uses_the_statistics_and_leaves_them():
    layer = built()
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    np.testing.assert_allclose(
        layer(IMAGES), normalized(IMAGES, mean, variance, layer), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(layer.moving_mean, mean)
    np.testing.assert_array_equal(layer.moving_variance, variance)


def test_a_finished_task_is_normalised_as_inference_did():
    layer = built()
    np.testing.assert_allclose(layer.finish_task()(IMAGES, task=1), layer(IMAGES), atol=1e-4)


def test_the_next_task_starts_afresh():
    layer = built().finish_task()
    assert layer.gamma.numpy().tolist() == layer.moving_variance.numpy().tolist() == [1] * 4
    assert layer.beta.numpy().tolist() == layer.moving_mean.numpy().tolist() == [0] * 4


def test_a_finished_task_keeps_its_bits_whatever_comes_later():
    layer = built().finish_task()
    first = bits(layer(IMAGES, task=1))
    layer = layer.widen(7)
    for variable in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance):
        variable.assign(np.linspace(2, 5, 7))
    layer = layer.finish_task()
    layer(np.ones((5, 7), np.float32), training=True)
    np.testing.assert_array_equal(bits(layer(IMAGES, task=1)), first)
    # Not even asked for as training.
    np.testing.assert_array_equal(bits(layer(IMAGES, task=1, training=True)), first)
    assert layer(np.ones((5, 7), np.float32), task=2).shape == (5, 7)


def test_widening_keeps_the_old_and_starts_the_new_afresh():
    layer = built()
    wider = layer.widen(6)
    fresh = {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}
    for name, value in fresh.items():
        new, old = getattr(wider, name).numpy(), getattr(layer, name).numpy()
        np.testing.assert_array_equal(bits(new[:4]), bits(old))
        assert new[4:].tolist() == [value] * 2


def test_statistics_are_float32_under_mixed_precision():
    layer = TaskBatchNormalization(dtype="mixed_float16", momentum=0.999)
    large = tf.fill([4, 4], 1000.0)
    for _ in range(3):
        layer(large, training=True)
    # In float16 there are steps of 0.002 here.
    np.testing.assert_allclose(layer.moving_mean, [1000 * (1 - 0.999**3)] * 4, rtol=1e-5)


@pytest.mark.parametrize("task", [0, 2, -1])
def test_a_task_that_is_not_finished_cannot_be_asked_for(task):
    with pytest.raises(InputError, match=f"one of the 1 finished tasks.*not {task}"):
        built().finish_task()(IMAGES, task=task)


@pytest.mark.parametrize("units", [2, "x", 3.5])
def test_a_width_that_is_none_is_refused(units):
    with pytest.raises(InputError, match="units must be an integer of at least 4, got"):
        built().widen(units)


def test_a_momentum_out_of_range_is_refused():
    with pytest.raises(InputError, match="momentum must be a number of at least 0 and below 1"):
        TaskBatchNormalization(momentum=7.0)


@pytest.mark.parametrize("change", [lambda it: it.finish_task(), lambda it: it.widen(3)])
def test_a_layer_without_weights_has_no_successor(change):
    with pytest.raises(InputError, match="no weights yet: call it or build it first"):
        change(TaskBatchNormalization())
