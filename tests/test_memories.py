"""The memory that comes with the package: opened by its name, used by every command, never written.

python -m benchmarks.demo_memory        makes it again
"""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

import dgm_tf
from benchmarks import demo_memory
from dgm_tf import memories
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments.run_audit import audit_run
from dgm_tf.runs.run_folder import RunFolder
from tests.tiny_run import MovedDGM, run
from trainers import audit, classify, export, judge, learn, report, sample

NAME = "digits-demo"
MEMORY = f"--memory={NAME}"
HOME = Path(memories.__file__).parent / NAME
GOLDEN = Path(__file__).parent / "golden"


def digest(folder):
    """What tells whether anything in a folder has changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working folder; whatever a test does, the package stays as it is."""
    monkeypatch.chdir(tmp_path)
    before = digest(HOME)
    yield tmp_path
    assert digest(HOME) == before


@pytest.fixture(scope="module")
def model():
    """The memory, opened; not to be taught."""
    return dgm_tf.load(NAME)


def test_it_takes_less_than_a_megabyte():
    assert memories.NAMES == (NAME,)
    assert demo_memory.size(HOME) < 1_000_000


def test_it_travels_in_the_wheel():
    root = Path(__file__).parent.parent
    (line,) = [
        line
        for line in (root / "pyproject.toml").read_text().splitlines()
        if line.startswith('"dgm_tf.memories"')
    ]
    patterns = line.partition("[")[2].rstrip("]").replace('"', "").split(", ")
    packed = {path for pattern in patterns for path in HOME.parent.glob(pattern) if path.is_file()}
    assert packed == set(digest(HOME))


def test_it_knows_the_digits_of_the_test_part(model):
    data = dgm_tf.load_data("digits")
    assert model.class_names == tuple("0123456789")
    found = model.classify(data.test_images)
    assert np.mean(found == data.test_labels) > 0.95


def test_its_audit_passes_or_says_why_not(model, capsys):
    found = model.audit()
    assert list(found) == [*range(1, 11)]
    if not all(found.values()):
        assert "this is another machine or build" in capsys.readouterr().err


def test_images_that_differ_on_another_machine_are_explained(capsys):
    model = dgm_tf.load(NAME)
    model._audit[2]["sha256"] = "other"
    model.origin["machine"]["cpu"] = "another one"
    assert not model.audit()[3]
    said = capsys.readouterr().err
    assert said.startswith("warning: images can differ") and "cpu another one then" in said


def test_a_further_class_is_learnt_from_it_and_saved_elsewhere(place):
    model = dgm_tf.load(NAME)
    before = model.generate([3] * 4, seed=5)
    sizes = {"epochs": 1, "consolidation_steps": 2}
    model.settings = dataclasses.replace(model.settings, **sizes)
    crosses = np.zeros([40, 16, 16, 1], np.uint8)
    crosses[:, 7:9] = crosses[:, :, 7:9] = 255
    model.learn((crosses, ["cross"] * 40), verbose=0)
    model.save(place / "mine")
    again = dgm_tf.load(place / "mine")
    assert again.class_names == (*"0123456789", "cross")
    np.testing.assert_array_equal(again.generate([3] * 4, seed=5), before)
    assert again.audit()[11]


def test_a_folder_of_the_users_own_goes_before_it(place):
    run(place / NAME, MovedDGM(), tasks=1)
    assert dgm_tf.load(NAME).class_names == ("a",)
    assert not memories.is_shipped(NAME)


def test_commands_that_read_take_its_name(place, monkeypatch, capsys):
    monkeypatch.setattr(
        Oracle, "of", lambda stream, **_: Oracle((16, 16, 1), 10, test_accuracy=0.5)
    )
    assert sample.main([MEMORY, "--labels=3", "--count=2"]) == 0
    assert capsys.readouterr().out == "2 images of 3: grid.png\n"
    assert classify.main([MEMORY, "grid.png"]) == 0
    assert audit.main([MEMORY]) == 0 or "another machine" in capsys.readouterr().out
    assert report.main([MEMORY, "--text"]) == 0 and report.main([MEMORY, "--out=a.html"]) == 0
    assert export.main([MEMORY, "--export_dir=exported"]) == 0
    assert judge.main([MEMORY, "--images_per_class=5", "--out=nearest.png"]) == 0
    written = {path.name for path in place.iterdir()}
    assert {"grid.png", "a.html", "exported", "nearest.png"} <= written


@pytest.mark.parametrize(
    ("command", "arguments", "remedy"),
    [
        (learn, ["--images=."], "in Python dgm_tf.load opens it, learn adds a class, and save"),
        (export, [], "name an --export_dir"),
        (judge, [], "by --out"),
        (report, [], "by --out"),
    ],
    ids=["learn", "export", "judge", "report"],
)
def test_commands_that_would_write_there_refuse(place, command, arguments, remedy, capsys):
    assert command.main([MEMORY, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {NAME} comes with the package and is only read: ")
    assert remedy in said and said.count("\n") == 1 and not any(place.iterdir())


def test_a_reduced_copy_is_the_same_memory(place):
    path = run(place / "run", MovedDGM())
    RunFolder(path).write_reduced(place / "copy")
    assert RunFolder(place / "copy").saved_tasks() == [3]
    (_, meta, arrays), (_, copied_meta, copied) = (
        RunFolder(each).state_after() for each in (path, place / "copy")
    )
    assert copied_meta == meta and {*copied} == {*arrays}
    assert all(copied[name].tobytes() == arrays[name].tobytes() for name in arrays)
    assert audit_run(place / "copy").faults == ()
    assert RunFolder(place / "copy").rows() == RunFolder(path).rows()


def test_the_program_that_makes_it_puts_a_reduced_run_into_the_package(place, monkeypatch, capsys):
    monkeypatch.setattr(memories, "__file__", str(place / "memories" / "__init__.py"))
    (place / "memories").mkdir()

    def learnt(arguments):
        assert f"--run_dir={demo_memory.RUN}" in arguments
        shutil.copytree(GOLDEN / "run", demo_memory.RUN)
        return 0

    monkeypatch.setattr(demo_memory.split_digits, "main", learnt)
    assert demo_memory.main() == 0
    assert (place / "memories" / NAME / "checkpoints" / "task-01" / "state.json").is_file()
    monkeypatch.setattr(demo_memory, "MOST_BYTES", 100)
    shutil.rmtree("runs")
    assert demo_memory.main() == 1 and "error: expected less than 100" in capsys.readouterr().err
