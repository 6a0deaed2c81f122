"""A trial: what it measures, what it does not look at, and when it fails."""

import numpy as np
import pytest
import tensorflow as tf
from keras_tuner.errors import FailedTrialError

from dgm_tf.errors import InputError
from dgm_tf.learners.dgm import DGM
from dgm_tf.stream import TaskStream, class_incremental
from dgm_tf.tuning.measure import measure
from tests.tuning import toys
from tests.tuning.toys import Toy


def test_it_is_the_accuracy_on_the_validation_images_of_all_classes_seen(monkeypatch):
    def closed(*_, **__):
        raise AssertionError("no test image may be looked at")

    monkeypatch.setattr(TaskStream, "seen_test", closed)
    cut, learner, expected = toys.stream(), Toy(toys.BASE), []
    for number, task in enumerate(toys.stream().tasks(), start=1):
        learner.learn(task)
        expected.append(toys.validation_accuracy(learner, cut, number))
    found = measure(Toy(toys.BASE), cut, tasks=3)
    assert found.accuracies == pytest.approx(expected[:3])
    assert expected[0] == 1.0 and 0.3 < expected[2] < 1.0  # something to tell apart
    assert (found.initial_units, found.units, found.parameters) == (21, 21 + 3 * 9, 900)


def test_a_real_learner_is_measured():
    learner = DGM(
        epochs=1, batch_size=60, generator_size=2, critic_size=4, consolidation_steps=1,
        replay_buffer=128,
    )  # fmt: skip
    cut = class_incremental("digits", classes_per_task=5)
    found = measure(learner, cut, tasks=1)
    expected = learner.evaluate(cut.seen_validation(1)).class_accuracy
    assert found.accuracies == pytest.approx([np.mean([expected[label] for label in range(5)])])
    assert found.initial_units == 14 and found.units == sum(learner.generator.widths)


class Exploding(Toy):
    def loss(self, task):
        return float("nan") if task.index == 2 else 0.0


def test_a_loss_that_is_no_number_fails_the_trial():
    wanted = r"^loss is no finite number \(nan\) in epoch 1 of training, task 2 of 4"
    with pytest.raises(FailedTrialError, match=wanted):
        measure(Exploding(toys.BASE), toys.stream(), tasks=3)


@pytest.mark.parametrize("left", [0.0, 0.02, np.nan])
def test_images_of_a_class_that_are_alike_or_no_numbers_fail_the_trial(left):
    class Collapsed(Toy):
        def generate(self, labels, *, seed=0):
            images = super().generate(labels, seed=seed)
            return images.mean() + (left if labels[0] == 1 else 1) * (images - images.mean())

    wanted = "^the generator has collapsed in its images of class 1, task 2 of 4"
    with pytest.raises(FailedTrialError, match=wanted):
        measure(Collapsed(toys.BASE), toys.stream(), tasks=2)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (MemoryError(), FailedTrialError),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), FailedTrialError),
        (KeyError("x"), KeyError),
        (InputError("x"), InputError),
    ],
)
def test_exhausted_memory_fails_the_trial_and_any_other_error_is_one(error, raised):
    class Failing(Toy):
        def learn(self, task, **_):
            raise error

    with pytest.raises(raised):
        measure(Failing(toys.BASE), toys.stream(), tasks=2)


@pytest.mark.parametrize(
    ("tasks", "fraction", "wanted"), [(2, 0, "validation_fraction is 0"), (5, 0.3, "from 1 to 4")]
)
def test_what_cannot_be_measured_is_said_before_any_work(tasks, fraction, wanted):
    Toy.learnt.clear()
    with pytest.raises(InputError, match=wanted):
        measure(Toy(toys.BASE), toys.stream(validation_fraction=fraction), tasks=tasks)
    assert not Toy.learnt
