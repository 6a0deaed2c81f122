"""What a critic begins with, whatever learner it belongs to."""

import numpy as np
import pytest

from dgm_tf.experiments.experiment import new_learner
from dgm_tf.settings import settings_for
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
