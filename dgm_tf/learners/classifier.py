"""Training of the critic as a classifier, on generated or on real images of all classes."""

from typing import Any

import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from dgm_tf import augmentation, losses
from dgm_tf.learners.phase import Phase, new_adam
from dgm_tf.networks import Critic
from dgm_tf.replay import Replay
from dgm_tf.settings import DGMSettings


class ClassifierPhase(Phase):
    """Cross-entropy on images of all classes; the rate falls to 0 along a half cosine.

    In DGM it follows the adversarial phase as its *consolidation*. While a task is learnt only its
    own classes have real images, and telling real from generated is the critic's trade: it can
    call whatever looks real the newest class. Here every class, the newest included, is seen
    through the generator, so that looking real says nothing about the class.

    Without replay it is joint training, on whatever real images the data set holds.

    Args:
        critic: to be trained, all of it but the source head.
        settings: `consolidation_learning_rate` and `consolidation_real_weight`.
        positions: int32 table from data-set class id to position in order of arrival.
        steps: of the whole phase.
        seed: int32 [2].
        replay: generated images of all classes seen; None to learn from real images alone.
    """

    phase = "consolidation"
    logged = ("classifier_loss", "classifier_accuracy")

    def __init__(
        self,
        critic: Critic,
        settings: DGMSettings,
        *,
        positions: tf.Tensor,
        steps: int,
        seed: tf.Tensor,
        replay: Replay | None = None,
    ):
        super().__init__(seed)
        self.critic = critic
        self._positions = positions
        self._replay = replay
        self._real_weight = settings.consolidation_real_weight if replay else 1.0
        source = {id(variable) for variable in critic.source_head.trainable_variables}
        self._variables = [v for v in critic.trainable_variables if id(v) not in source]
        rate = CosineDecay(settings.consolidation_learning_rate, steps)
        self._optimizer = new_adam(rate, self._variables)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update.

        Args:
            data: real images float32 [B, S, S, C] in [-1, 1] and class ids int32 [B]; not looked
                at where real images have no weight.
        """
        images, positions, weights = self._examples(data)
        images = augmentation.distorted(images, self.step_seed(0))
        with tf.GradientTape() as tape:
            _, logits = self.critic(images, training=True)
            loss = losses.class_loss(logits, positions, weights)
        self._optimizer.apply(tape.gradient(loss, self._variables), self._variables)
        self.step.assign_add(1)
        hits = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == positions, tf.float32)
        return self.log(classifier_loss=loss, classifier_accuracy=tf.reduce_mean(hits))

    def _examples(self, data: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Images, class positions and weights of one step."""
        if self._replay is None:
            return self._real(data)
        images, positions = self._replay.draw(self.step)
        weights = tf.ones([images.shape[0]])
        if not self._real_weight:
            return images, positions, weights
        real, newest, real_weights = self._real(data)
        return (
            tf.concat([images, real], axis=0),
            tf.concat([positions, newest], axis=0),
            tf.concat([weights, real_weights / self.critic.classes], axis=0),
        )

    def _real(self, data: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images, labels = data
        weights = tf.fill([labels.shape[0]], self._real_weight)
        return images, tf.gather(self._positions, labels), weights
