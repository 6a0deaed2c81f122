"""Checkpoints come back bit for bit, or are refused with one line; they are never half there."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.storage import checkpoint
from tests.damages import flip_a_bit

META = {"widths": [80, 40, 20], "name": "dgm-w", "rate": 0.1 + 0.2, "nested": {"none": None}}


def some_arrays():
    odd = np.array([0.0, -0.0, np.nan, np.inf, 1e-45], np.float32)
    return {
        "block/0/kernel:0": np.random.RandomState(0).randn(3, 2, 4).astype(np.float32),
        "file": np.arange(5),
        "odd": odd,
        "bits": np.packbits([1, 0, 1]),
        "flags": np.array([True, False]),
        "names": np.array(["zero", "eins"]),
        "step": np.array(7, np.int64),
        "none": np.empty((0, 3), np.float32),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }


@pytest.fixture
def saved(tmp_path):
    return checkpoint.save(tmp_path / "task-01", META, some_arrays())


def test_what_is_saved_comes_back_bit_for_bit(saved):
    meta, arrays = checkpoint.load(saved)
    assert meta == META
    expected = some_arrays()
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_a_folder_holds_exactly_two_files_and_nothing_is_left_beside_it(saved):
    assert sorted(os.listdir(saved)) == ["arrays.npz", "state.json"]
    assert os.listdir(saved.parent) == ["task-01"]


def test_numbers_of_numpy_become_json_numbers(tmp_path):
    folder = checkpoint.save(tmp_path / "c", {"n": np.int64(3), "x": np.float32(0.5)}, {})
    assert checkpoint.load(folder) == ({"n": 3, "x": 0.5}, {})


def test_a_checkpoint_is_replaced_whole(saved):
    checkpoint.save(saved, {"task": 2}, {"a": np.ones(3)})
    meta, arrays = checkpoint.load(saved)
    assert meta == {"task": 2} and list(arrays) == ["a"]
    assert os.listdir(saved.parent) == ["task-01"]


def test_objects_are_refused_instead_of_pickled(tmp_path):
    with pytest.raises(TypeError, match="plain arrays only; not so: bad"):
        checkpoint.save(tmp_path / "c", {}, {"bad": np.array([{}, None])})
    with pytest.raises(TypeError, match="JSON-able, found set"):
        checkpoint.save(tmp_path / "c", {"bad": {1}}, {})
    assert os.listdir(tmp_path) == []


def test_a_pickle_smuggled_into_the_archive_is_not_run(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "exploded"), "w")

    objects = np.empty(1, object)
    objects[0] = Bomb()
    with zipfile.ZipFile(saved / "arrays.npz", "w") as archive:
        with archive.open("file.npy", "w") as member:
            np.lib.format.write_array(member, objects, allow_pickle=True)
    edit_state(
        saved,
        arrays={"file": {"dtype": "|O", "shape": [1]}},
        arrays_sha256=checkpoint._sha256(saved / "arrays.npz"),
    )
    with pytest.raises(InputError, match="damaged"):
        checkpoint.load(saved)
    assert not (tmp_path / "exploded").exists()


def edit_state(folder, **changes):
    path = folder / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip_a_bit(folder / "arrays.npz"),
        lambda folder: (folder / "arrays.npz").unlink(),
        lambda folder: (folder / "arrays.npz").write_bytes(b""),
        lambda folder: (folder / "state.json").write_text('{"format": "dgm_tf ch'),
        lambda folder: (folder / "state.json").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / "state.json").write_text("[" * 100_000),
        lambda folder: edit_state(folder, meta={**META, "rate": 0.4}),
        lambda folder: edit_state(folder, arrays={"file": {"dtype": "<i8", "shape": [6]}}),
        lambda folder: edit_state(folder, arrays={"file": {"dtype": "<i4", "shape": [5]}}),
        lambda folder: edit_state(folder, arrays={"other": {"dtype": "<i8", "shape": [5]}}),
        lambda folder: edit_state(folder, arrays=[1, 2]),
        lambda folder: edit_state(folder, arrays_sha256=None),
    ],
)
def test_damage_is_named_with_the_folder(saved, damage):
    damage(saved)
    with pytest.raises(InputError, match="damaged") as error:
        checkpoint.load(saved)
    assert str(saved) in str(error.value) and "\n" not in str(error.value)


def test_arrays_of_another_checkpoint_are_found_out(saved):
    other = some_arrays() | {"step": np.array(8, np.int64)}
    checkpoint.save(saved.with_name("task-02"), META, other)
    shutil.copy(saved.with_name("task-02") / "arrays.npz", saved)
    with pytest.raises(InputError, match="not the file that was saved"):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ('{"format": "another program"}', "holds something else"),
        ("[1, 2]", "holds something else"),
        ('{"format": "dgm_tf checkpoint", "version": 99}', "has format 99"),
    ],
)
def test_what_is_no_checkpoint_of_this_format_is_refused(saved, content, wanted):
    (saved / "state.json").write_text(content)
    with pytest.raises(InputError, match=wanted) as error:
        checkpoint.load(saved)
    assert str(saved) in str(error.value)


def test_a_missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="found none at .*nowhere"):
        checkpoint.load(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the checkpoint .*Not a directory"):
        checkpoint.save(tmp_path / "file" / "task-01", META, {})


@pytest.mark.parametrize("function", ["replace", "rename", "fsync"])
def test_a_write_that_fails_leaves_the_old_checkpoint(saved, monkeypatch, function):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(InputError, match="No space left on device"):
        checkpoint.save(saved, {"task": 2}, {"a": np.ones(3)})
    monkeypatch.undo()
    assert checkpoint.load(saved)[0] == META
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
    assert checkpoint.load(saved)[0] == META
    assert os.listdir(saved.parent) == ["task-01"]


def test_what_a_killed_write_left_behind_is_cleared_away(saved):
    shutil.copytree(saved, saved.with_name(".task-02.writing"))
    folder = checkpoint.save(saved.with_name("task-02"), {"task": 2}, {})
    assert checkpoint.load(folder) == ({"task": 2}, {})
    assert sorted(os.listdir(saved.parent)) == ["task-01", "task-02"]
