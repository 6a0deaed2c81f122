"""A memory grows over commands: each sees its own classes only, and nothing else is different."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from dgm_tf.data.image_file import GREY
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.experiments import open_memory
from dgm_tf.experiments import run as run_module
from dgm_tf.experiments.open_memory import OpenRun
from dgm_tf.experiments.open_stream import OpenStream
from dgm_tf.experiments.options import QUIET, LearnOptions, RunOptions
from dgm_tf.methods.settings import LearnerSettings, setting
from dgm_tf.reporting import tables
from dgm_tf.reporting.run import read_run
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage.checkpoint import Every
from tests import permissions
from tests.class_folders import write
from tests.damages import DAMAGES, flip_a_bit
from tests.interruptions import killed_at
from tests.refusals import refused
from tests.run_content import content, files
from tests.tiny_phases import BATCH, SETTINGS, TinyLearner

pytestmark = pytest.mark.usefixtures("no_page")
WEEKS = {"week1": {"dog": 30, "cat": 220}, "week2": {"cat": 99, "ape": 120}, "week3": {"bee": 170}}


class NamedTiny(TinyLearner):
    """A toy with the names of its classes."""


class Untaught(NamedTiny):
    def learn_task(self, task, *, callbacks=()):
        raise AssertionError("what the audit needs is looked at before")


def learn(memory, images, *, every=0, verbosity=QUIET, learner=NamedTiny, changes=(), **options):
    stream = OpenStream(
        images, name="zoo", image_size=16, colours=GREY, seed=3, least=BATCH, **options
    )
    run_options = RunOptions(checkpoint_every=Every(steps=every), verbosity=verbosity)
    place = distribution.present()
    run = OpenRun(memory, stream, learner(), run_options, place, dict(changes))
    run.run()
    return run


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for week, levels in WEEKS.items():
        write(folder / week, levels)
    return folder


@pytest.fixture(scope="module")
def week1(tmp_path_factory, images):
    """A memory of the first week; not to touch."""
    folder = tmp_path_factory.mktemp("week1") / "zoo"
    learn(folder, images / "week1", every=3)
    return folder


@pytest.fixture(scope="module")
def zoo(tmp_path_factory, images, week1):
    """A memory of three weeks; not to touch."""
    folder = shutil.copytree(week1, tmp_path_factory.mktemp("zoo") / "zoo")
    for week in ("week2", "week3"):
        learn(folder, images / week, every=3)
    return folder


def rows_of(folder):
    return RunFolder(folder).rows()


def test_each_command_adds_what_the_memory_does_not_know(zoo):
    rows = rows_of(zoo)
    assert [row["class_names"] for row in rows] == [["cat"], ["dog"], ["ape"], ["bee"]]
    assert [row["classes"] for row in rows] == [[0], [1], [2], [3]]
    assert rows[-1]["audit"] == {"1": 0, "2": 0, "3": 0}
    described = json.loads((zoo / "settings.json").read_text())["stream"]
    assert described["kind"] == "open" and described["colours"] == "grey"
    assert "task_classes" not in described and "class_names" not in described


def test_classes_without_test_images_at_hand_are_left_out_of_the_means(zoo):
    rows = rows_of(zoo)
    # In the second week other pictures of cats are at hand, of which the lowest digests are new.
    assert [row["not_measured"] for row in rows] == [[], [], rows[2]["not_measured"], [0, 1, 2]]
    assert 1 in rows[2]["not_measured"]
    for row in rows:
        measured = list(row["class_accuracy"].values())
        assert row["average_accuracy"] == pytest.approx(np.mean(measured))
    assert rows[3]["forgetting"] is None


def test_after_each_of_many_tasks_the_audit_checks_some(zoo, images, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "AUDITED", 2)
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    learn(copy, write(tmp_path / "week4", {"elk": 60}))
    row = rows_of(copy)[-1]
    assert row["audit"] == {"1": 0, "4": 0} and set(row["audit_pixels"]) == {"1", "4", "5"}


def test_of_many_records_those_of_the_next_audit_are_read(zoo, images, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "AUDITED", 2)
    read, opened = memory_audit.read, []
    monkeypatch.setattr(memory_audit, "read", lambda path: opened.append(path.stem) or read(path))
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    week = write(tmp_path / "week4", {"elk": 60})
    flip_a_bit(copy / "audit" / "task-02.safetensors")
    learn(copy, week)
    assert {*opened} == {"task-01", "task-04"}
    broken = shutil.copytree(zoo, tmp_path / "broken")
    flip_a_bit(broken / "audit" / "task-04.safetensors")
    with refused("audit record", "task-04"):
        learn(broken, week, learner=Untaught)


@pytest.mark.parametrize("damage", ["torn", "a bit flipped"])
def test_a_damaged_memory_is_refused_untouched(zoo, tmp_path, damage):
    """No task is learnt in place of a damaged one, whose images may be gone."""
    copy, week = shutil.copytree(zoo, tmp_path / "zoo"), write(tmp_path / "week4", {"elk": 60})
    newest = copy / "checkpoints" / "task-04"
    DAMAGES[damage](newest)
    before = files(copy)
    with refused("Nothing was changed", "to give up task-04 delete its folder"):
        learn(copy, week)
    assert files(copy) == before
    shutil.rmtree(newest)
    with refused("the checkpoint of task-04 is missing. Nothing", "metrics.jsonl, which is writ"):
        learn(copy, week)
    (copy / "metrics.jsonl").unlink()
    learn(copy, week)
    assert [row["class_names"] for row in rows_of(copy)] == [["cat"], ["dog"], ["ape"], ["elk"]]


def test_several_processes_are_refused_before_they_wait_for_each_other(made, images, monkeypatch):
    monkeypatch.setattr(distribution, "start", lambda *args, **options: 1 / 0)
    with refused("a memory is learnt by one process"):
        open_memory.prepare(
            LearnOptions(str(made), str(images / "week2")), {}, {},
            RunOptions(distribute="multiworker"),
        )  # fmt: skip


def test_a_fraction_next_to_test_images_of_their_own_is_refused(tmp_path):
    write(tmp_path / "split" / "train", {"cat": 20})
    write(tmp_path / "split" / "test", {"cat": 8})
    with refused("--test_fraction means nothing"):
        OpenStream(
            tmp_path / "split", name="zoo", image_size=16, colours=GREY, seed=0, test_fraction=0.1
        )


def test_tables_and_files_call_classes_by_their_names(zoo):
    text = tables.run_report(read_run(zoo))
    assert "4 (bee)" in text and "(bee)" in text and "class 3" not in text
    (line,) = [line for line in text.splitlines() if line.split()[:2] == ["cat", "1"]]
    assert line.split()[2] == "-" and "identical after 3 later tasks" in line
    header = (zoo / "accuracy_matrix.csv").read_text().splitlines()[0]
    assert header == "task,cat,dog,ape,bee"


def test_one_command_for_all_weeks_learns_the_same_classes(zoo, images, tmp_path):
    """The stream of the last command knows all classes, the commands above knew their own."""
    for week in ("week3", "week2", "week1"):
        shutil.copytree(images / week, tmp_path / "all", dirs_exist_ok=True)
    learn(tmp_path / "zoo", tmp_path / "all")
    names = [name for row in rows_of(tmp_path / "zoo") for name in row["class_names"]]
    assert names == ["ape", "bee", "cat", "dog"]


def test_a_class_is_learnt_to_the_same_bits_whatever_else_the_command_brings(images, tmp_path):
    for week in ("week3", "week2"):  # in this order of names: ape, bee, cat
        shutil.copytree(images / week, tmp_path / "all", dirs_exist_ok=True)
        for place in sorted((images / week).iterdir()):
            shutil.copytree(place, tmp_path / place.name / place.name)
    learn(tmp_path / "at once", tmp_path / "all")
    for name in ("ape", "bee", "cat"):
        learn(tmp_path / "one by one", tmp_path / name)
    for task in (1, 2, 3):
        (_, meta, arrays), (_, other_meta, others) = (
            RunFolder(tmp_path / each).saved(task) for each in ("at once", "one by one")
        )
        assert meta == other_meta and set(arrays) == set(others)
        assert all(array.tobytes() == others[name].tobytes() for name, array in arrays.items())


def test_a_command_with_nothing_new_changes_nothing(zoo, images, tmp_path, capsys):
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    learn(copy, images / "week1", verbosity=1)
    assert "new: nothing; known already, so passed over: cat, dog" in capsys.readouterr().out
    assert content(copy) == content(zoo)


def test_new_classes_can_be_one_task(images, tmp_path):
    learn(tmp_path / "zoo", images / "week1", together=True)
    (row,) = rows_of(tmp_path / "zoo")
    assert row["classes"] == [0, 1] and len(row["fingerprints"]) == 2


# Cut short.


def killed(memory, images, *, task, steps, **options):
    with killed_at(task, steps):
        learn(memory, images, every=3, **options)


def test_a_later_command_killed_inside_its_task_resumes_to_the_same_bits(
    week1, zoo, images, tmp_path
):
    folder = shutil.copytree(week1, tmp_path / "zoo")
    killed(folder, images / "week2", task=3, steps=6)
    (unfinished, _) = sorted((folder / "checkpoints" / "unfinished").iterdir())
    begun = []
    with pytest.MonkeyPatch.context() as patch:
        resumed = OpenRun._unfinished
        patch.setattr(
            OpenRun,
            "_unfinished",
            lambda self, task: begun.append(resumed(self, task)) or begun[-1],
        )
        learn(folder, images / "week2", every=3)
    assert begun[0] is not None and unfinished.name.startswith("task-03")
    learn(folder, images / "week3", every=3)
    assert content(folder) == content(zoo)


def test_a_task_whose_images_have_changed_begins_again_and_says_so(images, tmp_path, capsys):
    folder, week = tmp_path / "zoo", shutil.copytree(images / "week1", tmp_path / "week1")
    killed(folder, week, task=1, steps=6)
    write(week, {"cat": 221}, count=1)
    learn(folder, week)
    error = capsys.readouterr().err
    assert error == (
        "warning: task 1 was begun with other images of cat; it begins again with these\n"
    )
    learn(tmp_path / "fresh", week)
    assert content(folder) == content(tmp_path / "fresh")


# Settings of later tasks.


def test_a_changed_setting_is_that_of_later_tasks_and_stays(week1, images, tmp_path, capsys):
    folder = shutil.copytree(week1, tmp_path / "zoo")
    before = (folder / "settings.json").read_bytes()
    learn(folder, images / "week2", changes={"epochs": 3}, verbosity=1)
    assert "from now on: epochs is 3, was 2\n" in capsys.readouterr().out
    run = learn(folder, images / "week3", verbosity=1)
    assert "from now on" not in capsys.readouterr().out
    assert [row.get("settings") for row in rows_of(folder)] == [None] * 2 + [{"epochs": 3}] * 2
    assert [row["epochs"] for row in rows_of(folder)] == [2, 2, 3, 3]
    assert (folder / "settings.json").read_bytes() == before
    assert RunFolder(folder).state_after()[1]["settings"]["epochs"] == 3
    assert run.learner.settings.epochs == 3
    learn(folder, write(tmp_path / "week4", {"elk": 60}), changes={"epochs": 2})
    assert "settings" not in rows_of(folder)[-1]


def test_a_task_begun_with_another_setting_begins_again_and_says_so(
    week1, images, tmp_path, capsys
):
    folder, changes = tmp_path / "zoo", {"epochs": 3}
    killed(folder, images / "week1", task=1, steps=6, changes=changes)
    learn(folder, images / "week1", changes={"epochs": 2})
    assert capsys.readouterr().err == (
        "warning: task 1 was begun with other values of epochs; it begins again with these\n"
    )
    assert content(folder) == content(week1)


def test_a_task_that_was_begun_keeps_its_settings(images, tmp_path, capsys):
    folder, changes = tmp_path / "zoo", {"epochs": 3}
    killed(folder, images / "week1", task=1, steps=6, changes=changes)
    learn(folder, images / "week1")
    learn(tmp_path / "whole", images / "week1", changes=changes)
    assert capsys.readouterr().err == "" and content(folder) == content(tmp_path / "whole")


def test_other_classes_than_a_task_was_begun_with_are_said(images, tmp_path, capsys):
    folder = tmp_path / "zoo"
    killed(folder, images / "week1", task=1, steps=6)
    learn(folder, write(tmp_path / "week4", {"elk": 60}))
    assert capsys.readouterr().err.startswith("warning: task 1 was begun with other classes (cat")


def test_a_log_of_other_classes_is_refused_and_without_it_written_again(zoo, images, tmp_path):
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    log = copy / "metrics.jsonl"
    log.write_text(log.read_text().replace('"ape"', '"emu"'))
    with refused("metrics.jsonl in", "names other classes", "delete that file"):
        learn(copy, images / "week3")
    log.unlink()
    learn(copy, images / "week3")
    assert rows_of(copy) == rows_of(zoo)


def test_checkpoints_that_may_not_be_read_are_not_taken_for_none(zoo, tmp_path):
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    (copy / "checkpoints").chmod(0)
    try:
        with permissions.obeyed(), refused("cannot read", "Permission denied", "give this user"):
            RunFolder(copy).state_after()
    finally:
        (copy / "checkpoints").chmod(0o700)


def test_a_learners_save_is_no_run(zoo, tmp_path):
    (folder := tmp_path / "zoo.dgm").mkdir()
    (folder / "state.json").touch()
    for read in (RunFolder(folder).state_after, RunFolder(folder).description):
        with refused("was written by a learner's save", "dgm_tf.load opens it"):
            read()


def test_a_missing_checkpoint_is_said_where_the_memory_is_used(zoo, tmp_path, capsys):
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    shutil.rmtree(copy / "checkpoints" / "task-04")
    RunFolder(copy).state_after()
    assert "has results of task 4, and the last checkpoint is that of task 3" in (
        capsys.readouterr().err
    )
    RunFolder(copy).state_after(2)
    assert capsys.readouterr().err == ""


def test_a_memory_is_not_made_among_folders_of_images(images, tmp_path):
    week = shutil.copytree(images / "week1", tmp_path / "week1")
    with refused("a run or a memory gets a folder of its own", "holds cat", "another folder"):
        prepared(week, images / "week2", {}, {})


def test_what_was_learnt_before_is_not_reported_again(zoo, images, tmp_path, capsys):
    learn(shutil.copytree(zoo, tmp_path / "zoo"), images / "week1", verbosity=1)
    said = capsys.readouterr().out
    assert "new: nothing; known already" in said and "Page:" not in said


def test_a_setting_of_later_tasks_that_is_unknown_or_out_of_range_is_refused(made, images, zoo, tmp_path):  # fmt: skip # noqa: E501
    with refused("consolidation_steps", "-1"):
        prepared(made, images / "week2", {}, {"consolidation_steps": -1})
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenRun, "_own_settings", lambda run: {"colour_noise": 1})
        learn(copy, write(tmp_path / "week4", {"elk": 60}))
    with refused("settings that this release does not know, colour_noise"):
        learn(copy, write(tmp_path / "week5", {"gnu": 60}))


def test_steps_replace_the_epochs_of_earlier_tasks(made, images):
    run = prepared(made, images / "week2", {}, {"epochs": 5})
    assert run._changes == {"epochs": 5}
    for asked, overrides in (
        ({"settings": '{"epochs": 5}'}, {"steps": 9}),
        ({"settings": '{"steps": 9}'}, {}),
    ):
        run = prepared(made, images / "week2", asked, overrides)
        assert run._changes == {"epochs": 0, "steps": 9}


# What is refused.


def prepared(memory, images, asked=(), overrides=(), **options):
    return open_memory.prepare(
        LearnOptions(str(memory), str(images), **options), dict(asked), dict(overrides),
        RunOptions(verbosity=QUIET),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory, images):
    """A memory of DGM that has learnt nothing yet."""
    folder = tmp_path_factory.mktemp("made") / "zoo"
    run = prepared(folder, images / "week1", overrides={"steps": 7}, image_size=16)
    with run._folder.opened(run._description()):
        pass
    return folder


def test_later_commands_take_the_memorys_settings(made, images):
    run = prepared(made, images / "week2")
    assert run.learner.settings.steps == 7 and run.stream.image_shape == (16, 16, 1)
    prepared(made, images / "week2", {"method": "dgm"}, {"steps": 7}, image_size=16)


@pytest.mark.parametrize(
    ("asked", "overrides", "options", "wanted"),
    [
        ({}, {"critic_size": 8}, {}, "critic_size is 16 there, 8 here"),
        ({}, {"seed": 1}, {}, "seed is 0 there, 1 here"),
        ({"settings": '{"s_max": 3}'}, {}, {}, "s_max is 10000.0 there, 3.0 here"),
        ({"preset": "paper"}, {}, {}, 'recipe is "tuned" there, "paper" here'),
        ({"settings": '{"preset": "paper"}'}, {}, {}, 'recipe is "tuned" there, "paper" here'),
        ({"method": "ewc"}, {}, {}, 'method is "dgm" there, "ewc" here'),
        ({}, {"ewc_strength": 1.0}, {}, "ewc_strength is null there"),
        ({}, {}, {"image_size": 32}, "image_size is 16 there, 32 here"),
    ],
)
def test_a_flag_that_disagrees_with_the_memory_is_refused(made, images, asked, overrides, options, wanted):  # fmt: skip # noqa: E501
    with refused("has some settings for good", wanted):
        prepared(made, images / "week2", asked, overrides, **options)


def with_settings(made, folder, change):
    """A copy of a memory whose settings have been changed, as another release might have them."""
    copy = shutil.copytree(made, folder / "zoo")
    described = json.loads((copy / "settings.json").read_text())
    change(described)
    (copy / "settings.json").write_text(json.dumps(described))
    return copy


def test_a_setting_that_a_memory_is_too_old_to_have_takes_its_default(made, images, tmp_path):
    copy = with_settings(made, tmp_path, lambda it: it["settings"].pop("replay_batch"))
    before = (copy / "settings.json").read_bytes()
    run = prepared(copy, images / "week2", {}, {"replay_batch": 32, "steps": 7})
    assert run.learner.settings.replay_batch == 32 and run.learner.settings.steps == 7
    with run._folder.opened(run._description()):
        pass
    assert (copy / "settings.json").read_bytes() == before
    with refused("replay_batch is 32 there, 8 here"):
        prepared(copy, images / "week2", {}, {"replay_batch": 8})


def test_a_setting_that_this_release_does_not_know_is_refused(made, images, tmp_path):
    copy = with_settings(made, tmp_path, lambda it: it["settings"].update(colour_noise=1))
    with refused("settings that this release does not know, colour_noise"):
        prepared(copy, images / "week2")


def test_other_rules_for_pictures_are_refused(made, images, tmp_path):
    copy = with_settings(made, tmp_path, lambda it: it["stream"].update(geometry=2))
    with refused("geometry is not 1, the rules for pictures that this release knows"):
        prepared(copy, images / "week2")


@dataclasses.dataclass(frozen=True)
class LaterSettings(LearnerSettings):
    """The toy's, with one more."""

    tint: float = setting(0.5, "of the images")


