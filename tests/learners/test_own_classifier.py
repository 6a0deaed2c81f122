"""A classifier of one's own: made, trained, saved, exported, and refused where it cannot be."""

import dataclasses
import json
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import dgm_tf
from dgm_tf.learners.dgr import DGR
from dgm_tf.learners.joint import JointClassifier
from dgm_tf.learners.shared_gan import FineTune
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.methods import registry
from dgm_tf.methods.registry import load_state
from dgm_tf.methods.settings import JointSettings
from dgm_tf.networks import Critic, OwnClassifier
from dgm_tf.storage.checkpoint import Every
from tests.refusals import refused
from tests.serving.tiny_export import stream as noise_stream
from tests.tiny_run import SIZES, MovedDGM, stream

SHAPE = (16, 16, 1)
TINY = {**SIZES, "epochs": 1, "consolidation_steps": 4, "replay_buffer": 8}
JOINT = {"critic_size": 2, "batch_size": 4, "epochs": 1, "consolidation_steps": 4}


def with_dropout(image_shape, classes):
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(3, 5, strides=4),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ]
    )


def on_a_frozen_backbone(image_shape, classes):
    backbone = keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(4, 3, strides=4, kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="backbone",
    )
    backbone.trainable = False
    images = keras.Input(image_shape)
    return keras.Model(images, keras.layers.Dense(classes)(backbone(images)))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, classes, **options):
        super().__init__(**options)
        self.classes, self.head = classes, keras.layers.Dense(classes)

    def build(self, shape):
        self.head.build((None, int(np.prod(shape[1:]))))

    def call(self, images):
        return self.head(keras.ops.reshape(images, [-1, int(np.prod(images.shape[1:]))]))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


MAKERS = [with_dropout, on_a_frozen_backbone, lambda shape, classes: Subclassed(classes)]
makers = pytest.mark.parametrize("make", MAKERS, ids=["dropout", "backbone", "subclassed"])


def made(make, classes=3, seed=0):
    return OwnClassifier.made(make, SHAPE, classes, seed=seed)


def images(count=5, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *SHAPE)).astype(np.float32)


def values(classifier):
    return [np.array(variable) for variable in classifier.weights]


def assert_same(first, second):
    for mine, its in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, its)


# The network.


@makers
def test_it_is_restored_from_json_and_arrays_without_its_function(make):
    classifier = made(make)
    for index, variable in enumerate(classifier.weights):
        variable.assign(np.random.default_rng(index).uniform(0.1, 1, variable.shape))
    config = json.loads(json.dumps(classifier.get_config()))
    again = OwnClassifier.restored(config, classifier.arrays())
    assert_same([again.class_logits(images())], [classifier.class_logits(images())])
    # Not by names: Keras counts the layers that a class of one's own makes as it is restored.
    first, second = ([id(v) for v in each.weights] for each in (classifier, again))
    trained = [first.index(id(v)) for v in classifier.trainable_class_variables()]
    assert trained == [second.index(id(v)) for v in again.trainable_class_variables()]


def test_initial_weights_and_names_come_from_the_seed_and_not_from_the_process():
    first = made(with_dropout, seed=4)
    keras.layers.Dense(2)  # Keras counts it
    random.seed(8)
    expected = random.Random(8).random()
    second, other = made(with_dropout, seed=4), made(with_dropout, seed=5)
    assert random.random() == expected  # nobody else's random numbers change
    assert_same(values(first), values(second))
    assert first.get_config() == second.get_config()
    assert np.abs(values(first)[0] - values(other)[0]).max() > 0.01
    assert_same(*[
        [each.class_logits(images(), training=True)] for each in (first, second)
    ])  # fmt: skip


def test_a_wider_one_inherits_the_leading_slices():
    old, new = made(with_dropout, 2, seed=1), made(with_dropout, 3, seed=2)
    fresh = values(new)[-2][:, 2]
    new.inherit(old)
    assert_same(values(new)[:-2], values(old)[:-2])
    np.testing.assert_array_equal(values(new)[-2][:, :2], values(old)[-2])
    np.testing.assert_array_equal(values(new)[-2][:, 2], fresh)
    with refused("other layers", "consolidation_start new"):
        made(on_a_frozen_backbone, 3).inherit(old)


@keras.saving.register_keras_serializable("tests")
class Forgetful(keras.layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs

    def get_config(self):
        return {"name": self.name}


class Unregistered(keras.layers.Layer):
    def call(self, inputs):
        return inputs


def then(layer=lambda: keras.layers.ReLU()):
    return lambda shape, classes: keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes), layer()]
    )


def frozen(shape, classes):
    model = with_dropout(shape, classes)
    model.trainable = False
    return model


