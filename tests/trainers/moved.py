"""The digits' trainer with a learner whose training is a random move."""

from dgm_tf.experiments import run as run_module
from tests.tiny_run import MovedDGM
from trainers import split_digits

TINY = [
    "--classes_per_task=5", "--epochs=1", "--batch_size=60", "--generator_size=2",
    "--critic_size=4", "--consolidation_steps=10", '--settings={"replay_buffer": 128}',
]  # fmt: skip


def train(patch, *arguments, disturb=None):
    """Runs the trainer.

    Args:
        patch: pytest's `monkeypatch`.
        *arguments: more than `TINY`.
        disturb: called with each task's number before it is learnt.
    """

    class Disturbed(MovedDGM):
        def learn_task(self, task, *, callbacks=()):
            if disturb is not None:
                disturb(task.index)
            return super().learn_task(task, callbacks=callbacks)

    patch.setattr(run_module, "new_learner", lambda method, settings, stream: Disturbed(settings))
    return split_digits.main([*TINY, "--nooracle", *map(str, arguments)])
