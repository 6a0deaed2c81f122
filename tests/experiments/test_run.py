"""A run writes what it promises, resumes after any interruption, and refuses another's folder."""

import dataclasses
import io
import json
import os
import shutil
import signal
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dgm_tf.errors import Diverged, InputError
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import run as run_module
from dgm_tf.experiments.options import QUIET, TASKS, RunOptions, StreamOptions
from dgm_tf.experiments.run import Run, check_sizes, prepare
from dgm_tf.methods.settings import DGMSettings, NearestMeanSettings
from dgm_tf.reporting import page
from dgm_tf.storage import checkpoint
from dgm_tf.storage.files import write_atomically
from dgm_tf.terminal import stopping
from dgm_tf.terminal.printing import Output
from tests.damages import DAMAGES
from tests.experiments.toy import SETTINGS, NearestMean, new_stream
from tests.interruptions import Killed
from tests.run_content import content, files, without_times


def run(folder, *, learner=None, stream=None, max_tasks=None, **options):
    options = {"oracle": False, "verbosity": QUIET, **options}
    found = Run(
        stream or new_stream(), learner or NearestMean(),
        RunOptions(run_dir=str(folder), **options), max_tasks=max_tasks,
    )  # fmt: skip
    found.run()
    return found


@pytest.fixture(autouse=True, scope="module")
def plain_page():
    """Pages take a second each; here they only say how many tasks they show."""

    def write(folder):
        rows = (folder / "metrics.jsonl").read_bytes().count(b"\n")
        write_atomically(folder / page.PAGE, b"tasks: %d" % rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "write_page", write)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, run(folder, command="python -m trainers.toy --seed=3"), content(folder)


def test_a_run_writes_every_file_that_it_promises(finished):
    folder, _, files = finished
    assert sorted(files) == sorted(
        ["settings.json", "metrics.jsonl", "accuracy_matrix.csv", "report.html"]
        + [f"samples/task-0{task}.png" for task in (1, 2, 3)]
        + [f"audit/task-0{task}.safetensors" for task in (1, 2, 3)]
        + [f"checkpoints/task-0{task}/state.json" for task in (1, 2, 3)]
        + [f"checkpoints/task-0{task}/arrays.safetensors" for task in (1, 2, 3)]
    )
    assert {path.name for path in folder.rglob(".*")} <= {".lock"}
    heights = []
    for task in (1, 2, 3):
        with Image.open(folder / f"samples/task-0{task}.png") as picture:
            heights.append(picture.height)
    row = (heights[1] - heights[0]) // 2  # a row for each class seen
    assert row >= 16 and heights[2] == heights[1] + row


def test_metrics_hold_one_object_per_task(finished):
    _, result, files = finished
    rows = files["metrics.jsonl"]
    assert [row["task"] for row in rows] == [1, 2, 3]
    assert [row["classes_seen"] for row in rows] == [[0], [0, 1, 2], [0, 1, 2, 3]]
    assert [row["audit"] for row in rows] == [{}, {"1": 0}, {"1": 0, "2": 0}]
    assert [row["layer_widths"] for row in rows] == [[8], [12], [16]]
    # 12 images of a class minus 2 for validation, in batches of 4, twice.
    assert [row["steps"] for row in rows] == [4, 10, 4]
    assert [row["epochs"] for row in rows] == [2, 2, 2]
    last = rows[-1]
    assert last["average_accuracy"] == np.mean(list(last["class_accuracy"].values())) > 0.25
    assert result.accuracy.average(3) == last["average_accuracy"]
    assert last["last_epoch"] == {"critic_loss": 1.0}
    assert all(row["seconds"] >= 0 for row in result.rows)
    assert last["history"] == {"critic_loss": [0.0, 1.0]}
    assert all(10 < row["peak_memory_mib"] < 2**20 for row in result.rows)
    assert last["generator_parameters"] == 128 and last["free_fraction"] == 0.25


