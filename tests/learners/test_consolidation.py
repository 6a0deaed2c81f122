"""Consolidation: what its images count, and whom it listens to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import augmentation, randomness
from dgm_tf.learners import generating
from dgm_tf.learners.classifier import ClassifierPhase, WeightMean
from dgm_tf.networks import Critic
from dgm_tf.settings import DGMSettings
from dgm_tf.stream import class_incremental
from tests.learners.test_dgm import digits, tiny


class Drawn:
    """A replay that gives one grey image of each class."""

    variables = ()

    def __init__(self, classes):
        self.classes = classes

    def draw(self, step):
        images = np.zeros((self.classes, 16, 16, 1), np.float32)
        return tf.constant(images), tf.range(self.classes)


def phase(classes=4, *, steps=2, norm="none", settings=(), **wanted):
    critic = Critic((16, 16, 1), classes, size=4, norm=norm, seed=0, name="critic")
    critic.build()
    settings = DGMSettings(distillation_share=0.5, **dict(settings))
    return ClassifierPhase(
        critic,
        settings,
        positions=tf.range(classes),
        steps=steps,
        seed=randomness.pair(0, "test"),
        replay=Drawn(classes),
        **wanted,
    )


@pytest.mark.parametrize(
    ("wanted", "drawn", "real"),
    [
        ({}, [1 / 4] * 4, []),
        # Of the whole loss, as DGR has it.
        ({"real_share": 0.2}, [0.8 / 4] * 4, [0.2 / 2] * 2),
        # Of one class of four: each class keeps its quarter.
        ({"own_share": 0.2, "known": 3}, [1 / 4] * 3 + [0.8 / 4], [0.2 / 4 / 2] * 2),
        ({"own_share": 1.0, "known": 2}, [1 / 4] * 2 + [0.0] * 2, [1 / 4] * 2),
    ],
)
def test_real_images_have_their_share_of_the_loss(wanted, drawn, real):
    data = tf.ones([2, 16, 16, 1]), tf.constant([3, 3])
    images, positions, weights = phase(**wanted)._examples(data)
    np.testing.assert_allclose(weights, [*drawn, *real], rtol=1e-6)
    assert sum(drawn) + sum(real) == pytest.approx(1)
    assert positions.numpy().tolist() == [0, 1, 2, 3] + [3] * len(real)
    assert images[:, 0, 0, 0].numpy().tolist() == [0] * 4 + [1] * len(real)


@pytest.mark.parametrize("own_share", [0.0, 0.5])
def test_margins_are_those_of_real_images_whatever_these_weigh(own_share, monkeypatch):
    monkeypatch.setattr(augmentation, "distorted", lambda given, seed: given)
    given = tf.ones([2, 16, 16, 1]), tf.constant([3, 3])
    learning = phase(own_share=own_share, known=3, margin_share=1.0)
    seen = []
    learning._step = lambda images, positions, weights: seen.append((images, weights)) or {}
    learning.train_step(given)
    images, weights = (np.array(each) for each in seen[0])
    assert images[:4, :, [0, 1, 14, 15]].min() == 1 and images[:4, :, 2:14].max() == 0
    np.testing.assert_allclose(weights[4:], own_share / 4 / 2)


def test_the_teacher_is_the_classifier_of_the_task_before(monkeypatch):
    made = []

    class Recorded(ClassifierPhase):
        def __init__(self, *args, **wanted):
            names = ("teacher", "known", "own_share", "margin_share")
            made.append({name: wanted[name] for name in names})
            super().__init__(*args, **wanted)

    monkeypatch.setattr(generating, "ClassifierPhase", Recorded)
    wanted = {"consolidation_start": "new", "consolidation_real_share": 0.25}
    learner = tiny("w", distillation_share=0.5, real_margin_share=0.75, **wanted)
    classifiers = [None]
    for task, _ in zip(digits().tasks(), range(2), strict=False):
        learner.learn(task, epochs=1)
        classifiers.append(learner.critic)
    assert [each["teacher"] for each in made] == classifiers[:2]
    assert [each["known"] for each in made] == [0, 2]
    assert [(each["own_share"], each["margin_share"]) for each in made] == [(0.25, 0.75)] * 2


def test_one_class_alone_takes_no_steps(monkeypatch):
    made = []

    class Recorded(ClassifierPhase):
        def __init__(self, critic, *args, **wanted):
            made.append(critic.classes)
            super().__init__(critic, *args, **wanted)

    monkeypatch.setattr(generating, "ClassifierPhase", Recorded)
    learner = tiny("w", consolidation_start="new")
    for task, _ in zip(class_incremental("digits").tasks(), range(2), strict=False):
        learner.learn(task, epochs=1)
    assert made == [2]


def test_steps_on_one_class_would_change_nothing():
    alone = phase(classes=1)
    before = [np.array(variable) for variable in alone.critic.weights]
    logs = [alone.train_step(None) for _ in range(3)]
    assert [float(each["classifier_loss"]) for each in logs] == [0.0] * 3
    for variable, old in zip(alone.critic.weights, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_a_teacher_is_believed_and_stays_as_it_is(monkeypatch):
    """One that takes every image for class 1 makes a pupil that does; labels say otherwise."""
    monkeypatch.setattr(augmentation, "distorted", lambda given, seed: given)
    teacher = Critic((16, 16, 1), 3, size=4, seed=1, name="teacher")
    teacher.build()
    for variable in teacher.class_variables():
        variable.assign(tf.zeros_like(variable))
    teacher.class_head.bias.assign([0.0, 20.0, 0.0])
    before = [np.array(variable) for variable in teacher.weights]
    taught, alone = phase(steps=60, teacher=teacher), phase(steps=60)
    for each in (taught, alone):
        for _ in range(60):
            each.train_step(None)
    shares = [
        tf.nn.softmax(each.critic.class_logits(tf.zeros([1, 16, 16, 1])))[0]
        for each in (taught, alone)
    ]
    # Of four labels on one image each is right one time in four.
    assert shares[0][1] > 0.4 > 0.3 > shares[1][1]
    for variable, old in zip(teacher.weights, before, strict=True):
        np.testing.assert_array_equal(variable, old)


# The mean of the weights.


class EveryStep(keras.callbacks.Callback):
    """The classifier's weights after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        critic = self.model.critic
        self.weights.append([np.float64(each) for each in critic.class_variables()])


