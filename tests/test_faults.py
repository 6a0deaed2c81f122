"""Whatever ends the process or lies in the folder: the same bits in the end, or one clear line."""

import contextlib
import functools
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dgm_tf import stopping
from dgm_tf.errors import InputError
from dgm_tf.experiments import experiment
from dgm_tf.reporting import page
from dgm_tf.storage import checkpoint
from dgm_tf.storage.checkpoint import Every
from dgm_tf.storage.files import locked
from tests import damages, permissions, tiny_phases
from tests.fault_driver import found_by
from tests.run_content import content

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    monkeypatch.setattr(page, "write_page", lambda folder: None)


def run(folder, **options):
    return experiment.run(
        tiny_phases.new_stream(),
        tiny_phases.TinyLearner(),
        run_dir=folder,
        settings=tiny_phases.SETTINGS,
        quiet=True,
        **{"checkpoint_every": Every(steps=3), **options},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "write_page", lambda folder: None)
        folder = tmp_path_factory.mktemp("whole") / "run"
        run(folder)
        return content(folder)


faults = functools.partial(found_by, "tests.faults")


def test_a_run_killed_at_moments_of_each_kind_goes_on_to_the_same_bits(tmp_path):
    found = faults(tmp_path, "--moments=14")
    assert found["differing"] == [] and found["resumed"] == 14
    assert set(found["moments"]) == {
        "replace", "rename", "fsync", "unlink", "rmtree", "write_array", "step", "growth",
    }  # fmt: skip


@pytest.mark.slow
def test_a_run_killed_at_any_moment_or_again_and_again_goes_on_to_the_same_bits(tmp_path):
    found = faults(tmp_path, "--moments=all", "--chains=10")
    assert found["differing"] == []
    assert found["resumed"] == sum(found["moments"].values()) + 10 and found["resumed"] > 200
    assert sum(found["chains"]) > 10


# Checkpoints inside a task that are not what was written.


class Killed(BaseException):
    """Stands in for the end of the process."""


def stopped_inside_task_2(folder, steps=14, **options):
    """A run that ended right after a step of its second task, of 20."""
    keep, done = experiment.RunFolder.keep_unfinished, []

    def kept(self, task, at, *args, **named):
        keep(self, task, at, *args, **named)
        done.append((task, at))
        if task == 2 and at >= steps:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.RunFolder, "keep_unfinished", kept)
        with pytest.raises(Killed):
            run(folder, **options)
    return sorted((folder / "checkpoints" / "unfinished").iterdir())


def of_another_run(folder):
    meta, arrays = checkpoint.load(folder)
    checkpoint.save(folder, {**meta, "run": "another"}, arrays)


DAMAGES = {**damages.DAMAGES, "of another run": of_another_run}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_inside_a_task_is_named_and_the_one_before_taken(
    damage, tmp_path, whole, capsys, monkeypatch
):
    before, last = stopped_inside_task_2(tmp_path)
    DAMAGES[damage](last)
    steps = []
    look = experiment.TaskKeeper.look
    monkeypatch.setattr(
        experiment.TaskKeeper, "look", lambda self: (steps.append(self.steps), look(self))
    )
    run(tmp_path)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(last) in error and error.startswith("warning: ")
    assert steps[0] == int(before.name[-8:]) + 1
    assert content(tmp_path) == whole


def test_without_a_whole_checkpoint_inside_it_a_task_begins_anew(tmp_path, whole, capsys):
    for folder in stopped_inside_task_2(tmp_path):
        damages.flip_a_bit(folder / "arrays.npz")
    run(tmp_path)
    assert capsys.readouterr().err.count("damaged") == 2
    assert content(tmp_path) == whole


def test_new_checkpoints_stay_beside_later_ones_that_are_damaged(tmp_path, whole):
    damaged = stopped_inside_task_2(tmp_path)
    for folder in damaged:
        damages.flip_a_bit(folder / "arrays.npz")
    (new,) = stopped_inside_task_2(tmp_path, steps=3)
    assert new.name == "task-02-step-00000003"
    again = stopped_inside_task_2(tmp_path, steps=6)
    assert [folder.name[-2:] for folder in again] == ["03", "06"]
    run(tmp_path)
    assert content(tmp_path) == whole


@pytest.mark.parametrize("kept", [1, 3])
def test_as_many_checkpoints_are_kept_as_asked_for(tmp_path, kept):
    found = stopped_inside_task_2(tmp_path, keep_checkpoints=kept)
    # Every third step up to step 15, after which the process ended.
    steps = [15 - 3 * back for back in reversed(range(kept + 1))]
    # The one too many is removed after the last is whole.
    assert [folder.name for folder in found] in (
        [f"task-02-step-{each:08d}" for each in steps],
        [f"task-02-step-{each:08d}" for each in steps[1:]],
    )


