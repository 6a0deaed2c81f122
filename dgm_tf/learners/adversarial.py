"""Training of one DGM task: generator and critic against each other."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.devices import distribution
from dgm_tf.layers.masks import annealed_scales
from dgm_tf.learners import losses
from dgm_tf.learners.phase import TwoNetworkPhase, adversarial_adam, spread
from dgm_tf.methods.settings import DGMSettings
from dgm_tf.networks import Critic, Generator
from dgm_tf.networks.replay import Replay


class AdversarialPhase(TwoNetworkPhase):
    """Generator and critic against each other on one task's images (the paper's Figure 1).

    Args:
        generator: its live task is the one to be learnt.
        critic: with one logit per class seen, the task's own included.
        settings: losses' weights and rates.
        positions: int32 table from data-set class id to position.
        replay: images of old classes; None in the first task.
        steps_per_epoch: B of Eq. 3.
        epochs: passes over the images; I of Eq. 3 is the recipe's `annealed_fraction` of them.
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
        without = () if replay is not None else ("old_as_newest",)
        super().__init__(seed, jit_compile=settings.jit_compile, without=without)
        self.generator, self.critic = generator, critic
        self._settings = settings
        self._positions = positions
        self._replay = replay
        self._known = sum(generator.finished)  # classes of finished tasks
        self._adversarial = losses.ADVERSARIAL[settings.details.adversarial_loss]
        annealed = settings.details.annealed_fraction * epochs
        self._annealing = {
            "steps_per_epoch": steps_per_epoch,
            "epochs": epochs,
            "s_max": settings.s_max,
            # One at least, where any are: at a steepness of s_max masks hardly move.
            "annealed_epochs": max(1, round(annealed)) if annealed else 0,
        }
        # Eq. 5 is a mean over what is free, which growth keeps level, and so is its pull on one
        # weight; times the size it rises as the network grows.
        self._sparsity_weight = settings.sparsity * generator.relative_size()
        self._free = generator.free()
        self._generator_variables = generator.learning_variables()
        steps = epochs * steps_per_epoch
        self._generator_optimizer = adversarial_adam(
            settings, settings.learning_rate, steps, self._generator_variables
        )
        self._critic_optimizer = adversarial_adam(
            settings, settings.critic_learning_rate, steps, critic.trainable_variables
        )

    def before_step(self, step: int) -> None:
        if self._replay is not None:
            self._replay.refresh(step)

    def own_variables(self) -> Mapping[str, Sequence[Any]]:
        replay = () if self._replay is None else self._replay.variables
        return {**super().own_variables(), "replay": replay}

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update of the critic, then one of the generator by the critic it has become.

        Args:
            data: images float32 [B, S, S, C] in [-1, 1] and class ids int32 [B].
        """
        images, labels = data
        positions = tf.gather(self._positions, labels)
        s_max_i, scale = annealed_scales(self.step, **self._annealing)
        masks = self.generator.soft_masks(scale)
        with tf.GradientTape() as tape:
            tape.watch(masks)
            fake = self._fake(positions, masks)
            with tape.stop_recording():
                logs = self._update_critic(images, positions, fake)
            # The critic has just learnt from these very images; making others would cost a pass.
            terms = self._generator_losses(images, fake, positions, masks)
        gradients = tape.gradient(terms["loss"], self.generator.differentiated(masks))
        gradients = self.generator.gated(gradients, masks, s_max_i=s_max_i)
        self._generator_optimizer.apply(gradients, self._generator_variables)
        self.generator.clip_embeddings()
        logs["generator_loss"] = terms["generator_loss"]
        logs["mask_sparsity"] = terms["mask_sparsity"]
        logs["sample_spread"] = spread(fake)
        return logs

    def _fake(self, positions: tf.Tensor, masks: Sequence[tf.Tensor]) -> tf.Tensor:
        shape = [positions.shape[0], self.generator.latent_dim]
        noise = distribution.part_drawn(randomness.normal, shape, self.step_seed(0))
        own = self.critic.classes - self._known
        latent = self.generator.latent(noise, positions - self._known, own)
        return self.generator(latent, masks=masks, training=True)

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
            source = self._adversarial.critic(real_scores, fake_scores)
            classification = losses.class_loss(real_logits, positions)
            if replayed is not None:
                old_logits = old[0][1]
                classification = self._balanced(classification, old_logits, replayed)
                with tape.stop_recording():
                    newest = tf.argmax(old_logits, axis=1, output_type=tf.int32) >= self._known
                    logs["old_as_newest"] = tf.reduce_mean(tf.cast(newest, tf.float32))
            penalty = self._penalty(images, fake)
            loss = source + self._settings.penalty_weight * penalty + classification
        variables = self.critic.trainable_variables
        self._critic_optimizer.apply(tape.gradient(loss, variables), variables)
        return logs | {"critic_loss": source, "penalty": penalty, "class_loss": classification}

    def _balanced(self, new_loss: tf.Tensor, logits: tf.Tensor, replayed: tf.Tensor) -> tf.Tensor:
        """The loss of the task's classes and that of old ones, weighted by their numbers."""
        weight = self._known / self.critic.classes
        return new_loss * (1.0 - weight) + weight * losses.class_loss(logits, replayed)

    def _criticised(self, groups: list[tf.Tensor]) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Scores and logits of each group of images."""
        if self.critic.norm == "batch":  # whose statistics must not mix the groups
            return [self.critic(group, training=True) for group in groups]
        sizes = [group.shape[0] for group in groups]
        scores, logits = self.critic(tf.concat(groups, axis=0), training=True)
        return list(zip(tf.split(scores, sizes), tf.split(logits, sizes), strict=True))

    def _penalty(self, images: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        def scores(given: tf.Tensor) -> tf.Tensor:
            return self.critic(given, training=True)[0]

        count = math.ceil(self._settings.penalty_fraction * images.shape[0])
        if not count:
            return tf.constant(0.0)
        mix = distribution.part_drawn(randomness.uniform, [count], self.step_seed(1))
        return self._adversarial.penalty(scores, images, fake, mix)

    def _generator_losses(
        self,
        images: tf.Tensor,
        fake: tf.Tensor,
        positions: tf.Tensor,
        masks: Sequence[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        scores, logits = self.critic(fake, training=True)
        real_scores = None
        if self._adversarial.paired:
            real_scores = tf.stop_gradient(self.critic(images, training=True)[0])
        source = self._adversarial.generator(real_scores, scores)
        classification = losses.class_loss(logits, positions)
        sparsity = self.generator.taken(masks) / self._free
        loss = source + self._settings.class_weight * classification
        loss += self._sparsity_weight * sparsity
        return {"loss": loss, "generator_loss": source, "mask_sparsity": sparsity}