def test_the_page_is_written_after_each_task(tmp_path):
    seen = []

    class Watched(NearestMean):
        def learn_task(self, task, *, callbacks=()):
            file = tmp_path / "report.html"
            seen.append(file.read_bytes() if file.exists() else None)
            return super().learn_task(task, callbacks=callbacks)

    run(tmp_path, learner=Watched())
    assert seen == [None, b"tasks: 1", b"tasks: 2"]
    assert (tmp_path / "report.html").read_bytes() == b"tasks: 3"
    (tmp_path / "report.html").unlink()
    run(tmp_path, learner=Untaught())
    assert (tmp_path / "report.html").read_bytes() == b"tasks: 3"


def test_a_page_that_cannot_be_drawn_ends_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(page, "write_page", lambda folder: 1 / 0)
    assert len(run(tmp_path, max_tasks=2).rows) == 2
    assert capsys.readouterr().err.count("warning: no report.html written: ZeroDivision") == 2


def test_tensorboard_gets_one_file_per_task_that_go_on_from_each_other(tmp_path):
    run(tmp_path, max_tasks=2, tensorboard=True)
    run(tmp_path, tensorboard=True)
    steps = {}
    for path in (tmp_path / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
    # As in metrics.jsonl: 4, 10 and 4 steps, in two epochs each.
    assert sorted(steps["training/critic_loss"]) == [2, 4, 9, 14, 16, 18]
    assert sorted(steps["task/A_t"]) == sorted(steps["samples"]) == [1, 2, 3]


def test_tensorboard_is_told_where_nothing_was_left_to_learn(tmp_path, capsys):
    run(tmp_path, max_tasks=1)
    for verbosity, lines in ((TASKS, 1), (QUIET, 0)):
        run(tmp_path, max_tasks=1, tensorboard=True, verbosity=verbosity)
        said = capsys.readouterr().out
        assert said.count("tensorboard: nothing was learnt, so nothing is logged\n") == lines
    assert not (tmp_path / "tensorboard").exists()
    run(tmp_path, max_tasks=2, tensorboard=True, verbosity=TASKS)
    assert "nothing is logged" not in capsys.readouterr().out


def test_settings_say_where_the_numbers_come_from(finished):
    _, _, files = finished
    settings = files["settings.json"]
    assert settings["learner"] == "nearest-mean"
    assert settings["settings"] == dataclasses.asdict(SETTINGS) and settings["seed"] == 3
    described = json.loads(json.dumps(new_stream().describe()))
    assert {**settings["stream"], "scenario": settings["scenario"]} == described
    assert settings["command"] == "python -m trainers.toy --seed=3"
    assert {"python", "tensorflow", "keras", "dgm_tf"} <= set(settings["versions"])
    assert settings["machine"]["cores"] >= 1 and settings["machine"]["memory_gib"] > 0


def test_a_run_stopped_between_tasks_goes_on_with_the_same_numbers(finished, tmp_path):
    _, result, expected = finished
    run(tmp_path, max_tasks=1, command="python -m trainers.toy --seed=3")
    assert len(content(tmp_path)["metrics.jsonl"]) == 1
    again = run(tmp_path, command="python -m trainers.toy --other")
    assert content(tmp_path) == expected
    assert [without_times(row) for row in again.rows] == [without_times(row) for row in result.rows]


def check_killed(folder, start, deadline, whole, monkeypatch):
    """Kills a copy of a run and lets it go on; whether the moment was reached."""
    shutil.copytree(start, folder)
    count, killed = kill_at_rename(deadline, monkeypatch), False
    try:
        run(folder, max_tasks=whole)
    except Killed:
        killed = True
    finally:
        monkeypatch.undo()
    run(folder, max_tasks=whole)
    return killed, len(count)


def test_a_run_killed_before_a_rename_goes_on_with_the_same_files(finished, tmp_path, monkeypatch):
    start = tmp_path / "start"
    run(start, max_tasks=2, command="python -m trainers.toy --seed=3")
    # The probe and the tables before the task; its record, picture, checkpoint and tables.
    for deadline in (2, 5, 7):
        folder = tmp_path / str(deadline)
        assert check_killed(folder, start, deadline, 3, monkeypatch)[0]
        assert content(folder) == finished[2], f"killed before rename {deadline}"


@pytest.mark.slow
@pytest.mark.parametrize("finished_before", [0, 1])
def test_a_run_killed_before_any_of_its_renames_goes_on_with_the_same_files(
    finished_before, tmp_path, monkeypatch
):
    start, last = tmp_path / "start", finished_before + 1
    start.mkdir()
    if finished_before:
        run(start, max_tasks=finished_before)
    run(tmp_path / "whole", max_tasks=last)
    expected, killed, deadline = content(tmp_path / "whole"), True, 0
    while killed:
        deadline += 1
        folder = tmp_path / str(deadline)
        killed, count = check_killed(folder, start, deadline, last, monkeypatch)
        assert content(folder) == expected, f"killed before rename {deadline}"
    # The probe and two tables at the start; audit, picture, checkpoint and tables of a task.
    assert count >= 3 + 6


def kill_at_rename(deadline, monkeypatch):
    """Every file of a run gets its name by a rename, so this stops at each state of the disk."""
    count = []

    def counted(rename):
        def call(*args):
            count.append(args)
            if len(count) == deadline:
                raise Killed
            rename(*args)

        return call

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(os, "rename", counted(os.rename))
    return count


def test_metrics_beyond_the_last_checkpoint_are_cut(finished, tmp_path):
    folder, _, expected = finished
    copy = shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(copy / "checkpoints" / "task-03")
    with open(copy / "metrics.jsonl", "a") as file:
        file.write('{"task": 3, "half')
    run(copy, max_tasks=2)
    assert content(copy)["metrics.jsonl"] == expected["metrics.jsonl"][:2]
    run(copy)
    assert content(copy) == expected


class Untaught(NearestMean):
    def learn_task(self, task, *, callbacks=()):
        raise AssertionError("this run is finished")


def test_a_finished_run_learns_nothing_and_prints_its_tables(finished, tmp_path, capsys):
    folder, _, expected = finished
    copy = shutil.copytree(folder, tmp_path / "run")
    capsys.readouterr()
    stream = new_stream()
    run(copy, stream=stream, learner=Untaught(), verbosity=1)
    output = capsys.readouterr().out
    assert "finished before" in output and "Memory audit" in output and "Growth" in output
    assert f"{copy}/samples/" in output and stream.scenario in output
    assert f"Page: {copy}/report.html" in output
    assert content(copy) == expected
    run(copy, stream=new_stream(), learner=Untaught(), verbosity=1, max_tasks=1)
    assert "learnt up to task 1" not in capsys.readouterr().out  # It has all of them.


def test_a_finished_run_needs_no_record_of_its_audit(finished, tmp_path, capsys):
    copy = shutil.copytree(finished[0], tmp_path / "run")
    next(copy.glob("audit/task-01*")).unlink()
    run(copy, learner=Untaught(), verbosity=1)
    assert "Memory audit" in capsys.readouterr().out


def test_generated_images_are_scored_where_that_is_asked_for(tmp_path, monkeypatch, capsys):
    oracle = Oracle((16, 16, 1), 4, test_accuracy=0.25)
    monkeypatch.setattr(Oracle, "of", lambda stream, **_: oracle)
    (row,) = run(tmp_path, max_tasks=1, oracle=True, verbosity=1).rows
    assert row["oracle_accuracy"] == row["oracle_class_accuracy"]["0"]
    assert row["oracle_test_accuracy"] == 0.25
    shown = capsys.readouterr().out
    assert "oracle: 25.00 % on real test images" in shown
    assert "learnt up to task 1\n" in shown and "task 1 of 1: class a: learnt in" in shown


def test_a_learner_that_forgets_is_found_out(tmp_path):
    class Drifting(NearestMean):
        def learn_task(self, task, *, callbacks=()):
            for mean in self._means.values():
                mean[0, 0] = np.nextafter(mean[0, 0], np.float32(2))
            return super().learn_task(task, callbacks=callbacks)

    rows = run(tmp_path, learner=Drifting(), max_tasks=2).rows
    assert rows[1]["audit"]["1"] > 0


# Asked to stop, and training that goes wrong.


class Asked(NearestMean):
    """Is asked to stop while it learns a task."""

    def __init__(self, at):
        super().__init__()
        self._at = at

    def learn_task(self, task, *, callbacks=()):
        if task.index == self._at:
            assert stopping.request(signal.SIGTERM)
        return super().learn_task(task, callbacks=callbacks)


def test_a_run_that_is_asked_to_stop_does_so_after_the_task(finished, tmp_path):
    with pytest.raises(stopping.Stopped, match="resumes after task 2") as stopped:
        run(tmp_path, learner=Asked(2), command="python -m trainers.toy --seed=3")
    assert stopped.value.exit_code == 143 and not stopping.requested()
    # Asked in its last task, it ends as it would.
    run(tmp_path, learner=Asked(3))
    assert content(tmp_path) == finished[2]


def test_training_that_goes_wrong_ends_the_run_with_the_place_of_what_is_good(tmp_path):
    class Diverging(NearestMean):
        def learn_task(self, task, *, callbacks=()):
            if task.index == 2:
                raise Diverged("loss is no finite number (nan)", "epoch 1 of toys")
            return super().learn_task(task, callbacks=callbacks)

    with pytest.raises(Diverged) as error:
        run(tmp_path, learner=Diverging())
    assert str(error.value) == (
        f"task 2 of 3: the last good state is kept in {tmp_path}; loss is no finite number (nan) "
        "in epoch 1 of toys"
    )
    assert len(content(tmp_path)["metrics.jsonl"]) == 1


# Folders that are not this run's, or damaged.


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"epochs": 7}, "settings.epochs is 2 there, 7 here"),
        ({"stream": 1}, "stream.seed is 0 there, 1 here"),
    ],
)
def test_a_folder_with_other_settings_is_refused_untouched(finished, options, difference):
    folder, _, expected = finished
    stream = new_stream(seed=options.pop("stream", 0))
    learner = NearestMean(dataclasses.replace(SETTINGS, **options))
    with pytest.raises(InputError) as error:
        run(folder, stream=stream, learner=learner)
    assert difference in str(error.value) and str(folder) in str(error.value)
    assert content(folder) == expected