def test_none_is_not_a_number_of_checkpoints_to_keep(tmp_path):
    with pytest.raises(InputError, match="keep_checkpoints"):
        run(tmp_path / "run", keep_checkpoints=0)
    assert not (tmp_path / "run").exists()


# Disks that fail.


@pytest.mark.parametrize("function", ["fsync", "rename", "replace", "mkdir"])
def test_a_full_disk_ends_the_run_with_one_line_and_whole_checkpoints(
    function, tmp_path, whole, monkeypatch
):
    before = [folder.name for folder in stopped_inside_task_2(tmp_path, steps=12)]

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    original = experiment.RunFolder.keep_unfinished

    def keep(*args, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, function, full)
            original(*args, **options)

    monkeypatch.setattr(experiment.RunFolder, "keep_unfinished", keep)
    with pytest.raises(InputError, match="No space left on device") as error:
        run(tmp_path)
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    monkeypatch.setattr(page, "write_page", lambda folder: None)
    folders = sorted((tmp_path / "checkpoints" / "unfinished").iterdir())
    assert [folder.name for folder in folders] == before
    for folder in folders:
        checkpoint.load(folder)
    run(tmp_path)
    assert content(tmp_path) == whole


@contextlib.contextmanager
def mode(folder, bits):
    """A block in which a folder has other permissions."""
    folder.chmod(bits)
    try:
        yield
    finally:
        folder.chmod(stat.S_IRWXU)


def test_a_folder_that_became_read_only_is_refused_with_one_line(tmp_path, whole):
    stopped_inside_task_2(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with permissions.obeyed(), mode(tmp_path, stat.S_IRUSR | stat.S_IXUSR):
        with pytest.raises(InputError, match="cannot write to") as error:
            run(tmp_path)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in before} == before
    run(tmp_path)
    assert content(tmp_path) == whole


def test_a_folder_that_becomes_read_only_ends_the_run_and_leaves_its_checkpoints(
    tmp_path, whole, monkeypatch
):
    """In the middle of a task: the next checkpoint cannot be written."""
    folder, keep = tmp_path / "checkpoints" / "unfinished", experiment.RunFolder.keep_unfinished

    def kept(*args, **options):
        with contextlib.ExitStack() as stack:
            if folder.exists() and list(folder.iterdir()):
                stack.enter_context(mode(folder, stat.S_IRUSR | stat.S_IXUSR))
            keep(*args, **options)

    monkeypatch.setattr(experiment.RunFolder, "keep_unfinished", kept)
    with permissions.obeyed(), pytest.raises(InputError, match="Permission denied") as error:
        run(tmp_path)
    assert "\n" not in str(error.value)
    (last,) = folder.iterdir()
    checkpoint.load(last)
    monkeypatch.setattr(experiment.RunFolder, "keep_unfinished", keep)
    run(tmp_path)
    assert content(tmp_path) == whole


# Two processes.


def test_a_second_process_on_a_folder_is_refused(tmp_path, whole):
    program = (
        "import sys; from dgm_tf.storage.files import locked\n"
        "with locked(sys.argv[1]): print('locked', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        owner.stdout.readline()
        with pytest.raises(InputError, match="another process is at work in") as error:
            run(tmp_path)
        assert "\n" not in str(error.value) and not (tmp_path / "settings.json").exists()
    finally:
        owner.kill()
        owner.communicate()
    # Its lock has ended with it, though the file is still there.
    assert (tmp_path / ".lock").exists()
    run(tmp_path)
    assert content(tmp_path) == whole
    assert not (tmp_path / ".lock").exists()


def test_a_lock_lets_nobody_in_who_opened_the_file_that_is_removed(tmp_path):
    with locked(tmp_path):
        for _ in range(3):
            with pytest.raises(InputError):
                with locked(tmp_path):
                    pass
        assert (tmp_path / ".lock").exists()
    with locked(tmp_path), pytest.raises(InputError):
        with locked(tmp_path):
            pass


# Stopping.


def test_a_run_asked_to_stop_while_it_evaluates_keeps_the_task(tmp_path, whole, monkeypatch):
    look = experiment.TaskKeeper.look

    def asked(self):
        if self.steps == 20:
            stopping.request(15)
        look(self)

    monkeypatch.setattr(experiment.TaskKeeper, "look", asked)
    with pytest.raises(stopping.Stopped, match="at step 20"):
        run(tmp_path)
    monkeypatch.setattr(experiment.TaskKeeper, "look", look)
    run(tmp_path)
    assert content(tmp_path) == whole


def test_what_a_killed_process_left_is_cleared_away(tmp_path, whole):
    (last, _) = stopped_inside_task_2(tmp_path)[-1:], None
    shutil.copytree(last[0], last[0].with_name(".task-02-step-00000099.writing"))
    shutil.copytree(last[0], last[0].with_name("task-01-step-00000001"))
    run(tmp_path)
    assert not (tmp_path / "checkpoints" / "unfinished").exists()
    assert content(tmp_path) == whole
