"""Runs in seconds: real learners whose weights are moved as training may move them, untrained."""

import numpy as np
import pytest

from dgm_tf.data.datasets import ImageData
from dgm_tf.data.stream import class_incremental
from dgm_tf.experiments.options import QUIET, RunOptions
from dgm_tf.experiments.run import Run
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.shared_gan import FineTune
from tests.networks.tiny_generator import train

SIZES = {"latent_dim": 8, "generator_size": 2, "critic_size": 2, "batch_size": 4, "seed": 3}


class MovedDGM(DGM):
    """DGM with random updates for training; both can leave out one of its mechanisms.

    `gates=False` moves reserved weights, too; `grows=False` never widens the generator.
    """

    def __init__(self, settings=None, *, gates=True, grows=True, **changes):
        super().__init__(settings, **({} if settings else SIZES | changes))
        self._gates, self._grows = gates, grows

    def learn_task(self, task, *, callbacks=()):
        history = super().learn_task(task, callbacks=callbacks)
        if not self._grows:
            self._generator = self._narrow
        return history

    def adversarial_phase(self, task, **budget):
        phase = super().adversarial_phase(task, **budget)
        return Moved(phase.generator, phase.critic, seed=self.finished_tasks + 1)

    def train_classifier(self, generator, task, critic, callbacks=()):
        return critic, {}

    def _finish_generator(self, generator, task):
        self._narrow = finished = super()._finish_generator(generator, task)
        if not self._gates:
            kernel = finished.blocks[1].kernel
            kernel.assign(np.nextafter(kernel.numpy(), np.float32(9)))
        return finished


class Moved:
    """An adversarial phase that moves what training may move, at random."""

    def __init__(self, generator, critic, *, seed):
        self.generator, self.critic, self._seed = generator, critic, seed

    def run(self, batches, **_):
        train(self.generator, self._seed)
        return {}


class MovedFineTune(FineTune):
    """Fine-tuning with random updates for training."""

    def __init__(self, **changes):
        super().__init__(**SIZES, **changes)

    def learn_task(self, task, *, callbacks=()):
        phase = self.gan_phase(task, **self.budget(task))
        random = np.random.RandomState(self.finished_tasks)
        for variable in phase.generator.trainable_variables:
            variable.assign_add(random.normal(size=variable.shape, scale=0.3))
        phase.generator.calibrate([0, self.finished_tasks])
        self._generator, self._gan_critic = phase.generator, phase.critic
        self.task_learnt(task, self.new_critic(task.image_shape, len(self.classes_with(task))))
        return {}


def stream():
    """Three tasks over four classes of grey squares."""
    labels = np.repeat(np.arange(4), 12)
    noise = np.random.RandomState(0).randint(0, 40, (48, 16, 16, 1))
    images = (60 * labels[:, None, None, None] + noise).astype(np.uint8)
    data = ImageData(
        name="squares", train_images=images, train_labels=labels, test_images=images[::4],
        test_labels=labels[::4], class_names=("a", "b", "c", "d"), source="made for tests",
    )  # fmt: skip
    return class_incremental(data, classes_per_task=(1, 2, 1), image_size=16)


def run(folder, learner, *, tasks=None, page=False, **options):
    """Learns the tasks of `stream` into a run folder, without its page or with it; returns it."""
    options = RunOptions(run_dir=folder, **{"oracle": False, "verbosity": QUIET, **options})
    with pytest.MonkeyPatch.context() as patch:
        if not page:
            patch.setattr("dgm_tf.reporting.page.write_page", lambda folder: None)
        Run(stream(), learner, options, max_tasks=tasks).run()
    return folder
