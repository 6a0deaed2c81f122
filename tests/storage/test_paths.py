"""Paths as they are typed: home folders, names that look like one, and what cannot be reached."""

import dataclasses
import os
import pathlib
import pwd
import subprocess
import sys

import numpy as np
import pytest

import dgm_tf
from dgm_tf.data.datasets import load_data
from dgm_tf.data.image_folder import from_folder
from dgm_tf.experiments import memory_use, options
from dgm_tf.reporting.page import write_page
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage import paths
from dgm_tf.tuning import space
from tests import class_folders, permissions, tiny_run
from tests.refusals import refused
from trainers import audit, classify, export, judge, report, sample, table1

ROOT = pathlib.Path(__file__).parents[2]
HOMES = ("HOME", "XDG_CACHE_HOME", "KERAS_HOME", "MPLCONFIGDIR", "TF_CPP_MIN_LOG_LEVEL")


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """A user that is only a number, as in a container."""

    def unknown(*_):
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)


def test_a_tilde_is_the_home_folder(home):
    assert paths.expanded("~") == home
    assert paths.expanded("~/a/b") == home / "a/b"
    assert paths.expanded(pathlib.Path("~/a")) == home / "a"
    assert paths.typed("~/a") == str(home / "a")
    user = pwd.getpwuid(0)
    assert paths.expanded(f"~{user.pw_name}/a") == pathlib.Path(user.pw_dir, "a")


def test_a_name_that_only_begins_so_stays_one_however_often_it_is_asked(home):
    (home.parent / "~$letter.png").touch()
    for text in ("a/~", "/~", "./~x/y", "~$letter.png"):
        once = paths.expanded(text)
        assert paths.expanded(once) == once and once.absolute() == home.parent / text
    assert paths.expanded("./~/x") == home.parent / "~/x" != home / "x"


@pytest.mark.parametrize("text", ["~nobody-here", "~nobody-here/x"])
def test_an_unknown_home_is_refused(text, home):
    with refused("is not known on this machine", "in full", f"./{text}"):
        paths.expanded(text)


@pytest.mark.parametrize("text", ["~", "~/x"])
def test_a_user_without_a_home_folder_is_refused_one(text, homeless, monkeypatch):
    with refused("is not known on this machine"):
        paths.expanded(text)
    monkeypatch.setenv("HOME", "")
    with refused("is not known on this machine"):
        paths.expanded(text)


@pytest.mark.parametrize("value", ["", "a\0b", None, 3, b"bytes", ["list"]])
def test_what_is_no_path_is_refused(value):
    with refused("expected a path"):
        paths.expanded(value)


def test_what_cannot_be_reached_is_refused(tmp_path):
    with refused("cannot be used: File name too long"):
        paths.expanded("x" * 300)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with permissions.obeyed():
        for path in (closed, closed / "x"):
            with refused("cannot be used: Permission denied"):
                paths.expanded(path)
    assert paths.expanded(tmp_path / "none") == tmp_path / "none"


def test_the_cache_is_where_xdg_says(home, monkeypatch):
    assert paths.cache() == home / ".cache/dgm_tf"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert paths.cache() == home / ".cache/dgm_tf"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert paths.cache() == pathlib.Path("/elsewhere/dgm_tf")


def test_a_user_without_a_home_folder_has_no_cache(homeless):
    assert paths.cache() is None


def test_data_is_not_looked_for_in_a_folder_called_tilde(homeless, tmp_path):
    with refused("no home folder", "--data_dir"):
        load_data("mnist")
    assert not list(tmp_path.iterdir())


KINDS = (
    options.StreamOptions, options.LearnOptions, options.RunOptions, space.Plan,
    *(module.Options for module in (audit, classify, export, judge, report, sample, table1)),
)  # fmt: skip
PATHS = {
    "images", "test_images", "data_dir", "memory", "run_dir", "export_dir", "search_dir", "out",
    "results",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_flag_that_is_a_path_knows_the_home_folder(kind, home):
    found = {each.name: each.metadata for each in dataclasses.fields(kind)}
    assert PATHS & found.keys()
    for name in PATHS & found.keys():
        assert found[name]["parser"]("~/x") == str(home / "x"), name


def test_the_library_knows_it_at_every_door(home):
    class_folders.write(home / "photos", {"a": 4, "b": 4})
    assert len(from_folder("~/photos").class_names) == 2
    model = tiny_run.MovedDGM()
    for task in tiny_run.stream().tasks(last=1):
        model.learn(task, verbose=0)
    assert model.save("~/saved") == home / "saved"
    assert dgm_tf.load("~/saved").classes_seen == (0,)
    assert model.export("~/exported").path == home / "exported/1"
    assert dgm_tf.load_exported("~/exported").path == home / "exported/1"
    assert memory_use.opened("~/saved").classes_seen == (0,)
    tiny_run.run("~/run", tiny_run.MovedDGM(), tasks=1)
    assert RunFolder("~/run").path == home / "run" and (home / "run/settings.json").exists()
    assert write_page("~/run", out="~/page.html") == home / "page.html"
    memory_use.sample("~/run", out="~/grid.png", count=1)
    assert (home / "grid.png").exists()
    assert not (home.parent / "~").exists()


@pytest.mark.parametrize("door", [dgm_tf.load, dgm_tf.load_exported, from_folder, RunFolder])
@pytest.mark.parametrize("value", ["", None, 3, np.zeros(2)])
def test_every_door_refuses_what_is_no_path(door, value):
    with refused("expected a path"):
        door(value)


def test_nothing_is_written_among_the_images(tmp_path):
    images = tmp_path / "photos"
    images.mkdir()
    paths.check_apart((images, None), tmp_path / "run", "--run_dir")
    paths.check_apart((images, None), tmp_path / "photos2", "--run_dir")
    for inside in (images, images / "run", tmp_path / "x/../photos/run"):
        with refused("is in the folder of images", "name another --run_dir"):
            paths.check_apart((tmp_path / "others", images), inside, "--run_dir")


def test_tensorflow_is_given_no_path_that_it_cannot_take(tmp_path):
    latin = tmp_path / os.fsdecode("caf\u00e9".encode("latin-1"))
    latin.mkdir()
    assert paths.expanded(latin) == latin
    model = tiny_run.MovedDGM()
    for task in tiny_run.stream().tasks(last=1):
        model.learn(task, verbose=0)
    for use in (model.export, dgm_tf.load_exported):
        with refused("no UTF-8 text", "rename"):
            use(latin)
    assert list(latin.iterdir()) == []
    model.save(latin / "saved")
    assert dgm_tf.load(latin / "saved").classes_seen == (0,)


def test_a_run_of_a_folder_without_text_is_written_and_shown(tmp_path):
    latin = tmp_path / os.fsdecode("caf\u00e9".encode("latin-1"))
    tiny_run.run(latin / "run", tiny_run.MovedDGM(), tasks=1, command=f"learn {latin}")
    (latin / "run/settings.json").read_text("utf-8")
    assert write_page(latin / "run").read_text("utf-8")


@pytest.mark.slow
def test_a_command_of_a_user_without_a_home_folder_makes_none(tmp_path):
    program = (
        "import pwd, sys\n"
        "def unknown(*_): raise KeyError\n"
        "pwd.getpwuid = unknown\n"
        "import dgm_tf, keras, tensorflow.python.keras.backend, dgm_tf.reporting.page"
    )
    kept = {name: value for name, value in os.environ.items() if name not in HOMES}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env={**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and not (tmp_path / "~").exists()