def without_settings(copy):
    (copy / "settings.json").unlink()


def without_checkpoints(copy):
    shutil.rmtree(copy / "checkpoints")


def damaged_checkpoints(copy):
    for damage, folder in zip(DAMAGES.values(), (copy / "checkpoints").iterdir(), strict=False):
        damage(folder)


def foreign_checkpoint(copy):
    checkpoint.save(copy / "checkpoints" / "task-03", {"row": {"task": 1}}, {})


def checkpoint_of_another_run(copy):
    path = copy / "checkpoints" / "task-03"
    meta, arrays = checkpoint.load(path)
    checkpoint.save(path, {**meta, "run": "another"}, arrays)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (without_settings, "without settings.json"),
        (lambda copy: (copy / "settings.json").write_text("[]"), "settings.json"),
        (without_checkpoints, "no checkpoint that a run could resume from.*choose another fold"),
        (damaged_checkpoints, "checkpoints/task-03"),
        (foreign_checkpoint, "does not hold the results of tasks 1 to 3"),
        (checkpoint_of_another_run, "task-03 is of a run with other settings"),
    ],
)
def test_a_folder_that_cannot_be_resumed_is_refused_untouched(finished, tmp_path, change, wanted):
    copy = shutil.copytree(finished[0], tmp_path / "run")
    change(copy)
    before = files(copy)
    with pytest.raises(InputError, match=wanted):
        run(copy)
    assert files(copy) == before


