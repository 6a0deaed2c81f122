"""Joint training: the same classifier on all real images."""

import numpy as np
import pytest

import dgm_tf
from dgm_tf.learners import joint
from dgm_tf.learners.joint import JointClassifier
from dgm_tf.methods.registry import load_state
from dgm_tf.methods.settings import JointSettings
from tests.tiny_phases import Counted

_SETTINGS = JointSettings(epochs=2, batch_size=8, critic_size=4, consolidation_steps=30)


def _stream() -> dgm_tf.TaskStream:
    """Three classes, told apart by which rows are bright."""
    labels = np.arange(120) % 3
    images = np.zeros([120, 16, 16, 1], np.uint8)
    for index, label in enumerate(labels):
        images[index, 5 * label : 5 * label + 5] = 200 + index % 50
    data = (images[30:], labels[30:], images[:30], labels[:30])
    return dgm_tf.class_incremental(data, image_size=16)


def test_all_classes_are_known_after_each_task():
    stream = _stream()
    learner = JointClassifier(_SETTINGS, stream)
    for task in stream:
        learner.learn(task)
        assert learner.evaluate(stream.seen_test(task)).average_accuracy == 1.0
    assert learner.classes_seen == (0, 1, 2)


def test_steps_are_those_of_dgms_critic():
    stream = _stream()
    learner = JointClassifier(_SETTINGS, stream)
    tasks, counted = iter(stream), Counted()
    learner.learn(next(tasks))
    task = next(tasks)
    learner.learn(task, callbacks=[counted])
    assert counted.steps == 2 * task.steps_per_epoch(8) + 30


def test_a_step_is_on_as_many_images_as_one_of_dgms_consolidation(monkeypatch):
    stream = _stream()
    asked = []
    batches = stream.joint_batches

    def spied(task, batch_size, **others):
        asked.append(batch_size)
        return batches(task, batch_size, **others)

    monkeypatch.setattr(stream, "joint_batches", spied)
    monkeypatch.setattr(joint, "CONSOLIDATION_BATCH", 40)
    learner = JointClassifier(_SETTINGS, stream)
    for task in stream:
        learner.learn(task)
    there = stream.describe()["train_images"]
    assert asked == [40, 40] and there[0] < 40 < there[0] + there[1]


def test_without_its_stream_it_classifies_and_cannot_learn():
    stream = _stream()
    learner = JointClassifier(_SETTINGS, stream)
    tasks = stream.tasks()
    learner.learn(next(tasks))
    loaded = load_state(*learner.state())
    images = np.zeros([2, 16, 16, 1], np.float32)
    np.testing.assert_array_equal(loaded.classify(images), learner.classify(images))
    with pytest.raises(dgm_tf.InputError, match="give the stream"):
        loaded.learn(next(tasks))


def test_there_is_nothing_to_generate():
    with pytest.raises(dgm_tf.InputError, match="no generator"):
        JointClassifier(_SETTINGS, _stream()).generate([0])
