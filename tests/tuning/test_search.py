"""Searches by trials that learn nothing: every tuner, resuming, failures, and what is left."""

import csv
import dataclasses
import io
import json
import logging
import re
import shlex
import shutil
import socket
from pathlib import Path

import pytest
from keras_tuner.errors import FailedTrialError
from PIL import Image

from dgm_tf.errors import InputError
from dgm_tf.learners.classifier_learner import ClassifierLearner
from dgm_tf.methods.settings import DGMSettings
from dgm_tf.storage.files import locked
from dgm_tf.tuning import tuner
from dgm_tf.tuning.hypermodel import HyperDGM
from dgm_tf.tuning.measure import Measured
from dgm_tf.tuning.search import search
from dgm_tf.tuning.space import RANGES, Aim, Plan
from tests.interruptions import Killed
from tests.tuning import toys

BASE = DGMSettings(epochs=9, seed=5, batch_size=8, generator_size=3)
HALVING = {"tuner": "hyperband", "factor": 2, "halvings": 1}
FULL = FailedTrialError("out of memory")


class HyperToy(HyperDGM):
    """Trials whose accuracy follows from their settings and seed.

    Attributes:
        errors: by number of the trial, counted from 1 in this search.
        learnt: (settings, seed of the stream) of each trial.
    """

    def __init__(self, base=BASE, aim=Aim(), errors=()):  # noqa: B008 (frozen)
        super().__init__(base, aim)
        self.errors, self.learnt = dict(errors), []

    def learner(self, settings):
        return settings

    def metrics(self, learner, stream, *, tasks, callbacks=()):
        next(iter(stream))  # It stands at its beginning.
        self.learnt.append((learner, stream.seed))
        if error := self.errors.get(len(self.learnt)):
            raise error
        accuracy = 1.0 - learner.sparsity - learner.s_max / 1e7 - stream.seed / 1e3
        found = {"objective": accuracy, "accuracy": accuracy, "units": 60.0 + learner.sparsity}
        return found | {"growth": 1.0, "parameters": 900.0, "seconds": 1.0}


@pytest.fixture(autouse=True)
def without_collecting(monkeypatch):
    monkeypatch.setattr(tuner.gc, "collect", lambda: 0)


def run(folder, hypermodel=None, **plan):
    """The trials of a search, and what its model has learnt."""
    hypermodel = hypermodel or HyperToy()
    plan = Plan(
        **{"max_tasks": 2, "tuner": "random", "trials": 4, "search_dir": str(folder), **plan}
    )
    return search(toys.stream(), hypermodel, plan, command="the command"), hypermodel.learnt


def objectives(trials):
    return {trial.number: (trial.settings, trial.metrics["objective"]) for trial in trials}


# Trials.


@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_so_many_trials_are_run_within_the_ranges_and_the_first_has_the_base_settings(
    tmp_path, kind
):
    # Bayesian optimisation begins after three random trials for each setting searched.
    trials, learnt = run(tmp_path, HyperToy(BASE, Aim(search=("s_max",))), tuner=kind, trials=5)
    assert len(trials) == 5 and len(learnt) == 5
    first, *others = sorted(trials, key=lambda trial: trial.number)
    assert first.settings == BASE
    for trial in others:
        value = trial.values["s_max"]
        assert RANGES["s_max"].low <= value <= RANGES["s_max"].high
        assert value == float(f"{value:.3g}")
        assert trial.settings == dataclasses.replace(BASE, s_max=value) != BASE


@pytest.mark.parametrize(
    ("name", "base"), [("epochs", BASE), ("steps", dataclasses.replace(BASE, epochs=0, steps=9))]
)
def test_hyperband_raises_the_budget_of_the_best(tmp_path, name, base):
    trials, learnt = run(tmp_path, HyperToy(base), **HALVING)
    assert [trial.budget for trial in trials] == [1.0, 1.0, 1.0, 0.5, 0.5]
    small = {trial.settings: trial.metrics["objective"] for trial in trials if trial.budget == 0.5}
    assert base in small
    (raised,) = [trial for trial in trials if trial.number == 3]
    assert small[raised.settings] == max(small.values())
    assert [getattr(settings, name) for settings, _ in learnt] == [4, 4, 9, 9, 9]


def test_every_setting_that_has_a_range_can_be_searched(tmp_path):
    trials, _ = run(tmp_path, HyperToy(BASE, Aim(search=tuple(RANGES))), trials=3)
    for name in RANGES:
        assert len({getattr(trial.settings, name) for trial in trials}) > 1, name


