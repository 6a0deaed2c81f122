"""What is said of TensorFlow's oneDNN, and what is refused where its switch has changed."""

import platform

import numpy as np
import pytest

from dgm_tf.devices import onednn
from dgm_tf.errors import InputError
from dgm_tf.experiments.options import QUIET, TASKS
from dgm_tf.runs.run_folder import RunFolder
from tests import tiny_run

LINE = "TF_ENABLE_ONEDNN_OPTS=1 in the environment"


@pytest.fixture
def place(monkeypatch):
    """A Linux machine without a GPU whose processor TensorFlow leaves oneDNN off on."""
    onednn.advise.cache_clear()
    monkeypatch.delenv(onednn.SWITCH, raising=False)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(onednn, "_gpus", lambda: [])
    monkeypatch.setattr(onednn, "enabled", lambda: False)
    yield monkeypatch
    onednn.advise.cache_clear()


def advice(capsys):
    onednn.advise()
    return capsys.readouterr().out


def test_it_is_said_once_and_in_a_line_that_onednn_is_left_off(place, capsys):
    (line,) = advice(capsys).splitlines()
    assert line.startswith(LINE) and "TF_ENABLE_ONEDNN_OPTS=1" in line
    assert advice(capsys) == ""


@pytest.mark.parametrize("value", ["0", "1", "false", ""])
def test_nothing_is_said_to_a_user_who_has_set_the_switch(place, capsys, value):
    place.setenv(onednn.SWITCH, value)
    assert advice(capsys) == ""


@pytest.mark.parametrize(
    ("where", "name", "found"),
    [
        (onednn, "enabled", True),
        (onednn, "enabled", None),
        (onednn, "_gpus", ["a GPU"]),
        (platform, "machine", "aarch64"),
        (platform, "system", "Darwin"),
    ],
)
def test_nothing_is_said_where_the_switch_would_bring_nothing(place, capsys, where, name, found):
    place.setattr(where, name, lambda: found)
    assert advice(capsys) == ""


def test_a_run_says_it_as_it_begins_and_not_as_it_resumes(place, capsys, tmp_path):
    tiny_run.run(tmp_path / "quiet", tiny_run.MovedDGM(), tasks=1, verbosity=QUIET)
    assert LINE not in capsys.readouterr().out
    tiny_run.run(tmp_path / "run", tiny_run.MovedDGM(), tasks=1, verbosity=TASKS)
    assert capsys.readouterr().out.count(LINE) == 1
    onednn.advise.cache_clear()
    tiny_run.run(tmp_path / "run", tiny_run.MovedDGM(), tasks=2, verbosity=TASKS)
    assert LINE not in capsys.readouterr().out


def test_the_library_says_it_with_the_first_task_that_is_shown(place, capsys):
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 1), np.uint8)
    labels = np.repeat([0, 1, 2], 8)
    model = tiny_run.MovedDGM()
    for label, verbose, times in ((0, 0, 0), (1, 2, 0)):
        model.learn((images[labels == label], labels[labels == label]), verbose=verbose)
        assert capsys.readouterr().out.count(LINE) == times
    model = tiny_run.MovedDGM()
    model.learn((images[labels == 2], labels[labels == 2] * 0), verbose=2)
    assert capsys.readouterr().out.count(LINE) == 1


def test_a_run_is_not_resumed_with_the_switch_in_another_position(place, capsys, tmp_path):
    tiny_run.run(tmp_path / "run", tiny_run.MovedDGM(), tasks=1)
    place.setattr(onednn, "enabled", lambda: True)
    with pytest.raises(InputError) as caught:
        tiny_run.run(tmp_path / "run", tiny_run.MovedDGM(), tasks=2)
    text = str(caught.value)
    assert "begun with oneDNN off, and here it is on" in text
    assert text.endswith("set TF_ENABLE_ONEDNN_OPTS=0 in the environment") and "\n" not in text
    assert RunFolder(tmp_path / "run").saved_tasks() == [1]
    tiny_run.run(tmp_path / "run", tiny_run.MovedDGM(), tasks=1)  # There is nothing left to learn.
    place.setattr(onednn, "enabled", lambda: False)
    tiny_run.run(tmp_path / "run", tiny_run.MovedDGM(), tasks=2)


@pytest.mark.parametrize(
    ("then", "here", "gpus", "refused"),
    [
        ({"onednn": True, "gpus": []}, False, [], True),
        ({"onednn": True, "gpus": []}, True, [], False),
        ({"onednn": True, "gpus": []}, None, [], False),
        ({"onednn": None, "gpus": []}, True, [], False),
        ({}, True, [], False),
        ({"onednn": True, "gpus": ["one"]}, False, ["one"], False),
        ({"onednn": True, "gpus": []}, False, ["one"], False),
    ],
)
def test_what_cannot_be_told_or_does_not_matter_is_not_refused(place, then, here, gpus, refused):
    place.setattr(onednn, "enabled", lambda: here)
    place.setattr(onednn, "_gpus", lambda: gpus)
    if not refused:
        return onednn.check_unchanged("runs/mine", then)
    with pytest.raises(InputError, match="^runs/mine was begun with oneDNN on, .*_OPTS=1 in"):
        onednn.check_unchanged("runs/mine", then)
