"""The critic: its formula, its heads, and that its images do not mix."""

import numpy as np
import pytest

from dgm_tf.networks import Critic
from tests.layers.layer_check import bits, check_model, fill
from tests.layers.products import convolution, dense

IMAGES = np.random.RandomState(0).uniform(-1, 1, (4, 16, 16, 2)).astype(np.float32)

norms = pytest.mark.parametrize("norm", ["none", "batch"])


def made(norm="none", classes=3, seed=0, **settings):
    critic = Critic((16, 16, 2), classes, size=2, norm=norm, seed=seed, **settings)
    critic.build()
    return critic


def filled(norm="none"):
    critic = made(norm, seed=3)
    fill(critic)
    return critic


def reference(critic, images):
    """Scores and logits in float64; batch norm by its moving statistics."""
    outputs = np.float64(images)
    for layer, norm in zip(critic.convolutions, [None, *critic.norms], strict=True):
        outputs = convolution(outputs, np.float64(layer.kernel), strides=2, padding="same")
        if layer.use_bias:
            outputs = outputs + layer.bias.numpy()
        if norm is not None:
            outputs = (outputs - norm.moving_mean.numpy()) / np.sqrt(
                norm.moving_variance.numpy() + norm.epsilon
            )
            outputs = outputs * norm.gamma.numpy() + norm.beta.numpy()
        outputs = np.where(outputs > 0, outputs, 0.2 * outputs)
    features = outputs.reshape(len(images), -1)
    return tuple(
        dense(features, np.float64(head.kernel)) + head.bias.numpy()
        for head in (critic.source_head, critic.class_head)
    )


@norms
def test_scores_and_logits_follow_the_formula(norm):
    critic = filled(norm)
    scores, logits = critic(IMAGES)
    assert scores.shape == (4,) and logits.shape == (4, 3)
    expected_scores, expected_logits = reference(critic, IMAGES)
    np.testing.assert_allclose(scores, expected_scores[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-4, atol=1e-4)


def test_the_reference_network_has_its_shapes():
    critic = Critic((32, 32, 3), 10, size=32)
    critic.build()
    shapes = [tuple(layer.kernel.shape) for layer in critic.convolutions]
    assert shapes == [(5, 5, 3, 32), (5, 5, 32, 64), (5, 5, 64, 128)]
    assert tuple(critic.class_head.kernel.shape) == (4 * 4 * 128, 10)
    assert all(abs(layer.kernel.numpy().std() - 0.02) < 0.002 for layer in critic.convolutions)


def test_weights_scaled_by_a_layers_inputs_keep_the_size_of_what_they_see():
    critic = Critic((32, 32, 3), 10, size=32, initializer="he")
    critic.build()
    for layer in critic.convolutions:
        fan_in = np.prod(layer.kernel.shape[:3])
        assert layer.kernel.numpy().std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.05)
    head = critic.class_head.kernel.numpy()
    assert head.std() == pytest.approx(1 / np.sqrt(head.shape[0]), rel=0.05)
    images = np.random.RandomState(0).normal(size=(64, 32, 32, 3)).astype(np.float32)
    small = Critic((32, 32, 3), 10, size=32)
    small.build()
    # By a layer's edges, whose zeros add nothing, a little less.
    assert 0.5 < critic(images)[1].numpy().std() < 1.5
    assert small(images)[1].numpy().std() < 0.5


def test_without_batch_norm_an_image_is_judged_by_itself_in_training_too():
    critic = filled()
    together = critic(IMAGES, training=True)[0].numpy()
    alone = [critic(IMAGES[n : n + 1], training=True)[0].numpy()[0] for n in range(4)]
    np.testing.assert_allclose(alone, together, rtol=1e-4)
    assert not any("norm" in variable.path for variable in critic.weights)


def test_with_batch_norm_training_is_by_the_batch():
    critic = filled("batch")
    by_batch = critic(IMAGES, training=True)[0].numpy()
    alone = critic(IMAGES[:1], training=True)[0].numpy()
    assert abs(by_batch[0] - alone[0]) > 1e-3


def test_calibrated_it_judges_an_image_alone_as_among_the_images_it_was_measured_on():
    critic = filled("batch")
    for _ in range(50):  # as training on other images leaves it
        critic(3 * IMAGES - 1, training=True)
    among = critic(IMAGES, training=True)[1].numpy()
    critic(3 * IMAGES - 1, training=True)
    assert np.abs(critic(IMAGES[:1])[1].numpy() - among[:1]).max() > 1e-2
    momenta = [norm.momentum for norm in critic.norms if norm is not None]
    critic.calibrate(IMAGES)
    np.testing.assert_allclose(critic(IMAGES[:1])[1], among[:1], rtol=1e-4, atol=1e-4)
    assert [norm.momentum for norm in critic.norms if norm is not None] == momenta


@norms
def test_it_is_made_again_of_configuration_and_weights_and_of_a_keras_file(norm, tmp_path):
    check_model(filled(norm), lambda critic: critic(IMAGES), tmp_path)
    assert Critic.from_config(made(initializer="he").get_config()).initializer == "he"


def test_weights_come_from_the_seed():
    one, same, other = made(seed=1), made(seed=1), made(seed=2)
    for first, second, third in zip(one.weights, same.weights, other.weights, strict=True):
        np.testing.assert_array_equal(bits(first), bits(second))
        assert "bias" in first.path or np.all(first.numpy() != third.numpy())
