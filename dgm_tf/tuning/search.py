"""A search from beginning to end: its folder, its trials, what it found, and a check of that."""

import dataclasses
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from dgm_tf import _checks, randomness
from dgm_tf.errors import InputError
from dgm_tf.experiments import experiment
from dgm_tf.reporting import figures
from dgm_tf.runs import provenance
from dgm_tf.runs.run_folder import check_writable
from dgm_tf.settings import PRESETS, DGMSettings
from dgm_tf.storage.files import write_atomically
from dgm_tf.stream import TaskStream
from dgm_tf.tuning import results
from dgm_tf.tuning.hypermodel import OBJECTIVE, HyperDGM
from dgm_tf.tuning.measure import Unusable, measure
from dgm_tf.tuning.results import TrialResult
from dgm_tf.tuning.space import DEFAULT_SEARCH, TUNERS
from dgm_tf.tuning.tuner import DGMTuner, new_oracle

DEFAULT_FOLDER = Path("runs") / "tuning"

# What a search must share with the folder that it continues.
_IDENTITY = (
    "stream", "base", "space", "tuner", "tasks", "objective", "growth_price", "factor", "halvings"
)  # fmt: skip
_CHIEF, _WORKER = "chief", "worker"
_FRESH = "fresh.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a search goes about.

    Attributes:
        tasks: that a trial learns, the first ones of the stream.
        tuner: "random", "bayesian" or "hyperband".
        trials: how many; of Hyperband they follow from `factor` and `halvings`.
        factor: by which Hyperband raises the epochs of the best trials.
        halvings: how often it does.
        fresh_seeds: seeds with which the best settings and those at the beginning are learnt once
            more at the end.
    """

    tasks: int = 3
    tuner: str = "bayesian"
    trials: int = 20
    factor: int = 3
    halvings: int = 2
    fresh_seeds: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.tuner not in TUNERS:
            raise InputError(f"tuner must be {', '.join(TUNERS)}, not {self.tuner!r}")
        for name, low in ("tasks", 1), ("trials", 1), ("factor", 2), ("halvings", 1):
            _checks.integer(getattr(self, name), name, low=low)
        for seed in self.fresh_seeds:
            _checks.integer(seed, "each of fresh_seeds", low=0)


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Everything that a search command decides.

    Attributes:
        training: data, stream and the settings to begin with; their epochs are the full budget.
        preset: that these settings begin with.
        plan: how the search goes about.
        search: names of the settings to be searched.
        objective: which accuracy counts.
        growth_price: what a unit of growth costs.
        search_dir: its folder; None for runs/tuning/<data set>-dgm-<variant>.
    """

    training: experiment.Training
    preset: str
    plan: Plan = Plan()
    search: Sequence[str] = DEFAULT_SEARCH
    objective: str = "last"
    growth_price: float = 0.01
    search_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search leaves behind.

    Attributes:
        folder: its folder.
        trials: those that have ended, the best first.
    """

    folder: Path
    trials: tuple[TrialResult, ...]

    @property
    def best(self) -> TrialResult:
        """The best of them."""
        return self.trials[0]


def tune(tuning: Tuning) -> SearchResult | None:
    """Searches as a search command asks; see `search`.

    Raises:
        InputError: also for the memory of another run, which no trial would take.
    """
    if tuning.training.memory_of is not None:
        raise InputError("a trial learns its own generators: a search takes no memory_of")
    settings = tuning.training.settings
    name = f"{tuning.training.dataset}-dgm-{settings.variant}"
    folder = Path(tuning.search_dir or DEFAULT_FOLDER / name)
    check_writable(folder, flag="--search_dir")
    hypermodel = HyperDGM(
        settings,
        search=tuning.search,
        objective=tuning.objective,
        growth_price=tuning.growth_price,
    )
    stream = experiment.open_stream(tuning.training)
    experiment.check_sizes(stream, dataclasses.replace(tuning.training, tasks=tuning.plan.tasks))
    return search(
        stream,
        hypermodel,
        folder=folder,
        plan=tuning.plan,
        preset=tuning.preset,
        command=tuning.training.command,
        quiet=tuning.training.quiet,
    )


def search(
    stream: TaskStream,
    hypermodel: HyperDGM,
    *,
    folder: str | Path,
    plan: Plan = Plan(),  # noqa: B008 (frozen)
    preset: str = PRESETS[0],
    command: str = "",
    quiet: bool = False,
) -> SearchResult | None:
    """Runs the trials that a folder does not have yet, and writes down what was found.

    The first trial has the base settings. Trials whose settings are unusable are failed ones; any
    other error ends the search. One that was stopped goes on: finished trials are not repeated.

    Under KerasTuner's environment variables KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and
    KERASTUNER_ORACLE_PORT a process is the chief, which hands out trials and writes the results, or
    a worker, which runs them.

    Args:
        stream: the data; itself it is not walked.
        hypermodel: the search space and the objective.
        folder: the search's own, made where it does not exist.
        plan: how to go about.
        preset: that the settings file names; it holds what differs from it.
        command: the command line, for the record.
        quiet: print the final table alone.

    Returns:
        What was found; None at a worker.

    Raises:
        InputError: something does not fit the data, the folder belongs to another search, or no
            trial was usable.
    """
    folder = Path(folder)
    role = _role()
    stream.seen_validation(plan.tasks)  # So that what does not fit is said before any work.
    say = (lambda text: None) if quiet else _say
    if role != _WORKER:
        _open(folder, _description(stream, hypermodel, plan, command))
    oracle = new_oracle(
        plan.tuner,
        trials=plan.trials,
        factor=plan.factor,
        halvings=plan.halvings,
        seed=randomness.derive(hypermodel.base.seed, "search"),
    )
    try:
        tuner = DGMTuner(
            oracle,
            hypermodel,
            folder / "trials",
            tasks=plan.tasks,
            epochs=hypermodel.base.epochs,
            say=say,
            quiet=quiet,
        )
    except json.JSONDecodeError as error:
        raise InputError(
            f"a file in {folder / 'trials'} is damaged ({error}); begin another --search_dir"
        ) from error
    finished = sum(trial.status in _ENDED for trial in oracle.trials.values())
    going_on = f", going on after {finished} finished trials" if finished else ""
    what = {_CHIEF: "chief of ", _WORKER: "worker of "}.get(role, "")
    say(f"{stream.scenario}\n{what}search: {folder}{going_on}")
    try:
        tuner.search(stream)
    except keras_tuner.errors.FatalError as error:
        raise (error.__cause__ or error) from None
    except grpc.RpcError as error:
        raise InputError(
            f"the chief at {_address()} does not answer ({error.code().name}); start it, then this "
            "worker again"
        ) from error
    if role == _WORKER:
        say("no trials left for this worker")
        return None
    trials = results.ranked(
        [
            results.trial_result(trial, hypermodel, epochs=tuner.epochs(trial.hyperparameters))
            for trial in oracle.trials.values()
            if trial.status in _ENDED
        ]
    )
    found = SearchResult(folder, tuple(trials))
    _write(found, stream, preset=preset)
    for seed in plan.fresh_seeds:
        _learn_again(found, stream, hypermodel, tasks=plan.tasks, seed=seed, say=say)
    _say(_report(found))
    return found


_ENDED = (TrialStatus.COMPLETED, TrialStatus.FAILED)


def _role() -> str | None:
    """Chief, worker, or None for a process that searches alone."""
    names = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")
    given = [name for name in names if os.environ.get(name)]
    if not given:
        return None
    if missing := [name for name in names if name not in given]:
        raise InputError(
            f"expected {', '.join(names)} together, {', '.join(missing)} is missing: set it, or "
            "none of them for one process"
        )
    if "chief" not in os.environ[names[-1]]:
        return _WORKER
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((os.environ[names[0]], int(os.environ[names[1]])))
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"the chief cannot listen at {_address()}: {error}; name another KERASTUNER_ORACLE_PORT"
        ) from error
    return _CHIEF


def _address() -> str:
    return f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"


# The folder.


def _description(
    stream: TaskStream, hypermodel: HyperDGM, plan: Plan, command: str
) -> dict[str, Any]:
    space = keras_tuner.HyperParameters()
    hypermodel.build(space)
    hyperband = plan.tuner == "hyperband"
    described = {key: value for key, value in stream.describe().items() if key != "scenario"}
    return {
        "scenario": stream.scenario,
        "tasks": plan.tasks,
        "tuner": plan.tuner,
        "factor": plan.factor if hyperband else None,
        "halvings": plan.halvings if hyperband else None,
        "objective": hypermodel.objective_name,
        "growth_price": hypermodel.growth_price,
        "space": space.get_config()["space"],
        "base": dataclasses.asdict(hypermodel.base),
        "stream": described,
        "command": command,
        "versions": {**provenance.versions(), "keras-tuner": keras_tuner.__version__},
        "machine": provenance.machine(),
        "date": provenance.today(),
    }


def _open(folder: Path, description: Mapping[str, Any]) -> None:
    """Takes the folder for a search, or makes sure that it is this one's already."""
    path = folder / "search.json"
    text = json.dumps(description, indent=2, ensure_ascii=False)
    if not path.exists():
        if (folder / "trials").exists():
            raise InputError(
                f"{folder} holds trials without search.json, so it cannot be told whether they "
                "belong to this search; choose another --search_dir"
            )
        write_atomically(path, f"{text}\n".encode())
        return
    found, wanted = _read_json(path), json.loads(text)
    if differing := _checks.differences(found, wanted, _IDENTITY):
        raise InputError(
            f"{folder} holds another search: {'; '.join(differing)}; choose another --search_dir "
            "or delete that one"
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} ({error}); begin another --search_dir") from error


