"""Training of a classifier, on generated or on real images of all classes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from dgm_tf.data import augmentation
from dgm_tf.learners import losses
from dgm_tf.learners.phase import Phase, new_adam
from dgm_tf.methods.settings import LearnerSettings
from dgm_tf.networks import Critic, OwnClassifier
from dgm_tf.networks.replay import Replay

CONSOLIDATION_BATCH = 128  # generated images in a step; real ones in joint training

_TEMPERATURE = 2.0  # of distillation
# Fraction of images, by augmentation that varies the light.
_INVERTED = {"light": 0.0, "photo": 0.5, "light+mirror": 0.0}
_MIRRORS = ("mirror", "light+mirror")


@dataclasses.dataclass(frozen=True)
class ConsolidationImages:
    """The images of a consolidation step and what they weigh.

    Attributes:
        replay: generated images.
        known: number of classes learnt before the real images' classes.
        real_weight: weight of real images in the whole loss, 0 to 1.
        weight_in_class: instead of that, their weight in the loss of their own classes, 0 to 1;
            generated images of these classes have the rest. Together these classes weigh as much as
            so many others; among them real images weigh by their number.
        margins: fraction of the generated images that get margins of real ones, 0 to 1; see
            `dgm_tf.data.augmentation.with_real_margins`.
    """

    replay: Replay
    known: int = 0
    real_weight: float = 0.0
    weight_in_class: float = 0.0
    margins: float = 0.0

    @property
    def needs_real(self) -> bool:
        """True if a step looks at real images."""
        return bool(self.real_weight or self.weight_in_class or self.margins)


class ClassifierPhase(Phase):
    """Cross-entropy on images of all classes; the rate falls to 0 along a half cosine.

    In DGM it follows the adversarial phase as its *consolidation*. While a task is learnt only its
    own classes have real images, and telling real from generated is the critic's trade: it can
    call whatever looks real the newest class. Here the newest classes, too, are seen through the
    generator, with all of their weight (recipe `paper`) or with half of it (`tuned`), so that
    looking real says less about the class.

    Without `images` it is joint training, on whatever real images the data set holds.

    A teacher, the classifier of the task before, has seen real images of the classes that came
    last then, and its judgement of a generated image says more than the image's class: distillation
    hands on what real images have taught (van de Ven & Tolias 2018).

    Args:
        classifier: trained in place, all but its source head.
        settings: of the learner.
        positions: int32 table from data-set class id to position in order of arrival.
        steps: of the whole phase.
        seed: int32 [2].
        images: generated images and weights; None to learn from real images only.
        teacher: a classifier of the first classes; not changed.
    """

    phase = "consolidation"
    logged = ("classifier_loss", "classifier_accuracy")

    def __init__(
        self,
        classifier: Critic | OwnClassifier,
        settings: LearnerSettings,
        *,
        positions: tf.Tensor,
        steps: int,
        seed: tf.Tensor,
        images: ConsolidationImages | None = None,
        teacher: Critic | OwnClassifier | None = None,
    ):
        super().__init__(seed, jit_compile=settings.jit_compile)
        self.classifier = classifier
        self._positions = positions
        self._images = images
        self._augmentation = settings.augmentation
        self._teacher = teacher
        self._distillation_weight = settings.details.distillation_weight
        self._variables = classifier.trainable_class_variables()
        rate = CosineDecay(settings.details.consolidation_learning_rate, steps)
        self._optimizer = new_adam(rate, self._variables)
        # XLA has no way of rotating images.
        self._step = self.jitted(self._update)

    def run(self, batches: Any, **plan: Any) -> dict[str, list[float]]:
        """As `Phase.run`; with one class, whose loss is 0 whatever it says, no step is taken."""
        return super().run(batches, **plan) if self.classifier.classes > 1 else {}

    def networks(self) -> Mapping[str, Any]:
        return {"classifier": self.classifier}

    def before_step(self, step: int) -> None:
        if self._images is not None:
            self._images.replay.refresh(step)

    def own_variables(self) -> Mapping[str, Sequence[Any]]:
        return {
            **super().own_variables(),
            "optimizer": self._optimizer.variables,
            "classifier": self.classifier.random_variables(),
            "replay": () if self._images is None else self._images.replay.variables,
        }

    def compiled_step(self) -> Any:
        return self.train_step

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One update.

        Args:
            data: real images float32 [B, S, S, C] in [-1, 1] and class ids int32 [B]; not looked
                at where they have neither weight nor margins to give.
        """
        images, positions, weights = self._examples(data)
        images = augmentation.distorted(images, self.step_seed(0))
        if (inverted := _INVERTED.get(self._augmentation)) is not None:
            images = augmentation.recoloured(images, self.step_seed(1), inverted=inverted)
        if self._augmentation in _MIRRORS:
            images = augmentation.mirrored(images, self.step_seed(3))
        if self._images is not None and self._images.margins:
            images = augmentation.with_real_margins(
                images,
                self.step_seed(2),
                real=data[1].shape[0],
                fraction=self._images.margins,
            )
        real = self._images is None or self._images.needs_real
        return self._step(images, positions, weights, data[1].shape[0] if real else 0)

    def _update(
        self, images: tf.Tensor, positions: tf.Tensor, weights: tf.Tensor, real: int
    ) -> dict[str, tf.Tensor]:
        teacher_logits = None if self._teacher is None else self._judged(images, real)
        with tf.GradientTape() as tape:
            logits = self.classifier.class_logits(images, training=True)
            if teacher_logits is None:
                loss = losses.class_loss(logits, positions, weights)
            else:
                loss = losses.distillation_loss(
                    logits,
                    positions,
                    weights,
                    teacher_logits=teacher_logits,
                    weight=self._distillation_weight,
                    temperature=_TEMPERATURE,
                )
            for added in self.classifier.losses:  # by its own layers, such as regularisation
                loss += added
        # A layer of one's own may leave a weight out, and Keras variables have no zeros.
        gradients = tape.gradient(
            loss,
            [variable.value for variable in self._variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        self._optimizer.apply(gradients, self._variables)
        hits = tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == positions, tf.float32)
        return {"classifier_loss": loss, "classifier_accuracy": tf.reduce_mean(hits)}

    def _judged(self, images: tf.Tensor, real: int) -> tf.Tensor:
        """The teacher's logits; 0 for real images, the last ones, whose classes are new to it."""
        generated = images.shape[0] - real
        return tf.pad(self._teacher.class_logits(images[:generated]), [[0, real], [0, 0]])

    def _examples(self, data: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Images, class positions and weights of one step, the real ones last."""
        if self._images is None:
            return self._real(data, 1.0)
        generated, real_weight = self._generated(), self._images.real_weight
        if own := self._images.weight_in_class:
            classes = self.classifier.classes
            real_weight = own * (classes - self._images.known) / classes
        if not self._images.needs_real:
            return generated
        groups = zip(generated, self._real(data, real_weight), strict=True)
        images, positions, weights = (tf.concat(group, 0) for group in groups)
        return images, positions, weights

    def _real(self, data: Any, weight: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images, labels = data
        weights = tf.fill([labels.shape[0]], weight / labels.shape[0])
        return images, tf.gather(self._positions, labels), weights

    def _generated(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        plan = self._images
        images, positions = plan.replay.draw(self.step)
        count = positions.shape[0]
        whole = 1.0 if plan.weight_in_class else 1.0 - plan.real_weight
        weights = tf.fill([count], whole / count)
        if plan.weight_in_class:  # which the generated images of the same classes make room for
            weights *= tf.where(positions < plan.known, 1.0, 1.0 - plan.weight_in_class)
        return images, positions, weights
