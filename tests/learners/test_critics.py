"""What a critic begins with, whatever learner it belongs to."""

import numpy as np
import pytest

from dgm_tf.experiments.experiment import new_learner
from dgm_tf.settings import settings_for
from tests.serving import tiny_export


@pytest.mark.parametrize("method", ["dgm", "joint", "mergan_ra"])
@pytest.mark.parametrize(("initializer", "spread"), [("normal", 0.02), ("he", np.sqrt(2 / 25))])
def test_critics_begin_with_the_weights_asked_for(method, initializer, spread):
    stream = tiny_export.stream()
    task = next(iter(stream))
    sizes = {"critic_size": 64, "critic_initializer": initializer}
    learner = new_learner(method, settings_for("x", method=method, **sizes), stream)
    critics = [learner.new_critic(task.image_shape, 2)]
    if method == "mergan_ra":
        critics.append(learner._first_networks(task.image_shape, 2)[1])
    for critic in critics:
        assert critic.convolutions[0].kernel.numpy().std() == pytest.approx(spread, rel=0.1)
