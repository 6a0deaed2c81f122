"""Checkpoints come back bit for bit, or are refused with one line; they are never half there."""

import json
import os
import shutil

import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.storage import checkpoint
from tests.damages import flip_a_bit, full_disk, resealed

META = {"widths": [80, 40, 20], "name": "dgm-w", "rate": 0.1 + 0.2, "nested": {"none": None}}
NUMPY = {"n": np.int64(3), "x": np.float32(0.5)}
ARRAYS = {
    "block/0/kernel:0": np.random.RandomState(0).randn(3, 2, 4).astype(np.float32),
    "file": np.arange(5),
    "odd": np.array([0.0, -0.0, np.nan, np.inf, 1e-45], np.float32),
    "bits": np.packbits([1, 0, 1]),
    "flags": np.array([True, False]),
    "step": np.array(7, np.int64),
    "none": np.empty((0, 3), np.float32),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other": np.arange(6, dtype=np.int32)[::2],
    "../../outside": np.arange(3),
}


@pytest.fixture
def saved(tmp_path):
    return checkpoint.save(tmp_path / "task-01", {**META, **NUMPY}, ARRAYS)


def test_what_is_saved_comes_back_bit_for_bit(saved):
    meta, arrays = checkpoint.load(saved)
    assert meta == {**META, "n": 3, "x": 0.5} and set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()
        assert arrays[name].flags.writeable or not array.size


def test_the_same_state_makes_the_same_files(saved):
    reversed_arrays = dict(reversed(ARRAYS.items()))
    again = checkpoint.save(saved.with_name("again"), {**META, **NUMPY}, reversed_arrays)
    assert sorted(os.listdir(saved)) == ["arrays.safetensors", "state.json"]
    for name in os.listdir(saved):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


def test_a_checkpoint_is_replaced_whole(saved):
    checkpoint.save(saved, {"task": 2}, {"a": np.ones(3)})
    meta, arrays = checkpoint.load(saved)
    assert meta == {"task": 2} and list(arrays) == ["a"]
    assert os.listdir(saved.parent) == ["task-01"]


@pytest.mark.parametrize("bad", [np.array([{}, None]), np.array(["a text"])])
def test_what_is_no_plain_number_is_refused_instead_of_pickled(tmp_path, bad):
    with pytest.raises(TypeError, match="only plain numbers can be saved; there are others in bad"):
        checkpoint.save(tmp_path / "c", {}, {"bad": bad})
    with pytest.raises(TypeError, match="JSON-able, found set"):
        checkpoint.save(tmp_path / "c", {"bad": {1}}, {})
    assert os.listdir(tmp_path) == []


def edit_state(folder, edit):
    path = folder / "state.json"
    state = json.loads(path.read_text())
    edit(state)
    path.write_text(json.dumps(state))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip_a_bit(folder / "arrays.safetensors"),
        lambda folder: (folder / "arrays.safetensors").unlink(),
        lambda folder: (folder / "arrays.safetensors").write_bytes(b""),
        lambda folder: (folder / "state.json").write_text('{"format": "dgm_tf ch'),
        lambda folder: (folder / "state.json").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / "state.json").write_text("[" * 100_000),
        lambda folder: edit_state(folder, lambda state: state["meta"].update(rate=0.4)),
        lambda folder: edit_state(folder, lambda state: state.update(meta=[1, 2])),
        lambda folder: edit_state(folder, lambda state: state.pop("sha256")),
        # The arrays of another checkpoint.
        lambda folder: shutil.copy(
            checkpoint.save(folder.with_name("b"), META, {}) / "arrays.safetensors", folder
        ),
        lambda folder: resealed(folder, arrays=b"\xff" * 100),
    ],
)
def test_damage_is_named_with_the_folder(saved, damage):
    damage(saved)
    with pytest.raises(checkpoint.DamagedError, match="damaged") as error:
        checkpoint.load(saved)
    assert str(saved) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ('{"format": "another program"}', "holds something else"),
        ("[1, 2]", "holds something else"),
        ('{"format": "dgm_tf checkpoint", "version": 99}', "has format 99"),
        (None, "found none at .*task-01"),
    ],
)
def test_what_is_no_checkpoint_of_this_format_is_refused(saved, content, wanted):
    (saved / "state.json").unlink()
    if content:
        (saved / "state.json").write_text(content)
    with pytest.raises(InputError, match=wanted) as error:
        checkpoint.load(saved)
    assert str(saved) in str(error.value)


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*task-01: Not a directory; name a"):
        checkpoint.save(tmp_path / "file" / "task-01", META, {})


@pytest.mark.parametrize("function", ["mkdir", "rename", "fsync"])
def test_a_write_that_fails_leaves_the_old_checkpoint(saved, monkeypatch, function):
    monkeypatch.setattr(os, function, full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        checkpoint.save(saved, {"task": 2}, {"a": np.ones(3)})
    monkeypatch.undo()
    assert checkpoint.load(saved)[0]["name"] == "dgm-w"
    assert os.listdir(saved.parent) == ["task-01"]


def test_a_last_rename_that_fails_brings_the_old_checkpoint_back(saved, monkeypatch):
    rename, calls = os.rename, []

    def fail_at_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(*args)

    monkeypatch.setattr(os, "rename", fail_at_second)
    with pytest.raises(InputError, match="Input/output error"):
        checkpoint.save(saved, {"task": 2}, {"a": np.ones(3)})
    assert checkpoint.load(saved)[0]["name"] == "dgm-w"
    assert os.listdir(saved.parent) == ["task-01"]


def test_what_a_killed_write_left_behind_is_cleared_away(saved):
    for end in ("writing", "replaced"):
        shutil.copytree(saved, saved.with_name(f".task-02.{end}"))
    folder = checkpoint.save(saved.with_name("task-02"), {"task": 2}, {})
    assert checkpoint.load(folder) == ({"task": 2}, {})
    assert sorted(os.listdir(saved.parent)) == ["task-01", "task-02"]
