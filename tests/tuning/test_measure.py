"""A trial: what it measures, what it does not look at, and when it is unusable."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.experiments import experiment
from dgm_tf.learners.dgm import DGM
from dgm_tf.stream import TaskStream, class_incremental
from dgm_tf.tuning.measure import Unusable, measure
from tests.tuning import toys
from tests.tuning.toys import Toy


def no_door(*_, **__):
    raise AssertionError("these images may not be looked at")


def test_it_is_the_accuracy_on_the_validation_images_of_all_classes_seen(monkeypatch):
    cut = toys.stream()
    monkeypatch.setattr(TaskStream, "seen_test", no_door)
    found = measure(Toy(toys.BASE), cut, tasks=3)
    again, expected = Toy(toys.BASE), []
    for number, task in enumerate(toys.stream().tasks(), start=1):
        if number > 3:
            break
        again.learn(task)
        expected.append(toys.validation_accuracy(again, cut, number))
    assert found.accuracies == pytest.approx(expected)
    assert expected[0] == 1.0 and 0.3 < expected[2] < 1.0  # something to tell apart
    assert found.accuracy == expected[2]
    assert found.mean_accuracy == pytest.approx(np.mean(expected))
    assert (found.initial_units, found.units) == (21, 21 + 3 * 9)


def test_a_run_never_looks_at_validation_images_of_finished_tasks(monkeypatch, tmp_path):
    monkeypatch.setattr(TaskStream, "seen_validation", no_door)
    result = experiment.run(
        toys.stream(), Toy(toys.BASE), run_dir=tmp_path, settings={}, tasks=2, quiet=True
    )
    assert len(result.rows) == 2


def test_a_real_learner_is_measured_as_one_that_learns_by_itself():
    settings = {
        "epochs": 4, "batch_size": 60, "generator_size": 2, "critic_size": 4,
        "consolidation_steps": 10, "replay_buffer": 128,
    }  # fmt: skip
    cut = class_incremental("digits", classes_per_task=5)
    found = measure(DGM(**settings), cut, tasks=1)
    learner = DGM(**settings)
    learner.learn(next(iter(cut.anew())))
    expected = learner.evaluate(cut.seen_validation(1)).class_accuracy
    assert found.accuracy == np.mean([expected[label] for label in range(5)])
    assert found.units == sum(learner.generator.widths)


def test_epochs_are_those_asked_for():
    Toy.learnt.clear()
    measure(Toy(toys.BASE), toys.stream(), tasks=2, epochs=4)
    measure(Toy(toys.BASE), toys.stream(), tasks=1)
    assert [(task, epochs) for _, task, epochs in Toy.learnt] == [(1, 4), (2, 4), (1, 9)]


# Unusable.


class NotFinite(Toy):
    def logs(self, task, epoch):
        self.last = task.index, epoch
        return {"loss": np.nan if self.last == (2, 3) else 0.0, "penalty": np.float32(1.0)}


def test_a_loss_that_is_no_number_ends_the_trial_in_that_epoch():
    learner = NotFinite(toys.BASE)
    with pytest.raises(Unusable, match=r"^loss not a finite number in task 2 of 4.*, epoch 4$"):
        measure(learner, toys.stream(), tasks=3)
    assert learner.last == (2, 3)


@pytest.mark.parametrize(
    ("left", "wanted"),
    [
        (0.0, "collapsed: its images of class 1 are alike"),
        (0.02, "collapsed: its images of class 1 are alike"),
        (np.nan, "images of class 1 hold no finite numbers"),
    ],
)
def test_images_that_are_alike_or_no_numbers_are_a_collapse(left, wanted):
    class Collapsed(Toy):
        def generate(self, labels, *, seed=0):
            images = super().generate(labels, seed=seed)
            if labels[0] == 1:
                images = images.mean() + left * (images - images.mean())
            return images

    with pytest.raises(Unusable, match=wanted):
        measure(Collapsed(toys.BASE), toys.stream(), tasks=2)


class Failing(Toy):
    error = None

    def learn(self, task, **options):
        raise self.error


@pytest.mark.parametrize(
    "error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")]
)
def test_exhausted_memory_is_unusable(error, monkeypatch):
    monkeypatch.setattr(Failing, "error", error)
    with pytest.raises(Unusable, match="^out of memory$"):
        measure(Failing(toys.BASE), toys.stream(), tasks=2)


@pytest.mark.parametrize("error", [ValueError("a bug"), InputError("too large"), KeyError("x")])
def test_any_other_error_is_not(error, monkeypatch):
    monkeypatch.setattr(Failing, "error", error)
    with pytest.raises(type(error), match=str(error)):
        measure(Failing(toys.BASE), toys.stream(), tasks=2)


@pytest.mark.parametrize(
    ("tasks", "options", "wanted"),
    [
        (2, {"validation_fraction": 0}, "validation_fraction is 0"),
        (5, {}, "from 1 to 4"),
    ],
)
def test_what_cannot_be_measured_is_said_before_any_work(tasks, options, wanted):
    Toy.learnt.clear()
    with pytest.raises(InputError, match=wanted):
        measure(Toy(toys.BASE), toys.stream(**options), tasks=tasks)
    assert not Toy.learnt
