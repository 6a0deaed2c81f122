"""The search space as KerasTuner knows it: a `HyperModel` that people can subclass."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import keras_tuner

from dgm_tf.data.stream import TaskStream
from dgm_tf.learners.dgm import DGM
from dgm_tf.methods.registry import new_learner
from dgm_tf.methods.settings import DGMSettings
from dgm_tf.tuning.measure import Measured, measure
from dgm_tf.tuning.space import RANGES, Aim

OBJECTIVE = "objective"  # what KerasTuner calls the number that a search makes great


class HyperDGM(keras_tuner.HyperModel):
    """DGM learners whose settings KerasTuner chooses.

    A subclass may override `settings`, to search what `dgm_tf.tuning.space` does not have,
    `learner` or `objective`. The first trial of a search has every parameter's default: give one
    that leads to the base.

    Args:
        base: settings to begin with; those that are not searched stay.
        aim: the settings to search, and the number that counts.

    Example:
        ```python
        import dataclasses

        import keras_tuner

        class WithClassWeight(dgm_tf.HyperDGM):
            def settings(self, hp):
                weight = hp.Float("class_weight", 0.1, 10.0, sampling="log", default=1.0)
                return dataclasses.replace(super().settings(hp), class_weight=weight)

        model = WithClassWeight(dgm_tf.settings_for("digits"))
        first = model.build(keras_tuner.HyperParameters())  # a learner with the base settings
        ```
    """

    def __init__(self, base: DGMSettings, aim: Aim = Aim()):  # noqa: B008 (frozen)
        super().__init__()
        self.base, self.aim = base, aim

    def settings(self, hp: keras_tuner.HyperParameters) -> DGMSettings:
        """The base settings with the values that `hp` has for those that are searched.

        Args:
            hp: a trial's hyperparameters.
        """
        values = {
            name: RANGES[name].declare(hp, name, getattr(self.base, name))
            for name in self.aim.search
        }
        return dataclasses.replace(self.base, **values)

    def searched(self, hp: keras_tuner.HyperParameters) -> dict[str, Any]:
        """The values of the searched settings by name.

        Args:
            hp: a trial's hyperparameters.
        """
        settings = self.settings(hp)
        return {
            name: getattr(settings, name, value)
            for name, value in hp.values.items()
            if not name.startswith("tuner/")  # Hyperband's own
        }

    def learner(self, settings: DGMSettings) -> DGM:
        """A learner with these settings that has learnt nothing.

        Args:
            settings: of the learner.
        """
        return new_learner("dgm", settings)

    def build(self, hp: keras_tuner.HyperParameters) -> DGM:
        """A learner with the settings that `hp` has, as KerasTuner asks for it.

        Args:
            hp: a trial's hyperparameters.
        """
        return self.learner(self.settings(hp))

    def metrics(
        self, learner: DGM, stream: TaskStream, *, tasks: int, callbacks: Sequence[Any] = ()
    ) -> dict[str, float]:
        """The numbers that KerasTuner keeps of a trial.

        Args:
            learner: one that has learnt nothing.
            stream: none of its tasks is opened yet.
            tasks: number of tasks that the trial learns.
            callbacks: Keras callbacks for each phase of each task.

        Returns:
            `objective`, `accuracy` (0 to 1, after the last task), `growth`, `units`, `parameters`
            and `seconds`.

        Raises:
            FailedTrialError: numbers that are not finite, a collapsed generator, exhausted memory.
            InputError: the settings do not fit the stream.
        """
        measured = measure(learner, stream, tasks=tasks, callbacks=callbacks)
        return {
            OBJECTIVE: self.objective(learner.settings, measured),
            "accuracy": measured.accuracies[-1],
            "growth": self.growth(learner.settings, measured),
            "units": float(measured.units),
            "parameters": float(measured.parameters),
            "seconds": measured.seconds,
        }

    def objective(self, settings: DGMSettings, measured: Measured) -> float:
        """The number to be made great: accuracy, minus the price of growth.

        Args:
            settings: of the trial's learner.
            measured: its results.
        """
        accuracies = measured.accuracies
        accuracy = statistics.fmean(accuracies) if self.aim.objective == "mean" else accuracies[-1]
        return accuracy - self.aim.growth_price * self.growth(settings, measured)

    def growth(self, settings: DGMSettings, measured: Measured) -> float:
        """Units that the generator ends with over those of the base settings' first one, minus 1.

        A generator that begins larger pays for that as for growth.

        Args:
            settings: of the trial's learner.
            measured: its results.
        """
        first = measured.initial_units
        if not settings.generator_widths:  # a generator's first widths are multiples of its size
            first = first * self.base.generator_size / settings.generator_size
        return measured.units / first - 1.0
