"""Consolidation: what its images count, and whom it listens to."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data import augmentation
from dgm_tf.learners import generating_learner
from dgm_tf.learners.classifier_phase import ClassifierPhase, ConsolidationImages
from dgm_tf.methods.settings import RECIPES, DGMSettings, Recipe
from dgm_tf.networks import Critic
from tests.learners.tiny_dgm import digits, tiny


class Drawn:
    """A replay that gives one grey image of each class."""

    variables = ()

    def __init__(self, classes):
        self.classes = classes

    def draw(self, step):
        images = np.zeros((self.classes, 16, 16, 1), np.float32)
        return tf.constant(images), tf.range(self.classes)


def phase(classes=4, *, steps=2, teacher=None, **weights):
    classifier = Critic((16, 16, 1), classes, size=4, seed=0, name="critic")
    classifier.build()
    return ClassifierPhase(
        classifier,
        DGMSettings(augmentation="none"),
        positions=tf.range(classes),
        steps=steps,
        seed=randomness.pair(0, "test"),
        images=ConsolidationImages(Drawn(classes), **weights),
        teacher=teacher,
    )


@pytest.mark.parametrize(
    ("wanted", "drawn", "real"),
    [
        ({}, [1 / 4] * 4, []),
        # Of the whole loss, as DGR has it.
        ({"real_weight": 0.2}, [0.8 / 4] * 4, [0.2 / 2] * 2),
        # Of one class of four: each class keeps its quarter.
        ({"weight_in_class": 0.2, "known": 3}, [1 / 4] * 3 + [0.8 / 4], [0.2 / 4 / 2] * 2),
        ({"weight_in_class": 1.0, "known": 2}, [1 / 4] * 2 + [0.0] * 2, [1 / 4] * 2),
    ],
)
def test_real_images_have_their_weight_in_the_loss(wanted, drawn, real):
    data = tf.ones([2, 16, 16, 1]), tf.constant([3, 3])
    images, positions, weights = phase(**wanted)._examples(data)
    np.testing.assert_allclose(weights, [*drawn, *real], rtol=1e-6)
    assert sum(drawn) + sum(real) == pytest.approx(1)
    assert positions.numpy().tolist() == [0, 1, 2, 3] + [3] * len(real)
    assert images[:, 0, 0, 0].numpy().tolist() == [0] * 4 + [1] * len(real)


@pytest.mark.parametrize("weight_in_class", [0.0, 0.5])
def test_margins_are_those_of_real_images_whatever_these_weigh(weight_in_class, monkeypatch):
    monkeypatch.setattr(augmentation, "distorted", lambda given, seed: given)
    given = tf.ones([2, 16, 16, 1]), tf.constant([3, 3])
    learning = phase(weight_in_class=weight_in_class, known=3, margins=1.0)
    seen = []
    learning._step = lambda images, positions, weights, real: seen.append((images, weights)) or {}
    learning.train_step(given)
    images, weights = (np.array(each) for each in seen[0])
    assert images[:4, :, [0, 1, 14, 15]].min() == 1 and images[:4, :, 2:14].max() == 0
    np.testing.assert_allclose(weights[4:], weight_in_class / 4 / 2)


class Stub:
    """A phase that only notes what it is made with."""

    made = []

    def __init__(self, classifier, settings, **wanted):
        self.made.append((classifier.classes, wanted["teacher"], wanted["images"]))

    def run(self, batches, **wanted):
        return {}


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(generating_learner, "ClassifierPhase", Stub)
    monkeypatch.setattr(Stub, "made", [])
    return Stub.made


def test_the_teacher_is_the_classifier_of_the_task_before(made, monkeypatch):
    monkeypatch.setitem(RECIPES, "quarter", Recipe(real_weight=0.25))
    model = tiny("w", epochs=1, recipe="quarter", real_margins=0.75)
    classifiers = [None]
    for task, _ in zip(digits().tasks(), range(2), strict=False):
        model.learn(task)
        classifiers.append(model.classifier)
    assert [teacher for _, teacher, _ in made] == classifiers[:2]
    assert [images.known for *_, images in made] == [0, 2]
    assert [(images.weight_in_class, images.margins) for *_, images in made] == [(0.25, 0.75)] * 2


def test_one_class_only_takes_no_steps():
    assert phase(classes=1).run(lambda start: 1 / 0, epochs=1, steps_per_epoch=3) == {}


def test_steps_on_one_class_would_change_nothing():
    alone = phase(classes=1)
    before = [np.array(variable) for variable in alone.classifier.weights]
    logs = [alone.train_step(None) for _ in range(3)]
    assert [float(each["classifier_loss"]) for each in logs] == [0.0] * 3
    for variable, old in zip(alone.classifier.weights, before, strict=True):
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
    probabilities = [
        tf.nn.softmax(each.classifier.class_logits(tf.zeros([1, 16, 16, 1])))[0]
        for each in (taught, alone)
    ]
    # Of four labels on one image each is right one time in four.
    assert probabilities[0][1] > 0.4 > 0.3 > probabilities[1][1]
    for variable, old in zip(teacher.weights, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_a_teacher_is_asked_about_generated_images_alone():
    class Teacher:
        asked = 0

        def class_logits(self, images):
            self.asked = images.shape[0]
            return tf.random.stateless_normal([images.shape[0], 3], [0, 1])

    teacher = Teacher()
    learning = phase(teacher=teacher, weight_in_class=0.5, known=3)
    images = tf.random.stateless_normal([6, 16, 16, 1], [1, 2])
    logits = learning.classifier.class_logits(images)
    positions, weights = tf.constant([0, 1, 2, 3, 3, 3]), tf.fill([6], 1 / 6)
    found = learning._update(images, positions, weights, 2)["classifier_loss"]
    assert teacher.asked == 4
    # By hand: of the images that the teacher knows, half of the loss is its own.
    judged = Teacher().class_logits(images[:4]).numpy()
    log_q = logits.numpy() - np.log(np.exp(logits).sum(1, keepdims=True))
    labelled = -log_q[np.arange(6), positions]
    old, taught = logits.numpy()[:4, :3] / 2, judged / 2  # softened by T = 2
    p = np.exp(taught) / np.exp(taught).sum(1, keepdims=True)
    soft = -(p * (old - np.log(np.exp(old).sum(1, keepdims=True)))).sum(1)
    outside = -np.log(np.exp(log_q[:4, :3]).sum(1))
    expected = labelled.copy()
    expected[:3] = (0.5 * labelled[:4] + 0.5 * (4 * soft + outside))[:3]  # the fourth is new
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-5)
