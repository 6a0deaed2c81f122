"""Inception's features: those of Keras' own network, from a file of weights."""

import keras
import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.evaluation.inception import Inception


@pytest.fixture(scope="module")
def network():
    """With random weights: the trained ones are a download."""
    keras.utils.set_random_seed(0)
    return keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg")


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "notop.weights.h5"
    network.save_weights(path)
    return path


def test_features_are_those_of_the_network_whose_weights_are_given(network, file):
    images = np.random.default_rng(1).uniform(-1, 1, [3, 32, 32, 1]).astype(np.float32)
    large = np.repeat(images, 3, axis=3)
    large = keras.ops.image.resize(large, (299, 299), interpolation="bilinear")
    features = Inception(file).features(images)
    assert features.shape == (3, 2048)
    np.testing.assert_allclose(features, network(large, training=False), rtol=2e-3, atol=1e-4)


def test_another_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no file"):
        Inception(tmp_path / "missing.h5")
    other = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(InputError, match="does not hold them"):
        Inception(tmp_path / "other.weights.h5")
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(InputError, match="does not hold them"):
        Inception(tmp_path / "text.weights.h5")
