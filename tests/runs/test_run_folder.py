"""A run folder holds each thing once, however many tasks there are, and finds it again."""

import contextlib
import json
import shutil

import numpy as np
import pytest

from dgm_tf.data.image_file import GEOMETRY
from dgm_tf.errors import InputError
from dgm_tf.runs import run_folder
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage import checkpoint, files
from tests.damages import flip_a_bit
from tests.refusals import refused
from tests.same_state import assert_same_state

DESCRIPTION = {
    **dict.fromkeys(("scenario", "learner", "command", "date"), "none"),
    **{"seed": 0, "settings": {}, "versions": {}, "machine": {}},
    "stream": {
        **dict.fromkeys(("name", "source", "fingerprint"), "none"),
        **{"class_names": ["a"], "task_classes": [[0]], "image_shape": [16, 16, 1]},
        "validation_fraction": 0.0,
    },
}


def row(task):
    return {
        "task": task, "classes": [task], "classes_seen": list(range(1, task + 1)),
        "class_accuracy": {str(label): 1.0 for label in range(1, task + 1)},
        "newest_class_share": {"predictions": 1.0, "test_set": 1.0},
        **dict.fromkeys(("average_accuracy", "epochs", "steps", "seconds"), 1.0),
        "evaluation_seconds": 1.0, "forgetting": None, "backward_transfer": None,
        "audit": {}, "audit_pixels": {}, "last_epoch": {},
    }  # fmt: skip


def state(tasks, *, finished=True):
    """A learner's: one array that changes with each task, and one that each task leaves."""
    arrays = {"classifier": np.full(3, tasks, np.float32)}
    for task in range(1, tasks + 1 if finished else 1):
        arrays[f"finished/{task:05d}/mask"] = np.full(1000, task % 251, np.uint8)
    return {"tasks": tasks}, arrays


def write(path, tasks, *, start=1, **options):
    with RunFolder(path).opened(DESCRIPTION) as folder:
        folder.restore()
        for task in range(start, tasks + 1):
            rows = [row(each) for each in range(1, task + 1)]
            folder.commit(rows, *state(task, **options))
    return path


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return write(tmp_path_factory.mktemp("four") / "run", 4)


@pytest.fixture
def run(four, tmp_path):
    return shutil.copytree(four, tmp_path / "run")


def restored(path):
    with RunFolder(path).opened(DESCRIPTION) as folder:
        return folder.restore()


def test_each_state_comes_back_whole(four):
    for task in (1, 3, 4):
        _, *found = RunFolder(four).state_after(task)
        assert_same_state(found, state(task))
    rows, *found = restored(four)
    assert rows == [row(task) for task in (1, 2, 3, 4)]
    assert_same_state(found, state(4))


def test_a_checkpoint_holds_its_own_row_and_its_own_finished_arrays_only(four):
    for task in (1, 2, 3, 4):
        folder = four / "checkpoints" / f"task-0{task}"
        meta, arrays = checkpoint.load(folder)
        assert meta["row"] == row(task) and "rows" not in meta and list(arrays) == ["classifier"]
        sizes = [path.stat().st_size for path in folder.iterdir()]
        assert len(sizes) == 3 and 1000 < sum(sizes) < 4000


def test_a_resumed_run_goes_on_with_the_digest_of_what_is_there(four, tmp_path):
    path = write(tmp_path / "run", 2)
    write(path, 4, start=3)
    for file in four.glob("checkpoints/*/*"):
        assert (path / file.relative_to(four)).read_bytes() == file.read_bytes()


def test_a_learner_without_finished_arrays_has_no_file_of_them(tmp_path):
    path = write(tmp_path / "run", 2, finished=False)
    assert not list(path.rglob("finished*"))
    assert_same_state(restored(path)[1:], state(2, finished=False))


# Identity.


def opened_with(path, settings, **defaults):
    later = {**DESCRIPTION, "settings": settings}
    with RunFolder(path).opened(later, defaults=defaults) as folder:
        return folder.restore()


def test_a_setting_that_a_run_is_too_old_to_have_counts_as_its_default(run):
    rows, *_ = opened_with(run, {"tint": 0.5}, tint=0.5)
    assert len(rows) == 4 and json.loads((run / "settings.json").read_text()) == DESCRIPTION
    with refused("settings.tint is 0.5 there, 1 here"):
        opened_with(run, {"tint": 1}, tint=0.5)
    with refused("settings.tint is null there"):
        opened_with(run, {"tint": 0.5})


def test_a_setting_that_this_release_does_not_know_is_another_run(tmp_path):
    opened_with(tmp_path / "run", {"tint": 0.5})
    with refused("settings.tint is 0.5 there, null here"):
        opened_with(tmp_path / "run", {})


def test_a_number_that_json_does_not_have_is_null(tmp_path):
    with RunFolder(tmp_path / "run").opened(DESCRIPTION) as folder:
        folder.restore()
        rows = folder.commit([row(1) | {"frechet": np.float32("nan"), "spread": np.inf}], *state(1))
    assert rows[0]["frechet"] is None and rows[0]["spread"] is None
    assert restored(tmp_path / "run")[0] == rows


