"""A search from beginning to end: its folder, its trials, its results, and a check of these."""

import dataclasses
import json
import os
import shlex
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras_tuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.errors import FailedTrialError

from dgm_tf import _checks, randomness
from dgm_tf.data.stream import TaskStream
from dgm_tf.errors import InputError
from dgm_tf.methods.settings import DGMSettings
from dgm_tf.reporting import figures
from dgm_tf.runs import provenance
from dgm_tf.runs.run_folder import without_origin
from dgm_tf.storage import paths
from dgm_tf.storage.files import check_writable, locked, write_atomically
from dgm_tf.terminal.printing import say
from dgm_tf.tuning import results
from dgm_tf.tuning.chief import Chief
from dgm_tf.tuning.hypermodel import HyperDGM
from dgm_tf.tuning.results import TrialResult
from dgm_tf.tuning.space import Plan
from dgm_tf.tuning.tuner import OTHER_FOLDER, DGMTuner, new_oracle, reached
from dgm_tf.tuning.worker import Client, Link, NothingLeft

_IDENTITY = (
    "stream", "base", "hypermodel", "space", "tuner", "tasks", "aim", "factor", "halvings",
)  # fmt: skip
_CHIEF, _WORKER = "chief", "worker"
_RECORD, _BEST, _FRESH = "search.json", "best.json", "fresh.json"
_FINISHED = "finished"  # how many trials were asked for when none was left


def search(
    stream: TaskStream,
    hypermodel: HyperDGM,
    plan: Plan = Plan(),  # noqa: B008 (frozen)
    *,
    command: str = "",
) -> list[TrialResult]:
    """Runs the trials that a folder does not have yet, and writes down what was found.

    The first trial has the base settings. Trials whose settings are unusable are failed ones; any
    other error ends the search. One that was stopped is resumed: finished trials are not repeated.

    Under KerasTuner's environment variables KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and
    KERASTUNER_ORACLE_PORT a process is the chief, which hands out trials and writes the results, or
    a worker, which runs them.

    Args:
        stream: the data; copies of it are walked.
        hypermodel: the search space and the objective.
        plan: the tuner, its trials and the folder.
        command: the command line, for the record.

    Returns:
        The trials that have ended, the best first; none at a worker.

    Raises:
        InputError: something does not fit the data, the folder belongs to another search, or no
            trial was usable.
    """
    if not isinstance(stream, TaskStream):
        raise InputError(f"expected a TaskStream to search on, received {type(stream).__name__}")
    default = f"runs/tuning/{stream.name}-dgm-{hypermodel.base.variant}"
    folder = paths.expanded(plan.search_dir or default)
    place = _place()
    stream.seen_validation(plan.max_tasks)  # So that what does not fit is said before any work.
    _check_budget(plan, hypermodel.base)
    _check_fresh(plan.fresh_seeds, {hypermodel.base.seed, stream.seed})
    description = _description(stream, hypermodel, plan, command)
    if place.role == _WORKER:
        _work(place, folder, description, stream, hypermodel, plan)
        return []
    check_writable(folder / "trials", flag="--search_dir")
    with locked(folder):
        _open(folder, description)
        return _lead(place, folder, description, stream, hypermodel, plan)


def _lead(
    place: "_Place",
    folder: Path,
    description: Mapping[str, Any],
    stream: TaskStream,
    hypermodel: HyperDGM,
    plan: Plan,
) -> list[TrialResult]:
    """The search of its only process, or of the chief: all that is written comes from here."""
    oracle = new_oracle(plan, seed=randomness.derive(hypermodel.base.seed, "search"))
    tuner = DGMTuner(oracle, hypermodel, folder / "trials", plan)
    finished = len(_ended(tuner))
    noun = "trial" if finished == 1 else "trials"
    resumed = f", resumed after {finished} finished {noun}" if finished else ""
    tuner.say(f"{stream.scenario}\n{place.title}search: {folder}{resumed}")
    if place.role != _CHIEF:
        tuner.search(stream)
    else:
        Chief(oracle, _identity(description), tuner.say).serve(place.chief)
    _write_json(folder / _RECORD, _read_json(folder / _RECORD) | {_FINISHED: plan.trials})
    trials = results.ranked(_ended(tuner))
    _write(folder, trials, stream.scenario)
    for seed in plan.fresh_seeds:
        _learn_again(folder, trials[0], stream.fresh(seed=seed), tuner)
    say(_report(folder, trials, hypermodel.base))
    return trials


