"""Training of the critic as a classifier, on generated or on real images of all classes."""

from typing import Any

import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from dgm_tf import augmentation, losses
from dgm_tf.learners.phase import Phase, new_adam
from dgm_tf.networks import Critic
from dgm_tf.replay import Replay
from dgm_tf.settings import LearnerSettings


class ClassifierPhase(Phase):
    """Cross-entropy on images of all classes; the rate falls to 0 along a half cosine.

    In DGM it follows the adversarial phase as its *consolidation*. While a task is learnt only its
    own classes have real images, and telling real from generated is the critic's trade: it can
    call whatever looks real the newest class. Here every class, the newest included, is seen
    through the generator, so that looking real says nothing about the class.

    Without replay it is joint training, on whatever real images the data set holds.

    Args:
        critic: to be trained, all of it but the source head.
        settings: `consolidation_learning_rate`, `color_jitter` and `inverted_share`.
        positions: int32 table from data-set class id to position in order of arrival.
        steps: of the whole phase.
        seed: int32 [2].
        replay: generated images; None to learn from real images alone.
        real_share: share of the real images in the loss where there is replay, 0 to 1.
    """

    phase = "consolidation"
    logged = ("classifier_loss", "classifier_accuracy")

    def __init__(
        self,
        critic: Critic,
        settings: LearnerSettings,
        *,
        positions: tf.Tensor,
        steps: int,
        seed: tf.Tensor,
        replay: Replay | None = None,
        real_share: float = 0.0,
    ):
        super().__init__(seed, jit_compile=settings.jit_compile)
        self.critic = critic
        self._positions = positions
        self._replay = replay
        self._jitter, self._inverted_share = settings.color_jitter, settings.inverted_share
        self._real_share = 1.0 if replay is None else real_share
        source = {id(variable) for variable in critic.source_head.trainable_variables}
        self._variables = [v for v in critic.trainable_variables if id(v) not in source]
        rate = CosineDecay(settings.consolidation_learning_rate, steps)
        self._optimizer = new_adam(rate, self._variables)
        # XLA has no way of turning images.
        self._step = self.jitted(self._update)

    def networks(self) -> dict[str, Any]:
        return {"critic": self.critic}

    def own_variables(self) -> dict[str, Any]:
        return super().own_variables() | {
            "optimizer": self._optimizer.variables,
            "replay": () if self._replay is None else self._replay.variables,
        }

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update.

        Args:
            data: real images float32 [B, S, S, C] in [-1, 1] and class ids int32 [B]; not looked
                at where real images have no weight.
        """
        images, positions, weights = self._examples(data)
        images = augmentation.distorted(images, self.step_seed(0))
        if self._jitter or self._inverted_share:
            images = augmentation.recoloured(
                images,
                self.step_seed(1),
                jitter=self._jitter,
                inverted_share=self._inverted_share,
            )
        return self._step(images, positions, weights)

    def _update(
        self, images: tf.Tensor, positions: tf.Tensor, weights: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            _, logits = self.critic(images, training=True)
            loss = losses.class_loss(logits, positions, weights)
        self._optimizer.apply(tape.gradient(loss, self._variables), self._variables)
        hits = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == positions, tf.float32)
        return {"classifier_loss": loss, "classifier_accuracy": tf.reduce_mean(hits)}

    def _examples(self, data: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Images, class positions and weights of one step."""
        groups = []
        if self._replay is not None:
            groups.append((*self._replay.draw(self.step), 1.0 - self._real_share))
        if self._real_share:
            images, labels = data
            groups.append((images, tf.gather(self._positions, labels), self._real_share))
        images, positions, shares = zip(*groups, strict=True)
        weights = [
            tf.fill([part.shape[0]], share / part.shape[0])
            for part, share in zip(positions, shares, strict=True)
        ]
        return tf.concat(images, 0), tf.concat(positions, 0), tf.concat(weights, 0)
