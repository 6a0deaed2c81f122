"""EWC-M: elastic weight consolidation of the generator (Seff et al. 2017)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf import randomness
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution
from dgm_tf.learners.gan_phase import Protection
from dgm_tf.learners.shared_gan import SharedGANLearner
from dgm_tf.methods.settings import EWCSettings
from dgm_tf.networks import ConditionalGenerator, Critic

_AT_ONCE = 16


def fisher_information(
    sample_losses: Callable[[tf.Tensor], tf.Tensor],
    variables: Sequence[keras.Variable],
    batches: Sequence[tf.Tensor],
) -> list[np.ndarray]:
    """Mean over samples of the squared gradient of each sample's own loss.

    Squaring the gradient of a batch's mean loss would not do: single gradients cancel in it.

    Args:
        sample_losses: losses float32 [n] of samples [n, ...]; each must depend on its own sample.
        variables: what to differentiate by.
        batches: samples, every batch of the same shape.

    Returns:
        float32 arrays of the variables' shapes.
    """

    @tf.function(autograph=False)
    def summed(samples: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            found = sample_losses(samples)
        rows = tape.jacobian(
            found,
            [distribution.primary(variable) for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return [tf.reduce_sum(tf.square(row), axis=0) for row in rows]

    sums = [np.zeros(variable.shape, np.float32) for variable in variables]
    count = 0
    for batch in batches:
        sums = [old + new.numpy() for old, new in zip(sums, summed(batch), strict=True)]
        count += len(batch)
    return [total / np.float32(count) for total in sums]


class ElasticPull(Protection):
    """`strength / 2 sum F (theta - theta_old)^2`; arrays by the variable's path.

    A variable that has grown with its classes is pulled only in its leading part.
    """

    def __init__(
        self, fisher: dict[str, np.ndarray], anchors: dict[str, np.ndarray], strength: float
    ):
        self._fisher, self._anchors, self._strength = fisher, anchors, strength

    def generator_loss(
        self, critic: Critic, generator: ConditionalGenerator, seed: tf.Tensor
    ) -> tf.Tensor:
        terms = []
        for variable in generator.trainable_variables:
            anchor = self._anchors[variable.path]
            part = tf.convert_to_tensor(variable)[: len(anchor)]
            terms.append(tf.reduce_sum(self._fisher[variable.path] * tf.square(part - anchor)))
        return 0.5 * self._strength * tf.add_n(terms)


class EWC(SharedGANLearner):
    """Elastic weight consolidation of the generator (Seff et al. 2017).

    A penalty pulls the generator's weights to their old values. A weight that matters more is
    pulled harder.

    The Fisher information is that of `class_weight CE(c | G(z, c)) - D(G(z, c))`, the generator's
    loss by the paper's GAN, on its own images of all classes seen. It is estimated again after each
    task. Recipe `tuned` trains by relativistic pairs and keeps this estimate.

    Args:
        settings: all settings; None for those of data without a preset.
        **changes: settings that replace those, by name, and `classifier`, a function that makes the
            classifier; see `dgm_tf.DGM`.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.EWC.from_preset("digits", epochs=1, consolidation_steps=4)  # a trial
        for task in stream.tasks(last=2):
            model.learn(task)
        images = model.generate([0, 1])
        ```
    """

    method = "ewc"

    def __init__(self, settings: EWCSettings | None = None, **changes: Any):
        super().__init__(settings, **changes)
        self._fisher: dict[str, np.ndarray] = {}
        self._anchors: dict[str, np.ndarray] = {}

    def protection(self, task: Task) -> Protection:
        return ElasticPull(self._fisher, self._anchors, self.settings.ewc_strength)

    def gan_learnt(self, generator: ConditionalGenerator, critic: Critic) -> None:
        settings = self.settings
        each = -(-settings.fisher_samples // (generator.classes * _AT_ONCE))
        positions = np.repeat(np.arange(generator.classes), each)

        def sample_losses(samples: tf.Tensor) -> tf.Tensor:
            # The class and its noise in one tensor, [n, 1 + latent].
            position = tf.cast(samples[0, 0], tf.int32)
            images = generator.recall(position, samples[:, 1:])
            scores, logits = critic(images)
            labels = tf.fill([samples.shape[0]], position)
            classes = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            return settings.class_weight * classes - scores

        seed = randomness.pair(settings.seed, "fisher", self.finished_tasks + 1)
        noise = randomness.normal([len(positions), _AT_ONCE, generator.latent_dim], seed)
        labels = tf.cast(tf.repeat(positions[:, None, None], _AT_ONCE, axis=1), tf.float32)
        batches = tf.unstack(tf.concat([labels, noise], axis=-1))
        variables = generator.trainable_variables
        fisher = fisher_information(sample_losses, variables, batches)
        paths = [variable.path for variable in variables]
        self._fisher = dict(zip(paths, fisher, strict=True))
        self._anchors = {variable.path: to_numpy(variable) for variable in variables}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        meta, arrays = super().state()
        # The anchors are the generator's weights themselves.
        return meta, arrays | {f"fisher/{path}": value for path, value in self._fisher.items()}

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        super().load(meta, arrays)
        self._fisher, self._anchors = {}, {}
        for variable in self.generator.trainable_variables:
            self._fisher[variable.path] = arrays[f"fisher/{variable.path}"]
            self._anchors[variable.path] = to_numpy(variable)