def test_growth_has_its_price_and_a_larger_beginning_pays_too():
    measured = Measured((1.0, 0.6), initial_units=40, units=60, parameters=1, seconds=1.0)
    larger = dataclasses.replace(BASE, generator_size=2 * BASE.generator_size)
    last = HyperToy(BASE, Aim(growth_price=0.1))
    assert last.objective(BASE, measured) == pytest.approx(0.6 - 0.1 * 0.5)
    assert last.objective(larger, measured) == pytest.approx(0.6 - 0.1 * 2.0)
    mean = HyperToy(BASE, Aim(objective="mean", growth_price=0.0))
    assert mean.objective(BASE, measured) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("kind", "options", "wanted"),
    [
        (
            Aim,
            {"search": ("s_max", "epochs")},
            "unknown setting to search 'epochs'.*: choose one of s_max,",
        ),
        (Aim, {"search": ()}, "received nothing"),
        (Aim, {"objective": "best"}, "unknown objective 'best'.*: choose one of last, mean"),
        (Aim, {"search": ("s_max", "s_max")}, "expected search that differ, received s_max twice"),
        (Aim, {"search": "s_max"}, "search must be a tuple, received 's_max'"),
        (Aim, {"search": (1,)}, "unknown setting to search 1"),
        (Aim, {"growth_price": float("nan")}, "growth_price"),
        (Aim, {"growth_price": 2}, "growth_price must be a number from 0 to 1, got 2"),
        (Plan, {"tuner": "grid"}, "unknown tuner 'grid'"),
        (Plan, {"trials": 0}, "trials must be an integer of at least 1"),
        (Plan, {"fresh_seeds": (-1,)}, "fresh_seeds"),
        (Plan, {"fresh_seeds": (1, 1)}, "expected fresh_seeds that differ, received 1 twice"),
        (Plan, {"fresh_seeds": 1}, "fresh_seeds must be a tuple, received 1"),
    ],
)
def test_what_cannot_be_searched_is_refused(kind, options, wanted):
    with pytest.raises(InputError, match=wanted):
        kind(**options)


# The beginning.


class Own(HyperToy):
    """Parameters that no flag offers, by whose defaults the search begins at the base."""

    def settings(self, hp):
        base = self.base
        ratio = hp.Float("ratio", 0.1, 10.0, default=base.critic_learning_rate / base.learning_rate)
        return dataclasses.replace(
            super().settings(hp),
            class_weight=hp.Float("class_weight", 0.1, 10.0, default=base.class_weight),
            critic_learning_rate=base.learning_rate * ratio,
        )


@pytest.mark.parametrize("options", [{"tuner": "random"}, {"tuner": "bayesian"}, HALVING])
def test_the_first_trial_has_the_base_settings_also_out_of_range(tmp_path, options):
    base = dataclasses.replace(BASE, s_max=1.23456e9, generator_size=5)
    assert not RANGES["s_max"].low <= base.s_max <= RANGES["s_max"].high
    aim = Aim(search=("s_max", "generator_size", "replay"))
    trials, learnt = run(tmp_path, Own(base, aim), **options)
    first = next(trial for trial in trials if trial.number == 1)
    assert first.settings == base
    assert dataclasses.replace(learnt[0][0], epochs=base.epochs, steps=base.steps) == base
    assert {"class_weight", "ratio", *aim.search} == set(first.values)
    assert all(value == getattr(base, name, value) for name, value in first.values.items())
    assert len({trial.settings for trial in trials}) > len(trials) // 2  # others have other ones


def test_a_logarithmic_scale_cannot_begin_at_zero(tmp_path):
    model = HyperToy(dataclasses.replace(BASE, sparsity=0.0))
    with pytest.raises(InputError, match="sparsity is logarithmic, and the search begins at 0: "):
        run(tmp_path, model)
    assert not model.learnt and not list(tmp_path.iterdir())


# Resuming.


@pytest.mark.parametrize("options", [{"trials": 4}, HALVING])
def test_a_search_that_was_killed_is_resumed_with_the_finished_trials(tmp_path, options):
    whole, learnt = run(tmp_path / "whole", **options)
    with pytest.raises(Killed):
        run(tmp_path / "killed", HyperToy(errors={2: Killed()}), **options)
    trials, left = run(tmp_path / "killed", **options)
    assert left == learnt[1:] and objectives(trials) == objectives(whole)