def _work(
    place: "_Place",
    folder: Path,
    description: Mapping[str, Any],
    stream: TaskStream,
    hypermodel: HyperDGM,
    plan: Plan,
) -> None:
    """The search of a worker, which writes nothing; its folder may be on another machine."""

    def is_finished() -> bool:
        return _is_finished(folder, description, plan)

    link = Link(place.chief, place.name, _identity(description), is_finished)
    with tempfile.TemporaryDirectory() as scratch:
        oracle = new_oracle(plan, seed=0)  # for its space; the chief has the trials
        tuner = DGMTuner(oracle, hypermodel, Path(scratch) / "trials", plan)
        tuner.say(f"{stream.scenario}\n{place.title}search: {folder}")
        try:
            with link.joined():
                tuner.oracle = Client(link)
                tuner.search(stream)
        except NothingLeft:
            tuner.say(f"the search is finished: {folder}")


def _check_budget(plan: Plan, base: DGMSettings) -> None:
    """Refuses a budget that Hyperband cannot cut: all its trials would have the same."""
    parts = plan.factor**plan.halvings
    unit = "epochs" if base.epochs else "steps"
    if plan.tuner == "hyperband" and (full := getattr(base, unit)) < parts:
        raise InputError(
            f"expected {unit} of {parts} or more, the --factor={plan.factor} to the power of "
            f"--halvings={plan.halvings} that hyperband divides them by, received {full}"
        )


def _check_fresh(seeds: Sequence[int], used: Collection[int]) -> None:
    """Refuses fresh seeds that the search has used."""
    if known := [seed for seed in seeds if seed in used]:
        raise InputError(
            f"expected --fresh_seeds that the search does not use, received its seed {known[0]}: "
            "with it the best trial would be learnt a second time"
        )


def _ended(tuner: DGMTuner) -> list[TrialResult]:
    return [
        results.trial_result(trial, tuner)
        for trial in tuner.oracle.trials.values()
        if trial.status in (TrialStatus.COMPLETED, TrialStatus.FAILED)
    ]


class _Place(NamedTuple):
    """This process's place in a search; of the only process everything is empty."""

    role: str = ""
    chief: str = ""  # its address
    name: str = ""

    @property
    def title(self) -> str:
        return f"{self.role} of " if self.role else ""


def _place() -> _Place:
    names = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")
    missing = [name for name in names if not os.environ.get(name)]
    if len(missing) == len(names):
        return _Place()
    if missing:
        raise InputError(
            f"expected {', '.join(names)} together, {', '.join(missing)} is missing: set it, or "
            "none of them for one process"
        )
    ip, port, name = (os.environ[each] for each in names)
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError(f"expected {names[1]} from 1 to {2**16 - 1}, received {port}")
    # A name tells a chief to KerasTuner, too.
    return _Place(_CHIEF if _CHIEF in name else _WORKER, f"{ip}:{port}", name)


# The folder.


def _description(
    stream: TaskStream, hypermodel: HyperDGM, plan: Plan, command: str
) -> dict[str, Any]:
    space = keras_tuner.HyperParameters()
    hypermodel.settings(space)
    hyperband = plan.tuner == "hyperband"
    described = stream.describe()
    return {
        "scenario": described.pop("scenario"),
        "tasks": plan.max_tasks,
        "tuner": plan.tuner,
        "factor": plan.factor if hyperband else None,
        "halvings": plan.halvings if hyperband else None,
        "aim": dataclasses.asdict(hypermodel.aim),
        "space": space.get_config()["space"],
        "base": hypermodel.base.as_json(),
        "hypermodel": None if type(hypermodel) is HyperDGM else type(hypermodel).__qualname__,
        "stream": described,
        "command": command,
        "versions": {**provenance.versions(), "keras-tuner": keras_tuner.__version__},
        "machine": provenance.machine(),
        "date": provenance.today(),
    }


