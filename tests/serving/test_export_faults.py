"""Exports that are killed, and disks that fail: a version is there whole or not at all."""

import os
import shutil

import pytest
import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.serving.export import export, version_folder, versions_in
from dgm_tf.serving.loading import load_exported
from dgm_tf.storage.files import locked
from tests.damages import full_disk
from tests.fault_driver import found_by
from tests.run_content import files
from tests.serving.export_faults import Memory

resource = pytest.importorskip("resource")


@pytest.mark.slow
def test_exports_killed_at_any_moment_leave_whole_versions_and_nothing_for_ever(tmp_path):
    found = found_by("tests.serving.export_faults", tmp_path, "--inside=20")
    assert found["wrong"] == [] and found["left"] >= 15
    assert set(found["moments"]) == {"rename", "rmtree", "unlink", "fsync", "save", "saved"}


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


def there(folder):
    """All that is in a folder but the file that locks lie on."""
    return sorted(path for path in folder.rglob("*") if path.name != ".lock")


def refused(memory, name, wanted):
    """An export that fails with one line and leaves nothing."""
    before = there(name.parent)
    with pytest.raises(InputError) as error:
        export(memory, name)
    line = str(error.value)
    assert "cannot write" in line and wanted in line and len(line.splitlines()) == 1, line
    assert len(line) < 600
    assert there(name.parent) == before


@pytest.mark.parametrize("function", ["fsync", "rename", "mkdir"])
def test_a_full_disk_ends_an_export_with_one_line(memory, name, monkeypatch, function):
    monkeypatch.setattr(os, function, full_disk)
    refused(memory, name, "No space left on device")


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
    def failed(root, path, **options):
        os.mkdir(os.path.join(path, "variables"))
        raise error(None, None, message)

    monkeypatch.setattr(tf.saved_model, "save", failed)
    refused(memory, name, wanted)


@pytest.mark.parametrize("limit", [100, 50_000])
def test_files_that_may_not_grow_end_an_export_with_one_line(memory, name, limit):
    """The description's, the variables', the graph's: TensorFlow meets a limit of the system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert any(len(content) > limit for content in files(name / "1").values())
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        refused(memory, name, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# What killed exports left.


def test_the_next_export_clears_away_what_a_killed_one_left(memory, name):
    left = name / ".2.writing" / "variables"
    left.mkdir(parents=True)
    (left.parent / "saved_model.pb").write_bytes(b"half")
    assert versions_in(name) == [1] and version_folder(name) == name / "2"
    done = export(memory, name)
    assert sorted(os.listdir(name)) == [".lock", "1", "2"]
    assert load_exported(name).path == done.path and load_exported(name).audit() == {1: True}


@pytest.mark.parametrize("into", [".", "7"])
def test_two_exports_at_a_time_do_not_meet(memory, name, into):
    with locked(name):
        with pytest.raises(InputError, match="another process is at work in .*/m: wait for it"):
            export(memory, name / into)
    assert versions_in(name) == [1]
