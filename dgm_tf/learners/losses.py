"""Losses as pure functions of scores, logits and images; float32 scalars."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

_TINY = 1e-12


class AdversarialLoss(NamedTuple):
    """What a generator and a critic play for.

    Attributes:
        critic: the critic's loss, of real and of generated images' scores, each float32 [B].
        generator: the generator's loss; arguments as the critic's. Real scores are None unless
            `paired`.
        penalty: what keeps the critic smooth. Takes a function from images [B, H, W, C] to scores
            [B], real and generated images float32 [B, H, W, C], and uniform numbers float32 [n] in
            [0, 1]. It looks at n images, n at most B.
        paired: whether the generator's loss looks at real scores.
    """

    critic: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    generator: Callable[[tf.Tensor | None, tf.Tensor], tf.Tensor]
    penalty: Callable[..., tf.Tensor]
    paired: bool


def wasserstein_critic(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """`E[D(fake)] - E[D(real)]`; scores float32 [B]."""
    return tf.reduce_mean(fake_scores) - tf.reduce_mean(real_scores)


def wasserstein_generator(real_scores: tf.Tensor | None, fake_scores: tf.Tensor) -> tf.Tensor:
    """`-E[D(fake)]`; scores float32 [B]."""
    del real_scores
    return -tf.reduce_mean(fake_scores)


def relativistic_critic(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """Critic of a relativistic pairing GAN, `E[softplus(D(fake) - D(real))]`.

    Only the difference between a real and a generated image counts (Jolicoeur-Martineau 2019). So
    leaving out a part of the real images costs the generator something wherever they are, and not
    only where the critic puts its threshold (Sun et al. 2020; Huang et al. 2024).

    Args:
        real_scores: float32 [B].
        fake_scores: float32 [B]; an image is paired with the real one of its row.
    """
    return tf.reduce_mean(tf.nn.softplus(fake_scores - real_scores))


def relativistic_generator(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """Generator of the same GAN, `E[softplus(D(real) - D(fake))]`; arguments as the critic's."""
    return relativistic_critic(fake_scores, real_scores)


def zero_centred_penalty(
    critic_scores: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    mix: tf.Tensor,
) -> tf.Tensor:
    """`E[||grad D(x)||^2]` at as many real as generated images: the mean of R1 and R2.

    A critic must be flat where the images are (Mescheder et al. 2018).

    Args:
        critic_scores: images [B, H, W, C] -> scores [B].
        real: float32 [B, H, W, C].
        fake: the same shape.
        mix: float32 [n]; half of n, rounded up, is the number of images of each kind.
    """
    count = -(-mix.shape[0] // 2)
    images = tf.concat([real[:count], fake[:count]], axis=0)
    return tf.reduce_mean(_squared_gradient_norms(critic_scores, images))


def gradient_penalty(
    critic_scores: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    mix: tf.Tensor,
) -> tf.Tensor:
    """`E[(||grad D(x)|| - 1)^2]` on images between real and generated (Gulrajani et al. 2017).

    Args:
        critic_scores: images [B, H, W, C] -> scores [B].
        real: float32 [B, H, W, C].
        fake: the same shape.
        mix: interpolation factor float32 [n] in [0, 1] of each of the first n images.
    """
    count = mix.shape[0]
    mix = mix[:, None, None, None]
    squares = _squared_gradient_norms(
        critic_scores, mix * real[:count] + (1.0 - mix) * fake[:count]
    )
    # The root's slope at 0 is infinite: a critic that ignores its input would give NaN.
    return tf.reduce_mean(tf.square(tf.sqrt(squares + _TINY) - 1.0))


ADVERSARIAL = {
    "wasserstein": AdversarialLoss(
        wasserstein_critic, wasserstein_generator, gradient_penalty, paired=False
    ),
    "relativistic": AdversarialLoss(
        relativistic_critic, relativistic_generator, zero_centred_penalty, paired=True
    ),
}


def _squared_gradient_norms(
    critic_scores: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tf.Tensor:
    """`||grad D(x)||^2` of each image, the norm over all pixels and channels; float32 [B]."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        scores = critic_scores(images)
    return tf.reduce_sum(tf.square(tape.gradient(scores, images)), axis=[1, 2, 3])


def class_loss(
    logits: tf.Tensor, positions: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Mean cross-entropy.

    Args:
        logits: float32 [B, classes].
        positions: int32 [B] in [0, classes).
        weights: float32 [B], the mean is then `sum(w l) / sum(w)`.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(positions, logits)
    return tf.reduce_mean(losses) if weights is None else weighted_mean(losses, weights)


def distillation_loss(
    logits: tf.Tensor,
    positions: tf.Tensor,
    weights: tf.Tensor,
    *,
    teacher_logits: tf.Tensor,
    weight: float,
    temperature: float,
) -> tf.Tensor:
    """Weighted mean cross-entropy in which an earlier classifier has its say on its own classes.

    For an image of a class that the teacher knows, with p its and q the present probabilities,

        (1 - weight) (-log q_label) + weight (-T^2 sum_k p_k(T) log q_k(T) - log q(old classes))

    where p(T) and q(T) are softened by T among the old classes (Hinton et al. 2015). The last term
    keeps the image from the new classes, of which the teacher can say nothing.

    Args:
        logits: float32 [B, classes].
        positions: int32 [B] in [0, classes).
        weights: float32 [B].
        teacher_logits: the teacher's logits float32 [B, old], of the first classes.
        weight: of the teacher's term, 0 to 1.
        temperature: T, at least 1.
    """
    known = teacher_logits.shape[1]
    old = logits[:, :known]
    soft = tf.nn.softmax_cross_entropy_with_logits(
        tf.nn.softmax(teacher_logits / temperature), old / temperature
    )
    outside = tf.reduce_logsumexp(logits, axis=1) - tf.reduce_logsumexp(old, axis=1)
    labelled = tf.nn.sparse_softmax_cross_entropy_with_logits(positions, logits)
    of_teacher = tf.where(positions < known, weight, 0.0)
    losses = (1.0 - of_teacher) * labelled + of_teacher * (temperature**2 * soft + outside)
    return weighted_mean(losses, weights)


def weighted_mean(losses: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """`sum(w l) / sum(w)` of losses and weights float32 [B]."""
    return tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)
