"""KerasTuner's tuner and oracles, as a search needs them."""

import contextlib
import dataclasses
import gc
import io
import json
import logging
import math
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from sklearn.exceptions import ConvergenceWarning

from dgm_tf import _checks
from dgm_tf.data.stream import TaskStream
from dgm_tf.errors import InputError
from dgm_tf.learners import classifier_learner
from dgm_tf.methods.settings import DGMSettings
from dgm_tf.storage.files import write_atomically
from dgm_tf.terminal import printing, quiet
from dgm_tf.terminal.progress import TaskProgress
from dgm_tf.tuning.hypermodel import OBJECTIVE, HyperDGM
from dgm_tf.tuning.space import Plan

OTHER_FOLDER = "choose another --search_dir, or delete that one"
_LEARNERS = logging.getLogger(classifier_learner.__name__)


class SearchOracle(keras_tuner.Oracle):
    """Base class of the oracles: begins with the base settings and survives a kill."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        response = super().populate_space(trial_id)
        if not self.trials:
            hyperband = {k: v for k, v in response["values"].items() if k.startswith("tuner/")}
            # The space itself has the defaults of all that is active.
            response["values"] = hyperband | self.hyperparameters.values
        return response

    # A worker may hand a result in twice, or one of which it was thought dead.

    def update_trial(self, trial_id: str, metrics: Mapping[str, Any], step: int = 0) -> Trial:
        if trial_id in self.end_order:
            return self.trials[trial_id]
        return super().update_trial(trial_id, metrics, step)

    def end_trial(self, trial: Trial) -> None:
        if trial.trial_id in self.end_order:
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        super().end_trial(trial)

    def take_back(self, name: str) -> str:
        """Gives the trial of a worker that has died to the next one that asks.

        Returns:
            The trial's number, from 1; an empty text where the worker had none.
        """
        self.tuner_ids.discard(name)
        trial = self.ongoing_trials.pop(name, None)
        if trial is None:
            return ""
        self._retry_queue.append(trial.trial_id)
        self.save()
        return str(int(trial.trial_id) + 1)

    def has_ended(self) -> bool:
        """Whether no trial is left to begin, and nobody runs one."""
        if self.ongoing_trials or self._retry_queue:
            return False
        if self.create_trial("").status == TrialStatus.STOPPED:
            return True
        self.take_back("")  # Who asks first gets it.
        return False

    def reload(self) -> None:
        super().reload()
        # A kill may have come between the writing of a trial's file and the oracle's.
        ended = {TrialStatus.COMPLETED, TrialStatus.FAILED}
        begun = sorted(id_ for id_, trial in self.trials.items() if trial.status not in ended)
        self._retry_queue = begun[::-1]  # Its end is taken first.
        known = {*self.end_order, *begun}
        if lost := sorted(known - self.trials.keys()):
            raise LookupError(f"trial {int(lost[0]) + 1} is gone")
        self.end_order += sorted(self.trials.keys() - known)

    # KerasTuner writes into its files in place: a process killed meanwhile would leave half of one.

    def save(self) -> None:
        write_atomically(self._get_oracle_fname(), json.dumps(self.get_state()).encode())

    def _save_trial(self, trial: Trial) -> None:
        path = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write_atomically(path, json.dumps(trial.get_state()).encode())


class _Random(SearchOracle, keras_tuner.oracles.RandomSearchOracle):
    """Settings at random."""


class _Bayesian(SearchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Settings of which a Gaussian process expects most."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        with warnings.catch_warnings():
            # A few trials leave the process undecided, which is no news.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)


class _Hyperband(SearchOracle, keras_tuner.oracles.HyperbandOracle):
    """Many settings on a small budget, the best of them again on a larger one."""


def new_oracle(plan: Plan, *, seed: int) -> SearchOracle:
    """The oracle of a search.

    Args:
        plan: names the tuner and how many trials it has.
        seed: from 0.
    """
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "seed": seed + 1,  # KerasTuner takes 0 for none.
        # However many fail, the search continues.
        "max_consecutive_failed_trials": sys.maxsize,
    }
    if plan.tuner == "hyperband":
        full = plan.factor**plan.halvings
        return _Hyperband(max_epochs=full, factor=plan.factor, **common)
    oracle = {"random": _Random, "bayesian": _Bayesian}[plan.tuner]
    return oracle(max_trials=plan.trials, **common)


class DGMTuner(base_tuner.BaseTuner):
    """Runs trials: each learns the first tasks of a stream from its beginning.

    A trial that Hyperband gives a larger budget begins from nothing, too: masks are annealed and
    rates decay over the whole of a task, so that learning cannot be prolonged.

    Args:
        oracle: of `new_oracle`; a worker's tuner gets the chief's in its place.
        hypermodel: the search space.
        folder: of KerasTuner's trials; a search that stands there is resumed.
        plan: for the number of tasks, and for silence.
    """

    def __init__(self, oracle: SearchOracle, hypermodel: HyperDGM, folder: Path, plan: Plan):
        self._tasks, self._quiet = plan.max_tasks, plan.quiet
        self._line, self._warned = "", frozenset[str]()
        self._full = getattr(oracle, "max_epochs", None)
        oracle.verbose = 0
        with contextlib.redirect_stdout(io.StringIO()):  # "Reloading Tuner from ..."
            super().__init__(
                oracle, hypermodel, directory=str(folder.parent), project_name=folder.name
            )

    def _get_tuner_fname(self) -> str:
        # KerasTuner reads a search where this file is. The oracle's is there from the first trial
        # on, whichever process began it; a worker asks the chief and has no file.
        if self._is_worker():
            return str(Path(self.project_dir) / f"{self.tuner_id}.json")
        return self.oracle._get_oracle_fname()

    def save(self) -> None:
        if not self._is_worker():
            self.oracle.save()

    def reload(self) -> None:
        if self._is_worker():
            return
        try:
            self.oracle.reload()
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = _checks.reason(error.__cause__ or error)  # KerasTuner's own is about its API.
            raise InputError(
                f"{self.project_dir} holds damaged trials ({reason}): {OTHER_FOLDER}"
            ) from error

    def say(self, text: str) -> None:
        """Prints a line of progress at once."""
        if not self._quiet:
            printing.say(text)

    def budget(self, hp: keras_tuner.HyperParameters) -> float:
        """Fraction of the full budget that a trial has, above 0 and up to 1."""
        # Hyperband calls parts of it epochs.
        return hp.values["tuner/epochs"] / self._full if self._full else 1.0

    def learn(self, settings: DGMSettings, stream: TaskStream, *, title: str) -> dict[str, float]:
        """The metrics of a learner with these settings on a stream, which is not walked itself.

        Errors are those of `HyperDGM.metrics`.
        """
        gc.collect()  # the networks and graphs of the learner before
        live = False if self._quiet else None
        _LEARNERS.addFilter(self._is_news)
        try:
            with quiet.without_chatter(), TaskProgress(title, live=live) as progress:
                return self.hypermodel.metrics(
                    self.hypermodel.learner(settings),
                    stream.fresh(),
                    tasks=self._tasks,
                    callbacks=[progress],
                )
        finally:
            _LEARNERS.removeFilter(self._is_news)

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether a learner's warning is one that no trial before has had."""
        known, self._warned = self._warned, self._warned | {record.getMessage()}
        return not self._quiet and self._warned != known

    def run_trial(self, trial: Trial, stream: TaskStream) -> dict[str, float]:
        """The metrics of one trial, as KerasTuner asks for them.

        Raises:
            keras_tuner.errors.FailedTrialError: the settings are unusable.
        """
        hp, name = trial.hyperparameters, f"trial {int(trial.trial_id) + 1}"
        title = f"{name}: {self._shown(hp)}"
        try:
            settings = _within(self.budget(hp), self.hypermodel.settings(hp))
            metrics = self.learn(settings, stream, title=name)
            if not math.isfinite(metrics[OBJECTIVE]):  # KerasTuner could not compare it.
                raise keras_tuner.errors.FailedTrialError(f"the objective is {metrics[OBJECTIVE]}")
        except keras_tuner.errors.FailedTrialError as error:
            self.say(f"{title}: failed, {_checks.one_line(error)}")
            raise
        self._line = f"{title}: {reached(metrics)}"
        return metrics

    def _try_run_and_update_trial(self, trial: Trial, *args: Any, **options: Any) -> None:
        # KerasTuner prints every failure's traceback, and takes a bug for one, too.
        try:
            metrics = self.run_trial(trial, *args, **options)
            self.oracle.update_trial(trial.trial_id, metrics)
            trial.status = TrialStatus.COMPLETED
        except keras_tuner.errors.FailedTrialError as error:
            trial.status = TrialStatus.FAILED
            trial.message = _checks.one_line(error)

    def on_trial_end(self, trial: Any) -> None:
        """Keeps the trial, then shows its metrics: no trial that was shown is lost by Ctrl-C."""
        super().on_trial_end(trial)
        if self._line:
            self.say(self._line)
        self._line = ""

    def _shown(self, hp: keras_tuner.HyperParameters) -> str:
        parts = [f"{name} {short(value)}" for name, value in self.hypermodel.searched(hp).items()]
        if self._full:
            parts.append(f"{self.budget(hp):.0%} of the budget")
        return ", ".join(parts)


def _within(budget: float, settings: DGMSettings) -> DGMSettings:
    """Settings with a fraction of the epochs or steps that a task has."""
    full = {name: getattr(settings, name) for name in ("epochs", "steps")}
    smaller = {name: max(1, round(budget * number)) for name, number in full.items() if number}
    return dataclasses.replace(settings, **smaller)


def short(value: Any) -> str:
    """The value of a searched setting, for a line or a table."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def reached(metrics: Mapping[str, float]) -> str:
    """The metrics of a trial, for a line."""
    return (
        f"objective {100 * metrics[OBJECTIVE]:.2f}, accuracy {100 * metrics['accuracy']:.2f} %, "
        f"{metrics['units']:.0f} units"
    )
