"""How long a task is learnt."""

import keras
import pytest

from dgm_tf.errors import InputError
from dgm_tf.experiments.experiment import new_learner
from dgm_tf.settings import settings_for
from tests.serving import tiny_export

SIZES = {"batch_size": 5, "critic_size": 2, "consolidation_steps": 1, "consolidation_batch": 8}
SMALL = {"generator_size": 2, "latent_dim": 8, "replay_buffer": 16}


class Counted(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1


def steps(method, **settings):
    """Training steps of the first task before consolidation, and batches in one pass over it."""
    stream = tiny_export.stream()
    sizes = SIZES if method == "joint" else SIZES | SMALL
    learner = new_learner(method, settings_for("x", method=method, **sizes, **settings), stream)
    task, counted = next(iter(stream)), Counted()
    learner.learn(task, callbacks=[counted])
    return counted.steps - SIZES["consolidation_steps"], task.steps_per_epoch(5)


@pytest.mark.parametrize("method", ["dgm", "fine_tune"])
def test_a_generator_learns_from_two_images_at_a_time_at_least(method):
    with pytest.raises(InputError, match="batch_size must be an integer of at least 2"):
        settings_for("x", method=method, batch_size=1)


@pytest.mark.parametrize("method", ["dgm", "fine_tune", "joint"])
def test_a_task_of_few_images_is_learnt_for_as_many_steps_as_asked_for(method):
    taken, per_epoch = steps(method, epochs=2)
    assert taken == 2 * per_epoch > 2
    assert steps(method, epochs=2, least_steps=taken) == (taken, per_epoch)
    # Whole passes: one step more is a pass more.
    assert steps(method, epochs=2, least_steps=taken + 1) == (taken + per_epoch, per_epoch)
