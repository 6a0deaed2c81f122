"""A learner's classifier as a plain Keras model: the same answers, and a life of its own."""

import dataclasses
import zipfile

import keras
import numpy as np
import pytest

import dgm_tf
from dgm_tf.errors import InputError
from dgm_tf.networks import Critic


@pytest.fixture
def images():
    stream = dgm_tf.class_incremental("digits")
    found, _ = next(iter(stream.seen_test(10)))
    return np.asarray(found[:32])  # float32 [32, 16, 16, 1] in [-1, 1]


def demo():
    """The memory that comes with the package, whose next task takes few steps."""
    learner = dgm_tf.load("digits-demo")
    learner.settings = dataclasses.replace(learner.settings, epochs=1, consolidation_steps=1)
    return learner


def test_it_gives_the_learners_probabilities_and_features(images):
    learner = dgm_tf.load("digits-demo")
    model = learner.keras_model()
    expected = learner.predict(images)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)
    features = keras.Model(model.input, model.get_layer("features").output)
    kernel, bias = model.get_layer("class").get_weights()
    logits = features.predict(images, verbose=0) @ kernel + bias
    by_hand = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(by_hand / by_hand.sum(axis=1, keepdims=True), expected, atol=1e-5)


def test_a_file_of_it_needs_nothing_of_this_package(images, tmp_path):
    model = dgm_tf.load("digits-demo").keras_model()
    model.save(tmp_path / "digits.keras")
    with zipfile.ZipFile(tmp_path / "digits.keras") as file:
        assert b"dgm_tf" not in file.read("config.json")
    again = keras.saving.load_model(tmp_path / "digits.keras")
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_what_is_done_with_it_does_not_change_the_learner(images):
    learner = dgm_tf.load("digits-demo")
    before = learner.predict(images)
    model = learner.keras_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(images, np.zeros(len(images), int), epochs=2, verbose=0)
    assert not np.allclose(model.predict(images, verbose=0), before, atol=1e-3)
    np.testing.assert_array_equal(learner.predict(images), before)


def test_batch_norm_keeps_its_statistics(images):
    critic = Critic(images.shape[1:], 4, size=4, norm="batch", initializer="he", seed=3)
    critic.build()
    for _ in range(3):
        critic(images, training=True)
    expected = keras.ops.softmax(critic.class_logits(images))
    found = critic.keras_model().predict(images, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_before_anything_is_learnt_there_is_none():
    with pytest.raises(InputError, match="nothing has been learnt"):
        dgm_tf.DGM().keras_model()


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


def test_keras_own_order_of_axes_changes_nothing(images, channels_first):
    learner = demo()
    found = learner.keras_model().predict(images, verbose=0)
    np.testing.assert_allclose(found, learner.predict(images), atol=1e-5)
    black = np.zeros([4, 16, 16, 1], np.uint8), ["black"] * 4
    for model in (learner, dgm_tf.MeRGANRA(steps=1, consolidation_steps=1)):
        model.learn(black, verbose=0)
        assert model.generate(["black"]).shape == (1, 16, 16, 1)


@pytest.fixture(params=["mixed_float16", "float64"])
def other_precision(request):
    if request.param == "float64":
        keras.config.set_floatx("float64")
    else:
        keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def test_keras_own_precision_changes_nothing(images, other_precision):
    learner = demo()
    found = learner.keras_model()(images)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, learner.predict(images), atol=1e-5)
    black = np.zeros([4, 16, 16, 1], np.uint8), ["black"] * 4
    for model in (learner, dgm_tf.MeRGANRA(steps=1, consolidation_steps=1)):
        model.learn(black, verbose=0)
        arrays = model.state()[1].values()
        assert {array.dtype.name for array in arrays} <= {"float32", "uint8"}
        networks = [model.generator, model.new_critic((16, 16, 1), 2)]
        networks += [model._gan_critic] if model is not learner else []
        assert {each.dtype_policy.name for each in networks} == {"float32"}
