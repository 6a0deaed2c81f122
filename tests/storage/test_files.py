"""Files and folders are there whole or not at all, and locked folders are one process's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dgm_tf.errors import InputError
from dgm_tf.storage import files
from dgm_tf.storage.files import (
    locked,
    locked_name,
    recover,
    refuse_links_out,
    whole_folder,
    write_atomically,
)
from tests.damages import full_disk

ROOT = Path(__file__).parents[2]


def test_who_reads_the_former_file_reads_it_whole(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomically(path, b"former")
    with open(path, "rb") as reader:
        write_atomically(path, b"new and longer")
        assert reader.read() == b"former"
    assert path.read_bytes() == b"new and longer"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_write_that_fails_leaves_the_former_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    path.write_bytes(b"former")
    monkeypatch.setattr(step, full_disk)
    with pytest.raises(InputError, match="No space left on device; free some space or name"):
        write_atomically(path, b"new")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"former"]


def test_the_names_of_what_is_made_are_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "_sync", synced.append)
    write_atomically(tmp_path / "a" / "b" / "file.txt", b"new")
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "b"} == {*synced}
    synced.clear()
    with whole_folder(tmp_path / "c" / "d"):
        pass
    assert {tmp_path, tmp_path / "c"} < {*synced}


def test_links_are_looked_for_while_others_remove_folders(tmp_path, monkeypatch):
    for name in ("a/inner", "b/inner"):
        (tmp_path / "home" / name).mkdir(parents=True)
    is_symlink = Path.is_symlink

    def is_symlink_while_the_other_goes(path):
        if path.name == "inner":
            other = {"a": "b", "b": "a"}[path.parent.name]
            shutil.rmtree(tmp_path / "home" / other, ignore_errors=True)
        return is_symlink(path)

    monkeypatch.setattr(Path, "is_symlink", is_symlink_while_the_other_goes)
    refuse_links_out(tmp_path / "home")
    (tmp_path / "home" / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="link is a link that leaves the folder"):
        refuse_links_out(tmp_path / "home")


def test_a_folder_takes_its_name_once_it_is_filled(tmp_path):
    path = tmp_path / "a" / "b"
    with whole_folder(path) as aside:
        (aside / "inner").mkdir()
        (aside / "inner" / "file").write_bytes(b"content")
        assert not path.exists()
    assert (path / "inner" / "file").read_bytes() == b"content"
    assert [child.name for child in path.parent.iterdir()] == ["b"]


@pytest.mark.parametrize("before", [[], ["a"]])
def test_a_folder_that_is_not_filled_leaves_only_the_folders_that_were_there(tmp_path, before):
    for name in before:
        (tmp_path / name).mkdir()
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "a" / "b" / "c") as aside:
        (aside / "file").write_bytes(b"half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == before


@pytest.mark.parametrize("content", [[], ["file"]])
def test_a_folder_that_is_there_is_not_replaced(tmp_path, content):
    (tmp_path / "b").mkdir()
    for name in content:
        (tmp_path / "b" / name).touch()
    with pytest.raises(InputError, match="cannot write .*there already"):
        with whole_folder(tmp_path / "b"):
            pass
    assert [child.name for child in (tmp_path / "b").iterdir()] == content
    assert [child.name for child in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_a_killed_process_left_hidden_goes_when_it_is_written_again(tmp_path):
    for name in (".b.writing", ".c.writing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_bytes(b"half")
    with whole_folder(tmp_path / "b") as aside:
        assert os.listdir(aside) == []
    assert sorted(os.listdir(tmp_path)) == [".c.writing", "b"]


KILLED = """
import os, sys
from dgm_tf.storage.files import whole_folder

def killed(source, target, rename=os.rename):
    rename(source, target)
    os._exit(9)

os.rename = killed
with whole_folder(sys.argv[1], replace=True) as aside:
    (aside / "new").touch()
"""


@pytest.fixture
def left(tmp_path):
    """A folder that a process was replacing when it was killed between the two renames."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "former").touch()
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "b"], cwd=ROOT, timeout=300)
    assert done.returncode == 9
    assert sorted(os.listdir(tmp_path)) == [".b.replaced", ".b.writing"]
    return tmp_path / "b"


def test_a_folder_comes_back_after_a_kill_between_the_renames(left):
    for _ in range(2):
        recover(left)
        assert os.listdir(left) == ["former"]
    assert not (left.parent / ".b.replaced").exists()


def test_a_failure_after_such_a_kill_does_not_lose_the_former_folder(left):
    with pytest.raises(KeyboardInterrupt), whole_folder(left, replace=True):
        raise KeyboardInterrupt
    assert os.listdir(left) == ["former"] and os.listdir(left.parent) == ["b"]
    with whole_folder(left, replace=True) as aside:
        (aside / "new").touch()
    assert os.listdir(left) == ["new"] and os.listdir(left.parent) == ["b"]


def test_what_cannot_come_back_is_said(left, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.rename", refuse)
    with pytest.raises(InputError, match=r"\.b\.replaced is what was at .*Read-only"):
        recover(left)


def test_a_name_that_is_locked_lets_nobody_else_in(tmp_path):
    for _ in range(2):
        with locked_name(tmp_path / "a" / "b"), locked_name(tmp_path / "a" / "c"):
            with pytest.raises(InputError, match="another process is at work in .*b: "):
                with locked_name(tmp_path / "a" / "b"):
                    pass
    assert sorted(os.listdir(tmp_path / "a")) == [".b.lock", ".c.lock"]


def test_a_folder_that_is_locked_lets_nobody_else_in(tmp_path):
    for _ in range(2):  # The file that the lock lies on stays.
        with locked(tmp_path / "a"):
            for _ in range(2):
                with pytest.raises(InputError, match="another process is at work in") as error:
                    with locked(tmp_path / "a"):
                        pass
                assert "\n" not in str(error.value)
    assert os.listdir(tmp_path / "a") == [".lock"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to .*file/a: "):
        with locked(tmp_path / "file" / "a"):
            pass


@pytest.mark.parametrize("lock", [locked, locked_name])
def test_a_lock_leaves_nothing_of_a_work_that_failed(lock, tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), lock(tmp_path / "made" / "here"):
            assert (tmp_path / "made").is_dir()
            raise KeyError
        assert list(tmp_path.iterdir()) == []
    with lock(tmp_path / "made" / "here"):
        pass
    before = sorted(tmp_path.rglob("*"))  # with the lock's file, which may be another process's
    with pytest.raises(KeyError), lock(tmp_path / "made" / "here"):
        raise KeyError
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_work_lets_nobody_else_in_before_its_end(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "here"):
        with pytest.raises(InputError, match="another process"), locked(tmp_path / "here"):
            pass
        assert (tmp_path / "here/.lock").exists()
        raise KeyError