def _write(found: SearchResult, stream: TaskStream, *, preset: str) -> None:
    write_atomically(found.folder / "trials.csv", results.as_csv(found.trials).encode())
    table = f"{stream.scenario}\n\n{results.markdown(found.trials)}\n"
    write_atomically(found.folder / "trials.md", table.encode())
    if not found.best.usable:
        raise InputError(
            f"none of the {len(found.trials)} trials was usable, the first because of: "
            f"{found.best.reason}; see {found.folder / 'trials.csv'}, and begin another "
            "--search_dir with more --epochs or other settings"
        )
    drawn = results.figure(found.trials)
    write_atomically(found.folder / "front.png", figures.png_bytes(drawn))
    write_atomically(found.folder / "front.svg", figures.svg_bytes(drawn))
    settings = results.settings_file(found.best, dataset=stream.name, preset=preset)
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    write_atomically(found.folder / "best.json", f"{text}\n".encode())


# Fresh seeds.


def _learn_again(
    found: SearchResult,
    stream: TaskStream,
    hypermodel: HyperDGM,
    *,
    tasks: int,
    seed: int,
    say: Any,
) -> None:
    """Learns the best and the base settings with another seed, which also cuts the data anew.

    The best trial was chosen for its number, which therefore flatters it.
    """
    path = found.folder / _FRESH
    rows = _read_json(path) if path.exists() else []
    for name, settings in ("begin", hypermodel.base), ("best", found.best.settings):
        settings = dataclasses.replace(settings, seed=seed, epochs=found.best.epochs)
        row = {"name": name, "settings": dataclasses.asdict(settings)}
        if any(known["name"] == name and known["settings"] == row["settings"] for known in rows):
            continue
        row |= _measured(settings, stream.anew(seed=seed), hypermodel, tasks)
        rows.append(row)
        write_atomically(path, f"{json.dumps(rows, indent=2)}\n".encode())
        say(_fresh_line(row))


def _measured(
    settings: DGMSettings, stream: TaskStream, hypermodel: HyperDGM, tasks: int
) -> dict[str, Any]:
    try:
        found = measure(hypermodel.learner(settings), stream, tasks=tasks)
    except Unusable as error:
        return {"failed": str(error)}
    return hypermodel.metrics(settings, found)


def _fresh_line(row: Mapping[str, Any]) -> str:
    title = f"seed {row['settings']['seed']}, {row['name']}"
    if "failed" in row:
        return f"{title}: failed, {row['failed']}"
    return (
        f"{title}: objective {100 * row[OBJECTIVE]:.2f}, accuracy {100 * row['accuracy']:.2f} %, "
        f"{row['units']:.0f} units"
    )


def _report(found: SearchResult) -> str:
    parts = [results.markdown(found.trials)]
    path = found.folder / _FRESH
    if path.exists():
        parts.append("With fresh seeds:\n" + "\n".join(map(_fresh_line, _read_json(path))))
    parts.append(
        f"Pareto front: {found.folder / 'front.png'}\n"
        f"Settings of the best: --settings={found.folder / 'best.json'}"
    )
    return "\n\n".join(parts)


def _say(text: str) -> None:
    print(text, flush=True)
