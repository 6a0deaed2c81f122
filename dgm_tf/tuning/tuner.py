"""KerasTuner's tuner and oracles, as a search needs them."""

import contextlib
import gc
import io
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning

from dgm_tf import _checks
from dgm_tf.experiments.progress import TaskProgress
from dgm_tf.storage.files import write_atomically
from dgm_tf.stream import TaskStream
from dgm_tf.tuning.hypermodel import OBJECTIVE, HyperDGM

_EPOCHS = "tuner/epochs"  # Hyperband's budget of a trial


class _Oracle(keras_tuner.Oracle):
    """What all oracles of a search do: begin with the base settings, and survive a kill."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        response = super().populate_space(trial_id)
        if not self.trials:
            response["values"] = {
                **{k: v for k, v in response["values"].items() if k.startswith("tuner/")},
                **self._defaults(),
            }
        return response

    def _defaults(self) -> dict[str, Any]:
        found = keras_tuner.HyperParameters()
        for hp in self.hyperparameters.space:
            found.merge([hp])
            if found.is_active(hp):
                found.values[hp.name] = hp.default
        return found.values

    # KerasTuner writes into its files in place: a process killed meanwhile would leave half of one.

    def save(self) -> None:
        write_atomically(self._get_oracle_fname(), json.dumps(self.get_state()).encode())

    def _save_trial(self, trial: Trial) -> None:
        path = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write_atomically(path, json.dumps(trial.get_state()).encode())


class _Random(_Oracle, keras_tuner.oracles.RandomSearchOracle):
    """Settings at random."""


class _Bayesian(_Oracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """At random at first, then where a Gaussian process expects most."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        with warnings.catch_warnings():
            # A few trials leave the process undecided, which is no news.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)


class _Hyperband(_Oracle, keras_tuner.oracles.HyperbandOracle):
    """Many at random at a small budget, the best of them again at a larger one."""


def new_oracle(
    kind: str, *, trials: int, factor: int, halvings: int, seed: int
) -> keras_tuner.Oracle:
    """The oracle of a search.

    Args:
        kind: "random", "bayesian" or "hyperband".
        trials: how many, but for Hyperband, where they follow from the two that follow.
        factor: by which Hyperband raises the budget, from 2.
        halvings: how often it does, from 1.
        seed: from 0.
    """
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "seed": seed + 1,  # KerasTuner takes 0 for none.
        # However many fail, the search goes on.
        "max_consecutive_failed_trials": sys.maxsize,
    }
    if kind == "hyperband":
        return _Hyperband(max_epochs=factor**halvings, factor=factor, **common)
    oracle = {"random": _Random, "bayesian": _Bayesian}[kind]
    return oracle(max_trials=trials, **common)


class DGMTuner(base_tuner.BaseTuner):
    """Runs trials: each learns the first tasks of a stream anew.

    A trial that Hyperband gives a larger budget begins from nothing, too: masks are annealed and
    rates decay over a task's epochs, so that learning cannot be prolonged.

    Args:
        oracle: of `new_oracle`.
        hypermodel: the search space.
        folder: where KerasTuner keeps the trials; a search that stands there goes on.
        tasks: that a trial learns.
        epochs: of each task, at the full budget.
        say: takes a line of progress.
        quiet: draw no live line.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: HyperDGM,
        folder: Path,
        *,
        tasks: int,
        epochs: int,
        say: Callable[[str], None],
        quiet: bool,
    ):
        self._tasks, self._epochs = tasks, epochs
        self._say, self._quiet = say, quiet
        self._line = ""
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
        if not self._is_worker():
            self.oracle.reload()

    def epochs(self, hp: keras_tuner.HyperParameters) -> int:
        """Epochs of each task in a trial."""
        if _EPOCHS not in hp.values:
            return self._epochs
        return max(1, round(self._epochs * hp.values[_EPOCHS] / self._full))

    def run_trial(self, trial: Trial, stream: TaskStream) -> dict[str, float]:
        """Runs one trial on a stream that is begun anew.

        Raises:
            keras_tuner.errors.FailedTrialError: the settings are unusable.
            keras_tuner.errors.FatalError: for any other error, which is its cause: KerasTuner would
                take it for a trial that failed.
        """
        hp = trial.hyperparameters
        number = int(trial.trial_id) + 1
        values = ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.hypermodel.searched(hp).items()
        )
        epochs = self.epochs(hp)
        title = f"trial {number}: {values}, {epochs} epochs"
        gc.collect()  # the networks and graphs of the trial before
        try:
            with TaskProgress(f"trial {number}", live=False if self._quiet else None) as progress:
                found = self.hypermodel.fit(
                    hp,
                    self.hypermodel.build(hp),
                    stream.anew(),
                    tasks=self._tasks,
                    epochs=epochs,
                    callbacks=[progress],
                )
        except keras_tuner.errors.FailedTrialError as error:
            self._say(f"{title}: failed, {_checks.one_line(error)}")
            raise
        except Exception as error:
            raise keras_tuner.errors.FatalError("a trial raised an error") from error
        self._line = (
            f"{title}: objective {100 * found[OBJECTIVE]:.2f}, accuracy "
            f"{100 * found['accuracy']:.2f} %, {found['units']:.0f} units"
        )
        return found

    def on_trial_end(self, trial: Any) -> None:
        """Keeps the trial and then says what it brought: what is shown is not lost by Ctrl-C."""
        super().on_trial_end(trial)
        if self._line:
            self._say(self._line)
        self._line = ""
