"""From a run to a picture: --export_dir, trainers.export and trainers.sample."""

import gc
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import dgm_tf
from dgm_tf.evaluation.memory_audit import Record, read, record_path
from dgm_tf.experiments.export import export_run
from dgm_tf.serving import export as export_module
from trainers import export, sample, split_digits


@pytest.fixture
def run(finished):
    return finished


def hashes(path):
    found = json.loads((path / "assets" / "model.json").read_text())["audit"]
    return [entry["sha256_of_record"] for entry in found]


def recorded(run, tasks):
    folder = run / "run" / "audit"
    return [read(record_path(folder, task)).digest() for task in range(1, tasks + 1)]


def test_a_trainer_exports_at_the_end(run):
    memory = dgm_tf.load_exported(run / "memory")
    assert memory.path == run / "memory" / "1"
    assert memory.classes_seen == tuple(range(10)) and memory.class_tasks == (1,) * 5 + (2,) * 5
    assert hashes(memory.path) == recorded(run, 2) and all(memory.audit().values())


def test_the_memory_after_any_task_can_be_exported_later(run, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in (run / "run").rglob("*")}
    where = f"--export_dir={tmp_path}/later"
    assert export.main([f"--memory={run}/run", "--task=1", where, "--export_classifier"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("exported 1 task, with the classifier, to ")
    assert "MiB on disk" in said[0]
    memory = dgm_tf.load_exported(tmp_path / "later")
    assert memory.classes_seen == tuple(range(5)) and hashes(memory.path) == recorded(run, 1)
    assert memory.classify(np.zeros([1, 8, 8, 1], np.uint8))[0] in memory.classes_seen
    assert {path: path.stat().st_mtime_ns for path in (run / "run").rglob("*")} == before


def test_a_place_that_cannot_be_used_is_refused_before_images_are_generated(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr(dgm_tf.DGM, "generate", None)
    (tmp_path / "file").touch()
    for place, said in ((run / "memory" / "1", "is not replaced"), (tmp_path / "file", "cannot")):
        with pytest.raises(dgm_tf.InputError, match=said):
            export_run(run / "run", export_dir=place)


def test_one_record_of_the_audit_is_held_at_a_time(run, tmp_path, monkeypatch):
    held, entry = [], export_module._audit_entry

    def watched(task, record):
        held.append(sum(type(each) is Record for each in gc.get_objects()))
        return entry(task, record)

    monkeypatch.setattr(export_module, "_audit_entry", watched)
    export_run(run / "run", export_dir=tmp_path / "a")
    assert held == [1, 1]


def test_an_export_is_of_the_learner_where_a_record_is_of_something_else(run, tmp_path):
    folder = shutil.copytree(run / "run", tmp_path / "run")
    shutil.copy(record_path(folder / "audit", 2), record_path(folder / "audit", 1))
    done = export_run(folder, export_dir=tmp_path / "m")
    assert hashes(done.path) == recorded(run, 2)


def test_a_sample_is_made_by_an_export(run, tmp_path, capsys):
    out = tmp_path / "grid.png"
    arguments = [f"--memory={run}/memory", "--labels=3,7", "--count=4", f"--out={out}"]
    assert sample.main(arguments) == 0
    assert capsys.readouterr().out == f"8 images of 3, 7: {out}\n"
    with Image.open(out) as grid:
        assert grid.height == 2 * (16 * 2 + 2) + 2


@pytest.mark.parametrize(
    ("command", "arguments", "wanted"),
    [
        (export, ["--memory={tmp_path}"], "expected the folder of a run"),
        (export, ["--memory={run}/run", "--task=3"], "(there are those of 1, 2), received 3"),
        (export, ["--epochs=3"], "unknown command line flag 'epochs'"),
        (sample, ["--memory={tmp_path}"], "is none of them"),
        (sample, ["--memory={run}/memory", "--labels=3,,7"], "expected texts such as 3,7"),
        (split_digits, ["--method=joint", "--export_dir={tmp_path}/m"], "--method is joint"),
        (split_digits, ["--export_dir={run}/run/settings.json/m"], "name another --export_dir"),
        (split_digits, ["--export_dir={run}/memory/1"], "exists and is not replaced"),
        (split_digits, ["--export_classifier"], "name an --export_dir, too"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, command, arguments, wanted, tmp_path, capsys):
    arguments = [argument.format(tmp_path=tmp_path, run=run) for argument in arguments]
    if command is split_digits:
        arguments.append(f"--run_dir={tmp_path}/run")
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and wanted in error
    assert list(tmp_path.iterdir()) == []
