"""Memory replay GANs: joint training on replayed images (JTR) and replay alignment (RA).

Wu et al., *Memory Replay GANs: learning to generate images from new categories without
forgetting* (NeurIPS 2018). Both keep the generator as it was before the task.
"""

import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution
from dgm_tf.learners import losses
from dgm_tf.learners.gan_phase import Protection, flattened
from dgm_tf.learners.shared_gan import SharedGANLearner, frozen
from dgm_tf.networks import ConditionalGenerator, Critic


class OldImages:
    """Images of the old classes by the old generator and by the present one, of the same noise.

    Args:
        old: the generator before the task, of the old classes.
        batch: images in all; at least one per class is made.
    """

    def __init__(self, old: ConditionalGenerator, batch: int):
        self._old = frozen(old)
        self.classes = old.classes
        self._wanted = max(1, batch // old.classes)

    @property
    def _each(self) -> int:
        return distribution.per_replica(self._wanted)

    @property
    def scale(self) -> float:
        """Factor from a sum over a replica's images of a class to one over all replicas."""
        return self._wanted / self._each

    @property
    def positions(self) -> tf.Tensor:
        """The class of each image, int32 [K * n]."""
        return tf.repeat(tf.range(self.classes), self._each)

    def pair(self, generator: ConditionalGenerator, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Old and present images float32 [K, n, S, S, C] of the K old classes."""
        shape = [self.classes, self._each, generator.latent_dim]
        noise = distribution.part_drawn(randomness.normal, shape, seed, axis=1)
        positions = tf.range(self.classes)
        old = self._old(noise, positions, training=True)
        return tf.stop_gradient(old), generator(noise, positions, training=True)


class JointReplay(Protection):
    """Old classes are trained on as if the old generator's images were real, summed over classes.

    Critic: `+ E[D(G(z, c))] - E[D(G_old(z, c))] + CE(c | G_old(z, c))`; generator:
    `- E[D(G(z, c))] + class_weight CE(c | G(z, c))`, the same z through both. No gradient penalty.
    """

    def __init__(self, images: OldImages, adversarial: losses.AdversarialLoss, class_weight: float):
        self._images = images
        self._adversarial = adversarial
        self._class_weight = class_weight

    def critic_loss(
        self, critic: Critic, generator: ConditionalGenerator, seed: tf.Tensor
    ) -> tf.Tensor:
        old, new = self._images.pair(generator, seed)
        old_scores, old_logits = critic(flattened(old), training=True)
        new_scores, _ = critic(flattened(tf.stop_gradient(new)), training=True)
        loss = self._adversarial.critic(old_scores, new_scores)
        loss += losses.class_loss(old_logits, self._images.positions)
        return self._images.classes * loss

    def generator_loss(
        self, critic: Critic, generator: ConditionalGenerator, seed: tf.Tensor
    ) -> tf.Tensor:
        old, new = self._images.pair(generator, seed)
        scores, logits = critic(flattened(new), training=True)
        old_scores = None
        if self._adversarial.paired:
            old_scores = tf.stop_gradient(critic(flattened(old), training=True)[0])
        loss = self._adversarial.generator(old_scores, scores)
        loss += self._class_weight * losses.class_loss(logits, self._images.positions)
        return self._images.classes * loss


class Alignment(Protection):
    """The generator is held to draw old classes as the old one did, pixel by pixel.

    `weight * mean over old classes of 0.5 sum (G_old(z, c) - G(z, c))^2`, the sum over the class's
    images and pixels. The critic sees only the new classes.
    """

    def __init__(self, images: OldImages, weight: float):
        self._images = images
        self._weight = weight

    def generator_loss(
        self, critic: Critic, generator: ConditionalGenerator, seed: tf.Tensor
    ) -> tf.Tensor:
        old, new = self._images.pair(generator, seed)
        weight = self._weight * self._images.scale
        return weight * 0.5 * tf.reduce_sum(tf.square(old - new)) / self._images.classes


class MeRGANJTR(SharedGANLearner):
    """Memory replay GAN with joint training on replayed images (Wu et al. 2018).

    Args:
        settings: all settings; None for those of data without a preset.
        **changes: settings that replace those, by name, and `classifier`, a function that makes the
            classifier; see `dgm_tf.DGM`.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.MeRGANJTR.from_preset("digits", epochs=1, consolidation_steps=4)  # a trial
        for task in stream.tasks(last=2):
            model.learn(task)
        images = model.generate([0, 1])
        ```
    """

    method = "mergan_jtr"

    def protection(self, task: Task) -> Protection:
        if not self.settings.replay_batch:
            return Protection()
        settings = self.settings
        adversarial = losses.ADVERSARIAL[settings.details.adversarial_loss]
        images = OldImages(self.generator, settings.replay_batch)
        return JointReplay(images, adversarial, settings.class_weight)


class MeRGANRA(SharedGANLearner):
    """Memory replay GAN with replay alignment (Wu et al. 2018).

    Args:
        settings: all settings; None for those of data without a preset.
        **changes: settings that replace those, by name, and `classifier`, a function that makes the
            classifier; see `dgm_tf.DGM`.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.MeRGANRA.from_preset("digits", epochs=1, consolidation_steps=4)  # a trial
        for task in stream.tasks(last=2):
            model.learn(task)
        images = model.generate([0, 1])
        ```
    """

    method = "mergan_ra"

    def protection(self, task: Task) -> Protection:
        if not self.settings.replay_batch:
            return Protection()
        images = OldImages(self.generator, self.settings.replay_batch)
        return Alignment(images, self.settings.alignment)