@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_a_kill_between_the_files_of_a_trial_and_of_the_search_loses_no_trial(
    tmp_path, monkeypatch, kind
):
    save = tuner.SearchOracle._save_trial
    written = []

    def killed(self, trial):
        save(self, trial)
        written.append(trial.trial_id)
        if len(written) == when:
            raise Killed

    # Each trial's file is written when it begins, when it has been measured and when it ends.
    for when in range(4, 7):
        folder = tmp_path / str(when)
        written.clear()
        with monkeypatch.context() as patched:
            patched.setattr(tuner.SearchOracle, "_save_trial", killed)
            with pytest.raises(Killed):
                run(folder, tuner=kind, trials=3)
        trials, _ = run(folder, tuner=kind, trials=3)
        assert sorted(trial.number for trial in trials) == [1, 2, 3]
        assert all(trial.usable for trial in trials)


def test_a_finished_search_learns_nothing_more_and_more_trials_can_follow(tmp_path):
    trials, _ = run(tmp_path)
    again, learnt = run(tmp_path)
    assert learnt == [] and objectives(again) == objectives(trials)
    path = tmp_path / "trials" / "oracle.json"
    with path.open() as former:
        more, learnt = run(tmp_path, trials=5)
        # Another file has taken its name: a kill leaves no half of one.
        assert len(json.load(former)["end_order"]) == 4
    assert len(json.loads(path.read_text())["end_order"]) == 5
    assert len(learnt) == 1 and objectives(again).items() <= objectives(more).items()


def test_the_folder_of_another_search_is_refused(tmp_path):
    run(tmp_path, trials=1)
    for hypermodel, plan, wanted in (
        (HyperToy(BASE, Aim(growth_price=0.5)), {}, "aim.growth_price is 0.01 there, 0.5 here"),
        (
            HyperToy(BASE, Aim(search=("s_max",))),
            {},
            r'space.2 is \{"class_name": "Float", .*"name": "sparsity".* there, null here',
        ),
        (type("Own", (HyperToy,), {})(), {}, 'hypermodel is "HyperToy" there, "Own" here'),
        (HyperToy(dataclasses.replace(BASE, epochs=8)), {}, "base.epochs is 9 there, 8 here"),
        (HyperToy(), {"max_tasks": 3}, "tasks is 2 there, 3 here"),
        (HyperToy(), {"tuner": "bayesian"}, 'tuner is "random" there'),
    ):
        with pytest.raises(InputError, match=wanted):
            run(tmp_path, hypermodel, **plan)
        assert not hypermodel.learnt


def test_images_that_have_moved_are_the_same_search(tmp_path, monkeypatch):
    first, _ = run(tmp_path, trials=1)
    data = toys.data()
    moved = dataclasses.replace(data, name="moved", source="elsewhere")
    monkeypatch.setattr(toys, "data", lambda: moved)
    again, learnt = run(tmp_path, trials=1)
    assert not learnt and objectives(again) == objectives(first)
    other = dataclasses.replace(data, train_images=255 - data.train_images)
    monkeypatch.setattr(toys, "data", lambda: other)
    with pytest.raises(InputError, match="another search: stream.fingerprint is"):
        run(tmp_path, trials=1)


# Failures.


@pytest.mark.parametrize("quiet", [True, False])
def test_a_failed_trial_is_one_line_and_no_traceback(tmp_path, capfd, quiet):
    run(tmp_path, HyperToy(errors={1: FULL}), trials=2, quiet=quiet)
    out, err = capfd.readouterr()
    assert err == ""
    assert sum("out of memory" in line for line in out.splitlines()) == (1 if quiet else 2)


@pytest.mark.parametrize("quiet", [True, False])
def test_a_warning_that_every_trial_has_is_said_once(tmp_path, caplog, quiet):
    class Short(HyperToy):
        def metrics(self, learner, stream, *, tasks, callbacks=()):
            learners.warning("%d training steps are too few", learner.epochs)
            return super().metrics(learner, stream, tasks=tasks, callbacks=callbacks)

    learners = logging.getLogger(ClassifierLearner.__module__)
    run(tmp_path, Short(), quiet=quiet, trials=3)
    assert caplog.messages == ([] if quiet else ["9 training steps are too few"])
    learners.warning("a run's own")
    assert caplog.messages[-1] == "a run's own"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_objective_that_is_no_number_is_a_failed_trial(tmp_path, number):
    class Odd(HyperToy):
        def metrics(self, learner, stream, *, tasks, callbacks=()):
            found = super().metrics(learner, stream, tasks=tasks, callbacks=callbacks)
            return found | ({"objective": number} if len(self.learnt) == 2 else {})

    trials, _ = run(tmp_path, Odd(), tuner="bayesian")
    assert {trial.number: trial.reason for trial in trials if trial.reason} == {
        2: f"the objective is {number}"
    }


