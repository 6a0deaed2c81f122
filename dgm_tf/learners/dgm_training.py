"""Training of one DGM task: the adversarial phase, then the critic's consolidation.

Each phase is a Keras model made for one task and thrown away with it. A network that has grown
thus never meets an optimizer or a traced step that was made for its narrower self.
"""

from typing import Any

import keras
import tensorflow as tf

from dgm_tf import augmentation, losses, randomness
from dgm_tf.layers.masks import annealed_scales
from dgm_tf.networks import Critic, Generator
from dgm_tf.replay import Replay
from dgm_tf.settings import DGMSettings

_BETA_1, _BETA_2 = 0.5, 0.999


def new_adam(rate: Any, variables: list[keras.Variable]) -> keras.optimizers.Adam:
    """Adam without a past, its slots made: old moments would move a gated weight."""
    optimizer = keras.optimizers.Adam(rate, beta_1=_BETA_1, beta_2=_BETA_2, epsilon=1e-8)
    optimizer.build(variables)
    return optimizer


class _Phase(keras.Model):
    """A Keras model whose `train_step` keeps its own step counter and averages what it logs."""

    phase = ""
    logged: tuple[str, ...] = ()

    def __init__(self, seed: tf.Tensor):
        super().__init__(name=self.phase)
        self._seed = seed
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._means = {name: keras.metrics.Mean(name=name) for name in self.logged}
        self.built = True
        self.compile(optimizer=None)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def _step_seed(self, use: int) -> tf.Tensor:
        return randomness.fold(randomness.fold(self._seed, self._step), use)

    def _log(self, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        for name, value in values.items():
            self._means[name].update_state(value)
        return {name: mean.result() for name, mean in self._means.items()}


class AdversarialPhase(_Phase):
    """Generator and critic against each other on one task's images (DESIGN of the paper's Fig. 1).

    Args:
        generator: its live task is the one to be learnt.
        critic: with one logit per class seen, the task's own included.
        settings: losses' weights and rates.
        first_position: position of the task's first class in order of arrival.
        positions: int32 table from data-set class id to position.
        replay: images of old classes; None in the first task.
        steps_per_epoch: B of Eq. 3.
        epochs: I of Eq. 3.
        seed: int32 [2].
    """

    phase = "adversarial"
    logged = ("critic_loss", "generator_loss", "class_loss", "penalty", "mask_sparsity")

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        settings: DGMSettings,
        *,
        positions: tf.Tensor,
        replay: Replay | None,
        steps_per_epoch: int,
        epochs: int,
        seed: tf.Tensor,
    ):
        super().__init__(seed)
        self.generator, self.critic = generator, critic
        self._settings = settings
        self._positions = positions
        self._replay = replay
        self._steps_per_epoch, self._epochs = steps_per_epoch, epochs
        self._generator_variables = generator.learning_variables()
        self._critic_variables = critic.trainable_variables
        self._generator_optimizer = new_adam(settings.learning_rate, self._generator_variables)
        self._critic_optimizer = new_adam(settings.critic_learning_rate, self._critic_variables)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update of the critic, one of the generator.

        Args:
            data: images float32 [B, S, S, C] in [-1, 1] and class ids int32 [B].
        """
        images, labels = data
        positions = tf.gather(self._positions, labels)
        epoch_scale, scale = annealed_scales(
            self._step,
            steps_per_epoch=self._steps_per_epoch,
            epochs=self._epochs,
            s_max=self._settings.s_max,
        )
        logs = self._update_critic(images, positions, scale)
        logs |= self._update_generator(positions, scale, epoch_scale)
        self._step.assign_add(1)
        return self._log(**logs)

    def _fake(self, positions: tf.Tensor, scale: tf.Tensor, use: int) -> tf.Tensor:
        noise = randomness.normal(
            [positions.shape[0], self.generator.latent_dim], self._step_seed(use)
        )
        latent = self.generator.latent(noise, positions, self.critic.classes)
        return self.generator(latent, scale=scale, training=True)

    def _update_critic(
        self, images: tf.Tensor, positions: tf.Tensor, scale: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        fake = self._fake(positions, scale, use=0)
        mix = randomness.uniform([positions.shape[0]], self._step_seed(1))
        with tf.GradientTape() as tape:
            real_scores, real_logits = self.critic(images, training=True)
            fake_scores, _ = self.critic(fake, training=True)
            source = losses.critic_loss(real_scores, fake_scores)
            penalty = losses.gradient_penalty(
                lambda mixed: self.critic(mixed, training=True)[0], images, fake, mix
            )
            classification = self._class_loss(real_logits, positions)
            loss = source + self._settings.penalty_weight * penalty + classification
        gradients = tape.gradient(loss, self._critic_variables)
        self._critic_optimizer.apply(gradients, self._critic_variables)
        return {"critic_loss": source, "penalty": penalty, "class_loss": classification}

    def _class_loss(self, real_logits: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """Cross-entropy on current and replayed images, every class seen with the same weight."""
        current = losses.class_loss(real_logits, positions)
        if self._replay is None:
            return current
        images, replayed = self._replay.draw(self._step)
        _, logits = self.critic(images, training=True)
        old = sum(self.generator.finished) / self.critic.classes
        return (1.0 - old) * current + old * losses.class_loss(logits, replayed)

    def _update_generator(
        self, positions: tf.Tensor, scale: tf.Tensor, epoch_scale: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        settings = self._settings
        weight = settings.sparsity
        if settings.sparsity_follows_size:
            weight *= self.generator.relative_size()
        with tf.GradientTape() as tape:
            scores, logits = self.critic(self._fake(positions, scale, use=2), training=True)
            source = losses.generator_loss(scores)
            classification = losses.class_loss(logits, positions)
            sparsity = self.generator.sparsity(scale)
            loss = source + settings.class_weight * classification + weight * sparsity
        gradients = tape.gradient(loss, self._generator_variables)
        gradients = self.generator.gated(
            gradients, self._generator_variables, scale=scale, epoch_scale=epoch_scale
        )
        self._generator_optimizer.apply(gradients, self._generator_variables)
        self.generator.clip_embeddings()
        return {"generator_loss": source, "mask_sparsity": sparsity}


class ConsolidationPhase(_Phase):
    """The critic as a classifier, on generated images of all classes, the newest included.

    While a task is learnt only its classes have real images, and telling real from generated is the
    critic's trade: it can call whatever looks real the newest class. Here every class is seen
    through the generator's eyes, so that being real says nothing about the class.

    Args:
        critic: to be trained.
        settings: rates and weights.
        replay: generated images of all classes seen.
        positions: int32 table from data-set class id to position.
        steps: of the whole phase; the rate falls to 0 along a half cosine.
        seed: int32 [2].
    """

    phase = "consolidation"
    logged = ("classifier_loss", "classifier_accuracy")

    def __init__(
        self,
        critic: Critic,
        settings: DGMSettings,
        *,
        replay: Replay,
        positions: tf.Tensor,
        steps: int,
        seed: tf.Tensor,
    ):
        super().__init__(seed)
        self.critic = critic
        self._settings = settings
        self._replay = replay
        self._positions = positions
        self._critic_variables = critic.trainable_variables
        rate = keras.optimizers.schedules.CosineDecay(settings.consolidation_learning_rate, steps)
        self._optimizer = new_adam(rate, self._critic_variables)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One classifier update; the task's real images take the share that settings give them."""
        images, positions = self._replay.draw(self._step)
        weights = tf.ones_like(positions, tf.float32)
        if self._settings.consolidation_real_weight:
            real, labels = data
            newest = tf.gather(self._positions, labels)
            images = tf.concat([images, real], axis=0)
            positions = tf.concat([positions, newest], axis=0)
            weight = self._settings.consolidation_real_weight / self.critic.classes
            weights = tf.concat([weights, tf.fill([newest.shape[0]], weight)], axis=0)
        images = augmentation.distorted(images, self._step_seed(0))
        with tf.GradientTape() as tape:
            _, logits = self.critic(images, training=True)
            loss = losses.class_loss(logits, positions, weights)
        gradients = tape.gradient(loss, self._critic_variables)
        gradients = [
            tf.zeros_like(variable) if gradient is None else gradient
            for gradient, variable in zip(gradients, self._critic_variables, strict=True)
        ]
        self._optimizer.apply(gradients, self._critic_variables)
        self._step.assign_add(1)
        hits = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == positions, tf.float32)
        return self._log(classifier_loss=loss, classifier_accuracy=tf.reduce_mean(hits))
