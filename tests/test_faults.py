"""Whatever ends the process or lies in the folder: the same bits in the end, or one clear line."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dgm_tf.errors import InputError
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage import checkpoint
from dgm_tf.storage.checkpoint import Every
from dgm_tf.terminal import stopping
from tests import damages, permissions
from tests.fault_driver import found_by
from tests.faults import learn
from tests.interruptions import killed_at
from tests.run_content import content, files

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("no_page")


def run(folder):
    learn(folder, Every(steps=3))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder)
    return content(folder)


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut-short") / "run"
    stopped_inside_task_2(folder)
    return folder


@pytest.fixture
def stopped(cut_short, tmp_path):
    """A copy of a run that ended inside its second task, with two checkpoints of it."""
    return shutil.copytree(cut_short, tmp_path / "run")


def unfinished(folder):
    return sorted((folder / "checkpoints" / "unfinished").iterdir())


@pytest.mark.slow
def test_a_run_killed_at_any_moment_or_again_and_again_goes_on_to_the_same_bits(tmp_path):
    found = found_by("tests.faults", tmp_path, "--chains=10")
    assert found["differing"] == []
    assert found["resumed"] == sum(found["moments"].values()) + 10 and found["resumed"] > 180
    assert sum(found["chains"]) > 10
    assert set(found["moments"]) == {
        "replace", "rename", "fsync", "unlink", "rmtree", "step", "growth",
    }  # fmt: skip


# Checkpoints inside a task that are not what was written.


def stopped_inside_task_2(folder, steps=15):
    """A run that ended right after a step of its second task, of 20."""
    with killed_at(2, steps):
        run(folder)
    return unfinished(folder)


def of_another_run(folder):
    meta, arrays = checkpoint.load(folder)
    checkpoint.save(folder, {**meta, "run": "another"}, arrays)


DAMAGES = {**damages.DAMAGES, "of another run": of_another_run}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_inside_a_task_is_named_and_the_one_before_taken(
    damage, stopped, capsys
):
    before, last = unfinished(stopped)
    DAMAGES[damage](last)
    wanted, _ = checkpoint.load(before)
    with RunFolder(stopped).opened(RunFolder(stopped).description()) as folder:
        found, _ = folder.unfinished(2)
    assert found["phases"] == wanted["phases"]
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(last) in error and error.startswith("warning: ")


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(stopped, whole, monkeypatch):
    before, last = unfinished(stopped)
    damages.flip_a_bit(last / "arrays.safetensors")
    steps = []
    done = TaskCheckpoint.step_done
    monkeypatch.setattr(
        TaskCheckpoint, "step_done", lambda self: (steps.append(self.steps), done(self))
    )
    run(stopped)
    assert steps[0] == int(before.name[-8:]) + 1
    assert content(stopped) == whole


def test_without_a_whole_checkpoint_inside_it_a_task_begins_again(stopped, whole, capsys):
    for folder in unfinished(stopped):
        damages.flip_a_bit(folder / "arrays.safetensors")
    run(stopped)
    assert capsys.readouterr().err.count("damaged") == 2
    assert content(stopped) == whole


def test_new_checkpoints_stay_beside_later_ones_that_are_damaged(stopped):
    for folder in unfinished(stopped):
        damages.flip_a_bit(folder / "arrays.safetensors")
    (new,) = stopped_inside_task_2(stopped, steps=3)
    assert new.name == "task-02-step-00000003"
    again = stopped_inside_task_2(stopped, steps=6)
    assert [folder.name[-2:] for folder in again] == ["03", "06"]


def test_two_checkpoints_inside_a_task_are_kept(stopped):
    # Every third step up to step 15, after which the process ended.
    names = [folder.name for folder in unfinished(stopped)]
    assert names == ["task-02-step-00000012", "task-02-step-00000015"]


# Disks that fail.


@pytest.mark.parametrize("function", ["fsync", "rename", "mkdir"])
def test_a_full_disk_ends_the_run_with_one_line_and_whole_checkpoints(
    function, stopped, whole, monkeypatch
):
    before, original = unfinished(stopped), RunFolder.keep_unfinished

    def keep(*args, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, function, damages.full_disk)
            original(*args, **options)

    monkeypatch.setattr(RunFolder, "keep_unfinished", keep)
    with pytest.raises(InputError, match="No space left on device") as error:
        run(stopped)
    assert "\n" not in str(error.value)
    assert unfinished(stopped) == before
    for folder in before:
        checkpoint.load(folder)
    if function == "fsync":
        monkeypatch.undo()
        run(stopped)
        assert content(stopped) == whole


@contextlib.contextmanager
def mode(folder, bits):
    """A block in which a folder has other permissions."""
    folder.chmod(bits)
    try:
        yield
    finally:
        folder.chmod(stat.S_IRWXU)


def test_a_folder_that_became_read_only_is_refused_with_one_line(stopped):
    before = files(stopped)
    with permissions.obeyed(), mode(stopped, stat.S_IRUSR | stat.S_IXUSR):
        with pytest.raises(InputError, match="cannot write to") as error:
            run(stopped)
    assert "\n" not in str(error.value)
    assert files(stopped) == before


def test_a_folder_that_becomes_read_only_ends_the_run_and_leaves_its_checkpoints(
    stopped, whole, monkeypatch
):
    """In the middle of a task: the next checkpoint cannot be written."""
    before, keep = unfinished(stopped), RunFolder.keep_unfinished

    def kept(*args, **options):
        with mode(before[0].parent, stat.S_IRUSR | stat.S_IXUSR):
            keep(*args, **options)

    monkeypatch.setattr(RunFolder, "keep_unfinished", kept)
    with permissions.obeyed(), pytest.raises(InputError, match="Permission denied") as error:
        run(stopped)
    assert "\n" not in str(error.value)
    assert unfinished(stopped) == before
    monkeypatch.undo()
    run(stopped)
    assert content(stopped) == whole


# Two processes.


def test_a_second_process_on_a_folder_is_refused(tmp_path, stopped, whole):
    program = (
        "import sys; from dgm_tf.storage.files import locked\n"
        "with locked(sys.argv[1]): print('locked', flush=True); sys.stdin.read()"
    )
    new = tmp_path / "new"
    for folder in (stopped, new):
        owner = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            owner.stdout.readline()
            with pytest.raises(InputError, match="another process is at work in") as error:
                run(folder)
            assert "\n" not in str(error.value)
        finally:
            owner.kill()
            owner.communicate()
    assert not (new / "settings.json").exists()
    # Its lock has ended with it, though the file is still there.
    assert (stopped / ".lock").exists()
    run(stopped)
    assert content(stopped) == whole


# Stopping.


def test_a_run_asked_to_stop_while_it_evaluates_keeps_the_task(tmp_path, whole, monkeypatch):
    done = TaskCheckpoint.step_done

    def asked(self):
        if self.steps == 20:
            stopping.request(15)
        done(self)

    monkeypatch.setattr(TaskCheckpoint, "step_done", asked)
    with pytest.raises(stopping.Stopped, match="at step 20"):
        run(tmp_path)
    monkeypatch.setattr(TaskCheckpoint, "step_done", done)
    run(tmp_path)
    assert content(tmp_path) == whole


def test_what_a_killed_process_left_is_cleared_away(stopped, whole):
    last = unfinished(stopped)[-1]
    shutil.copytree(last, last.with_name(".task-02-step-00000099.writing"))
    shutil.copytree(last, last.with_name("task-01-step-00000001"))
    run(stopped)
    assert not (stopped / "checkpoints" / "unfinished").exists()
    assert content(stopped) == whole