class LaterTiny(NamedTiny):
    def __init__(self):
        super().__init__()
        self.settings = LaterSettings(**SETTINGS, batch_size=BATCH)


def test_a_release_with_one_more_setting_and_other_words_goes_on(
    zoo, images, tmp_path, monkeypatch
):
    described = OpenStream.describe
    monkeypatch.setattr(OpenStream, "describe", lambda self: described(self) | {"words": "other"})
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    learn(copy, write(tmp_path / "week4", {"elk": 60}), learner=LaterTiny)
    assert len(rows_of(copy)) == 5 and RunFolder(copy).saved(5)
    assert (copy / "settings.json").read_bytes() == (zoo / "settings.json").read_bytes()


@pytest.mark.parametrize(
    ("overrides", "options", "wanted"),
    [
        ({"generator_widths": (4,) * 6}, {"image_size": 32}, "are 6 blocks, which make images of"),
        ({"latent_dim": 2}, {"together": True}, "2 classes, latent_dim is 2"),
    ],
)
def test_networks_that_do_not_fit_are_found_before_anything_is_written(
    images, tmp_path, overrides, options, wanted
):
    with refused(wanted):
        prepared(tmp_path / "zoo", images / "week1", overrides=overrides, **options)
    assert not (tmp_path / "zoo").exists()