@pytest.mark.parametrize(
    ("make", "texts"),
    [
        (lambda shape, classes: None, ["must return a keras.Model", "NoneType"]),
        (then(lambda: keras.layers.Dense(5)), ["logits [B, 3]", "[B, 16, 16, 1]", "(2, 5)"]),
        (then(lambda: keras.layers.Reshape([3, 1])), ["(2, 3, 1)"]),
        (then(lambda: keras.layers.Rescaling(float("inf"))), ["finite logits"]),
        (then(lambda: keras.layers.Lambda(lambda x: x)), ["cannot make", "Lambda"]),
        (then(Unregistered), ["cannot make", "register_keras_serializable"]),
        (then(lambda: Forgetful(3.0)), ["other logits", "get_config"]),
        (frozen, ["weights to train"]),
        (then(lambda: keras.layers.Softmax()), ["probabilities", "leave the softmax out"]),
    ],
    ids=[
        "none",
        "five",
        "axis",
        "infinite",
        "lambda",
        "unregistered",
        "forgetful",
        "frozen",
        "softmax",
    ],
)
def test_what_is_no_classifier_or_cannot_be_saved_is_refused_before_training(make, texts):
    with refused(*texts):
        made(make)


@pytest.mark.parametrize("given", [3, "resnet", keras.Sequential([keras.layers.Dense(2)])])
def test_what_makes_no_classifier_is_refused_at_once(given):
    with refused("expected as classifier a function of (image_shape, classes)"):
        dgm_tf.DGM(classifier=given)


@pytest.mark.parametrize(
    "change",
    [
        lambda config, arrays: arrays.pop("classifier/0"),
        lambda config, arrays: arrays.update({"classifier/1": np.zeros([9])}),
        lambda config, arrays: config["keras"]["config"]["layers"][-1]["config"].update(
            units=10**12
        ),
    ],
    ids=["missing", "shape", "huge"],
)
def test_a_damaged_state_is_refused_without_making_what_it_describes(change):
    classifier = made(with_dropout)
    config, arrays = json.loads(json.dumps(classifier.get_config())), classifier.arrays()
    change(config, arrays)
    with refused("the saved state must hold an array classifier/"):
        OwnClassifier.restored(config, arrays)


# Learners.


def taught(model, tasks=2, callbacks=()):
    source = getattr(model, "_stream", None) or stream()
    for task in source.tasks():
        model.learn(task, callbacks=callbacks)
        if task.index == tasks:
            return model


def joint(make=with_dropout, data=None, **changes):
    return JointClassifier(JointSettings(**JOINT | changes), data or stream(), classifier=make)


@pytest.fixture(scope="module")
def dgm():
    return taught(dgm_tf.DGM(classifier=with_dropout, **TINY))


def test_dgm_trains_it_and_keeps_its_own_critic(dgm):
    assert isinstance(dgm.classifier, OwnClassifier) and dgm.classifier.classes == 3
    untrained = OwnClassifier.made(with_dropout, SHAPE, 3, seed=0)
    for index in (2, 4):  # scale and moving mean of batch norm
        assert np.abs(values(dgm.classifier)[index] - values(untrained)[index]).max() > 0
    logits = dgm.classifier.class_logits(images())
    expected = np.asarray(dgm.classes_seen)[np.argmax(logits, axis=1)]
    np.testing.assert_array_equal(dgm.classify(images()), expected)


def test_a_saved_learner_predicts_generates_and_exports_without_the_function(dgm, tmp_path):
    meta, arrays = dgm.state()
    again = load_state(json.loads(json.dumps(meta)), arrays)
    np.testing.assert_array_equal(again.classify(images(40)), dgm.classify(images(40)))
    np.testing.assert_array_equal(again.generate([0, 2]), dgm.generate([0, 2]))
    export = again.export(tmp_path / "served", classifier=True)
    served = tf.saved_model.load(str(export.path)).signatures["classify"](
        images=tf.constant(images())
    )
    expected = tf.nn.softmax(dgm.classifier.class_logits(images()))
    np.testing.assert_allclose(served["probabilities"], expected, atol=1e-6)


def test_as_a_keras_model_it_gives_probabilities_and_its_layers_are_copies(dgm):
    learner, images = dgm, np.zeros([2, *dgm.image_shape], np.float32)
    expected = learner.predict(images)
    model = learner.keras_model()
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)
    for variable in model.trainable_variables:
        variable.assign(variable + 1.0)
    np.testing.assert_array_equal(learner.predict(images), expected)


def test_only_with_the_function_a_saved_learner_learns_on(dgm):
    third = next(stream().tasks(start=3))
    without = load_state(*dgm.state())
    with refused("classifier=", "function"):
        without.learn(third)
    assert without.classes_seen == dgm.classes_seen
    on = load_state(*dgm.state(), classifier=with_dropout)
    on.learn(third)
    assert on.classifier.classes == 4


@keras.saving.register_keras_serializable("tests")
class WithAnIdleWeight(keras.layers.Dense):
    def build(self, shape):
        super().build(shape)
        self.idle = self.add_weight(shape=(2,), initializer="ones", name="idle")


def with_an_idle_weight(image_shape, classes):
    return keras.Sequential(
        [keras.Input(image_shape), keras.layers.Flatten(), WithAnIdleWeight(classes)]
    )


