"""The trials of a search as a table and a picture, and the settings of the best."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

from keras_tuner.engine.trial import Trial, TrialStatus
from matplotlib.figure import Figure

from dgm_tf.methods.settings import DGMSettings
from dgm_tf.reporting import figures, tables
from dgm_tf.tuning.hypermodel import OBJECTIVE
from dgm_tf.tuning.tuner import DGMTuner, short

_SHOWN = 20  # trials in the table that is read
# The numbers of `HyperDGM.metrics`, as the table shows them.
_METRICS = {
    OBJECTIVE: "{:.2%}",
    "accuracy": "{:.2%}",
    "growth": "{:.2f}",
    "units": "{:.0f}",
    "parameters": "{:,.0f}",
    "seconds": "{:.0f}",
}
# Not for a trainer, unless they were searched: a search has its seed and a smaller budget.
_OWN = ("seed", "epochs", "steps", "consolidation_steps")


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        number: from 1 in the order in which the trials began; 1 has the base settings.
        settings: its own, with the full budget.
        values: of the searched settings, by name.
        budget: fraction of the full budget that it had, 1 but for Hyperband.
        metrics: of `HyperDGM.metrics`; empty for a trial that failed.
        reason: of the failure, else an empty text.
    """

    number: int
    settings: DGMSettings
    values: Mapping[str, Any]
    budget: float
    metrics: Mapping[str, float]
    reason: str = ""

    @property
    def usable(self) -> bool:
        """True unless the trial failed."""
        return bool(self.metrics)


def trial_result(trial: Trial, tuner: DGMTuner) -> TrialResult:
    """A trial of KerasTuner's that has ended."""
    metrics, reason = {}, ""
    if trial.status == TrialStatus.COMPLETED:
        metrics = {name: trial.metrics.get_last_value(name) for name in trial.metrics.metrics}
    else:
        reason = trial.message or "failed at a worker, which said why"
    hp = trial.hyperparameters
    return TrialResult(
        number=int(trial.trial_id) + 1,
        settings=tuner.hypermodel.settings(hp),
        values=tuner.hypermodel.searched(hp),
        budget=tuner.budget(hp),
        metrics=metrics,
        reason=reason,
    )


def ranked(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The best first: a larger budget before a smaller one, then by objective; failed ones last."""
    return sorted(
        trials,
        key=lambda trial: (
            not trial.usable, -trial.budget, -trial.metrics.get(OBJECTIVE, 0.0), trial.number
        ),
    )  # fmt: skip


def front(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """Those that no other beats in accuracy without being larger, from small to large."""
    best: list[TrialResult] = []
    for trial in sorted(_compared(trials), key=lambda trial: (_point(trial)[0], -_point(trial)[1])):
        if not best or _point(trial)[1] > _point(best[-1])[1]:
            best.append(trial)
    return best


def _compared(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The usable trials of the largest budget, which only compare with each other."""
    usable = [trial for trial in trials if trial.usable]
    largest = max((trial.budget for trial in usable), default=0)
    return [trial for trial in usable if trial.budget == largest]


def markdown(trials: Sequence[TrialResult]) -> str:
    """The best trials as a table, and below it how many failed and why."""
    usable = [trial for trial in ranked(trials) if trial.usable]
    on_front = front(trials)
    names = _searched(trials)
    rows = [
        [
            f"{trial.number} (begin)" if trial.number == 1 else str(trial.number),
            *(short(trial.values.get(name, "")) for name in names),
            f"{trial.budget:.0%}",
            *(shown.format(trial.metrics[name]) for name, shown in _METRICS.items()),
            "yes" if trial in on_front else "",
        ]
        for trial in usable[:_SHOWN]
    ]
    text = [tables.markdown_table(["trial", *names, "budget", *_METRICS, "front"], rows)]
    if len(usable) > _SHOWN:
        text.append(f"{len(usable) - _SHOWN} usable trials more are in trials.csv.")
    failed = [f"trial {trial.number}: {trial.reason}" for trial in trials if not trial.usable]
    if failed:
        text.append(f"{len(failed)} failed: {'; '.join(failed)}.")
    return "\n\n".join(text)


def as_csv(trials: Sequence[TrialResult]) -> str:
    """Every trial, in the order in which they began."""
    names = _searched(trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *names, "budget", *_METRICS, "failed"])
    for trial in sorted(trials, key=lambda trial: trial.number):
        values = [trial.values.get(name, "") for name in names]
        found = [f"{trial.metrics[name]:.6g}" if trial.usable else "" for name in _METRICS]
        writer.writerow([trial.number, *values, f"{trial.budget:.6g}", *found, trial.reason])
    return text.getvalue()


def figure(trials: Sequence[TrialResult]) -> Figure:
    """Accuracy against final size, with the front marked; at least one trial must be usable."""
    compared = _compared(trials)
    marked = {"best": ranked(trials)[0]}
    marked.update(("begin", trial) for trial in compared if trial.number == 1)
    return figures.trade_off(
        [_point(trial) for trial in compared],
        [_point(trial) for trial in front(trials)],
        xlabel="units of the generator after the last task",
        ylabel="accuracy on validation images (%)",
        marked={name: _point(trial) for name, trial in marked.items()},
        others=[_point(trial) for trial in trials if trial.usable and trial not in compared],
    )


def settings_file(trial: TrialResult) -> dict[str, Any]:
    """The settings of a trial for a trainer, without its seed and its budget."""
    settings = dataclasses.asdict(trial.settings)
    return {
        name: value for name, value in settings.items() if name not in _OWN or name in trial.values
    }


def _searched(trials: Sequence[TrialResult]) -> list[str]:
    return list(dict.fromkeys(name for trial in trials for name in trial.values))


def _point(trial: TrialResult) -> tuple[float, float]:
    return trial.metrics["units"], 100.0 * trial.metrics["accuracy"]