def test_a_later_task_too_large_for_a_memory_is_found_before_it_is_learnt(made, images, tmp_path):
    folder = shutil.copytree(made, tmp_path / "zoo")
    run = prepared(folder, write(tmp_path / "many", {f"{n}": n for n in range(128)}, count=2),
                   together=True)  # fmt: skip
    before = content(folder)
    with refused("128 classes, latent_dim is 128"):
        run.run()
    written = content(folder)
    assert {name for name in written if written[name] != before.get(name)} <= {
        "metrics.jsonl", "accuracy_matrix.csv",
    }  # fmt: skip


def test_a_method_that_needs_all_images_is_refused(images, tmp_path):
    with refused("--method=joint needs the images of all classes at once"):
        prepared(tmp_path / "zoo", images / "week1", {"method": "joint"})


def test_the_folder_of_another_run_takes_no_classes(made, images, tmp_path):
    copy = shutil.copytree(made, tmp_path / "run")
    described = json.loads((copy / "settings.json").read_text())
    described["stream"] = {
        **{key: described["stream"][key] for key in ("name", "image_shape")},
        "source": "elsewhere",
        **{"fingerprint": "0", "class_names": ["a"], "task_classes": [[0]]},
        "validation_fraction": 0.0,
    }
    (copy / "settings.json").write_text(json.dumps(described))
    with refused("whose classes were all known at its start"):
        prepared(copy, images / "week1")


def test_a_second_learn_at_once_is_refused(zoo, images, tmp_path):
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    before = content(copy)
    with RunFolder(copy).opened(json.loads((copy / "settings.json").read_text())):
        with pytest.raises(InputError, match="another process is at work in") as error:
            learn(copy, images / "week2")
    assert "\n" not in str(error.value) and content(copy) == before
