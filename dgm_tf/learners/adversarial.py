"""Training of one DGM task: generator and critic against each other."""

from typing import Any

import tensorflow as tf

from dgm_tf import distribution, losses, randomness
from dgm_tf.layers.masks import annealed_scales
from dgm_tf.learners.phase import TwoNetworkPhase, adam_of, divisor_up_to, spread
from dgm_tf.networks import Critic, Generator
from dgm_tf.replay import Replay
from dgm_tf.settings import DGMSettings


class AdversarialPhase(TwoNetworkPhase):
    """Generator and critic against each other on one task's images (the paper's Figure 1).

    A step updates the critic `class_updates` times and the generator once. The critic's rate falls
    over all of its updates.

    Args:
        generator: its live task is the one to be learnt.
        critic: with one logit per class seen, the task's own included.
        settings: losses' weights and rates.
        positions: int32 table from data-set class id to position.
        replay: images of old classes; None in the first task.
        steps_per_epoch: B of Eq. 3.
        epochs: I of Eq. 3.
        seed: int32 [2].
    """

    phase = "adversarial"
    logged = (
        "critic_loss",
        "generator_loss",
        "class_loss",
        "penalty",
        "mask_sparsity",
        "sample_spread",
        "old_as_newest",
    )

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
        execution = divisor_up_to(settings.steps_per_execution, steps_per_epoch)
        super().__init__(seed, steps_per_execution=execution, jit_compile=settings.jit_compile)
        self._step = self.jitted(self._update)
        self.generator, self.critic = generator, critic
        self._settings = settings
        self._positions = positions
        self._replay = replay
        self._steps_per_epoch, self._epochs = steps_per_epoch, epochs
        self._generator_variables = generator.learning_variables()
        self._critic_variables = critic.trainable_variables
        self._class_variables = critic.trainable_class_variables()
        # The loss of one class alone is 0, and Adam would still move weights by old moments.
        self._class_updates = settings.class_updates if critic.classes > 1 else 1
        steps = epochs * steps_per_epoch
        self._generator_optimizer = adam_of(
            settings,
            settings.learning_rate,
            steps,
            self._generator_variables,
            shares=generator.rate_shares() if settings.output_follows_width else (),
        )
        self._critic_optimizer = adam_of(
            settings,
            settings.critic_learning_rate,
            steps * self._class_updates,
            self._critic_variables,
        )

    def own_variables(self) -> dict[str, Any]:
        replay = () if self._replay is None else self._replay.variables
        return super().own_variables() | {"replay": replay}

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The critic's updates, then one of the generator.

        Args:
            data: images float32 [B, S, S, C] in [-1, 1] and class ids int32 [B].
        """
        return self._step(*data)

    def _update(self, images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        positions = tf.gather(self._positions, labels)
        epoch_scale, scale = annealed_scales(
            self.step,
            steps_per_epoch=self._steps_per_epoch,
            epochs=self._epochs,
            s_max=self._settings.s_max,
            annealed_epochs=round(self._settings.annealed_share * self._epochs),
        )
        with tf.GradientTape() as tape:
            fake = self._fake(positions, scale)
            with tape.stop_recording():
                logs = self._update_critic(images, positions, fake)
                for again in range(1, self._class_updates):
                    self._update_classes(images, positions, again)
            # The critic has just learnt from these very images; making others would cost a pass.
            terms = self._generator_losses(fake, positions, scale)
        gradients = tape.gradient(terms["loss"], self._generator_variables)
        self._update_generator(gradients, scale, epoch_scale)
        logs["generator_loss"] = terms["generator_loss"]
        logs["mask_sparsity"] = terms["mask_sparsity"]
        logs["sample_spread"] = spread(fake)
        return logs

    def _fake(self, positions: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        shape = [positions.shape[0], self.generator.latent_dim]
        noise = distribution.part_drawn(randomness.normal, shape, self.step_seed(0))
        latent = self.generator.latent(noise, positions, self.critic.classes)
        return self.generator(latent, scale=scale, training=True)

    def _update_critic(
        self, images: tf.Tensor, positions: tf.Tensor, fake: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        groups, replayed = [images, fake], None
        if self._replay is not None:
            old_images, replayed = self._replay.draw(self.step)
            groups.append(old_images)
        logs = {}
        with tf.GradientTape() as tape:
            (real_scores, real_logits), (fake_scores, _), *old = self._criticised(groups)
            source = losses.critic_loss(real_scores, fake_scores)
            classification = losses.class_loss(real_logits, positions)
            if replayed is not None:
                old_logits = old[0][1]
                classification = self._balanced(classification, old_logits, replayed)
                with tape.stop_recording():
                    newest = tf.argmax(old_logits, axis=1, output_type=tf.int32) >= self._known
                    logs["old_as_newest"] = tf.reduce_mean(tf.cast(newest, tf.float32))
            penalty = self._penalty(images, fake)
            loss = source + self._settings.penalty_weight * penalty + classification
        gradients = tape.gradient(loss, self._critic_variables)
        self._critic_optimizer.apply(gradients, self._critic_variables)
        return logs | {"critic_loss": source, "penalty": penalty, "class_loss": classification}

    def _update_classes(self, images: tf.Tensor, positions: tf.Tensor, again: int) -> None:
        """An update of the critic by the classification term alone.

        Args:
            images: as in `train_step`.
            positions: int32 [B].
            again: updates of the step before this one.
        """
        groups, replayed = [images], None
        if self._replay is not None:
            old_images, replayed = self._replay.draw(self.step, again)
            groups.append(old_images)
        with tf.GradientTape() as tape:
            (_, logits), *old = self._criticised(groups)
            loss = losses.class_loss(logits, positions)
            if replayed is not None:
                loss = self._balanced(loss, old[0][1], replayed)
        # The source head has no part in it: a gradient of 0 would move it by its old moments.
        gradients = tape.gradient(loss, self._class_variables)
        self._critic_optimizer.apply(gradients, self._class_variables)

    @property
    def _known(self) -> int:
        return sum(self.generator.finished)

    def _balanced(self, new_loss: tf.Tensor, logits: tf.Tensor, replayed: tf.Tensor) -> tf.Tensor:
        """The loss of the task's classes and that of old ones: every class with the same weight."""
        share = self._known / self.critic.classes
        return new_loss * (1.0 - share) + share * losses.class_loss(logits, replayed)

    def _criticised(self, groups: list[tf.Tensor]) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Scores and logits of each group of images."""
        if self.critic.norm == "batch":  # whose statistics must not mix the groups
            return [self.critic(group, training=True) for group in groups]
        sizes = [group.shape[0] for group in groups]
        scores, logits = self.critic(tf.concat(groups, axis=0), training=True)
        return list(zip(tf.split(scores, sizes), tf.split(logits, sizes), strict=True))

    def _penalty(self, images: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        mix = distribution.part_drawn(randomness.uniform, [images.shape[0]], self.step_seed(1))
        return losses.gradient_penalty(
            lambda mixed: self.critic(mixed, training=True)[0], images, fake, mix
        )

    def _generator_losses(
        self, fake: tf.Tensor, positions: tf.Tensor, scale: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        scores, logits = self.critic(fake, training=True)
        source = losses.generator_loss(scores)
        classification = losses.class_loss(logits, positions)
        sparsity = self.generator.sparsity(scale)
        loss = source + self._settings.class_weight * classification
        loss += self._sparsity_weight() * sparsity
        return {"loss": loss, "generator_loss": source, "mask_sparsity": sparsity}

    def _sparsity_weight(self) -> float:
        """Lambda for the present size.

        Eq. 5 is a mean over what is free, which growth keeps level, and so is its pull on one
        weight; times the size it rises as the network grows.
        """
        settings = self._settings
        size = self.generator.relative_size() if settings.sparsity_follows_size else 1.0
        return settings.sparsity * size

    def _update_generator(
        self, gradients: list[tf.Tensor], scale: tf.Tensor, epoch_scale: tf.Tensor
    ) -> None:
        gradients = self.generator.gated(
            gradients, self._generator_variables, scale=scale, epoch_scale=epoch_scale
        )
        self._generator_optimizer.apply(gradients, self._generator_variables)
        self.generator.clip_embeddings()
