"""Exports that are killed, and disks that fail: a version is there whole or not at all."""

import errno
import functools
import os
import shutil

import pytest
import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.serving.export import export, version_folder, versions_in
from dgm_tf.serving.loading import load_generator
from dgm_tf.storage import files as storage
from dgm_tf.storage.files import whole_folder
from tests.fault_driver import found_by
from tests.serving.export_faults import Memory
from tests.serving.tiny_export import files

resource = pytest.importorskip("resource")
fcntl = pytest.importorskip("fcntl")


faults = functools.partial(found_by, "tests.serving.export_faults")


def test_a_killed_export_leaves_a_whole_version_or_none_and_nothing_for_ever(tmp_path):
    found = faults(tmp_path, "--kinds=saved,rename,rmtree")
    assert found["wrong"] == []
    # Only the last was killed when it had its name, and had nothing to be cleared away.
    assert (found["versions"], found["left"]) == (1, 2)


@pytest.mark.slow
def test_exports_killed_at_any_moment_leave_whole_versions_and_nothing_for_ever(tmp_path):
    found = faults(tmp_path, "--inside=20")
    assert found["wrong"] == [] and found["left"] >= 15
    assert found["moments"] == {
        "rename": 2, "rmtree": 2, "unlink": 3, "fsync": 6, "replace": 1, "save": 1, "saved": 1,
    }  # fmt: skip


# Disks that fail.


@pytest.fixture(scope="module")
def memory():
    return Memory()


@pytest.fixture(scope="module")
def version(memory, tmp_path_factory):
    return export(memory, tmp_path_factory.mktemp("exports") / "m").path


@pytest.fixture
def name(version, tmp_path):
    """NAME with version 1, which stays as it is."""
    shutil.copytree(version, tmp_path / "m" / "1")
    yield tmp_path / "m"
    assert files(tmp_path / "m" / "1") == files(version)


def refused(memory, name, wanted):
    """An export that fails with one line and leaves nothing."""
    before = sorted(name.parent.rglob("*"))
    with pytest.raises(InputError) as error:
        export(memory, name)
    line = str(error.value)
    assert "cannot write" in line and wanted in line and len(line.splitlines()) == 1, line
    assert len(line) < 600
    assert sorted(name.parent.rglob("*")) == before


@pytest.mark.parametrize("function", ["fsync", "rename", "replace", "mkdir"])
def test_a_full_disk_ends_an_export_with_one_line(memory, name, monkeypatch, function):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, full)
    refused(memory, name, "No space left on device")
    monkeypatch.undo()
    assert export(memory, name).path == name / "2"


@pytest.mark.parametrize(
    "error, message, wanted",
    [
        (tf.errors.ResourceExhaustedError, "{{node Save}} /a/b; No space left", "2: No space left"),
        (tf.errors.UnknownError, "/a/variables; Input/output error", "2: Input/output error"),
        (tf.errors.InternalError, "it went\nwrong" + "!" * 1000, "2: it went wrong!"),
    ],
)
def test_what_tensorflow_cannot_write_is_said_in_one_line(
    memory, name, monkeypatch, error, message, wanted
):
    save = tf.saved_model.save

    def failed(*args, **options):
        save(*args, **options)
        raise error(None, None, message)

    monkeypatch.setattr(tf.saved_model, "save", failed)
    refused(memory, name, wanted)


@pytest.mark.parametrize("limit", [100, 2_000, 50_000])
def test_files_that_may_not_grow_end_an_export_with_one_line(memory, name, limit):
    """The description's, the variables', the graph's: TensorFlow meets a limit of the system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sizes = {path: len(content) for path, content in files(name / "1").items()}
    assert sorted(size > limit for size in sizes.values()) != [False] * 5
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        refused(memory, name, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_first_export_that_fails_leaves_no_folder(memory, tmp_path, monkeypatch):
    def full(*args, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    refused(memory, tmp_path / "a" / "m", "a/m/1: No space left on device")
    assert list(tmp_path.iterdir()) == []


# What killed exports left.


def left(name, version, number=0):
    """A folder as a killed export leaves it."""
    path = name / f".{version}.{number:032x}.writing"
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"half")
    return path


def test_the_next_export_clears_away_what_killed_ones_left(memory, name):
    for number, version in enumerate([2, 2, 12]):
        left(name, version, number)
    assert versions_in(name) == [1] and version_folder(name) == name / "2"
    done = export(memory, name)
    assert sorted(os.listdir(name)) == ["1", "2"]
    assert load_generator(name).path == done.path and load_generator(name).audit() == {1: True}


def test_what_another_export_is_writing_stays(memory, name):
    with whole_folder(name / "7") as aside:
        (aside / "file").write_bytes(b"so far")
        assert export(memory, name).path == name / "2"
        assert (aside / "file").exists()
    assert sorted(os.listdir(name)) == ["1", "2", "7"]


def test_only_what_an_export_left_is_cleared_away(name, tmp_path):
    outside = left(tmp_path / "outside", 1)
    for other in (".task-01.writing", f".2.{os.getpid()}.writing", "notes.writing", ".git"):
        (name / other).mkdir()
    (name / f".2.{1:032x}.writing").write_text("a file")
    os.symlink(outside, name / f".2.{2:032x}.writing")
    before = sorted(os.listdir(name))
    with whole_folder(name / "2"):
        pass
    assert sorted(os.listdir(name)) == sorted([*before, "2"])
    assert (outside / "saved_model.pb").exists()


def test_nothing_is_cleared_away_where_folders_cannot_be_locked(name, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")  # as NFS does

    monkeypatch.setattr(fcntl, "flock", refuse)
    there = left(name, 2)
    with whole_folder(name / "2"):
        pass
    assert there.exists() and versions_in(name) == [1] and (name / "2").is_dir()


def test_where_locks_do_not_reach_no_half_version_gets_its_name(name, monkeypatch):
    """Another machine takes an export for dead that is just being finished."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    remove, tried = shutil.rmtree, []

    def removed(path, **options):
        with pytest.raises(FileNotFoundError):
            os.rename(there, name / "2")
        tried.append(path)
        remove(path, **options)

    there = left(name, 2)
    monkeypatch.setattr(shutil, "rmtree", removed)
    storage._remove_abandoned(name)
    assert len(tried) == 1 and os.listdir(name) == ["1"]
