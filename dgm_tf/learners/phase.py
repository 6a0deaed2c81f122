"""Base class of training phases, and the one loop that runs them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from dgm_tf import randomness
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.methods.settings import ReplaySettings


class _Adam(keras.optimizers.Adam):
    """Adam by the mean of the replicas' gradients, each of its own part of the batch.

    Keras would take their sum, and go through a custom gradient for it, on one device, too, which
    TensorFlow registers for good: every task's training graph would stay in memory, tens of
    megabytes each.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        gradients, variables = zip(*grads_and_vars, strict=True)
        return list(zip(distribution.mean(gradients), variables, strict=True))

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: Any) -> None:
        """Keras' update, by TensorFlow's one operation for it in place of thirty."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value, tf.float32) + 1.0
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def new_adam(
    rate: Any, variables: list[keras.Variable], *, beta_1: float = 0.5, beta_2: float = 0.999
) -> keras.optimizers.Adam:
    """Returns Adam without a past, its slots made: old moments would move a gated weight.

    Args:
        rate: a number or a Keras schedule.
        variables: what it is to move.
        beta_1: first decay.
        beta_2: second decay.
    """
    optimizer = _Adam(rate, beta_1=beta_1, beta_2=beta_2, epsilon=1e-8, name="adam")
    optimizer.build(variables)
    return optimizer


def adversarial_adam(
    settings: ReplaySettings, rate: float, steps: int, variables: list[keras.Variable]
) -> keras.optimizers.Adam:
    """Returns the Adam of a network in an adversarial phase of so many updates."""
    recipe = settings.details
    return new_adam(
        CosineDecay(rate, steps) if recipe.rate_decay == "cosine" else rate,
        variables,
        beta_1=recipe.beta_1,
        beta_2=recipe.beta_2,
    )


class RunningMeans:
    """Means of scalars over the steps of an epoch, as `keras.metrics.Mean` computes each.

    Keras' own would have a part of each on every replica, and to look at it would take all of them.
    All are one variable, so that a step updates them by one operation.

    Args:
        names: what is averaged.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self._totals = tf.Variable(tf.zeros([len(names)]), trainable=False)
        # A step need not log everything.
        self._counts = tf.Variable(tf.zeros([len(names)]), trainable=False)

    @property
    def variables(self) -> tuple[tf.Variable, tf.Variable]:
        return self._totals, self._counts

    def update_state(self, values: Mapping[str, tf.Tensor | float]) -> None:
        """Counts a step's scalars; those of other names may be missing."""
        given = [tf.convert_to_tensor(values.get(name, 0.0), tf.float32) for name in self.names]
        self._totals.assign_add(tf.stack(given))
        self._counts.assign_add([float(name in values) for name in self.names])

    def result(self) -> tf.Tensor:
        """Returns float32 [names]; 0 before a first value."""
        return tf.math.divide_no_nan(tf.identity(self._totals), tf.identity(self._counts))

    def by_name(self) -> dict[str, float]:
        """Returns the means as numbers."""
        return dict(zip(self.names, self.result().numpy().tolist(), strict=True))

    def reset_state(self) -> None:
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))


