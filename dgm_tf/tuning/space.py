"""The ranges and options of a search. Nothing here needs TensorFlow or KerasTuner."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.experiments.options import option


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included.

    Real numbers are equally likely in each decade; with a `step` whole ones lie that far apart.
    """

    low: float
    high: float
    step: int | None = None

    def declare(self, hp: Any, name: str, base: Any) -> Any:
        """The value that KerasTuner's `hp` has for the setting, which it then knows.

        Real numbers have three digits: a search tells no finer ones apart.

        Args:
            hp: a trial's hyperparameters.
            name: of the setting.
            base: the value that the first trial has; it may be out of range.

        Raises:
            InputError: the base has no place on a logarithmic scale.
        """
        if self.step is not None:
            return hp.Int(name, self.low, self.high, step=self.step, default=base)
        if base <= 0:
            raise InputError(
                f"the scale of {name} is logarithmic, and the search begins at {base:g}: set it to "
                f"a value from {self.low:g} to {self.high:g}, or leave it out of the search"
            )
        value = hp.Float(name, self.low, self.high, sampling="log", default=base)
        return base if value == base else float(f"{value:.3g}")

    def __str__(self) -> str:
        kind = f" by {self.step}" if self.step is not None else ", logarithmic"
        return f"{self.low:g} to {self.high:g}{kind}"


class Choice(NamedTuple):
    """One of several values."""

    values: tuple[str, ...]

    def declare(self, hp: Any, name: str, base: Any) -> Any:
        """As `Range.declare`."""
        return hp.Choice(name, list(self.values), default=base)

    def __str__(self) -> str:
        return " or ".join(self.values)


# Around the presets of both variants, on all data sets.
RANGES: Mapping[str, Range | Choice] = {
    "s_max": Range(1e2, 1e6),
    "sparsity": Range(1e-4, 1.0),
    "learning_rate": Range(2e-4, 2e-2),
    "critic_learning_rate": Range(2e-4, 2e-2),
    "generator_size": Range(4, 40, step=2),
    "critic_size": Range(8, 48, step=4),
    "penalty_weight": Range(0.1, 30.0),
    "replay": Choice(("balanced", "full")),
    "replay_batch": Range(16, 128, step=16),
}
_RANGES_TEXT = "; ".join(f"{name} ({values})" for name, values in RANGES.items())

OBJECTIVES = ("last", "mean")
TUNERS = ("random", "bayesian", "hyperband")


@dataclasses.dataclass(frozen=True)
class Aim:
    """The settings that a search changes, and the number that it makes great."""

    search: tuple[str, ...] = option(
        f"settings to search: {_RANGES_TEXT}; all others keep their values",
        default=("s_max", "sparsity"),
    )
    objective: str = option(
        "number to maximise: the accuracy after the last task (last), or the mean of the "
        "accuracies after each task (mean), minus the price of growth; measured on validation "
        "images of all classes seen",
        default="last",
        choices=OBJECTIVES,
    )
    growth_price: float = option(
        "accuracy, 0 to 1, that a trial loses for each time that its generator has grown by its "
        "initial number of units",
        default=0.01,
    )

    def __post_init__(self) -> None:
        if not self.search:
            raise InputError(f"expected --search as some of {','.join(RANGES)}, received nothing")
        _checks.different(self.search, "search")
        for name in self.search:
            _checks.one_of("setting to search", name, RANGES)
        _checks.one_of("objective", self.objective, OBJECTIVES)
        _checks.number(self.growth_price, "growth_price", low=0, high=1)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The way of a search, and its folder."""

    max_tasks: int = option("tasks that a trial learns, the first of the stream", default=3)
    tuner: str = option(
        "way to choose trials: random, bayesian (by a Gaussian process) or hyperband (many with a "
        "small budget, the best of them again with a larger one)",
        default="bayesian",
        choices=TUNERS,
    )
    trials: int = option(
        "number of trials, with those of earlier starts; hyperband computes it from --factor and "
        "--halvings",
        default=20,
    )
    factor: int = option(
        "hyperband: factor by which the budget of the best trials grows", default=3
    )
    halvings: int = option(
        "hyperband: number of times that the budget grows; the first trials have the budget / "
        "factor^halvings",
        default=2,
    )
    fresh_seeds: tuple[int, ...] = option(
        "seeds with which the best settings and the initial ones are compared again at the end, on "
        "other validation images; a best trial's own score is too high, since it was chosen by it",
        default=(),
    )
    search_dir: str | None = option(
        "folder of the search, where the same command resumes it; by default "
        "runs/tuning/<data set>-dgm-<variant>",
        default=None,
        shown="DIR",
    )
    quiet: bool = option("print no lines on trials, only the final table", default=False)

    def __post_init__(self) -> None:
        _checks.one_of("tuner", self.tuner, TUNERS)
        for name, low in ("max_tasks", 1), ("trials", 1), ("factor", 2), ("halvings", 1):
            _checks.integer(getattr(self, name), name, low=low)
        _checks.different(self.fresh_seeds, "fresh_seeds")
        for seed in self.fresh_seeds:
            _checks.integer(seed, "each of fresh_seeds", low=0)
