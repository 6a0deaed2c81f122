"""Training of the critic as a classifier, on generated or on real images of all classes."""

from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from dgm_tf import augmentation, losses
from dgm_tf.learners.phase import Phase, new_adam
from dgm_tf.networks import Critic
from dgm_tf.replay import Replay
from dgm_tf.settings import LearnerSettings


class WeightMean:
    """A running mean of weights over the steps of their training (Polyak & Juditsky 1992).

    After step t it is `sum_i decay^(t-i) w_i / sum_i decay^(t-i)`, i = 1..t: the weights before
    the first step have no part in it. A plain exponential mean, such as Keras' optimizers keep,
    begins with `w_1`, whose weight `decay^(t-1)` is a third after 200 steps at a decay of 0.995.

    Args:
        weights: float32; of batch norm its statistics, too, which belong to the weights below.
        decay: above 0 and below 1.

    Attributes:
        variables: the mean, in the order of the weights.
    """

    def __init__(self, weights: list[keras.Variable], decay: float):
        self._weights, self._decay = weights, decay
        self.variables = tuple(
            tf.Variable(tf.zeros(weight.shape), trainable=False) for weight in weights
        )

    def update(self, step: tf.Tensor) -> None:
        """Takes in the weights after a step, on all replicas at once.

        Args:
            step: integer scalar, how many there have been, this one included.
        """
        # In float64: 1 - decay has few digits left.
        faded = tf.pow(tf.constant(self._decay, tf.float64), tf.cast(step, tf.float64))
        share = tf.cast((1.0 - self._decay) / (1.0 - faded), tf.float32)
        for mean, weight in zip(self.variables, self._weights, strict=True):
            mean.assign_add(share * (weight.value - mean))

    def take_place(self) -> None:
        """Gives the weights the mean's values."""
        for mean, weight in zip(self.variables, self._weights, strict=True):
            weight.assign(mean)


class ClassifierPhase(Phase):
    """Cross-entropy on images of all classes; the rate falls to 0 along a half cosine.

    In DGM it follows the adversarial phase as its *consolidation*. While a task is learnt only its
    own classes have real images, and telling real from generated is the critic's trade: it can
    call whatever looks real the newest class. Here every class, the newest included, is seen
    through the generator, so that looking real says nothing about the class.

    Without replay it is joint training, on whatever real images the data set holds.

    A teacher, the classifier of the task before, has seen real images of the classes that came
    last then, and its judgement of a generated image says more than the image's class: learning
    from it hands on what real images have taught (van de Ven & Tolias 2018).

    With `classifier_average` it leaves a running mean of the weights behind, not the last ones.

    Args:
        critic: to be trained, all of it but the source head.
        settings: `consolidation_learning_rate`, `classifier_average`, `color_jitter` and
            `inverted_share`; with a teacher `distillation_share` and `distillation_temperature`.
        positions: int32 table from data-set class id to position in order of arrival.
        steps: of the whole phase.
        seed: int32 [2].
        replay: generated images; None to learn from real images alone.
        real_share: share of the real images in the loss where there is replay, 0 to 1.
        own_share: instead of that, their share in the loss of their own classes, 0 to 1, so that
            every class keeps its weight.
        margin_share: share of the replayed images that get margins of real ones, 0 to 1; see
            `dgm_tf.augmentation.with_real_margins`.
        known: classes learnt before the real images'.
        teacher: a classifier of the first classes; not changed.
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
        own_share: float = 0.0,
        margin_share: float = 0.0,
        known: int = 0,
        teacher: Critic | None = None,
    ):
        super().__init__(seed, jit_compile=settings.jit_compile)
        self.critic = critic
        self._positions = positions
        self._replay = replay
        self._jitter, self._inverted_share = settings.color_jitter, settings.inverted_share
        self._own_share, self._known = own_share, known
        if own_share:
            real_share = own_share * (critic.classes - known) / critic.classes
        self._real_share = 1.0 if replay is None else real_share
        self._margin_share = 0.0 if replay is None else margin_share
        self._teacher = teacher
        if teacher is not None:
            self._teaching = {
                "share": settings.distillation_share,
                "temperature": settings.distillation_temperature,
            }
        self._variables = critic.trainable_class_variables()
        rate = CosineDecay(settings.consolidation_learning_rate, steps)
        self._optimizer = new_adam(rate, self._variables)
        self._mean = None
        if settings.classifier_average:
            self._mean = WeightMean(critic.class_variables(), settings.classifier_average)
        # XLA has no way of turning images.
        self._step = self.jitted(self._update)

    def networks(self) -> dict[str, Any]:
        return {"critic": self.critic}

    def own_variables(self) -> dict[str, Any]:
        return super().own_variables() | {
            "optimizer": self._optimizer.variables,
            "replay": () if self._replay is None else self._replay.variables,
            "mean": () if self._mean is None else self._mean.variables,
        }

    def take_step(self, batch: Any) -> None:
        super().take_step(batch)
        if self._mean is not None:
            self._mean.update(self.step)

    def conclude(self) -> None:
        if self._mean is not None:
            self._mean.take_place()

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update.

        Args:
            data: real images float32 [B, S, S, C] in [-1, 1] and class ids int32 [B]; not looked
                at where they have neither weight nor margins to give.
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
        if self._margin_share:
            images = augmentation.with_real_margins(
                images, self.step_seed(2), real=data[1].shape[0], share=self._margin_share
            )
        return self._step(images, positions, weights)

    def _update(
        self, images: tf.Tensor, positions: tf.Tensor, weights: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        taught = None if self._teacher is None else self._teacher.class_logits(images)
        with tf.GradientTape() as tape:
            _, logits = self.critic(images, training=True)
            if taught is None:
                loss = losses.class_loss(logits, positions, weights)
            else:
                loss = losses.taught_class_loss(
                    logits, positions, weights, taught=taught, **self._teaching
                )
        self._optimizer.apply(tape.gradient(loss, self._variables), self._variables)
        hits = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == positions, tf.float32)
        return {"classifier_loss": loss, "classifier_accuracy": tf.reduce_mean(hits)}

    def _examples(self, data: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Images, class positions and weights of one step."""
        groups = []
        if self._replay is not None:
            drawn, positions = self._replay.draw(self.step)
            count = positions.shape[0]
            weights = tf.fill([count], (1.0 if self._own_share else 1.0 - self._real_share) / count)
            if self._own_share:  # which the generated images of the same classes make room for
                weights *= tf.where(positions < self._known, 1.0, 1.0 - self._own_share)
            groups.append((drawn, positions, weights))
        if self._real_share or self._margin_share:
            images, labels = data
            weights = tf.fill([labels.shape[0]], self._real_share / labels.shape[0])
            groups.append((images, tf.gather(self._positions, labels), weights))
        images, positions, weights = zip(*groups, strict=True)
        return tf.concat(images, 0), tf.concat(positions, 0), tf.concat(weights, 0)