def test_unusable_trials_are_failed_ones_and_the_search_continues(tmp_path, capsys):
    # Five in a row, and the first among them.
    trials, _ = run(tmp_path, HyperToy(errors=dict.fromkeys(range(1, 6), FULL)), trials=6)
    assert {trial.number: trial.reason for trial in trials} == {
        **dict.fromkeys(range(1, 6), "out of memory"), 6: ""
    }  # fmt: skip
    assert "5 failed: trial 1: out of memory;" in (tmp_path / "trials.md").read_text()
    assert "failed, out of memory" in capsys.readouterr().out
    _, learnt = run(tmp_path, trials=6)
    assert learnt == []  # a failed trial is a finished one


def test_hyperband_continues_past_failed_trials(tmp_path):
    trials, _ = run(tmp_path, HyperToy(errors={2: FULL}), **HALVING)
    assert sum(not trial.usable for trial in trials) == 1 and trials[0].budget == 1.0


@pytest.mark.parametrize("error", [TypeError("a bug"), InputError("too large for this")])
def test_any_other_error_ends_the_search_and_is_no_failed_trial(tmp_path, error):
    with pytest.raises(type(error), match=str(error)):
        run(tmp_path, HyperToy(errors={2: error}), trials=2)
    trials, learnt = run(tmp_path, trials=2)  # mended
    assert len(learnt) == 1 and all(trial.usable for trial in trials)


def test_a_search_without_a_usable_trial_says_so(tmp_path):
    with pytest.raises(InputError, match="none of the 2 trials.*: out of memory;"):
        run(tmp_path, HyperToy(errors={1: FULL, 2: FULL}), trials=2)
    assert (tmp_path / "trials.csv").exists() and not (tmp_path / "best.json").exists()


# What is left behind.


def test_printed_flags_can_be_pasted(tmp_path, capsys):
    folder = tmp_path / "it's my search"
    run(folder, trials=1)
    *_, last = capsys.readouterr().out.splitlines()
    (flag,) = shlex.split(last.partition(": ")[2])
    assert flag == f"--settings={folder}/best.json"


@pytest.mark.parametrize("left", [["trials"], ["trials/trial_0"], ["trials/worker1.json/x"]])
def test_a_folder_without_a_search_is_taken_whatever_workers_left_there(tmp_path, left):
    for name in left:
        (tmp_path / name).mkdir(parents=True)
    trials, _ = run(tmp_path, trials=2)
    assert len(trials) == 2


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("search.json", '{"scen', "search.json is damaged .it is no JSON"),
        ("search.json", "", "search.json is damaged.*: choose another --search_dir"),
        ("search.json", "[]", "search.json is damaged .it holds something else"),
        ("fresh.json", "{}", "fresh.json is damaged.*: delete it"),
        ("trials/oracle.json", '{"x', "holds damaged trials .it is no JSON"),
        ("trials/oracle.json", "{}", "holds damaged trials"),
        ("trials/trial_0/trial.json", '{"x', "holds damaged trials"),
        ("trials/trial_0", None, "holds damaged trials .trial 1 is gone"),
        ("trials", "a file", "cannot write to .*trials: File exists"),
    ],
)
def test_a_damaged_folder_is_said_in_one_line(tmp_path, name, content, wanted):
    run(tmp_path, trials=1)
    path = tmp_path / name
    if path.is_dir():
        shutil.rmtree(path)
    if content is not None:
        path.write_text(content)
    model = HyperToy()
    with pytest.raises(InputError, match=wanted) as error:
        run(tmp_path, model, trials=2, fresh_seeds=(7,) if name == "fresh.json" else ())
    assert "\n" not in str(error.value)
    assert name == "fresh.json" or not model.learnt


def test_trials_of_an_unknown_search_are_refused(tmp_path):
    run(tmp_path, trials=1)
    (tmp_path / "search.json").unlink()
    with pytest.raises(InputError, match="holds trials without search.json"):
        run(tmp_path, trials=1)


def test_a_search_does_not_begin_in_the_folder_of_something_else(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="a folder of its own, and .* holds checkpoints"):
        run(tmp_path, trials=1)
    assert not (tmp_path / "search.json").exists()


def test_two_processes_do_not_write_into_one_folder(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="another process is at work in"):
        run(tmp_path)


