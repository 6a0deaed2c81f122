"""A learner in a folder: what is written, what is read back, and what is refused."""

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dgm_tf
from dgm_tf.errors import InputError
from dgm_tf.learners import described
from dgm_tf.methods import registry
from dgm_tf.serving import export as exporting
from dgm_tf.storage import checkpoint
from dgm_tf.storage.files import locked_name
from tests import class_folders, tiny_run
from tests.damages import full_disk
from tests.input_table import pixels
from tests.load_saved import digest
from tests.refusals import refused
from tests.run_content import files
from tests.same_state import assert_same_state
from trainers import learn

ROOT = Path(__file__).parents[2]
IMAGES, LABELS = pixels(36, 16, 16, 1), np.repeat(["a", "b", "c"], 12)
MORE = pixels(12, 16, 16, 1), ["d"] * 12


@pytest.fixture(scope="module")
def model():
    """Of two tasks; the tests leave it as it is."""
    made = tiny_run.MovedDGM()
    made.learn((IMAGES[:12], LABELS[:12]), verbose=0)
    made.learn((IMAGES[12:], LABELS[12:]), verbose=0)
    return made


@pytest.fixture(scope="module")
def kept(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("saved") / "memory.dgm")


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "copy")


@pytest.fixture
def moved(monkeypatch):
    """Has a DGM that is loaded learn as `MovedDGM` does."""
    method = dataclasses.replace(registry.METHODS["dgm"], learner="tests.tiny_run:MovedDGM")
    monkeypatch.setitem(registry.METHODS, "dgm", method)


