"""What a critic and a classifier begin with, whatever learner they belong to."""

import itertools

import numpy as np
import pytest

from dgm_tf.experiments.experiment import new_learner
from dgm_tf.settings import settings_for
from tests.learners.test_keeper import TINY, TINY_GAN
from tests.serving import tiny_export

SPREADS = {"normal": 0.02, "he": np.sqrt(2 / 25)}


def first_spread(critic):
    return critic.convolutions[0].kernel.numpy().std()


@pytest.mark.parametrize("method", ["dgm", "joint", "mergan_ra"])
@pytest.mark.parametrize("initializer", SPREADS)
def test_critics_begin_with_the_weights_asked_for(method, initializer):
    stream = tiny_export.stream()
    task = next(iter(stream))
    sizes = {"critic_size": 64, "critic_initializer": initializer}
    if method == "mergan_ra":
        other = {"he": "normal", "normal": "he"}[initializer]
        sizes["gan_critic_initializer"] = other
    learner = new_learner(method, settings_for("x", method=method, **sizes), stream)
    classifier = learner.new_critic(task.image_shape, 2)
    assert first_spread(classifier) == pytest.approx(SPREADS[initializer], rel=0.1)
    if method == "mergan_ra":
        critic = learner._first_networks(task.image_shape, 2)[1]
        assert first_spread(critic) == pytest.approx(SPREADS[other], rel=0.1)


@pytest.mark.parametrize("method", ["dgm", "joint", "dgr", "mergan_ra"])
@pytest.mark.parametrize("start", ["new", "previous"])
def test_a_classifier_goes_on_from_the_one_before_or_is_begun_anew(start, method):
    """At a rate of 0 it leaves what it began with, with an output more for each new class."""
    stream = tiny_export.stream()
    sizes = TINY if method == "joint" else TINY_GAN
    changes = {"consolidation_start": start, "consolidation_learning_rate": 0.0, "batch_size": 8}
    learner = new_learner(method, settings_for("x", method=method, **{**sizes, **changes}), stream)
    kept = []
    for task in itertools.islice(stream, 2):
        classes = len(learner.classes_with(task))
        anew = learner.new_critic(task.image_shape, classes).get_weights()
        learner.learn(task)
        kept.append(learner.critic.get_weights())
    before, after = kept
    assert after[-1].shape == (classes,) and before[-1].shape < (classes,)
    if start == "new":
        for weight, first in zip(after, anew, strict=True):
            np.testing.assert_array_equal(weight, first)
        return
    assert not np.array_equal(after[0], anew[0])
    for weight, its in zip(after, before, strict=True):
        np.testing.assert_array_equal(weight[tuple(map(slice, its.shape))], its)
