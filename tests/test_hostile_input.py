"""Files that were made to do harm: nothing in them is run, and nothing is taken on their word."""

import io
import json
import os
import pickle
import shutil
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dgm_tf.data import datasets
from dgm_tf.data.image_folder import from_folder
from dgm_tf.errors import InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.experiments.run_audit import audit_run
from dgm_tf.methods.registry import load_state
from dgm_tf.reporting.run import read_run
from dgm_tf.reporting.tables import run_report
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage import checkpoint, files
from tests import tiny_run
from tests.damages import resealed
from tests.fuzz import effort
from tests.fuzz.make_corpus import header
from tests.fuzz.mutation import changed
from trainers import split_digits


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of one task."""
    return tiny_run.run(tmp_path_factory.mktemp("run") / "run", tiny_run.MovedDGM(), tasks=1)


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def refused(read, *arguments, wanted=""):
    """The line of the `InputError` that a reader ends in."""
    with pytest.raises(InputError) as error:
        read(*arguments)
    line = str(error.value)
    assert len(line.splitlines()) == 1 and wanted in line, line
    return line


# Code in data.


@pytest.fixture
def bomb(tmp_path):
    """A pickle that leaves a file when it is loaded, and whether it did."""
    trace = tmp_path / "exploded"

    class Bomb:
        def __reduce__(self):
            return open, (str(trace), "w")

    pickle.loads(pickle.dumps(Bomb())).close()
    assert trace.exists()  # It does what it is for.
    trace.unlink()
    yield Bomb()
    assert not trace.exists()


def test_no_pickle_in_place_of_arrays_is_loaded(run, bomb):
    folder, record = run / "checkpoints" / "task-01", run / "audit" / "task-01.safetensors"
    objects = np.empty(1, object)
    objects[0] = bomb
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=True)
    for content in (pickle.dumps(bomb), buffer.getvalue()):
        resealed(folder, arrays=content)
        refused(checkpoint.load, folder, wanted="damaged")
        record.write_bytes(content)
        refused(memory_audit.read, record, wanted="cannot be read")
    (folder / "state.json").write_bytes(pickle.dumps(bomb))
    refused(checkpoint.load, folder, wanted="state.json cannot be read")


def test_no_pickle_in_place_of_settings_is_loaded(run, bomb):
    (run / "settings.json").write_bytes(pickle.dumps(bomb))
    for read in (read_run, audit_run):
        refused(read, run, wanted="settings.json")


def test_no_pickle_in_a_folder_of_data_is_loaded(tmp_path, bomb):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number, content in enumerate([pickle.dumps(bomb), b"\x93NUMPY" + pickle.dumps(bomb)]):
            (tmp_path / "data" / name / f"{number}.png").write_bytes(content)
    refused(from_folder, tmp_path / "data", wanted="cannot be read")
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).write_bytes(pickle.dumps(bomb))
    wanted = "not one of SVHN's"
    refused(lambda: datasets.load_data("svhn_cropped", data_dir=tmp_path), wanted=wanted)


# Sizes that a file only says it has.


def peak(read, *arguments):
    """Bytes that Python and NumPy held at most while a reader refused its input."""
    tracemalloc.start()
    try:
        refused(read, *arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


HEADERS = {
    "longer than the file": header({"x": ("F32", [2**28])}),
    "longer than any memory": header({"x": ("F32", [2**62, 2**62])}),
    "of negative length": header({"x": ("F32", [-1, -4])}) + bytes(16),
    "of an unknown type": header({"x": ("F128", [1])}) + bytes(4),
    "of many sizes": header({"x": ("F32", [1] * 100)}) + bytes(4),
    "that share their bytes": header({name: ("F32", [4]) for name in "xyz"}) + bytes(16),
    "that never ends": header({}, length=2**31),
    "that is nested": b"\xe8\x03\0\0\0\0\0\0" + b"[" * 1000,
}


@pytest.mark.parametrize("kind", HEADERS)
def test_memory_is_not_taken_on_a_headers_word(run, kind):
    folder, record = run / "checkpoints" / "task-01", run / "audit" / "task-01.safetensors"
    resealed(folder, arrays=HEADERS[kind])
    record.write_bytes(HEADERS[kind])
    for read, path in ((checkpoint.load, folder), (memory_audit.read, record)):
        assert peak(read, path) < 2**22  # texts are read by the MiB


def test_a_text_longer_than_any_run_writes_is_not_read(run, monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_STATE_BYTES", 100)
    refused(checkpoint.load, run / "checkpoints" / "task-01", wanted="longer than 100 bytes")
    with open(run / "settings.json", "w") as file:
        file.truncate(2**40)  # a hole: it takes no disk
    assert peak(read_run, run) < 2**26


LARGE = {
    "a wide generator": lambda meta: meta["generator"].update(widths=[2**20] * 3),
    "a long input": lambda meta: meta["generator"].update(latent_dim=2**40),
    "large images": lambda meta: meta["generator"].update(image_shape=[2**20, 2**20, 1]),
    "many channels": lambda meta: meta["generator"].update(image_shape=[16, 16, 2**40]),
    "a task that was wider": lambda meta: meta["generator"].update(
        finished_widths=[[2**20, 2**20, 2**20]]
    ),
    "a large critic": lambda meta: meta["critic"].update(size=2**20),
    "many logits": lambda meta: meta["critic"].update(classes=2**40),
    "a class of a high number": lambda meta: meta.update(tasks=[[2**40]]),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_network_is_not_built_larger_than_its_arrays(finished, kind):
    _, meta, arrays = RunFolder(finished).saved(1)
    LARGE[kind](meta)

    # Not what a memory that was asked for in vain would say.
    reason = {"a task that was wider": "never fall", "a class of a high number": "a class must be"}
    line = refused(load_state, meta, arrays, wanted=reason.get(kind, ""))
    assert kind in reason or "describes a" in line or "must hold an array" in line, line


@pytest.mark.parametrize(
    "name",
    ["generator/block_1/kernel", "finished/00001/block_1/kernel", "finished/00001/block_1/mask",
     "finished/00001/block_2/affine", "finished/00001/head"],
)  # fmt: skip
def test_an_array_of_another_type_is_refused(finished, name):
    _, meta, arrays = RunFolder(finished).saved(1)
    arrays[name] = arrays[name].astype(np.float64)
    refused(load_state, meta, arrays, wanted="and float64")


# Images of another kind; see also test_datasets.


def image_folder(folder, *, names=("a", "b")):
    for level, name in enumerate(names):
        os.makedirs(os.path.join(os.fsencode(folder), os.fsencode(name)))
        for number in range(2):
            picture = Image.new("L", (16, 16), 100 * level + number)
            picture.save(folder / name / f"{number}.png")
    return folder


def test_an_image_may_have_any_name(tmp_path):
    folder = image_folder(tmp_path / "data")
    names = (b"line\nbreak.png", b"latin-\xe9.png", "日本.png".encode(), b"$(reboot).png")
    for level, name in enumerate(names, start=50):
        file = os.path.join(os.fsencode(folder), b"a", name)
        Image.new("L", (16, 16), level).save(os.fsdecode(file))
    data = from_folder(folder, image_size=16)
    assert len(data.train_labels) + len(data.test_labels) == 8
    broken = os.path.join(os.fsencode(folder), b"a", b"line\nbreak-\xe9.png")
    with open(broken, "wb") as file:
        file.write(b"?")
    refused(from_folder, folder, wanted="cannot be read")


@pytest.mark.parametrize("name", [b"line\nbreak", b"latin-\xe9", b"escape\x1b[2J", b"\xe2\x80\xa8"])
def test_a_class_is_called_by_a_line_of_text(tmp_path, name):
    folder = image_folder(tmp_path / "data", names=("a", os.fsdecode(name)))
    refused(from_folder, folder, wanted="must be text of one line")


def test_a_link_may_not_lead_out_of_the_folder(tmp_path):
    folder = image_folder(tmp_path / "data")
    secret = tmp_path / "secret.png"
    shutil.copy(folder / "a" / "0.png", secret)
    os.symlink("0.png", folder / "a" / "inside.png")
    os.symlink(folder, tmp_path / "link")  # the folder itself may be one
    os.symlink("loop.png", folder / "a" / "loop.png")
    assert len(from_folder(tmp_path / "link", image_size=16).train_labels) == 2
    os.symlink("../../secret.png", folder / "a" / "outside.png")
    refused(from_folder, folder, wanted="leaves the folder")
    (folder / "a" / "outside.png").unlink()
    elsewhere = image_folder(tmp_path / "elsewhere")
    os.symlink(elsewhere / "b", folder / "c")
    refused(from_folder, folder, wanted="leaves the folder")


def test_a_trainer_says_it_in_one_line(tmp_path, capsys):
    from trainers import split_folder

    folder = image_folder(tmp_path / "data", names=("a", "b\nc"))
    assert split_folder.main([f"--images={folder}", f"--run_dir={tmp_path}/run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_file_of_svhn_is_measured_before_it_is_read(tmp_path, monkeypatch):
    import scipy.io

    pixels = np.zeros((32, 32, 3, 4), np.uint8)
    for name in ("train_32x32.mat", "test_32x32.mat"):
        scipy.io.savemat(tmp_path / name, {"X": pixels, "y": np.ones((3, 1), np.uint8)})
    monkeypatch.setattr(scipy.io, "loadmat", lambda *_, **__: pytest.fail("it was read"))
    refused(lambda: datasets.load_data("svhn_cropped", data_dir=tmp_path), wanted="X would be")


# Paths that leave the run folder.


@pytest.mark.parametrize("name", ["checkpoints", "audit", "samples", "checkpoints/task-02"])
def test_a_link_out_of_a_run_folder_is_refused_and_nothing_is_written_there(run, tmp_path, name):
    outside = tmp_path / "outside"
    if (run / name).exists():
        shutil.move(run / name, outside)
    else:
        shutil.copytree(run / "checkpoints" / "task-01", outside)
    os.symlink(outside, run / name)
    before = sorted((path, path.stat().st_mtime_ns) for path in outside.rglob("*"))
    for read in (read_run, audit_run, lambda folder: tiny_run.run(folder, tiny_run.MovedDGM())):
        refused(read, run, wanted="is a link that leaves the folder")
    assert before == sorted((path, path.stat().st_mtime_ns) for path in outside.rglob("*"))


def test_a_new_run_does_not_write_through_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    os.symlink(tmp_path / "outside", tmp_path / "run" / "audit")
    arguments = [f"--run_dir={tmp_path}/run", "--nooracle"]
    assert split_digits.main(arguments) == 2
    assert not list((tmp_path / "outside").iterdir())


def test_links_within_a_folder_are_let_be(run):
    os.symlink("checkpoints", run / "states")
    os.symlink("circle", run / "circle")
    files.refuse_links_out(run / "states")
    os.unlink(run / "circle")
    assert read_run(run).rows


def test_names_of_arrays_are_no_paths(tmp_path):
    arrays = {"../../outside": np.arange(3), "/absolute": np.arange(4)}
    folder = checkpoint.save(tmp_path / "a" / "b" / "c", {}, arrays)
    _, found = checkpoint.load(folder)
    assert {name: len(array) for name, array in found.items()} == {
        "../../outside": 3,
        "/absolute": 4,
    }
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["arrays.safetensors", "state.json"]


# Metadata whose checksums are right and whose content is not.


def one_line_or_nothing(read, *arguments):
    try:
        read(*arguments)
    except InputError as error:
        assert len(str(error).splitlines()) == 1


def restored(meta, arrays):
    """A learner of a state, asked for what it can do."""
    learner = load_state(meta, arrays)
    learner.generate(learner.classes_seen[:1])
    learner.classify(np.zeros((1, *learner.classifier.image_shape), np.float32))


def restore_other_metadata(finished, data):
    meta, arrays = checkpoint.load(finished / "checkpoints" / "task-01")
    meta.pop("row")
    other = data.draw(changed(meta))
    if isinstance(other, dict):  # A checkpoint holds no other.
        one_line_or_nothing(restored, other, arrays)


def read_other_rows_and_settings(finished, folder, data):
    shutil.copytree(finished, folder)
    path = folder / "checkpoints" / "task-01"
    meta, arrays = checkpoint.load(path)
    row = data.draw(changed(meta["row"]))
    checkpoint.save(path, {**meta, "row": row}, {})
    described = data.draw(changed(json.loads((folder / "settings.json").read_text())))
    (folder / "settings.json").write_text(json.dumps(described))
    for read in (
        RunFolder(folder).restore,
        RunFolder(folder).state_after,
        lambda: run_report(read_run(folder)),
        lambda: str(audit_run(folder)),
    ):
        one_line_or_nothing(read)


@effort.brief(12)
@given(st.data())
def test_other_metadata_of_a_learner_ends_in_one_line(finished, data):
    restore_other_metadata(finished, data)


@effort.brief(40)
@given(st.data())
def test_other_rows_and_settings_of_a_run_end_in_one_line(finished, tmp_path_factory, data):
    read_other_rows_and_settings(finished, tmp_path_factory.mktemp("changed") / "run", data)


@pytest.mark.slow
@effort.long(1000)
@given(st.data())
def test_much_other_metadata_of_a_learner_ends_in_one_line(finished, data):
    restore_other_metadata(finished, data)


@pytest.mark.slow
@effort.long(1000)
@given(st.data())
def test_many_other_rows_and_settings_of_a_run_end_in_one_line(finished, data):
    with tempfile.TemporaryDirectory() as folder:
        read_other_rows_and_settings(finished, Path(folder) / "run", data)
