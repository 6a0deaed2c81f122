"""Deep generative replay (Shin et al. 2017): an unconditional generator and a separate solver."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution
from dgm_tf.learners.classifier_phase import CONSOLIDATION_BATCH, ConsolidationImages
from dgm_tf.learners.gan_phase import Protection
from dgm_tf.learners.shared_gan import SharedGANLearner, frozen
from dgm_tf.networks import ConditionalGenerator, Critic, OwnClassifier
from dgm_tf.networks.replay import Memory, Replay, TracedMemory

_TRIES = 32


class Scholar(Replay):
    """Replay by a generator that knows no classes and a solver that tells them.

    Args:
        generator: of one class, which stands for all.
        solver: the classifier of all classes seen.
        batch_size: images in a `draw`.
        seed: int32 [2].
    """

    def __init__(
        self,
        generator: ConditionalGenerator,
        solver: Critic | OwnClassifier,
        *,
        batch_size: int = 1,
        seed: tf.Tensor | None = None,
    ):
        self._generator, self._solver = generator, solver
        self._batch_size, self._seed = batch_size, seed
        self.classes = solver.classes
        self.latent_dim = generator.latent_dim

    def draw(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images float32 [R, S, S, C] of whatever class, and what the solver calls them."""
        shape = [distribution.per_replica(self._batch_size), self.latent_dim]
        noise = distribution.part_drawn(randomness.normal, shape, randomness.fold(self._seed, step))
        images = self._generator.recall(0, noise)
        return images, tf.argmax(self._solver.class_logits(images), axis=1, output_type=tf.int32)

    def recall(self, position: int | tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Images float32 [n, S, S, C] that the solver takes for a class.

        The first of 32 that it does, else the one it comes closest with; the others' noise is the
        given one turned round, so that an image depends only on its own noise.
        """
        count = tf.shape(noise)[0]
        tries = tf.stack([tf.roll(noise, shift, axis=1) for shift in range(_TRIES)], axis=1)
        images = self._generator.recall(0, tf.reshape(tries, [-1, self.latent_dim]))
        logits = tf.reshape(self._solver.class_logits(images), [count, _TRIES, self.classes])
        hits = tf.argmax(logits, axis=2, output_type=tf.int32) == position
        share = tf.gather(tf.nn.softmax(logits), position, axis=2)
        first = tf.cast(tf.range(_TRIES, 0, -1), tf.float32)
        chosen = tf.argmax(tf.where(hits, first, share), axis=1)
        # A share is below 1, the least rank of a hit.
        images = tf.reshape(images, [count, _TRIES, *images.shape[1:]])
        return tf.gather(images, chosen, batch_dims=1)


class Mixed(Protection):
    """Part of the batch is replaced by the old generator's images.

    Args:
        old: the generator before the task.
        new_fraction: fraction of new images, 0 to 1.
    """

    def __init__(self, old: ConditionalGenerator, new_fraction: float):
        self._old, self._new_fraction = frozen(old), new_fraction

    def real(
        self, images: tf.Tensor, positions: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        count = images.shape[0]
        rows = distribution.count() * count
        old = round(rows * (1.0 - self._new_fraction))
        noise = distribution.part_drawn(randomness.normal, [count, self._old.latent_dim], seed)
        # By turns, so that each replica, and the penalty on the first images, get their share of
        # both. The generator has no use for the positions; theirs are kept.
        turn = distribution.part(tf.range(rows) * old % rows < old)[:, None, None, None]
        return tf.where(turn, self._old.recall(0, noise), images), positions


class DGR(SharedGANLearner):
    """Deep generative replay (Shin et al. 2017): an unconditional generator and a solver.

    New scholars learn from the new task's images and from the old scholar's, mixed.

    The generator is trained on both, the solver on
    `r CE(new) + (1 - r) CE(replayed, labelled by the old solver)`, r = 1 / t by default.

    Args:
        settings: all settings; None for those of data without a preset.
        **changes: settings that replace those, by name, and `classifier`, a function that makes the
            classifier; see `dgm_tf.DGM`.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.DGR.from_preset("digits", epochs=1, consolidation_steps=4)  # a trial
        for task in stream.tasks(last=2):
            model.learn(task)
        images = model.generate([0, 1])
        ```
    """

    method = "dgr"
    conditional = False

    def memory(self) -> Memory:
        return TracedMemory(Scholar(self.generator, self.classifier))

    def protection(self, task: Task) -> Protection:
        return Mixed(self.generator, self._new_fraction())

    def _new_fraction(self) -> float:
        return self.settings.new_fraction or 1.0 / (self.finished_tasks + 1)

    def train_classifier(
        self, generator: ConditionalGenerator, task: Task, callbacks: Sequence[Any]
    ) -> tuple[Critic | OwnClassifier, dict[str, list[float]]]:
        solver = self.initial_classifier(task)
        # The first task has real images only.
        images = None
        if self.finished_tasks:
            number = self.finished_tasks + 1
            old = Scholar(
                frozen(self.generator),
                self.classifier,
                batch_size=CONSOLIDATION_BATCH,
                seed=randomness.pair(self.settings.seed, "consolidation replay", number),
            )
            images = ConsolidationImages(old, real_weight=self._new_fraction())
        return solver, self.consolidate(solver, task, callbacks, images=images)
