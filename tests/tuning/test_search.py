"""Searches with toy learners: every tuner, going on, failures, and what is left behind."""

import collections
import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dgm_tf import settings_file
from dgm_tf.errors import InputError
from dgm_tf.experiments.experiment import Training
from dgm_tf.settings import settings_for
from dgm_tf.stream import TaskStream
from dgm_tf.tuning.measure import Unusable
from dgm_tf.tuning.search import Plan, Tuning, search, tune
from dgm_tf.tuning.space import RANGES, TUNERS
from tests.tuning import toys
from tests.tuning.toys import BASE, HyperToy, Toy
from trainers import flags

PLAN = Plan(tasks=2, tuner="random", trials=4)


def run(folder, hypermodel=None, plan=PLAN, **options):
    """The search, and the (settings, task, epochs) of every task learnt in it."""
    Toy.learnt.clear()
    found = search(toys.stream(), hypermodel or HyperToy(), folder=folder, plan=plan, **options)
    return found, list(Toy.learnt)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder and result of a search that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "search"
    return folder, run(folder)[0]


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of its folder, to go on in."""
    return Path(shutil.copytree(whole[0], tmp_path / "finished"))


def values(found):
    return {trial.number: dict(trial.values) for trial in found.trials}


def objectives(found):
    return {trial.number: trial.metrics.get("objective") for trial in found.trials}


# Trials.


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_first_trial_has_the_base_settings(tmp_path, tuner):
    found, _ = run(tmp_path, plan=dataclasses.replace(PLAN, tuner=tuner, factor=2, halvings=1))
    first = next(trial for trial in found.trials if trial.number == 1)
    assert first.settings == BASE
    assert any(trial.settings != BASE for trial in found.trials)


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_as_many_trials_are_run_as_were_asked_for_within_the_ranges(tmp_path, tuner):
    # Bayesian optimisation begins after three random trials for each setting searched.
    plan = dataclasses.replace(PLAN, tuner=tuner, trials=8)
    found, learnt = run(tmp_path, plan=plan)
    assert len(found.trials) == 8 and len(learnt) == 8 * 2
    assert {epochs for *_, epochs in learnt} == {BASE.epochs}
    for trial in found.trials:
        for name in ("s_max", "sparsity"):
            value = trial.values[name]
            assert RANGES[name].low <= value <= RANGES[name].high
            assert value == float(f"{value:.3g}") == getattr(trial.settings, name)
    changed = {"s_max": BASE.s_max, "sparsity": BASE.sparsity}
    assert {dataclasses.replace(settings, **changed) for settings, *_ in learnt} == {BASE}


def test_hyperband_raises_the_epochs_of_the_best(tmp_path):
    plan = dataclasses.replace(PLAN, tuner="hyperband", factor=3, halvings=2)
    found, _ = run(tmp_path, plan=plan)
    counted = collections.Counter(trial.epochs for trial in found.trials)
    # Brackets of 9, 3 and 1, of 5 and 2, and of 3 trials at 1, 3 and 9 epochs.
    assert counted == {1: 9, 3: 3 + 5, 9: 1 + 2 + 3}
    first = [trial for trial in found.trials if trial.epochs == 1]
    raised = [trial for trial in found.trials if 10 <= trial.number <= 12]
    best = sorted((trial.metrics["objective"] for trial in first), reverse=True)[:3]
    assert [trial.epochs for trial in raised] == [3, 3, 3]
    again = {trial.settings: trial.metrics["objective"] for trial in first}
    assert sorted((again[trial.settings] for trial in raised), reverse=True) == best
    # A smaller budget says less, however good its number is.
    assert [trial.epochs for trial in found.trials] == sorted(counted.elements(), reverse=True)


def test_any_setting_that_has_a_range_can_be_searched(tmp_path):
    found, learnt = run(tmp_path, HyperToy(search=tuple(RANGES)))
    assert [set(trial.values) for trial in found.trials] == [set(RANGES)] * 4
    for name in RANGES:
        assert len({getattr(settings, name) for settings, *_ in learnt}) > 1, name


def test_a_seed_searches_the_same_each_time_and_another_one_elsewhere(whole, tmp_path):
    again, _ = run(tmp_path / "again")
    other, _ = run(tmp_path / "other", HyperToy(dataclasses.replace(BASE, seed=6)))
    assert values(again) == values(whole[1]) != values(other)
    assert objectives(again) == objectives(whole[1])


# The objective.


def test_growth_has_its_price_and_a_larger_beginning_pays_too(tmp_path):
    hypermodel = HyperToy(search=("generator_size",), growth_price=0.25)
    found, _ = run(tmp_path, hypermodel)
    assert len({trial.settings.generator_size for trial in found.trials}) > 2
    for trial in found.trials:
        # A toy that sees nine pixels grows from 7 g units to 16 g; g is 3 at the beginning.
        growth = 16 * trial.settings.generator_size / (7 * 3) - 1
        assert trial.metrics["growth"] == pytest.approx(growth)
        assert trial.metrics["objective"] == pytest.approx(
            trial.metrics["accuracy"] - 0.25 * growth
        )


def test_the_mean_over_tasks_can_be_the_objective(tmp_path):
    last, _ = run(tmp_path / "last", HyperToy(growth_price=0.0))
    mean, _ = run(tmp_path / "mean", HyperToy(growth_price=0.0, objective="mean"))
    for trial in last.trials:
        accuracy = trial.metrics["accuracy"]
        assert trial.metrics["objective"] == accuracy < 1.0
        # The first of the two tasks has one class, which nothing can be mistaken for.
        assert objectives(mean)[trial.number] == pytest.approx((1.0 + accuracy) / 2)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"search": ("s_max", "epochs")}, "received s_max,epochs"),
        ({"search": ()}, "received nothing"),
        ({"objective": "best"}, "objective must be last or mean"),
        ({"growth_price": -1.0}, "growth_price"),
        ({"growth_price": float("nan")}, "growth_price"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(options, wanted):
    with pytest.raises(InputError, match=wanted):
        HyperToy(**options)


# Going on.


class Killed(BaseException):
    """As a process ends: nobody catches it."""


def killed_at(count):
    class Mortal(Toy):
        calls = 0

        def learn(self, task, **options):
            Mortal.calls += 1
            if Mortal.calls == count:
                raise Killed
            return super().learn(task, **options)

    return Mortal


@pytest.mark.parametrize(("tuner", "count"), [("random", 1), ("random", 6), ("hyperband", 4)])
def test_a_search_that_was_killed_goes_on_with_the_finished_trials(tmp_path, tuner, count):
    plan = dataclasses.replace(PLAN, tuner=tuner, factor=2, halvings=1)
    whole, learnt = run(tmp_path / "whole", plan=plan)
    with pytest.raises(Killed):
        run(tmp_path / "killed", HyperToy(toy=killed_at(count)), plan)
    found, left = run(tmp_path / "killed", plan=plan)
    finished = (count - 1) // 2
    assert len(left) == len(learnt) - 2 * finished
    assert (values(found), objectives(found)) == (values(whole), objectives(whole))


def test_a_finished_search_learns_nothing_more_and_more_trials_can_follow(whole, finished):
    again, learnt = run(finished)
    assert learnt == [] and objectives(again) == objectives(whole[1])
    path = finished / "trials" / "oracle.json"
    with path.open() as former:
        more, learnt = run(finished, plan=dataclasses.replace(PLAN, trials=5))
        # Another file has taken its name: a kill leaves no half of one.
        assert len(json.load(former)["end_order"]) == 4
    assert len(json.loads(path.read_text())["end_order"]) == 5
    assert len(learnt) == 2 and objectives(again).items() <= objectives(more).items()


@pytest.mark.parametrize(
    ("hypermodel", "plan", "wanted"),
    [
        (HyperToy(growth_price=0.5), PLAN, "growth_price is 0.01 there, 0.5 here"),
        (HyperToy(search=("s_max",)), PLAN, "space is"),
        (HyperToy(dataclasses.replace(BASE, epochs=8)), PLAN, "base.epochs is 9 there, 8 here"),
        (HyperToy(), dataclasses.replace(PLAN, tasks=3), "tasks is 2 there, 3 here"),
        (HyperToy(), dataclasses.replace(PLAN, tuner="bayesian"), 'tuner is "random" there'),
    ],
)
def test_the_folder_of_another_search_is_refused(whole, hypermodel, plan, wanted):
    with pytest.raises(InputError, match=wanted) as error:
        run(whole[0], hypermodel, plan)
    assert "\n" not in str(error.value) and not Toy.learnt


def test_the_memory_of_a_run_is_refused(tmp_path):
    training = Training("digits", settings_for("digits"), memory_of=str(tmp_path / "run"))
    tuning = Tuning(training, "cpu", PLAN, search_dir=str(tmp_path / "search"))
    with pytest.raises(InputError, match="a search takes no memory_of"):
        tune(tuning)
    assert not (tmp_path / "search").exists()


def test_trials_of_nobody_are_refused_and_so_is_a_damaged_file(finished):
    (finished / "trials" / "oracle.json").write_text('{"half')
    with pytest.raises(InputError, match="damaged"):
        run(finished)
    (finished / "search.json").unlink()
    with pytest.raises(InputError, match="without search.json"):
        run(finished)


# Failures.


def failing(error, *numbers):
    """A toy whose trials of these numbers, counted from 1, raise an error."""

    class Failing(Toy):
        trials = 0

        def learn(self, task, **options):
            if task.index == 1:
                Failing.trials += 1
            if Failing.trials in numbers:
                raise error
            return super().learn(task, **options)

    return Failing


def test_unusable_trials_are_failed_ones_and_the_search_goes_on(tmp_path, capsys):
    # Five in a row, and the first among them.
    plan = dataclasses.replace(PLAN, trials=7)
    found, _ = run(tmp_path, HyperToy(toy=failing(MemoryError(), 1, 2, 3, 4, 5)), plan)
    reasons = {trial.number: trial.reason for trial in found.trials}
    assert reasons == dict.fromkeys(range(1, 6), "out of memory") | dict.fromkeys((6, 7), "")
    assert [trial.usable for trial in found.trials] == [True] * 2 + [False] * 5
    table = (tmp_path / "trials.md").read_text()
    assert "5 failed: trial 1: out of memory; trial 2: out of memory" in table
    assert "failed, out of memory" in capsys.readouterr().out
    _, learnt = run(tmp_path, plan=plan)
    assert learnt == []  # a failed trial is a finished one


def test_hyperband_goes_on_past_failed_trials(tmp_path):
    plan = dataclasses.replace(PLAN, tuner="hyperband", factor=2, halvings=1)
    found, _ = run(tmp_path, HyperToy(toy=failing(Unusable("nothing learnt"), 2)), plan)
    assert sum(not trial.usable for trial in found.trials) == 1
    assert found.best.epochs == BASE.epochs


@pytest.mark.parametrize("error", [TypeError("a bug"), InputError("too large for this")])
def test_a_bug_or_bad_input_ends_the_search_and_is_no_failed_trial(tmp_path, error):
    with pytest.raises(type(error), match=str(error)):
        run(tmp_path, HyperToy(toy=failing(error, 3)))
    found, learnt = run(tmp_path)  # mended
    assert len(learnt) == 2 * 2 and all(trial.usable for trial in found.trials)


def test_a_search_without_a_usable_trial_says_so_in_one_line(tmp_path):
    with pytest.raises(InputError, match="none of the 2 trials.*: out of memory;") as error:
        plan = dataclasses.replace(PLAN, trials=2)
        run(tmp_path, HyperToy(toy=failing(MemoryError(), 1, 2)), plan)
    assert "\n" not in str(error.value)
    assert (tmp_path / "trials.csv").exists() and not (tmp_path / "best.json").exists()


# What is left behind.


def test_the_settings_file_makes_a_trainer_learn_as_the_best_trial_did(tmp_path):
    preset = settings_for("digits", "a", "paper")
    base = dataclasses.replace(preset, seed=3, epochs=2, batch_size=8, class_weight=0.5)
    names = ("sparsity", "replay", "generator_size")
    found, _ = run(tmp_path, HyperToy(base, search=names), preset="paper")
    content = settings_file.read(tmp_path / "best.json")
    # Nothing that is the preset's anyway, and neither seed nor epochs.
    changed = {"preset", "variant", "batch_size", "class_weight", *names}
    assert set(content) == changed
    parsed = flags.define("digits").parse(
        [f"--settings={tmp_path}/best.json"], program="p", about=""
    )
    expected = dataclasses.replace(found.best.settings, seed=preset.seed, epochs=preset.epochs)
    assert parsed["settings"] == expected


def test_table_picture_and_record_are_written(tmp_path, capsys):
    found, _ = run(tmp_path, command="python -m trainers.tune --toys")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "search.json", "trials", "trials.md", "trials.csv", "front.png", "front.svg", "best.json"
    }  # fmt: skip
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert lines[0].startswith("trial,s_max,sparsity,epochs,objective,accuracy,growth,units")
    assert [line.split(",")[0] for line in lines[1:]] == list("1234")
    table = (tmp_path / "trials.md").read_text()
    assert table.startswith("class-incremental, 4 tasks") and "| 1 (begin) |" in table
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert [line.split()[1] for line in rows] == [str(trial.number) for trial in found.trials]
    with Image.open(tmp_path / "front.png") as picture:
        assert picture.width > 500
    record = json.loads((tmp_path / "search.json").read_text())
    assert record["command"] == "python -m trainers.tune --toys"
    assert record["versions"]["keras-tuner"] and record["machine"]["cores"] and record["date"]
    shown = capsys.readouterr().out
    assert f"--settings={tmp_path}/best.json" in shown and "| 1 (begin) |" in shown


# Fresh seeds.


def test_best_and_beginning_are_learnt_once_more_with_each_fresh_seed(tmp_path, monkeypatch):
    seeds = []
    former = TaskStream.anew
    monkeypatch.setattr(
        TaskStream, "anew", lambda self, *, seed=None: seeds.append(seed) or former(self, seed=seed)
    )
    plan = dataclasses.replace(PLAN, fresh_seeds=(7,))
    found, learnt = run(tmp_path, plan=plan)
    again = learnt[-4:]
    assert [settings.seed for settings, *_ in again] == [7] * 4 and seeds[-2:] == [7, 7]
    assert dataclasses.replace(again[0][0], seed=BASE.seed) == BASE
    assert dataclasses.replace(again[2][0], seed=BASE.seed) == found.best.settings
    rows = json.loads((tmp_path / "fresh.json").read_text())
    assert [row["name"] for row in rows] == ["begin", "best"]
    cut = toys.stream().anew(seed=7)
    learner = Toy(again[2][0])
    for task in list(zip(range(2), cut, strict=False)):
        learner.learn(task[1])
    assert rows[1]["accuracy"] == pytest.approx(toys.validation_accuracy(learner, cut, 2))

    _, learnt = run(tmp_path, plan=dataclasses.replace(plan, fresh_seeds=(7, 8)))
    assert [settings.seed for settings, *_ in learnt] == [8] * 4
    assert len(json.loads((tmp_path / "fresh.json").read_text())) == 4


# As a library.


def test_a_subclass_searches_what_it_likes(tmp_path):
    class Mine(HyperToy):
        def settings(self, hp):
            weight = hp.Choice("class_weight", [1.0, 2.0, 3.0])
            return dataclasses.replace(super().settings(hp), class_weight=weight)

        def objective(self, settings, found):
            return settings.class_weight

    found, _ = run(tmp_path, Mine(search=("s_max",)), dataclasses.replace(PLAN, trials=12))
    assert found.best.settings.class_weight == 3.0
    assert json.loads((tmp_path / "best.json").read_text())["class_weight"] == 3.0


def test_the_example_in_the_documentation_runs(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    small = (
        example.replace("dgm_tf.HyperDGM", "HyperToy")
        .replace('dgm_tf.class_incremental("digits")', "toys.stream()")
        .replace("epochs=20", "epochs=2, batch_size=8")
        .replace("trials=20", "trials=2")
    )
    assert small.count("HyperToy") == small.count("toys") == small.count("trials=2") == 1
    monkeypatch.chdir(tmp_path)
    exec(small, {"HyperToy": HyperToy, "toys": toys})
    assert "class_weight=" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"KERASTUNER_ORACLE_IP": "127.0.0.1"}, "KERASTUNER_ORACLE_PORT, KERASTUNER_TUNER_ID is"),
        ({"KERASTUNER_TUNER_ID": "chief"}, "missing: set it, or none"),
        (
            {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": "x",
             "KERASTUNER_TUNER_ID": "chief"},
            "the chief cannot listen at 127.0.0.1:x",
        ),
    ],
)  # fmt: skip
def test_half_of_what_several_processes_need_is_refused(tmp_path, monkeypatch, environment, wanted):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=wanted):
        run(tmp_path)
