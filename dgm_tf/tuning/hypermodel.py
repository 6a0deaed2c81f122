"""The search space as KerasTuner knows it: a `HyperModel` that people can subclass."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras_tuner

from dgm_tf.errors import InputError
from dgm_tf.learners.dgm import DGM
from dgm_tf.settings import DGMSettings
from dgm_tf.stream import TaskStream
from dgm_tf.tuning.measure import Measured, Unusable, measure
from dgm_tf.tuning.space import DEFAULT_SEARCH, OBJECTIVES, RANGES, check_names

OBJECTIVE = "objective"  # what KerasTuner calls the number that a search makes great


class HyperDGM(keras_tuner.HyperModel):
    """DGM learners whose settings KerasTuner chooses.

    A subclass may override `settings`, to search what `dgm_tf.tuning.space` does not have, or
    `objective`.

    Args:
        base: settings to begin with; what is not searched stays as it is there.
        search: names of the settings to be searched, of `dgm_tf.tuning.space.RANGES`.
        objective: which accuracy on validation images counts, one of `OBJECTIVES` there.
        growth_price: what a unit of growth costs, in accuracy of 0 to 1; see `growth`.

    Example:

        class WithClassWeight(dgm_tf.HyperDGM):
            def settings(self, hp):
                weight = hp.Float("class_weight", 0.1, 10.0, sampling="log")
                return dataclasses.replace(super().settings(hp), class_weight=weight)

    Raises:
        InputError: an unknown name or objective, or a price below 0.
    """

    def __init__(
        self,
        base: DGMSettings,
        *,
        search: Sequence[str] = DEFAULT_SEARCH,
        objective: str = "last",
        growth_price: float = 0.01,
    ):
        super().__init__()
        if objective not in OBJECTIVES:
            raise InputError(f"objective must be {' or '.join(OBJECTIVES)}, not {objective!r}")
        if not 0 <= growth_price < float("inf"):
            raise InputError(f"growth_price must be a number of at least 0, got {growth_price!r}")
        self.base = base
        self.search = check_names(search)
        self.objective_name = objective
        self.growth_price = growth_price

    def settings(self, hp: keras_tuner.HyperParameters) -> DGMSettings:
        """The base settings with the values that `hp` has for those that are searched."""
        values = {
            name: RANGES[name].declare(hp, name, getattr(self.base, name)) for name in self.search
        }
        return dataclasses.replace(self.base, **values)

    def searched(self, hp: keras_tuner.HyperParameters) -> dict[str, Any]:
        """The values of what is searched, as `settings` has them, by name."""
        settings = self.settings(hp)
        return {
            name: getattr(settings, name, value)
            for name, value in hp.values.items()
            if not name.startswith("tuner/")  # Hyperband's own
        }

    def learner(self, settings: DGMSettings) -> DGM:
        """A learner with these settings that has learnt nothing, for a trial or a fresh seed."""
        return DGM.from_settings(settings)

    def build(self, hp: keras_tuner.HyperParameters) -> DGM:
        """KerasTuner's name for the `learner` of a trial."""
        return self.learner(self.settings(hp))

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        learner: DGM,
        stream: TaskStream,
        *,
        tasks: int,
        epochs: int | None = None,
        callbacks: Sequence[Any] = (),
    ) -> dict[str, float]:
        """Learns the first tasks of a stream; arguments as those of `measure`.

        Returns:
            What KerasTuner keeps of a trial: `objective`, `accuracy` (0 to 1, after the last task),
            `growth`, `units`, `parameters` and `seconds`.

        Raises:
            keras_tuner.errors.FailedTrialError: the settings are unusable; the text says why.
        """
        del hp  # The learner has its values.
        try:
            found = measure(learner, stream, tasks=tasks, epochs=epochs, callbacks=callbacks)
        except Unusable as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        return self.metrics(learner.settings, found)

    def metrics(self, settings: DGMSettings, found: Measured) -> dict[str, float]:
        """What `fit` returns for what a learner with these settings reached."""
        return {
            OBJECTIVE: self.objective(settings, found),
            "accuracy": found.accuracy,
            "growth": self.growth(settings, found),
            "units": float(found.units),
            "parameters": float(found.parameters),
            "seconds": found.seconds,
        }

    def objective(self, settings: DGMSettings, found: Measured) -> float:
        """The number to be made great: accuracy, less the price of growth."""
        accuracy = found.mean_accuracy if self.objective_name == "mean" else found.accuracy
        return accuracy - self.growth_price * self.growth(settings, found)

    def growth(self, settings: DGMSettings, found: Measured) -> float:
        """Units that the generator ends with over those of the base settings' first one, less 1.

        A generator that begins larger pays for that as for growth.
        """
        # A generator's first widths are multiples of its size.
        first = found.initial_units * self.base.generator_size / settings.generator_size
        return found.units / first - 1.0