def test_tables_picture_settings_and_record_are_written(tmp_path):
    folder = tmp_path
    trials, _ = run(folder)
    assert {path.name for path in folder.iterdir()} == {
        "search.json", "trials", "trials.md", "trials.csv", "front.png", "front.svg", "best.json",
        ".lock",
    }  # fmt: skip
    lines = (folder / "trials.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == list("1234")
    assert (folder / "trials.md").read_text().startswith("class-incremental, 4 tasks")
    with Image.open(folder / "front.png") as picture:
        assert picture.width > 500
    best = json.loads((folder / "best.json").read_text())
    assert DGMSettings(**best, seed=BASE.seed, epochs=BASE.epochs) == trials[0].settings
    record = json.loads((folder / "search.json").read_text())
    assert record["command"] == "the command" and record["versions"]["keras-tuner"]


def test_best_and_beginning_are_learnt_once_more_with_each_fresh_seed(tmp_path):
    trials, learnt = run(tmp_path, fresh_seeds=(7,))
    first, best = (dataclasses.replace(each, seed=7) for each in (BASE, trials[0].settings))
    assert learnt[4:] == [(first, 7), (best, 7)]  # on data that this seed has cut
    rows = json.loads((tmp_path / "fresh.json").read_text())
    assert [row["name"] for row in rows] == ["begin", "best"]
    assert rows[1]["accuracy"] == pytest.approx(trials[0].metrics["accuracy"] - 7 / 1e3)
    _, learnt = run(tmp_path, fresh_seeds=(7, 8))
    assert [seed for _, seed in learnt] == [8, 8]


def test_fresh_numbers_are_those_of_the_best_that_there_is(tmp_path, capsys):
    before, _ = run(tmp_path, HyperToy(errors={2: FULL}), trials=2, fresh_seeds=(7,))
    assert before[0].settings == BASE
    capsys.readouterr()
    after, _ = run(tmp_path, trials=6)
    said = capsys.readouterr().out
    assert after[0].settings != BASE
    assert "seed 7, begin:" in said and "seed 7, best:" not in said
    run(tmp_path, trials=6, fresh_seeds=(7,))
    said = capsys.readouterr().out.split("With fresh seeds:")[1]
    found = after[0].metrics["accuracy"] - 7 / 1e3
    assert said.count("seed 7, best:") == 1 and f"accuracy {100 * found:.2f} %" in said


@pytest.mark.parametrize("seed", [BASE.seed, toys.stream().seed])
def test_a_seed_of_the_search_is_not_fresh(tmp_path, seed):
    model = HyperToy()
    with pytest.raises(InputError, match=f"does not use, received its seed {seed}"):
        run(tmp_path, model, fresh_seeds=(7, seed))
    assert not model.learnt


def test_a_budget_that_hyperband_cannot_cut_is_refused(tmp_path):
    for base, unit in (BASE, "epochs"), (dataclasses.replace(BASE, epochs=0, steps=9), "steps"):
        model = HyperToy(base)
        with pytest.raises(InputError, match=f"expected {unit} of 10 or more, .* received 9"):
            run(tmp_path, model, tuner="hyperband", factor=10, halvings=1)
        assert not model.learnt


def test_what_is_no_stream_is_not_searched_on():
    with pytest.raises(InputError, match="expected a TaskStream to search on, received str"):
        search("digits", HyperToy())


def test_the_example_in_the_documentation_runs(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "tune.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    small = example.replace("dgm_tf.HyperDGM", "HyperToy").replace(
        'dgm_tf.class_incremental("digits")', "toys.stream()"
    )
    assert small.count("HyperToy") == small.count("toys") == small.count("trials=2") == 1
    monkeypatch.chdir(tmp_path)
    exec(small, {"HyperToy": HyperToy, "toys": toys})
    assert "class_weight=" in capsys.readouterr().out.splitlines()[-1]
    folder = tmp_path / "runs" / "tuning" / "mine"
    best = json.loads((folder / "best.json").read_text())
    assert 0.1 <= best["class_weight"] <= 10.0
    first, second = list(csv.DictReader(io.StringIO((folder / "trials.csv").read_text())))
    # As the page says.
    assert float(first["class_weight"]) == 1.0 != float(second["class_weight"])


@pytest.mark.parametrize(
    ("ip", "port", "name", "wanted"),
    [
        ("127.0.0.1", "", "", "KERASTUNER_ORACLE_PORT, KERASTUNER_TUNER_ID is missing"),
        ("", "", "chief", "missing: set it, or none"),
        ("127.0.0.1", "{taken}", "chief", "cannot listen at 127.0.0.1:.*another port"),
        ("127.0.0.1", "http", "worker1", "KERASTUNER_ORACLE_PORT from 1 to 65535, received http"),
    ],
)
def test_what_several_processes_need_is_checked(tmp_path, monkeypatch, ip, port, name, wanted):
    with socket.create_server(("127.0.0.1", 0)) as another:
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", ip)
        taken = another.getsockname()[1]
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", port.format(taken=taken))
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        with pytest.raises(InputError, match=wanted):
            run(tmp_path)
