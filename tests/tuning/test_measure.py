"""A trial: what it measures, what it does not look at, and when it fails."""

import numpy as np
import pytest
import tensorflow as tf
from keras_tuner.errors import FailedTrialError

from dgm_tf.data.stream import TaskStream, class_incremental
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import evaluate
from dgm_tf.learners.dgm import DGM
from dgm_tf.tuning.measure import measure
from tests.tuning.toys import stream


class Toy:
    """Nearest of a pixel of each class's mean image."""

    def __init__(self):
        self.means = {}

    def check_replicas(self, replicas):
        assert replicas == 1

    def learn_task(self, task, *, callbacks=()):
        (label,) = task.classes
        images, _ = next(iter(task.batches(14, epochs=1, seed=0)))  # all that a class has
        self.means[label] = np.mean(images, axis=0)
        for callback in callbacks:
            callback.on_epoch_end(0, {"loss": self.loss(task)})

    def loss(self, task):
        return 0.5

    def classify(self, images):
        levels = np.array([mean[0, 0, 0] for mean in self.means.values()])
        nearest = np.abs(np.asarray(images)[:, :1, 0, 0] - levels).argmin(axis=1)
        return np.array(list(self.means), np.int32)[nearest]

    def evaluate(self, dataset):
        return evaluate(self.classify, dataset)

    def generate(self, labels, *, seed=0):
        means = np.stack([self.means[label] for label in labels.tolist()])
        return means + np.random.RandomState(seed).normal(0.0, 0.5, means.shape)

    def growth(self):
        widths = [8 + 4 * len(self.means), 4, 2]
        return {
            "initial_layer_widths": [8, 4, 2], "layer_widths": widths, "generator_parameters": 900
        }  # fmt: skip


def validation_accuracy(learner, cut, tasks):
    """Mean over the classes of the first tasks, by the stream's own rows, not through its doors."""
    found = []
    for (label,) in cut.task_classes[:tasks]:
        images = cut._data.train_images[cut._validation_rows[label]] / 127.5 - 1.0
        found.append(np.mean(learner.classify(images) == label))
    return float(np.mean(found))


def test_it_is_the_accuracy_on_the_validation_images_of_all_classes_seen(monkeypatch):
    def closed(*_, **__):
        raise AssertionError("no test image may be looked at")

    monkeypatch.setattr(TaskStream, "seen_test", closed)
    cut, learner, expected = stream(), Toy(), []
    for number, task in enumerate(stream().tasks(), start=1):
        learner.learn_task(task)
        expected.append(validation_accuracy(learner, cut, number))
    found = measure(Toy(), cut, tasks=3)
    assert found.accuracies == pytest.approx(expected[:3])
    assert expected[0] == 1.0 and 0.3 < expected[2] < 1.0  # something to tell apart
    assert (found.initial_units, found.units, found.parameters) == (14, 26, 900)


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


def test_devices_that_cannot_share_a_step_are_refused_before_any_work():
    two = distribution.Distribution()
    two.replicas = 2
    with distribution.used(two), pytest.raises(InputError, match="replay_batch is 3, which 2"):
        measure(DGM(replay_batch=3, generator_size=2), stream(), tasks=1)


class Exploding(Toy):
    def loss(self, task):
        return float("nan") if task.index == 2 else 0.0


def test_a_loss_that_is_no_number_fails_the_trial():
    wanted = r"^loss is no finite number \(nan\) in epoch 1 of training, task 2 of 3"
    with pytest.raises(FailedTrialError, match=wanted):
        measure(Exploding(), stream(), tasks=3)


@pytest.mark.parametrize("left", [0.0, 0.02, np.nan])
def test_images_of_a_class_that_are_alike_or_no_numbers_fail_the_trial(left):
    class Collapsed(Toy):
        def generate(self, labels, *, seed=0):
            images = super().generate(labels, seed=seed)
            return images.mean() + (left if labels[0] == 1 else 1) * (images - images.mean())

    wanted = "^the generator has collapsed in its images of class 1, task 2 of 2"
    with pytest.raises(FailedTrialError, match=wanted):
        measure(Collapsed(), stream(), tasks=2)


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
        def learn_task(self, task, **_):
            raise error

    with pytest.raises(raised):
        measure(Failing(), stream(), tasks=2)


@pytest.mark.parametrize(
    ("tasks", "fraction", "wanted"), [(2, 0, "validation_fraction is 0"), (5, 0.3, "from 1 to 4")]
)
def test_what_cannot_be_measured_is_said_before_any_work(tasks, fraction, wanted):
    learner = Toy()
    with pytest.raises(InputError, match=wanted):
        measure(learner, stream(validation_fraction=fraction), tasks=tasks)
    assert not learner.means