def no_images(*, start):
    return tf.data.Dataset.range(start, 100)


def trained(steps, **wanted):
    """The phase at its end, and the weights after each of its steps."""
    found, watch = phase(steps=steps, **wanted), EveryStep()
    found.run(no_images, epochs=1, steps_per_epoch=steps, callbacks=[watch])
    return found, watch.weights


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_classifier_ends_with_the_running_mean_of_its_weights(norm, compiled):
    decay, settings = 0.9, {"jit_compile": compiled}
    _, plain = trained(8, norm=norm, settings=settings)
    settings["classifier_average"] = decay
    averaged, weights = trained(8, norm=norm, settings=settings)
    shares = decay ** np.arange(7, -1, -1)
    shares /= shares.sum()
    assert len(averaged.critic.class_variables()) == (8 if norm == "none" else 14)
    for place, variable in enumerate(averaged.critic.class_variables()):
        path = np.stack([each[place] for each in weights])
        # The steps are those that are taken without a mean; the mean is of what they leave.
        np.testing.assert_array_equal(path[-1], plain[-1][place])
        mean = np.tensordot(shares, path, axes=1)
        np.testing.assert_allclose(variable, mean, rtol=1e-5, atol=1e-6, err_msg=variable.path)
        assert np.abs(np.float64(variable) - path[-1]).max() > 1e-4
    untrained = phase(norm=norm).critic.source_head
    for variable, first in zip(averaged.critic.source_head.weights, untrained.weights, strict=True):
        np.testing.assert_array_equal(variable, first)


def test_after_one_step_the_mean_is_the_weights_to_the_bit():
    weight = keras.Variable([0.1, -3.0, 1e-8])
    mean = WeightMean([weight], 0.9999)
    mean.update(tf.constant(1, tf.int64))
    np.testing.assert_array_equal(mean.variables[0], weight)


def test_no_mean_no_variables():
    def count(**settings):
        return {name: len(each) for name, each in phase(settings=settings).own_variables().items()}

    plain = count()
    assert plain == {"step": 1, "optimizer": 1 + 2 * 8, "replay": 0, "mean": 0}
    assert count(classifier_average=0.9) == {**plain, "mean": 8}