# Damage.


def test_damaged_finished_arrays_are_named_and_the_run_resumes_before_them(run, capsys):
    flip_a_bit(run / "checkpoints/task-03/finished.safetensors")
    rows, *found = restored(run)
    assert len(rows) == 2
    assert_same_state(found, state(2))
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "task-03/finished.safetensors" in error
    assert "task-02" in error


def test_a_missing_part_of_the_first_task_is_one_line(run):
    (run / "checkpoints/task-01/finished.safetensors").unlink()
    with pytest.raises(InputError, match="task-01/finished.safetensors .* task 1 has") as error:
        restored(run)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lost, helps", [("task-04", True), ("task-01", False)])
def test_a_memory_is_told_to_give_up_a_task_only_where_that_helps(run, lost, helps):
    (run / f"checkpoints/{lost}/finished.safetensors").unlink()
    whole = RunFolder(run).opened(DESCRIPTION)
    with whole as folder, pytest.raises(InputError) as error:
        folder.restore(earlier=False)
    text = str(error.value)
    assert "Nothing was changed. Restore the files of" in text and lost in text
    assert ("or to give up task-04 delete its folder" in text) == helps


def test_parts_of_two_tasks_that_changed_places_are_found_out(run):
    one, two = (run / f"checkpoints/task-0{task}/finished.safetensors" for task in (1, 2))
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    with pytest.raises(InputError, match="finished.safetensors"):
        restored(run)


def test_rows_come_from_the_checkpoints_where_the_log_is_damaged(run):
    log = run / "metrics.jsonl"
    for damaged in ("", log.read_text()[:-20], log.read_text().replace("{", "", 1)):
        log.write_text(damaged)
        assert restored(run)[0] == [row(task) for task in (1, 2, 3, 4)]
        assert len(log.read_text().splitlines()) == 4


def test_a_row_comes_from_the_log_where_its_checkpoint_is_gone(tmp_path):
    path = write(tmp_path / "run", 3, finished=False)
    shutil.rmtree(path / "checkpoints/task-01")
    assert len(restored(path)[0]) == 3
    (path / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="the row of task 1 is lost") as error:
        restored(path)
    assert "\n" not in str(error.value)


# A thousand tasks.


def test_the_thousandth_task_stands_behind_the_second(tmp_path):
    folder = RunFolder(tmp_path)
    for task in (2, 10, 99, 100, 101, 999, 1000):
        checkpoint.save(folder._checkpoint(task), {}, {})
    assert folder.saved_tasks() == [2, 10, 99, 100, 101, 999, 1000]
    folder.keep_unfinished(10, 5, {}, {})
    folder.keep_unfinished(100, 7, {}, {})
    assert folder.unfinished(10) == ({}, {}) and len(folder._unfinished_checkpoints(10)) == 1


def test_settings_with_a_path_that_is_no_text_are_text(tmp_path):
    told = {**DESCRIPTION, "command": "learn caf\udce9"}
    for _ in range(2):  # The second time it is read again.
        with RunFolder(tmp_path).opened(told) as folder:
            assert folder.description()["command"] == "learn caf\\udce9"


def test_a_run_that_another_process_has_begun_meanwhile_is_compared(tmp_path, monkeypatch):
    other = {**DESCRIPTION, "settings": {"epochs": 99}}

    @contextlib.contextmanager
    def locked(folder):
        with monkeypatch.context() as patch:
            patch.setattr(run_folder, "locked", files.locked)
            with RunFolder(folder).opened(other):
                pass
        with files.locked(folder):
            yield

    monkeypatch.setattr(run_folder, "locked", locked)
    with pytest.raises(InputError, match="holds a run with other settings.*epochs"):
        with RunFolder(tmp_path / "run").opened(DESCRIPTION):
            pass
    assert RunFolder(tmp_path / "run").description() == other


def test_a_run_does_not_begin_among_folders_of_something_else(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="a folder of its own, and .* holds cat: name another"):
        with RunFolder(tmp_path).opened(DESCRIPTION):
            pass
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["cat"]


def test_a_memory_is_no_run_and_another_method_differs_by_its_name_alone(tmp_path):
    kind = {"kind": "open", "geometry": GEOMETRY, "colours": "grey"}
    memory = {**DESCRIPTION, "stream": {**DESCRIPTION["stream"], **kind}}
    with RunFolder(tmp_path / "memory").opened(memory):
        pass
    with pytest.raises(InputError, match="holds a memory, to which trainers.learn adds classes"):
        with RunFolder(tmp_path / "memory").opened(DESCRIPTION):
            pass
    with RunFolder(tmp_path / "run").opened(DESCRIPTION):
        pass
    other = {**DESCRIPTION, "learner": "other", "settings": {"epochs": 99}}
    with pytest.raises(InputError) as error:
        with RunFolder(tmp_path / "run").opened(other):
            pass
    assert "learner is" in str(error.value) and "epochs" not in str(error.value)