@pytest.mark.parametrize("damage", ["torn", "a bit flipped"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(finished, tmp_path, capsys, damage):
    copy = shutil.copytree(finished[0], tmp_path / "run")
    DAMAGES[damage](copy / "checkpoints" / "task-03")
    run(copy)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "checkpoints/task-03" in error
    assert "task-02" in error
    assert content(copy) == finished[2]


# What is found before any work.


def test_a_folder_has_a_name_by_default():
    assert str(Run(new_stream(), NearestMean()).path) == "runs/squares-3/nearest-mean/seed3"


@pytest.mark.parametrize("tasks", [0, 4])
def test_a_number_of_tasks_that_the_stream_does_not_have_is_refused(tasks):
    with pytest.raises(InputError, match="--max_tasks from 1 to 3"):
        Run(new_stream(), NearestMean(), max_tasks=tasks)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"batch_size": 140}, "class 0 has 121 images .* batch_size is 140.* needs 165 images"),
        ({"latent_dim": 5}, "5 classes, latent_dim is 5"),
        ({"generator_widths": (4,) * 5}, "are 5 blocks, which make images of a multiple of 32"),
    ],
)
def test_what_is_too_large_or_too_small_is_found_before_any_work(tmp_path, settings, wanted):
    options = RunOptions(run_dir=str(tmp_path / "run"))
    stream = StreamOptions("digits", classes_per_task=5)
    with pytest.raises(InputError, match=wanted):
        prepare(stream, "dgm", DGMSettings(**settings), options)
    assert list(tmp_path.iterdir()) == []


