"""What the training phases of all learners share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from dgm_tf import randomness
from dgm_tf.learners.keeper import TaskKeeper


class _Adam(keras.optimizers.Adam):
    """Adam that does not leave its graph behind.

    To sum gradients over replicas Keras goes through a custom gradient, which TensorFlow registers
    for good: every task's training graph would stay in memory, tens of megabytes each.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return grads_and_vars
        return super()._all_reduce_sum_gradients(grads_and_vars)


def new_adam(
    rate: Any, variables: list[keras.Variable], *, beta_1: float = 0.5, beta_2: float = 0.999
) -> keras.optimizers.Adam:
    """Adam without a past, its slots made: old moments would move a gated weight."""
    optimizer = _Adam(rate, beta_1=beta_1, beta_2=beta_2, epsilon=1e-8, name="adam")
    optimizer.build(variables)
    return optimizer


def decayed(rate: float, decay: str, steps: int) -> Any:
    """A rate over the steps of a task: constant for `"none"`, to 0 for `"cosine"`."""
    return CosineDecay(rate, steps) if decay == "cosine" else rate


class Phase(keras.Model):
    """A Keras model whose `train_step` counts its steps and averages what it logs.

    It is made for one task and thrown away with it: a network that has grown thus never meets an
    optimizer or a traced step that was made for its narrower self.

    Args:
        seed: int32 [2], where the phase's random numbers come from.
        steps_per_execution: steps in one call of the graph, for `fit`.

    Attributes:
        step: int64 scalar, steps done so far.
        played_back: whether `fit` is going through steps that were done before; see `TaskKeeper`.
    """

    phase = ""
    logged: tuple[str, ...] = ()

    def __init__(self, seed: tf.Tensor, *, steps_per_execution: int = 1):
        super().__init__(name=self.phase)
        self._seed = seed
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.played_back = False
        self._means = {name: keras.metrics.Mean(name=name) for name in self.logged}
        self.built = True
        self.compile(optimizer=None, steps_per_execution=steps_per_execution)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def networks(self) -> Mapping[str, keras.Model]:
        """What the phase trains and leaves behind, by name."""
        return {}

    def own_variables(self) -> Mapping[str, Sequence[Any]]:
        """All other variables that later steps depend on, by their owner's name."""
        return {"step": [self.step]}

    def run(
        self,
        batches: Callable[..., tf.data.Dataset],
        *,
        epochs: int,
        steps_per_epoch: int,
        callbacks: Sequence[Any] = (),
    ) -> dict[str, list[float]]:
        """Fits the phase in silence, on batches in their own order.

        Args:
            batches: `batches(start=n)` gives all but the first n.
            epochs: of the whole phase.
            steps_per_epoch: batches in each.
            callbacks: Keras callbacks. A `TaskKeeper` among them writes checkpoints, and makes a
                phase that was cut short go on.

        Returns:
            The logged quantities, one value per epoch.
        """
        keeper = next((each for each in callbacks if isinstance(each, TaskKeeper)), None)
        start = 0 if keeper is None else keeper.begin(self, steps_per_epoch)
        data = batches(start=start)
        if start:
            data = data.repeat()  # Of no length that `fit` could find too short.
        history = self.fit(
            data,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            verbose=0,
            shuffle=False,
            callbacks=list(callbacks),
        ).history
        if keeper is not None:
            keeper.end()
        return history

    def make_train_function(self, force: bool = False) -> None:
        """As in Keras, but one function instead of nested ones, which take far longer to trace.

        Every task traces its own step, so that time counts.
        """
        if self.train_function is not None and not force:
            return
        steps = self.steps_per_execution
        train_step = tf.autograph.experimental.do_not_convert(self.train_step)

        def several_steps(iterator: Any) -> dict[str, tf.Tensor]:
            for _ in tf.range(steps - 1):
                train_step(next(iterator))
            return train_step(next(iterator))

        def one_step(iterator: Any) -> dict[str, tf.Tensor]:
            return train_step(next(iterator))

        if steps > 1:
            self.train_function = tf.function(several_steps)
        else:
            self.train_function = tf.function(one_step, autograph=False)

    def step_seed(self, use: int) -> tf.Tensor:
        return randomness.fold(randomness.fold(self._seed, self.step), use)

    def log(self, **values: tf.Tensor) -> dict[str, tf.Tensor]:
        for name, value in values.items():
            self._means[name].update_state(value)
        return {name: mean.result() for name, mean in self._means.items()}


class TwoNetworkPhase(Phase):
    """A phase that trains a generator against a critic, each with an optimizer of its own.

    A subclass sets all four.
    """

    generator: keras.Model
    critic: keras.Model
    _generator_optimizer: keras.optimizers.Optimizer
    _critic_optimizer: keras.optimizers.Optimizer

    def networks(self) -> Mapping[str, keras.Model]:
        return {"generator": self.generator, "critic": self.critic}

    def own_variables(self) -> Mapping[str, Sequence[Any]]:
        return {
            **super().own_variables(),
            "generator_optimizer": self._generator_optimizer.variables,
            "critic_optimizer": self._critic_optimizer.variables,
        }


def divisor_up_to(wanted: int, steps: int) -> int:
    """The largest divisor of `steps` that is at most `wanted`.

    Keras runs past the end of an epoch when `steps_per_execution` does not divide its steps.
    """
    return max(n for n in range(1, min(wanted, steps) + 1) if steps % n == 0)


def spread(images: tf.Tensor) -> tf.Tensor:
    """Standard deviation of images [B, H, W, C] over the batch, mean over pixels; a scalar."""
    return tf.reduce_mean(tf.math.reduce_std(images, axis=0))
