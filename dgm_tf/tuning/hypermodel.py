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
    `learner` or `objective`. A parameter with the name of a setting begins at the base's value,
    whatever default it is given. One with another name stands for the base at its default.

    Args:
        base: settings to begin with; those that are not searched stay.
        aim: the settings to search, and the number that counts.

    Example:
        ```python
        import dataclasses

        import keras_tuner

        class WithClassWeight(dgm_tf.HyperDGM):
            def settings(self, hp):
                weight = hp.Float("class_weight", 0.1, 10.0, sampling="log")
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
        values = {name: RANGES[name].declare(hp, name) for name in self.aim.search}
        return dataclasses.replace(self.base, **values)

    def chosen(self, hp: keras_tuner.HyperParameters) -> DGMSettings:
        """The settings of a trial: those of `settings`, or the base where `hp` has only defaults.

        A search asks here, so that its first trial has the base settings in a subclass, too.

        Args:
            hp: a trial's hyperparameters.
        """
        settings = self._from_base(hp)  # Also declares what `hp` does not know yet.
        return self.base if _is_beginning(hp) else settings

    def searched(self, hp: keras_tuner.HyperParameters) -> dict[str, Any]:
        """The values of the searched settings by name.

        Args:
            hp: a trial's hyperparameters.
        """
        settings = self.chosen(hp)
        # At the beginning another name than a setting's may have a default that is not the base's.
        unknown = settings != self._from_base(hp)
        return {
            name: getattr(settings, name, value)
            for name, value in hp.values.items()
            if not _is_hyperbands(name) and not (unknown and not hasattr(settings, name))
        }

    def _from_base(self, hp: keras_tuner.HyperParameters) -> DGMSettings:
        return self.settings(_BeginningAt(self.base, hp))

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
        return self.learner(self.chosen(hp))

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


class _BeginningAt(keras_tuner.HyperParameters):
    """A view of `hp`, in which a parameter that is named as a setting begins at the base's value.

    KerasTuner's own default is the least value, or the first one of a choice.
    """

    __slots__ = ("_base",)  # Everything else is what `hp` has.

    def __init__(self, base: DGMSettings, hp: keras_tuner.HyperParameters) -> None:
        self.__dict__ = hp.__dict__
        self._base = base

    def _retrieve(self, hp: Any) -> Any:
        try:
            hp = _beginning_at(getattr(self._base, hp.name), hp)
        except (AttributeError, TypeError, ValueError):
            pass  # No setting's name, or another kind of value: KerasTuner's default stands for it.
        return super()._retrieve(hp)


def _beginning_at(value: Any, hp: Any) -> Any:
    """The hyperparameter with another default.

    Raises:
        TypeError, ValueError: its kind cannot have this value.
    """
    config, kinds = hp.get_config(), keras_tuner.engine.hyperparameters
    kind = type(hp.values[0]) if isinstance(hp, kinds.Choice) else type(hp.default)
    if isinstance(hp, kinds.Fixed) or kind(value) != value:
        raise ValueError(f"{hp} cannot be {value}")
    config["default"] = kind(value)
    if isinstance(hp, kinds.Choice):
        config["values"] = list(dict.fromkeys([*hp.values, kind(value)]))
    found = type(hp).from_config(config)
    found.value_to_prob(found.default)  # On a logarithmic scale 0 has no place.
    return found


def _is_beginning(hp: keras_tuner.HyperParameters) -> bool:
    """Whether every parameter has its default, which stands for the base."""
    return all(
        hp.values[each.name] == each.default
        for each in hp.space
        if each.name in hp.values and not _is_hyperbands(each.name)
    )


def _is_hyperbands(name: str) -> bool:
    return name.startswith("tuner/")