def _open(folder: Path, description: Mapping[str, Any]) -> None:
    """Takes the folder for a search, or makes sure that it is this one's already."""
    path = folder / _RECORD
    if not path.exists():
        if (folder / "trials" / "oracle.json").exists():
            raise InputError(
                f"{folder} holds trials without {_RECORD}, so it cannot be told whether they are "
                f"this search's; {OTHER_FOLDER}"
            )
        if others := [name for name in paths.folders_in(folder) if name != "trials"]:
            raise InputError(
                f"a search gets a folder of its own, and {folder} holds {_checks.listed(others)}; "
                f"{OTHER_FOLDER}"
            )
        _write_json(path, description)
        return
    wanted = json.loads(json.dumps(_identity(description)))
    if differing := _checks.differences(_identity(_read_json(path)), wanted, _IDENTITY):
        raise InputError(f"{folder} holds another search: {'; '.join(differing)}; {OTHER_FOLDER}")


def _identity(description: Mapping[str, Any]) -> dict[str, Any]:
    """What a search must have in common with the folder that it continues."""
    found = {name: description.get(name) for name in _IDENTITY}
    if isinstance(found["stream"], dict):  # whatever a file has there
        found["stream"] = without_origin(found["stream"])
    return found


def _is_finished(folder: Path, description: Mapping[str, Any], plan: Plan) -> bool:
    """Whether the folder, where this process can see it, has all of the trials."""
    try:
        found = _read_json(folder / _RECORD)
        wanted = json.loads(json.dumps(_identity(description)))
        finished = found[_FINISHED] >= plan.trials
        return finished and not _checks.differences(_identity(found), wanted, wanted)
    except (OSError, InputError, KeyError):
        return False


def _read_json(path: Path, kind: type = dict, *, mend: str = OTHER_FOLDER) -> Any:
    """The object, or the list, of a file; an `InputError` where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, kind):
            return found
        why = "it holds something else"
    except ValueError as error:
        why = _checks.reason(error)
    raise InputError(f"{path} is damaged ({why}): {mend}")


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())


def _write(folder: Path, trials: list[TrialResult], scenario: str) -> None:
    write_atomically(folder / "trials.csv", results.as_csv(trials).encode())
    write_atomically(folder / "trials.md", f"{scenario}\n\n{results.markdown(trials)}\n".encode())
    best = trials[0]
    if not best.usable:
        raise InputError(
            f"none of the {len(trials)} trials was usable, the first because of: {best.reason}; "
            f"see {folder / 'trials.csv'}, and begin another --search_dir with a larger budget or "
            "other settings"
        )
    figures.write(results.figure(trials), folder / "front")
    _write_json(folder / _BEST, results.settings_file(best))


def _report(folder: Path, trials: list[TrialResult], base: DGMSettings) -> str:
    parts = [results.markdown(trials)]
    # What was the best after fewer trials is not reported as such.
    compared = {"begin": base.as_json(), "best": trials[0].settings.as_json()}
    rows = [
        row
        for row in _fresh_rows(folder)
        if row["settings"] == compared[row["name"]] | {"seed": row["settings"]["seed"]}
    ]
    if rows:
        parts.append("\n".join(["With fresh seeds:", *map(_fresh_line, rows)]))
    parts.append(
        f"Pareto front: {folder / 'front.png'}\n"
        f"Settings of the best: {shlex.quote(f'--settings={folder / _BEST}')}"
    )
    return "\n\n".join(parts)


# Fresh seeds.


def _learn_again(folder: Path, best: TrialResult, stream: TaskStream, tuner: DGMTuner) -> None:
    """Learns the best and the base settings once more, with the seed that has cut the stream.

    The best trial was chosen for its number, which therefore flatters it.
    """
    rows = _fresh_rows(folder)
    for name, settings in ("begin", tuner.hypermodel.base), ("best", best.settings):
        settings = dataclasses.replace(settings, seed=stream.seed)
        row = {"name": name, "settings": settings.as_json()}
        if any(row.items() <= known.items() for known in rows):
            continue
        try:
            row |= tuner.learn(settings, stream, title=f"seed {stream.seed}, {name}")
        except FailedTrialError as error:
            row["failed"] = str(error)
        rows.append(row)
        _write_json(folder / _FRESH, rows)
        tuner.say(_fresh_line(row))


def _fresh_rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / _FRESH
    return _read_json(path, list, mend="delete it") if path.exists() else []


def _fresh_line(row: Mapping[str, Any]) -> str:
    found = f"failed, {row['failed']}" if "failed" in row else reached(row)
    return f"seed {row['settings']['seed']}, {row['name']}: {found}"