def test_only_the_classes_that_will_be_learnt_have_to_fit():
    stream = StreamOptions("digits", classes_per_task=(2, 2, 6)).open(0)
    check_sizes(stream, DGMSettings(latent_dim=6), max_tasks=2)
    with pytest.raises(InputError, match="6 classes, latent_dim is 6"):
        check_sizes(stream, DGMSettings(latent_dim=6))


@pytest.mark.parametrize("number", [0, -3, 4])
def test_a_number_of_tasks_that_there_is_not_is_refused(number, tmp_path):
    stream = StreamOptions("digits", classes_per_task=(2, 2, 6), max_tasks=number)
    with pytest.raises(InputError, match=f"--max_tasks from 1 to 3, received {number}"):
        prepare(stream, "nearest_mean", NearestMeanSettings(), RunOptions(run_dir=tmp_path / "run"))


@pytest.mark.parametrize("replicas", [0, 7, 999_999])
def test_replicas_that_cannot_be_are_refused_before_they_are_made(replicas, monkeypatch, tmp_path):
    monkeypatch.setattr(run_module.distribution, "start", lambda *_, **__: 1 / 0)
    options = RunOptions(run_dir=str(tmp_path / "run"), distribute="mirrored", replicas=replicas)
    with pytest.raises(InputError, match="replica"):
        prepare(StreamOptions("digits"), "dgm", DGMSettings(), options)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"run_dir": "{0}/file/run"}, "cannot write"),
        ({"export_dir": "{0}/file/m"}, "name another --export_dir"),
        ({"export_dir": "{0}/m", "run_dir": "{0}/run"}, "--method is joint"),
        ({"run_dir": "{0}/photos"}, "a folder of its own, and .* holds cat"),
    ],
)
def test_what_cannot_be_written_is_found_before_the_data_is_fetched(
    tmp_path, monkeypatch, options, wanted
):
    (tmp_path / "file").write_text("")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    options = {name: text.format(tmp_path) for name, text in options.items()}
    monkeypatch.setattr(StreamOptions, "open", lambda *_: 1 / 0)
    with pytest.raises(InputError, match=wanted):
        prepare(StreamOptions("digits"), "joint", DGMSettings(), RunOptions(**options))


def test_a_run_whose_output_nobody_reads_ends_where_the_same_command_resumes(tmp_path, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            if "learnt in" in text:  # of the first task
                raise BrokenPipeError(32, "Broken pipe")
            return super().write(text)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Output(Gone(), ends=True))  # as a command has it
        with pytest.raises(BrokenPipeError):
            run(tmp_path / "run", verbosity=1)
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["task-01"]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Gone())  # in a program of one's own it goes on
        assert len(run(tmp_path / "run", verbosity=1).rows) == 3
