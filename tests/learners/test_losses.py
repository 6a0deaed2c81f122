"""Losses against plain NumPy, the gradient penalty against critics whose slope is known."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.learners import losses

RANDOM = np.random.RandomState(0)
SCORES, OTHERS = RANDOM.normal(size=(2, 6)).astype(np.float32)
REAL, FAKE = RANDOM.uniform(-1, 1, (2, 5, 4, 4, 3)).astype(np.float32)


def cross_entropy(logits, positions):
    logits = np.float64(logits)
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), positions]


def test_critic_wants_real_images_scored_above_generated_ones():
    found = losses.wasserstein_critic(tf.constant(SCORES), tf.constant(OTHERS))
    np.testing.assert_allclose(found, OTHERS.mean() - SCORES.mean(), rtol=1e-5)
    assert losses.wasserstein_critic(tf.constant([2.0]), tf.constant([-1.0])) == -3.0


def test_generator_wants_its_images_scored_high():
    np.testing.assert_allclose(
        losses.wasserstein_generator(None, SCORES), -SCORES.mean(), rtol=1e-5
    )


def test_in_a_relativistic_pair_only_the_difference_counts():
    critic = np.log1p(np.exp(np.float64(OTHERS) - SCORES)).mean()
    found = losses.relativistic_critic(SCORES, OTHERS)
    np.testing.assert_allclose(found, critic, rtol=1e-5)
    moved = losses.relativistic_critic(SCORES + 5, OTHERS + 5)
    np.testing.assert_allclose(moved, critic, rtol=1e-5)
    generator = np.log1p(np.exp(np.float64(SCORES) - OTHERS)).mean()
    found = losses.relativistic_generator(SCORES, OTHERS)
    np.testing.assert_allclose(found, generator, rtol=1e-5)


@pytest.mark.parametrize(("numbers", "count"), [(1, 1), (4, 2), (5, 3)])
def test_zero_centred_penalty_is_the_mean_squared_slope_at_images_of_both_kinds(numbers, count):
    slope = RANDOM.normal(size=(4, 4, 3)).astype(np.float32)
    linear = losses.zero_centred_penalty(
        lambda images: tf.reduce_sum(images * slope, axis=[1, 2, 3]), REAL, FAKE, tf.zeros(numbers)
    )
    np.testing.assert_allclose(linear, np.square(slope).sum(), rtol=1e-5)
    # For D(x) = |x|^2 / 2 the slope is x itself.
    squared = losses.zero_centred_penalty(
        lambda images: tf.reduce_sum(images**2, axis=[1, 2, 3]) / 2, REAL, FAKE, tf.zeros(numbers)
    )
    images = np.concatenate([REAL[:count], FAKE[:count]])
    np.testing.assert_allclose(squared, np.square(images).sum((1, 2, 3)).mean(), rtol=1e-5)


def test_class_loss_is_the_mean_cross_entropy():
    logits, positions = RANDOM.normal(size=(6, 4)), RANDOM.randint(0, 4, 6)
    expected = cross_entropy(logits, positions)
    logits, positions = tf.constant(logits, tf.float32), tf.constant(positions, tf.int32)
    np.testing.assert_allclose(losses.class_loss(logits, positions), expected.mean(), rtol=1e-5)
    weights = np.array([1, 0, 2, 0.5, 0, 3], np.float32)
    np.testing.assert_allclose(
        losses.class_loss(logits, positions, weights),
        (weights * expected).sum() / weights.sum(),
        rtol=1e-5,
    )


@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 2.0), (0.25, 1.0), (1.0, 3.0)])
def test_a_teacher_has_its_weight_in_the_loss_on_the_classes_it_knows(weight, temperature):
    logits, taught = RANDOM.normal(size=(6, 4)), RANDOM.normal(size=(6, 3))
    positions, weights = np.array([0, 3, 2, 1, 3, 0]), np.array([1, 0.5, 2, 0.5, 1, 3])
    expected = []
    for mine, its, label in zip(logits, taught, positions, strict=True):
        loss = -np.log(np.exp(mine[label]) / np.exp(mine).sum())
        if label < 3:
            p, q = (np.exp(row / temperature) for row in (its, mine[:3]))
            soft = -(temperature**2) * (p / p.sum() * np.log(q / q.sum())).sum()
            inside = np.exp(mine[:3]).sum() / np.exp(mine).sum()
            loss = (1 - weight) * loss + weight * (soft - np.log(inside))
        expected.append(loss)
    found = losses.distillation_loss(
        tf.constant(logits, tf.float32),
        tf.constant(positions, tf.int32),
        tf.constant(weights, tf.float32),
        teacher_logits=tf.constant(taught, tf.float32),
        weight=weight,
        temperature=temperature,
    )
    np.testing.assert_allclose(found, np.average(expected, weights=weights), rtol=1e-5)


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_penalty_of_a_linear_critic_is_that_of_its_slope(mix):
    slope = RANDOM.normal(size=(4, 4, 3)).astype(np.float32)
    penalty = losses.gradient_penalty(
        lambda images: tf.reduce_sum(images * slope, axis=[1, 2, 3]), REAL, FAKE, tf.fill([5], mix)
    )
    # The norm is over all pixels and channels of an image.
    np.testing.assert_allclose(penalty, (np.linalg.norm(slope) - 1) ** 2, rtol=1e-5)


def test_penalty_is_taken_between_the_images_with_a_factor_per_sample():
    # For D(x) = |x|^2 / 2 the gradient is x itself.
    mix = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)
    between = mix[:, None, None, None] * REAL + (1 - mix[:, None, None, None]) * FAKE
    norms = np.sqrt(np.square(np.float64(between)).sum((1, 2, 3)))
    penalty = losses.gradient_penalty(
        lambda images: tf.reduce_sum(tf.square(images), axis=[1, 2, 3]) / 2,
        REAL,
        FAKE,
        tf.constant(mix),
    )
    np.testing.assert_allclose(penalty, np.square(norms - 1).mean(), rtol=1e-5)
    few = losses.gradient_penalty(
        lambda images: tf.reduce_sum(tf.square(images), axis=[1, 2, 3]) / 2,
        REAL,
        FAKE,
        tf.constant(mix[:2]),
    )
    np.testing.assert_allclose(few, np.square(norms[:2] - 1).mean(), rtol=1e-5)


def test_penalty_of_a_critic_without_slope_can_still_be_learnt_from():
    weight = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        penalty = losses.gradient_penalty(
            lambda images: weight * tf.reduce_sum(images, axis=[1, 2, 3]), REAL, FAKE, tf.zeros([5])
        )
    np.testing.assert_allclose(penalty, 1.0, rtol=1e-5)
    assert np.isfinite(tape.gradient(penalty, weight))


def test_penalty_moves_the_critic():
    # Of D(x) = w sum(x) over 48 pixels: d/dw (sqrt(48) |w| - 1)^2 = 2 sqrt(48) (sqrt(48) w - 1).
    weight = tf.Variable(0.5)
    with tf.GradientTape() as tape:
        penalty = losses.gradient_penalty(
            lambda images: weight * tf.reduce_sum(images, axis=[1, 2, 3]), REAL, FAKE, tf.zeros([5])
        )
    root = np.sqrt(48)
    np.testing.assert_allclose(
        tape.gradient(penalty, weight), 2 * root * (root * 0.5 - 1), rtol=1e-5
    )