class Phase(keras.Model):
    """A Keras model with a `train_step` for one replica, and the loop around it.

    Keras' own loop does not run on several hosts. This one is the same for one device, several and
    several hosts: see `dgm_tf.devices.distribution`. It calls Keras callbacks as Keras does.

    A phase is made for one task and thrown away with it: a network that has grown thus never meets
    an optimizer or a traced step that was made for its narrower self.

    Args:
        seed: int32 [2], where the phase's random numbers come from.
        jit_compile: let XLA compile what a subclass passes to `jitted`.
        without: names of `logged` that have no meaning in this task.

    Attributes:
        step: int64 scalar, steps done so far.
        done: the same as a number, which nobody has to wait for.
        means: of what is logged, over the present epoch.
    """

    phase = ""
    logged: tuple[str, ...] = ()

    def __init__(self, seed: tf.Tensor, *, jit_compile: bool = False, without: Sequence[str] = ()):
        super().__init__(name=self.phase)
        self._seed = seed
        self._jit = jit_compile
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.done = 0
        self.means = RunningMeans([name for name in self.logged if name not in without])
        self.built = True
        self.compile(optimizer=None)

    # What a subclass has.

    def networks(self) -> Mapping[str, keras.Model]:
        """Returns what the phase trains and leaves behind, by name."""
        return {}

    def own_variables(self) -> Mapping[str, Sequence[Any]]:
        """Returns all other variables that later steps depend on, by their owner's name."""
        return {"step": [self.step]}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One replica's step.

        Args:
            data: the replica's part of a batch.

        Returns:
            What it logs, as scalars by name.
        """
        raise NotImplementedError

    def before_step(self, step: int) -> None:
        """Does what a step needs done on the host, outside of its graph."""

    def compiled_step(self) -> Callable[[Any], dict[str, tf.Tensor]]:
        """Returns `train_step`, by XLA where that is asked for."""
        return self.jitted(self.train_step)

    def jitted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a part of the step, by XLA where that is asked for."""
        return tf.function(function, autograph=False, jit_compile=True) if self._jit else function

    def step_seed(self, use: int) -> tf.Tensor:
        """Returns int32 [2], another one for each step and use."""
        return randomness.fold(randomness.fold(self._seed, self.step), use)

    # The loop.

    def run(
        self,
        batches: Callable[..., tf.data.Dataset],
        *,
        epochs: int,
        steps_per_epoch: int,
        callbacks: Sequence[Any] = (),
    ) -> dict[str, list[float]]:
        """Trains in silence on batches in their own order.

        Args:
            batches: `batches(start=n)` gives all but the first n, each for all replicas together.
            epochs: of the whole phase.
            steps_per_epoch: batches in each.
            callbacks: Keras callbacks; a batch's logs are the means over the epoch so far. A
                `TaskCheckpoint` among them writes checkpoints. It also resumes a phase that was cut
                short: training begins at the step where that stood, and callbacks see what comes
                from there on.

        Returns:
            The logged quantities, one value per epoch, those of finished epochs included.
        """
        checkpoint = next((each for each in callbacks if isinstance(each, TaskCheckpoint)), None)
        finished = {} if checkpoint is None else checkpoint.begin(self, steps_per_epoch)
        first_epoch = len(next(iter(finished.values()), ()))
        calls = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            model=self,
            epochs=epochs,
            steps=steps_per_epoch,
            verbose=0,
        )
        self.stop_training = False
        one_step = self.step_function()
        iterator = iter(batches(start=self.done))
        calls.on_train_begin()
        history = self.history.history
        history.update({name: list(values) for name, values in finished.items()})
        means = {name: values[-1] for name, values in finished.items()}
        for epoch in range(first_epoch, epochs):
            first_step = self.done - epoch * steps_per_epoch
            if not first_step:
                self.means.reset_state()
            calls.on_epoch_begin(epoch)
            for step in range(first_step, steps_per_epoch):
                calls.on_train_batch_begin(step)
                self.before_step(self.done)
                try:
                    logs = one_step(iterator)
                except tf.errors.OutOfRangeError as error:
                    raise InputError(
                        f"expected {epochs} times {steps_per_epoch} batches, the data ended before"
                    ) from error
                self.done += 1
                if checkpoint is not None:
                    checkpoint.step_done()
                calls.on_train_batch_end(step, logs)
                if self.stop_training:
                    break
            means = self.means.by_name()
            calls.on_epoch_end(epoch, means)
            if self.stop_training:
                break
        calls.on_train_end(means)
        if checkpoint is not None:
            checkpoint.end()
        return history

    def step_function(self) -> Callable[[Any], dict[str, tf.Tensor]]:
        """One step on all replicas, counted and logged, as a graph.

        One function instead of Keras' nested ones, which take far longer to trace: every task
        traces its own step, so that time counts.
        """
        on_replicas = distribution.present().on_replicas(self.compiled_step())

        def one_step(iterator: Any) -> dict[str, tf.Tensor]:
            self.means.update_state(on_replicas(next(iterator)))
            self.step.assign_add(1)
            return self.logs()

        return tf.function(one_step, autograph=False)

    def logs(self) -> dict[str, tf.Tensor]:
        """Returns the means over the epoch so far."""
        return dict(zip(self.means.names, tf.unstack(self.means.result()), strict=True))


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


def spread(images: tf.Tensor) -> tf.Tensor:
    """Returns the standard deviation of images [B, H, W, C] over the batch, mean over pixels."""
    return tf.reduce_mean(tf.math.reduce_std(images, axis=0))
