"""Consolidation: what its images count, and whom it listens to."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import augmentation, randomness
from dgm_tf.learners import generating
from dgm_tf.learners.classifier import ClassifierPhase
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


def phase(classes=4, *, steps=2, **wanted):
    critic = Critic((16, 16, 1), classes, size=4, seed=0, name="critic")
    critic.build()
    settings = DGMSettings(distillation_share=0.5)
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


def test_the_teacher_is_the_classifier_of_the_task_before(monkeypatch):
    made = []

    class Recorded(ClassifierPhase):
        def __init__(self, *args, **wanted):
            made.append({name: wanted[name] for name in ("teacher", "known", "own_share")})
            super().__init__(*args, **wanted)

    monkeypatch.setattr(generating, "ClassifierPhase", Recorded)
    wanted = {"consolidation_start": "new", "consolidation_real_share": 0.25}
    learner = tiny("w", distillation_share=0.5, **wanted)
    classifiers = [None]
    for task, _ in zip(digits().tasks(), range(2), strict=False):
        learner.learn(task, epochs=1)
        classifiers.append(learner.critic)
    assert [each["teacher"] for each in made] == classifiers[:2]
    assert [each["known"] for each in made] == [0, 2]
    assert [each["own_share"] for each in made] == [0.25] * 2


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
