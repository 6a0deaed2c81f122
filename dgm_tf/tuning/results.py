"""What a search has found: its trials as a table and a picture, and the settings of the best."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

from keras_tuner.engine.trial import Trial, TrialStatus
from matplotlib.figure import Figure

from dgm_tf import _checks
from dgm_tf.reporting import figures, numbers, tables
from dgm_tf.settings import DGMSettings, settings_for
from dgm_tf.tuning.hypermodel import OBJECTIVE, HyperDGM

_SHOWN = 20  # trials in the table that is read
_COLUMNS = ("objective", "accuracy", "growth", "units", "parameters", "seconds")
_NO_SETTING = ("seed", "epochs")  # the trainer's own: a search has its seed and a smaller budget


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        number: from 1 in the order in which the trials began; 1 has the base settings.
        settings: its own.
        values: what was searched, by name.
        epochs: of each task.
        metrics: what `HyperDGM.fit` returned; empty for a trial that failed.
        reason: why it failed, else an empty text.
    """

    number: int
    settings: DGMSettings
    values: Mapping[str, Any]
    epochs: int
    metrics: Mapping[str, float]
    reason: str = ""

    @property
    def usable(self) -> bool:
        return bool(self.metrics)


def trial_result(trial: Trial, hypermodel: HyperDGM, *, epochs: int) -> TrialResult:
    """A trial of KerasTuner's that has ended."""
    settings = hypermodel.settings(trial.hyperparameters)
    metrics, reason = {}, ""
    if trial.status == TrialStatus.COMPLETED:
        metrics = {name: trial.metrics.get_last_value(name) for name in trial.metrics.metrics}
    else:
        # The last line of a traceback is the error's name and text. From a worker none comes.
        *_, last = (trial.message or "").strip().splitlines() or [""]
        reason = _checks.one_line(last.partition(": ")[2] or "failed at a worker, which said why")
    return TrialResult(
        number=int(trial.trial_id) + 1,
        settings=settings,
        values=hypermodel.searched(trial.hyperparameters),
        epochs=epochs,
        metrics=metrics,
        reason=reason,
    )


def ranked(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The best first: a larger budget before a smaller one, then by objective; failed ones last."""
    return sorted(
        trials,
        key=lambda trial: (
            not trial.usable,
            -trial.epochs,
            -trial.metrics.get(OBJECTIVE, 0.0),
            trial.number,
        ),
    )


def compared(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The usable trials of the largest budget: a smaller one says less."""
    usable = [trial for trial in trials if trial.usable]
    largest = max((trial.epochs for trial in usable), default=0)
    return [trial for trial in usable if trial.epochs == largest]


def front(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """Those that no other beats in accuracy without being larger, from small to large."""
    return numbers.front(
        compared(trials),
        little=lambda trial: trial.metrics["units"],
        much=lambda trial: trial.metrics["accuracy"],
    )


def markdown(trials: Sequence[TrialResult]) -> str:
    """The best trials as a table, and below it how many failed and why."""
    usable = [trial for trial in ranked(trials) if trial.usable]
    on_front = {trial.number for trial in front(trials)}
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    header = [
        "trial", *names, "epochs", "objective", "accuracy", "growth", "units", "parameters", "front"
    ]  # fmt: skip
    rows = []
    for trial in usable[:_SHOWN]:
        found = trial.metrics
        rows.append(
            [
                f"{trial.number}" + (" (begin)" if trial.number == 1 else ""),
                *(_text(trial.values.get(name, "")) for name in names),
                str(trial.epochs),
                f"{100 * found[OBJECTIVE]:.2f}",
                f"{100 * found['accuracy']:.2f}",
                f"{found['growth']:.2f}",
                f"{found['units']:.0f}",
                f"{found['parameters']:,.0f}",
                "yes" if trial.number in on_front else "",
            ]
        )
    text = [tables.markdown_table(header, rows)]
    if len(usable) > _SHOWN:
        text.append(f"{len(usable) - _SHOWN} usable trials more are in trials.csv.")
    failed = [trial for trial in trials if not trial.usable]
    if failed:
        reasons = "; ".join(f"trial {trial.number}: {trial.reason}" for trial in failed)
        text.append(f"{len(failed)} failed: {reasons}.")
    return "\n\n".join(text)


def as_csv(trials: Sequence[TrialResult]) -> str:
    """Every trial, in the order in which they began."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *names, "epochs", *_COLUMNS, "failed"])
    for trial in sorted(trials, key=lambda trial: trial.number):
        writer.writerow(
            [
                trial.number,
                *(trial.values.get(name, "") for name in names),
                trial.epochs,
                *(f"{trial.metrics[name]:.6g}" if trial.usable else "" for name in _COLUMNS),
                trial.reason,
            ]
        )
    return text.getvalue()


def figure(trials: Sequence[TrialResult]) -> Figure:
    """Accuracy against final size, with the front marked; at least one trial must be usable."""
    alike = compared(trials)
    marked = {"best": ranked(trials)[0]}
    for trial in alike:
        if trial.number == 1:
            marked["begin"] = trial
    return figures.trade_off(
        [_point(trial) for trial in alike],
        [_point(trial) for trial in front(trials)],
        xlabel="units of the generator after the last task",
        ylabel="accuracy on validation images (%)",
        marked={name: _point(trial) for name, trial in marked.items()},
        others=[_point(trial) for trial in trials if trial.usable and trial not in alike],
    )


def _point(trial: TrialResult) -> tuple[float, float]:
    return trial.metrics["units"], 100.0 * trial.metrics["accuracy"]


def settings_file(trial: TrialResult, *, dataset: str, preset: str) -> dict[str, Any]:
    """What a trainer needs to learn as a trial did, but for its seed and its budget of epochs.

    Returns:
        The preset, the variant, what was searched, and every other setting that is not the
        preset's.
    """
    own = dataclasses.asdict(trial.settings)
    presets = dataclasses.asdict(settings_for(dataset, trial.settings.variant, preset))
    return {"preset": preset, "variant": own["variant"]} | {
        name: value
        for name, value in own.items()
        if name not in _NO_SETTING and (name in trial.values or value != presets[name])
    }


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
