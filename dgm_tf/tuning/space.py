"""What a search may change, within which ranges. Nothing here needs TensorFlow or KerasTuner."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dgm_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: the least.
        high: the greatest.
        log: equally likely in each decade, not along the line.
        step: whole numbers this far apart; None for real numbers.
    """

    low: float
    high: float
    log: bool = False
    step: int | None = None

    def declare(self, hp: Any, name: str, default: Any) -> Any:
        """The value that KerasTuner's `hp` has for the setting, which it then knows.

        Real numbers have three digits: a search tells no finer ones apart.
        """
        if self.step is not None:
            return hp.Int(name, int(self.low), int(self.high), step=self.step, default=default)
        sampling = "log" if self.log else "linear"
        value = hp.Float(name, self.low, self.high, sampling=sampling, default=default)
        return value if value == default else float(f"{value:.3g}")

    def __str__(self) -> str:
        text = f"{self.low:g} to {self.high:g}"
        if self.step is not None:
            return f"{text} by {self.step}"
        return f"{text}, logarithmic" if self.log else text


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        values: at least two.
    """

    values: tuple[Any, ...]

    def declare(self, hp: Any, name: str, default: Any) -> Any:
        """As `Range.declare`."""
        return hp.Choice(name, list(self.values), default=default)

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))


# Around the presets of both variants, on all data sets.
RANGES: Mapping[str, Range | Choice] = {
    "s_max": Range(1e2, 1e6, log=True),
    "sparsity": Range(1e-4, 1.0, log=True),
    "learning_rate": Range(2e-4, 2e-2, log=True),
    "critic_learning_rate": Range(2e-4, 2e-2, log=True),
    "generator_size": Range(4, 40, step=2),
    "critic_size": Range(8, 48, step=4),
    "penalty_weight": Range(0.1, 30.0, log=True),
    "replay": Choice(("balanced", "full")),
    "replay_batch": Range(16, 128, step=16),
}
DEFAULT_SEARCH = ("s_max", "sparsity")

OBJECTIVES: Mapping[str, str] = {
    "last": "the accuracy after the last task",
    "mean": "the mean of the accuracies after each task",
}
TUNERS = ("random", "bayesian", "hyperband")


def check_names(names: Any) -> tuple[str, ...]:
    """The settings to be searched, each once.

    Raises:
        InputError: a name that `RANGES` does not have, or none at all.
    """
    names = tuple(dict.fromkeys(names))
    unknown = [name for name in names if name not in RANGES]
    if unknown or not names:
        raise InputError(
            f"expected --search as some of {','.join(RANGES)}, received "
            f"{','.join(names) or 'nothing'}"
        )
    return names


def described() -> str:
    """The ranges as text: "s_max (100 to 1e+06, logarithmic), ..."."""
    return "; ".join(f"{name} ({values})" for name, values in RANGES.items())
