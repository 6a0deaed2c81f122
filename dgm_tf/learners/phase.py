"""What the training phases of all learners share, and the one loop that runs them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from dgm_tf import distribution, randomness
from dgm_tf.errors import InputError
from dgm_tf.learners.keeper import TaskKeeper
from dgm_tf.settings import ReplaySettings


class _Adam(keras.optimizers.Adam):
    """Adam by the mean of the replicas' gradients, each of its own part of the batch.

    Keras would take their sum, and go through a custom gradient for it, on one device, too, which
    TensorFlow registers for good: every task's training graph would stay in memory, tens of
    megabytes each.

    Attributes:
        shares: what each variable takes of the rate, in the order that `build` gets them; empty:
            all of it.
    """

    shares: Sequence[float] = ()

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.shares:
            learning_rate *= self.shares[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        gradients, variables = zip(*grads_and_vars, strict=True)
        return list(zip(distribution.mean(gradients), variables, strict=True))


def new_adam(
    rate: Any,
    variables: list[keras.Variable],
    *,
    beta_1: float = 0.5,
    beta_2: float = 0.999,
    shares: Sequence[float] = (),
) -> keras.optimizers.Adam:
    """Adam without a past, its slots made: old moments would move a gated weight.

    Args:
        rate: a number or a Keras schedule.
        variables: what it is to move.
        beta_1: first decay.
        beta_2: second decay.
        shares: what each variable takes of the rate; all of it unless given.
    """
    optimizer = _Adam(rate, beta_1=beta_1, beta_2=beta_2, epsilon=1e-8, name="adam")
    optimizer.shares = tuple(shares)
    optimizer.build(variables)
    return optimizer


def decayed(rate: float, decay: str, steps: int) -> Any:
    """A rate over the steps of a task: constant for `"none"`, to 0 for `"cosine"`."""
    return CosineDecay(rate, steps) if decay == "cosine" else rate


def adam_of(
    settings: ReplaySettings,
    rate: float,
    steps: int,
    variables: list[keras.Variable],
    *,
    shares: Sequence[float] = (),
) -> keras.optimizers.Adam:
    """The Adam of a network in an adversarial phase: its rate over so many updates, its decays."""
    return new_adam(
        decayed(rate, settings.rate_decay, steps),
        variables,
        beta_1=settings.beta_1,
        beta_2=settings.beta_2,
        shares=shares,
    )


class RunningMean:
    """The mean of a scalar over the steps of an epoch, as `keras.metrics.Mean` computes it.

    Keras' own would have a part of it on each replica, and to look at it would take all of them.

    Args:
        name: what is averaged.
    """

    def __init__(self, name: str):
        self.name = name
        self._total, self._count = (tf.Variable(0.0, trainable=False) for _ in range(2))

    @property
    def variables(self) -> tuple[tf.Variable, tf.Variable]:
        return self._total, self._count

    def update_state(self, value: tf.Tensor | float) -> None:
        self._total.assign_add(value)
        self._count.assign_add(1.0)

    def result(self) -> tf.Tensor:
        """float32 scalar; 0 before the first value."""
        return tf.math.divide_no_nan(tf.identity(self._total), tf.identity(self._count))

    def reset_state(self) -> None:
        self._total.assign(0.0)
        self._count.assign(0.0)


class Phase(keras.Model):
    """A Keras model with a `train_step` for one replica, and the loop around it.

    Keras' own loop does not run on several hosts. This one is the same for one device, several and
    several hosts: see `dgm_tf.distribution`. It calls Keras callbacks as Keras does.

    A phase is made for one task and thrown away with it: a network that has grown thus never meets
    an optimizer or a traced step that was made for its narrower self.

    Args:
        seed: int32 [2], where the phase's random numbers come from.
        steps_per_execution: steps in one call of the graph.
        jit_compile: let XLA compile what a subclass passes to `jitted`.

    Attributes:
        step: int64 scalar, steps done so far.
        means: of what is logged, over the present epoch.
        played_back: whether `fit` is going through steps that were done before; see `TaskKeeper`.
    """

    phase = ""
    logged: tuple[str, ...] = ()

    def __init__(self, seed: tf.Tensor, *, steps_per_execution: int = 1, jit_compile: bool = False):
        super().__init__(name=self.phase)
        self._seed = seed
        self._jit = jit_compile
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.played_back = False
        self.means = {name: RunningMean(name) for name in self.logged}
        self.built = True
        self.compile(optimizer=None, steps_per_execution=steps_per_execution)

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
        """Fits the phase on batches in their own order.

        Args:
            batches: `batches(start=n)` gives all but the first n.
            epochs: of the whole phase.
            steps_per_epoch: batches in each.
            callbacks: Keras callbacks. A `TaskKeeper` among them writes checkpoints, and makes a
                phase that was cut short go on; one that was finished is not concluded again.

        Returns:
            The logged quantities, one value per epoch.
        """
        keeper = next((each for each in callbacks if isinstance(each, TaskKeeper)), None)
        start = 0 if keeper is None else keeper.begin(self, steps_per_epoch)
        history = self.fit(
            batches(start=start),
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks,
        )
        if keeper is None or not keeper.finished_before:
            self.conclude()
        if keeper is not None:
            keeper.end()
        return history.history

    def conclude(self) -> None:
        """Does what is left after the last step; `run` calls it once in a phase's life."""

    def fit(
        self,
        data: tf.data.Dataset,
        *,
        epochs: int,
        steps_per_epoch: int,
        callbacks: Sequence[Any] = (),
    ) -> keras.callbacks.History:
        """Trains in silence on batches in their own order; callbacks are called as Keras does.

        Args:
            data: batches for all replicas together, as `train_step` takes them.
            epochs: passes of `steps_per_epoch` batches.
            steps_per_epoch: batches in each, a multiple of `steps_per_execution`.
            callbacks: Keras callbacks; a batch's logs are the means over the epoch so far.
        """
        calls = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            model=self,
            epochs=epochs,
            steps=steps_per_epoch,
            verbose=0,
        )
        self.make_train_function()
        self.stop_training = False
        iterator = iter(data)
        calls.on_train_begin()
        for epoch in range(epochs):
            for mean in self.means.values():
                mean.reset_state()
            calls.on_epoch_begin(epoch)
            for step in range(0, steps_per_epoch, self.steps_per_execution):
                calls.on_train_batch_begin(step)
                try:
                    logs = self.train_function(iterator)
                except tf.errors.OutOfRangeError as error:
                    raise InputError(
                        f"expected {epochs} times {steps_per_epoch} batches, the data ended before"
                    ) from error
                calls.on_train_batch_end(step + self.steps_per_execution - 1, logs)
                if self.stop_training:
                    break
            means = {name: float(value) for name, value in self.logs().items()}
            calls.on_epoch_end(epoch, means)
            if self.stop_training:
                break
        calls.on_train_end(means)
        return self.history

    def make_train_function(self, force: bool = False) -> None:
        """As in Keras, but one function instead of nested ones, which take far longer to trace.

        Every task traces its own step, so that time counts.
        """
        if self.train_function is not None and not force:
            return
        steps = self.steps_per_execution
        take_step = tf.autograph.experimental.do_not_convert(self.take_step)

        def several_steps(iterator: Any) -> dict[str, tf.Tensor]:
            for _ in tf.range(steps):
                take_step(next(iterator))
            return self.logs()

        def one_step(iterator: Any) -> dict[str, tf.Tensor]:
            take_step(next(iterator))
            return self.logs()

        if steps > 1:
            self.train_function = tf.function(several_steps)
        else:
            self.train_function = tf.function(one_step, autograph=False)

    def take_step(self, batch: Any) -> None:
        """One step on all replicas, counted and logged."""
        self.on_replicas(self.train_step, batch)
        self.step.assign_add(1)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One replica's step; what it logs, as scalars by name.

        Args:
            data: the replica's part of a batch.
        """
        raise NotImplementedError

    def on_replicas(self, train_step: Callable[[Any], dict[str, tf.Tensor]], batch: Any) -> None:
        """Takes a step on all replicas and logs it."""
        for name, value in distribution.present().run(train_step, batch).items():
            self.means[name].update_state(value)

    def jitted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A part of the step, by XLA where that is asked for."""
        return tf.function(function, autograph=False, jit_compile=True) if self._jit else function

    def step_seed(self, use: int) -> tf.Tensor:
        return randomness.fold(randomness.fold(self._seed, self.step), use)

    def logs(self) -> dict[str, tf.Tensor]:
        """The means over the epoch so far."""
        return {name: mean.result() for name, mean in self.means.items()}


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