def test_a_weight_that_nothing_uses_stays_as_it_is():
    model = taught(joint(with_an_idle_weight))
    assert values(model.classifier)[-1].tolist() == [1, 1]
    assert np.abs(values(model.classifier)[0]).max() > 0


class OwnGAN(FineTune):
    method = "own_gan"


def test_a_method_of_ones_own_takes_and_reopens_it(tmp_path, request):
    request.addfinalizer(lambda: registry.METHODS.pop("own_gan"))
    about = dgm_tf.Method("own_gan", "own", registry.METHODS["fine_tune"].settings, OwnGAN, "")
    dgm_tf.register_method(dataclasses.replace(about, preset="gan"))
    model = taught(OwnGAN.from_preset("digits", classifier=with_dropout, **TINY))
    again = dgm_tf.load(model.save(tmp_path / "own"), classifier=with_dropout)
    again.learn(next(stream().tasks(start=3)), verbose=0)
    assert again.classifier.classes == 4


def test_another_generating_learner_judges_with_it_too():
    model = taught(DGR(classifier=with_dropout, **TINY))
    assert isinstance(model.classifier, OwnClassifier)
    assert model.generate([1, 2]).shape == (2, *SHAPE)


def test_frozen_layers_stay_and_their_statistics_too():
    model = taught(joint(on_a_frozen_backbone, consolidation_start="new"))
    seed = dgm_tf.randomness.derive(model.settings.seed, "classifier", 2)
    start = OwnClassifier.made(on_a_frozen_backbone, SHAPE, 3, seed=seed)
    ended, began = values(model.classifier), values(start)
    assert len(ended) == 8
    assert_same(ended[:6], began[:6])
    assert np.abs(ended[6] - began[6]).max() > 0


def test_what_its_layers_add_to_the_loss_is_trained(monkeypatch):
    def regularised(shape, classes):
        layer = keras.layers.Dense(classes, kernel_regularizer=keras.regularizers.L2(10.0))
        return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), layer])

    strong, weak = (
        np.abs(values(taught(joint(make, epochs=20)).classifier)[0]).mean()
        for make in (regularised, then())
    )
    assert strong < 0.5 * weak


def test_by_default_a_warm_start_carries_the_weights_over():
    model = joint()
    first = values(taught(model, 1).classifier)
    second = next(stream().tasks(start=2))
    begun = model._own_classifier(second)
    np.testing.assert_array_equal(values(begun)[0], first[0])


def test_a_task_cut_short_is_resumed_to_the_same_bits():
    """Dropout and batch norm have states of their own in the middle of a task."""
    saved = {}

    def keep(steps, meta, arrays):
        saved[steps] = json.loads(json.dumps(meta)), dict(arrays)

    def learnt(found=None):
        model = taught(joint(consolidation_steps=9), 1)
        checkpoint = TaskCheckpoint(keep, Every(steps=3), found=found)
        model.learn_task(next(model._stream.tasks(start=2)), callbacks=[checkpoint])
        return values(model.classifier)

    whole = learnt()
    assert len(saved) > 2
    assert_same(learnt(found=saved[sorted(saved)[1]]), whole)


@pytest.mark.parametrize("changes", [{"consolidation_start": "critic"}, {"consolidation_steps": 0}])
def test_a_recipe_whose_critic_is_the_classifier_is_refused(changes):
    with refused("consolidation_steps above 0", "new or previous"):
        dgm_tf.DGM(classifier=with_dropout, **changes)
    with refused("consolidation_steps above 0"):
        dgm_tf.DGM.from_preset("mnist", preset="paper", classifier=with_dropout)


@pytest.mark.parametrize("changes", [{"consolidation_start": "critic"}, {"consolidation_steps": 0}])
def test_such_a_recipe_is_refused_before_a_later_task_too(changes):
    model = MovedDGM(classifier=with_dropout)
    model.settings = dataclasses.replace(model.settings, **changes)
    with refused("consolidation_steps above 0", "new or previous"):
        dgm_tf.DGM.learn_task(model, next(noise_stream().tasks()))


def test_it_is_tried_before_the_generator_is_trained(monkeypatch):
    model = MovedDGM(classifier=then(lambda: keras.layers.Dense(5)))
    monkeypatch.setattr(dgm_tf.DGM, "adversarial_phase", lambda *args, **sizes: 1 / 0)
    with refused("must give logits"):
        dgm_tf.DGM.learn_task(model, next(noise_stream().tasks()))
    assert model.finished_tasks == 0


def test_without_one_the_classifier_is_of_the_critics_shape():
    assert isinstance(joint(None).initial_classifier(next(stream().tasks())), Critic)


def test_what_a_function_raises_is_said_in_a_line():
    with refused("the function classifier fails for images of shape (16, 16, 1) and 3 classes"):
        made(lambda shape: None)
    with refused("ZeroDivisionError: division by zero"):
        made(lambda shape, classes: 1 / 0)


def test_it_has_the_precision_of_the_thread_that_asks_for_it():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = made(with_dropout).model
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.dtype_policy.name for layer in model.layers} == {"mixed_bfloat16"}
