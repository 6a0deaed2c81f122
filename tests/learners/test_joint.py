"""Joint training: the same classifier on all real images, through the experiment as any learner."""

import dataclasses

import numpy as np
import pytest

import dgm_tf
from dgm_tf.experiments import experiment
from dgm_tf.learners.classifier import WeightMean
from dgm_tf.learners.joint import JointClassifier

_SETTINGS = dgm_tf.DGMSettings(
    epochs=2, batch_size=8, critic_size=4, consolidation_steps=30, consolidation_learning_rate=5e-3
)


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
    learner = JointClassifier(stream, _SETTINGS)
    for task in stream:
        learner.learn(task)
        assert learner.evaluate(stream.seen_test(task)).average_accuracy == 1.0
    assert learner.classes_seen == (0, 1, 2)


def test_its_classifier_is_averaged_like_dgms(monkeypatch):
    def classifier(decay):
        stream = _stream()
        settings = dataclasses.replace(_SETTINGS, classifier_average=decay)
        learner = JointClassifier(stream, settings)
        learner.learn(next(iter(stream)), epochs=1)
        return learner.critic.get_weights()

    last = classifier(0.0)
    monkeypatch.setattr(WeightMean, "update", lambda self, step: None)
    averaged = classifier(0.9)  # of nothing
    for mean, weight in zip(averaged[:-4], last[:-4], strict=True):
        assert not np.any(mean) and np.any(weight) == (weight.ndim > 1)  # biases begin with 0


def test_steps_are_those_of_dgms_critic():
    stream = _stream()
    learner = JointClassifier(stream, _SETTINGS)
    task = next(iter(stream))
    progress = experiment.TaskProgress("", live=False)
    learner.learn(task, callbacks=[progress])
    assert progress.steps == 2 * task.steps_per_epoch(8) + 30


def test_a_step_is_on_as_many_images_as_one_of_dgms_consolidation(monkeypatch):
    stream = _stream()
    asked = []
    batches = stream.joint_batches

    def spied(task, batch_size, **others):
        asked.append(batch_size)
        return batches(task, batch_size, **others)

    monkeypatch.setattr(stream, "joint_batches", spied)
    learner = JointClassifier(stream, dataclasses.replace(_SETTINGS, consolidation_batch=40))
    for task in stream:
        learner.learn(task)
    there = stream.describe()["train_images"]
    assert asked == [there[0], 40, 40] and there[0] < 40 < there[0] + there[1]


def test_a_run_goes_on_after_its_last_task_with_the_same_numbers(tmp_path):
    settings = dataclasses.asdict(_SETTINGS)

    def run(folder, tasks):
        stream = _stream()
        learner = JointClassifier(stream, _SETTINGS)
        return experiment.run(
            stream, learner, run_dir=folder, settings=settings, tasks=tasks, quiet=True
        )

    whole = run(tmp_path / "whole", 3)
    run(tmp_path / "cut", 2)
    cut = run(tmp_path / "cut", 3)
    for mine, its in zip(whole.learner.critic.weights, cut.learner.critic.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), its.numpy())
    assert [row["class_accuracy"] for row in whole.rows] == [
        row["class_accuracy"] for row in cut.rows
    ]


def test_there_is_nothing_to_generate():
    with pytest.raises(dgm_tf.InputError, match="no generator"):
        JointClassifier(_stream(), _SETTINGS).generate([0])
