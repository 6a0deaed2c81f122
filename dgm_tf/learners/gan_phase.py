"""Training of the conditional GAN that fine-tuning, EWC, DGR and MeRGAN share, on one task."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.devices import distribution
from dgm_tf.learners import losses
from dgm_tf.learners.phase import TwoNetworkPhase, adversarial_adam, spread
from dgm_tf.methods.settings import GANSettings
from dgm_tf.networks import ConditionalGenerator, Critic


class Protection:
    """A method's additions to the GAN's training against forgetting; here there are none.

    Seeds are int32 [2], another one in each step and call.
    """

    def real(
        self, images: tf.Tensor, positions: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns images and positions in place of the real ones: here these, as given."""
        del seed
        return images, positions

    def critic_loss(
        self, critic: Critic, generator: ConditionalGenerator, seed: tf.Tensor
    ) -> tf.Tensor:
        """A scalar on top of the critic's loss."""
        del critic, generator, seed
        return tf.constant(0.0)

    def generator_loss(
        self, critic: Critic, generator: ConditionalGenerator, seed: tf.Tensor
    ) -> tf.Tensor:
        """A scalar on top of the generator's loss."""
        del critic, generator, seed
        return tf.constant(0.0)


class GANPhase(TwoNetworkPhase):
    """A conditional GAN with a class head, on one task's images.

    Args:
        generator: draws the task's classes, among others.
        critic: with one logit per class seen.
        settings: losses' weights, rates, critic steps per generator step.
        positions: int32 table from data-set class id to position.
        generated: positions of the classes that the generator makes in training.
        protection: what keeps the old classes.
        classified: whether both networks have their classification terms; an unconditional
            generator has none.
        steps_per_epoch: of the critic, as `epochs`.
        epochs: passes over the task's images.
        seed: int32 [2].
    """

    phase = "adversarial"
    logged = (
        "critic_loss",
        "generator_loss",
        "class_loss",
        "penalty",
        "protection",
        "sample_spread",
    )

    def __init__(
        self,
        generator: ConditionalGenerator,
        critic: Critic,
        settings: GANSettings,
        *,
        positions: tf.Tensor,
        generated: Sequence[int],
        protection: Protection,
        classified: bool = True,
        steps_per_epoch: int,
        epochs: int,
        seed: tf.Tensor,
    ):
        without = () if classified else ("class_loss",)
        super().__init__(seed, jit_compile=settings.jit_compile, without=without)
        self.generator, self.critic = generator, critic
        self._settings = settings
        self._positions = positions
        self._generated = tf.constant(generated, tf.int32)
        self._protection = protection
        self._adversarial = losses.ADVERSARIAL[settings.details.adversarial_loss]
        self._classified = classified
        self._generator_variables = generator.trainable_variables
        self._critic_variables = critic.trainable_variables
        steps = steps_per_epoch * epochs
        updates = -(-steps // settings.critic_steps)
        self._generator_optimizer = adversarial_adam(
            settings, settings.learning_rate, updates, self._generator_variables
        )
        self._critic_optimizer = adversarial_adam(
            settings, settings.critic_learning_rate, steps, self._critic_variables
        )

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update of the critic and one of the generator, as every `critic_steps` steps.

        Args:
            data: images float32 [B, S, S, C] in [-1, 1] and class ids int32 [B].
        """
        logs = self.critic_step(data)
        return logs | self._update_generator(*data)

    def step_function(self) -> Callable[[Any], dict[str, tf.Tensor]]:
        every = self._settings.critic_steps
        if every == 1:
            return super().step_function()
        place = distribution.present()
        both = place.on_replicas(self.compiled_step())
        critic_only = place.on_replicas(self.jitted(self.critic_step))

        def one_step(iterator: Any) -> dict[str, tf.Tensor]:
            batch = next(iterator)
            # Replicas cannot meet inside a branch, so that each branch is a step on all of them.
            tf.cond(
                self.step % every == every - 1,
                lambda: self.means.update_state(both(batch)),
                lambda: self.means.update_state(critic_only(batch)),
            )
            self.step.assign_add(1)
            return self.logs()

        return tf.function(one_step, autograph=False)

    def _fake(self, count: int, use: int) -> tuple[tf.Tensor, tf.Tensor]:
        """About `count` images [B', S, S, C], equally many of each class, and their positions."""
        classes = self._generated.shape[0]
        each = -(-count // classes)
        shape = [classes, each, self.generator.latent_dim]
        noise = distribution.part_drawn(randomness.normal, shape, self.step_seed(use), axis=1)
        images = self.generator(noise, self._generated, training=True)
        return flattened(images), tf.repeat(self._generated, each)

    def _few(self, images: tf.Tensor, count: int) -> tf.Tensor:
        """`count` images of those that `_fake` gave, by turns of the classes.

        The next replica and the next step go on where these end: where a batch has no room for
        equally many of each class, it is not the same classes that get fewer.
        """
        classes, total = self._generated.shape[0], images.shape[0]
        replicas = distribution.count()
        before = tf.cast(self.step, tf.int32) * replicas
        if replicas > 1:
            before += distribution.present().index()
        turns = (tf.range(count) + before % total * count) % total
        return tf.gather(images, turns % classes * (total // classes) + turns // classes)

    def critic_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update of the critic only; arguments as in `train_step`."""
        images, positions = self._real(*data)
        count = images.shape[0]
        fake = self._few(self._fake(count, 0)[0], count)
        with tf.GradientTape() as tape:
            scores, logits = self.critic(tf.concat([images, fake], axis=0), training=True)
            source = self._adversarial.critic(scores[:count], scores[count:])
            classification = losses.class_loss(logits[:count], positions)
            mix = distribution.part_drawn(randomness.uniform, [count], self.step_seed(1))
            penalty = self._adversarial.penalty(
                lambda given: self.critic(given, training=True)[0], images, fake, mix
            )
            loss = source + self._settings.penalty_weight * penalty
            if self._classified:
                loss += classification
            loss += self._protection.critic_loss(self.critic, self.generator, self.step_seed(3))
        # Without classification the class head has no gradient, and Keras variables no zeros.
        gradients = tape.gradient(
            loss,
            [variable.value for variable in self._critic_variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        self._critic_optimizer.apply(gradients, self._critic_variables)
        return {
            "critic_loss": source,
            "penalty": penalty,
            "class_loss": classification,
            "sample_spread": spread(fake),
        }

    def _real(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        positions = tf.gather(self._positions, labels)
        return self._protection.real(images, positions, self.step_seed(2))

    def _update_generator(self, images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        count, real_scores = images.shape[0], None
        if self._adversarial.paired:
            real_scores, _ = self.critic(self._real(images, labels)[0], training=True)
        with tf.GradientTape() as tape:
            fake, positions = self._fake(count, 4)
            scores, logits = self.critic(fake, training=True)
            if real_scores is not None:  # there may be a few more generated images than real ones
                real_scores = tf.gather(real_scores, tf.range(scores.shape[0]) % count)
            source = self._adversarial.generator(real_scores, scores)
            protection = self._protection.generator_loss(
                self.critic, self.generator, self.step_seed(5)
            )
            loss = source + protection
            if self._classified:
                loss += self._settings.class_weight * losses.class_loss(logits, positions)
        gradients = tape.gradient(loss, self._generator_variables)
        self._generator_optimizer.apply(gradients, self._generator_variables)
        return {"generator_loss": source, "protection": protection}


def flattened(groups: tf.Tensor) -> tf.Tensor:
    """Images [K * n, S, S, C] of groups [K, n, S, S, C]."""
    return tf.reshape(groups, [-1, *groups.shape[2:]])