def asked(path, threads, python=sys.executable):
    done = subprocess.run(
        [python, "-m", "tests.load_saved", str(path), str(threads)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_loaded_learner_is_the_one_that_was_saved(model, kept):
    loaded = dgm_tf.load(kept)
    assert type(loaded) is dgm_tf.DGM and loaded.settings == model.settings
    assert loaded.class_names == ("a", "b", "c") and loaded.task_classes == ((0,), (1, 2))
    assert_same_state(loaded.state(), model.state())
    np.testing.assert_array_equal(loaded.predict(IMAGES), model.predict(IMAGES))


def test_another_process_with_other_threads_gives_the_same_bits(model, kept):
    found = asked(kept, threads=1)
    assert found["state"] == {name: digest(array) for name, array in model.state()[1].items()}
    assert found["images"] == digest(model.generate(np.repeat(model.classes_seen, 5), seed=1))
    assert found["audit"] == {"1": True, "2": True}
    images = np.random.RandomState(0).randint(0, 256, [40, 20, 16, 1]).astype(np.uint8)
    # Without oneDNN, as here, the order of a classifier's sums depends on the threads.
    np.testing.assert_allclose(found["probabilities"], model.predict(images), atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif("OTHER_PYTHON" not in os.environ, reason="OTHER_PYTHON names no interpreter")
def test_another_python_gives_the_same_bits(model, kept):
    found = asked(kept, 0, os.environ["OTHER_PYTHON"])
    assert found["python"] != list(sys.version_info[:2])
    assert found["state"] == {name: digest(array) for name, array in model.state()[1].items()}
    assert found["images"] == digest(model.generate(np.repeat(model.classes_seen, 5), seed=1))
    assert found["audit"] == {"1": True, "2": True}


def test_a_loaded_learner_learns_on_as_the_one_that_was_saved(moved, model, kept):
    # What training depends on is in the state alone: see tests/test_bits.py for real training.
    loaded, other = dgm_tf.load(kept), tiny_run.MovedDGM()
    other.load(*model.state())
    for each in (loaded, other):
        each.learn(MORE, verbose=0)
    assert loaded.classes_seen == (0, 1, 2, 3) and loaded.class_names[-1] == "d"
    assert_same_state(loaded.state(), other.state())
    assert loaded.audit() == {1: True, 2: True, 3: True}


@pytest.mark.slow
def test_training_goes_on_to_the_same_bits(tmp_path):
    model = dgm_tf.FineTune(**tiny_run.SIZES, epochs=2, consolidation_steps=4, replay_buffer=16)
    model.learn((IMAGES[:24], LABELS[:24]), verbose=0)
    loaded = dgm_tf.load(model.save(tmp_path / "memory"))
    for each in (model, loaded):
        each.learn((IMAGES[24:], LABELS[24:]), verbose=0)
    assert_same_state(loaded.state(), model.state())


# The audit.


def test_the_audit_notices_a_memory_that_has_changed(kept, model):
    assert model.audit() == {1: True, 2: True}
    meta, arrays = model.state()
    other = tiny_run.MovedDGM(gates=False)
    other.load(meta, arrays)
    other.learn(MORE, verbose=0)
    assert other.audit() == {1: False, 2: False, 3: True}


def test_the_audit_of_a_save_of_another_machine_names_it(copy, capfd):
    meta, arrays = checkpoint.load(copy)
    meta["origin"]["machine"]["cpu"] = "another"
    meta["audit"][0]["sha256"] = "0" * 64
    checkpoint.save(copy, meta, arrays)
    loaded = dgm_tf.load(copy)
    assert loaded.audit() == {1: False, 2: True}
    assert "another machine or build: cpu another then" in capfd.readouterr().err
    loaded.save(copy)  # It stays the origin of what is in the memory.
    assert dgm_tf.load(copy).origin["machine"]["cpu"] == "another"


@pytest.mark.parametrize("origin", [3, [], {}, {"versions": {}, "machine": "this one"}])
def test_an_origin_that_no_save_has_is_refused(copy, origin):
    meta, arrays = checkpoint.load(copy)
    checkpoint.save(copy, {**meta, "origin": origin}, arrays)
    with refused("the saved state is not that of such a learner"):
        dgm_tf.load(copy)


def test_the_folder_that_a_program_works_in_is_not_replaced(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(". cannot be replaced while it is open: name a folder in it"):
        model.save(".")


def test_a_learner_without_a_generator_has_nothing_to_audit():
    with pytest.raises(InputError, match="joint generates no images"):
        dgm_tf.JointClassifier().audit()


def test_an_audit_of_other_classes_is_refused(copy):
    meta, arrays = checkpoint.load(copy)
    for entry, words in (
        ({"task": 3, "classes": [0], "sha256": ""}, "from 1 to 2"),
        ({"task": 1, "classes": [1], "sha256": ""}, "not of its classes"),
        ({"task": 1, "classes": [0], "sha256": 5}, "not of its classes"),
        ({"task": 1}, "is not that of such a learner"),
    ):
        checkpoint.save(copy, meta | {"audit": [entry]}, arrays)
        with pytest.raises(InputError, match=words):
            dgm_tf.load(copy)


@pytest.mark.parametrize(
    "names", [["a", "b", "b"], ["a", "b", 3], ["a", "b", ""], ["a", "b", "\n"]]
)
def test_names_of_a_state_are_distinct_lines(copy, names):
    meta, arrays = checkpoint.load(copy)
    checkpoint.save(copy, meta | {"class_names": names}, arrays)
    with pytest.raises(InputError, match="names of classes in the saved state must be texts of"):
        dgm_tf.load(copy)


# Folders.


def test_a_save_takes_the_place_of_a_save_and_of_nothing_else(model, copy, tmp_path):
    (copy / "more").write_text("")
    assert model.save(copy) == copy and not (copy / "more").exists()
    (copy / checkpoint.ARRAYS_FILE).write_bytes(b"damaged")
    model.save(str(copy))
    (tmp_path / "empty").mkdir()
    model.save(tmp_path / "empty")
    assert_same_state(dgm_tf.load(tmp_path / "empty").state(), model.state())

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"")
    (tmp_path / "file").write_text("")
    run_checkpoint = checkpoint.save(tmp_path / "task-01", *model.state())
    os.symlink(tmp_path / "nowhere", tmp_path / "link")
    for name in ("photos", "file", "task-01", "link"):
        with pytest.raises(InputError, match="is no saved learner, or a damaged one, so it is not"):
            model.save(tmp_path / name)
    assert (tmp_path / "photos" / "cat.png").exists()
    assert checkpoint.load(run_checkpoint)[0]["method"] == "dgm"


def test_a_save_comes_back_after_a_kill_between_its_renames(model, copy):
    hidden = copy.parent / ".copy.replaced"
    copy.rename(hidden)  # see tests/storage/test_files.py
    with locked_name(copy), pytest.raises(InputError, match="another process is at work in"):
        dgm_tf.load(copy)
    assert_same_state(dgm_tf.load(copy).state(), model.state())
    assert not hidden.exists()


def test_of_two_saves_at_once_the_second_is_refused(model, copy):
    before = files(copy)
    with locked_name(copy), pytest.raises(InputError, match="another process is at work in"):
        model.save(copy)
    assert files(copy) == before
    model.save(copy)


def test_a_save_that_fails_leaves_the_one_before(model, copy, monkeypatch):
    before = files(copy)
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(InputError, match="No space left"):
        model.save(copy)
    assert files(copy) == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]  # no lock either


def test_nothing_learnt_is_not_saved(tmp_path):
    with pytest.raises(InputError, match="nothing to save"):
        tiny_run.MovedDGM().save(tmp_path / "memory")
    assert not list(tmp_path.iterdir())


def test_a_damaged_save_is_refused(copy):
    content = bytearray((copy / checkpoint.ARRAYS_FILE).read_bytes())
    content[-5] ^= 1
    (copy / checkpoint.ARRAYS_FILE).write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        dgm_tf.load(copy)


def test_a_save_that_another_replaces_while_it_is_read_is_read_again(model, copy, monkeypatch):
    load, read = checkpoint.load, []

    def load_between(folder):
        read.append(folder)
        if len(read) == 1:
            model.save(copy)
            raise checkpoint.DamagedError("half of it is another save's")
        return load(folder)

    monkeypatch.setattr(checkpoint, "load", load_between)
    assert_same_state(dgm_tf.load(copy).state(), model.state())
    assert len(read) == 2


def test_what_is_no_learner_is_refused(model, kept, tmp_path):
    with pytest.raises(InputError, match="is neither.*has written$"):
        dgm_tf.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"the data set cifar10 is read by dgm_tf\.load_data"):
        dgm_tf.load("cifar10")
    (tmp_path / "export" / "1").mkdir(parents=True)
    (tmp_path / "export" / "1" / "saved_model.pb").touch()
    for folder in (tmp_path / "export", tmp_path / "export" / "1"):
        with refused("is neither", "an exported model is read by dgm_tf.load_exported"):
            dgm_tf.load(folder)
    for given in (None, 3):
        for load in (dgm_tf.load, dgm_tf.load_exported):
            with pytest.raises(InputError, match=f"expected .*received {type(given).__name__}"):
                load(given)
    checkpoint.save(tmp_path / "task-01", *model.state())
    with pytest.raises(InputError, match="in the folder of a run: load that folder"):
        dgm_tf.load(tmp_path / "task-01")
    with pytest.raises(InputError, match="task=1 can be asked of the folder of a run"):
        dgm_tf.load(kept, task=1)


def test_a_run_is_loaded_after_any_of_its_tasks(tmp_path):
    states = []

    class Watched(tiny_run.MovedDGM):
        def remember(self, task):
            super().remember(task)
            states.append(self.state())

    run = tiny_run.run(tmp_path / "run", Watched())
    assert_same_state(dgm_tf.load(run).state(), states[-1])
    for task, state in enumerate(states, start=1):
        loaded = dgm_tf.load(run, task=task)
        assert_same_state(loaded.state(), state)
        assert loaded.finished_tasks == task and all(loaded.audit().values())
    with pytest.raises(InputError, match="there are those of 1, 2, 3"):
        dgm_tf.load(run, task=4)


# In words.


def test_a_learner_says_what_it_is(model, capsys):
    assert repr(tiny_run.MovedDGM()) == "<MovedDGM dgm-w: nothing learnt yet>"
    assert repr(model) == "<MovedDGM dgm-w: 2 tasks, 3 classes (a, b, c), images 16x16x1>"
    model.summary()
    text = capsys.readouterr().out
    growth = model.growth()
    assert "task 1      0 (a)\n" in text and "task 2      1 (b), 2 (c)\n" in text
    assert f"{growth['generator_parameters']:,} parameters" in text
    assert f"widths      {', '.join(map(str, growth['layer_widths']))} (at first 8, 4, 2)" in text
    assert f"free        {100 * growth['free_fraction']:.1f} %" in text
    size = sum(array.nbytes for array in model.state()[1].values())
    assert f"state       {size / 1024:.1f} KiB" in text


class Many:
    """As a learner of 30 tasks is seen by its description."""

    name, finished_tasks, image_shape = "many", 30, (16, 16, 1)
    classes_seen = tuple(range(100, 130))
    class_names = tuple(map(str, classes_seen))
    task_classes = tuple((label,) for label in classes_seen)
    growth = dict

    def state(self):
        return {}, {"weights": np.zeros(2**20, np.float32)}


def test_many_classes_and_tasks_are_shortened():
    lines = described.summary(Many()).splitlines()
    assert lines[0].endswith(
        "30 classes (100, 101, 102, 103, 104, 105, and 24 more), images 16x16x1"
    )
    assert len(lines) == 23 and lines[11] == "...         10 tasks more"
    assert lines[10:13:2] == ["task 10     109", "task 21     120"]
    assert lines[-1] == "state       4.00 MiB"


def test_a_stream_says_what_it_is():
    stream = dgm_tf.class_incremental("digits")
    next(iter(stream))
    wanted = "<TaskStream digits: 10 tasks, 9 to come, 10 classes, images 16x16x1>"
    assert repr(stream) == wanted
    task = next(stream.tasks(2, last=3))
    assert str(task) == "task 2 of 3: class 1"
    assert repr(task) == f"<task 2 of 3: class 1, {task.train_size} training images>"
    task.close()
    assert repr(task) == "<task 2 of 3: class 1, its images are gone>"
    data = dgm_tf.load_data("digits")
    shown = "<ImageData digits: 10 classes, 1438 training and 359 test images 8x8x1>"
    assert repr(data) == shown


@pytest.mark.parametrize("name", ["m", "m/7"])
def test_a_failed_export_leaves_nothing(model, tmp_path, monkeypatch, name):
    monkeypatch.setattr(exporting, "_saved", full_disk)
    with pytest.raises(InputError, match="No space left"):
        model.export(tmp_path / "new" / name)
    assert list(tmp_path.iterdir()) == []


def test_an_export_fills_no_log_and_says_what_it_is(model, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        model.export(tmp_path)
        exported = dgm_tf.load_exported(tmp_path)
        exported.generate([0])
    assert repr(exported) == (
        f"<ExportedModel {tmp_path / '1'}: 3 classes of 2 tasks, images 16x16x1>"
    )
    assert not [each for each in caplog.records if each.name in ("tensorflow", "absl")]


def test_a_save_and_a_memory_of_the_commands_never_share_a_folder(model, copy, tmp_path, capsys):
    """Either way the other would be lost, or two memories would stand in one folder."""
    images = class_folders.write(tmp_path / "new", {"x": 40, "y": 200}, count=50)
    assert learn.main([f"--memory={copy}", f"--images={images}"]) == 2
    assert "was written by a learner's save" in capsys.readouterr().err
    assert not (copy / "settings.json").exists()
    assert_same_state(dgm_tf.load(copy).state(), model.state())
    (copy / "settings.json").write_text("{}")
    with pytest.raises(InputError, match="Python reads and does not write: name another folder"):
        model.save(copy)
    assert (copy / "settings.json").exists()
