"""docs/reference/run-folder.md names the files and fields that runs write."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dgm_tf.evaluation.oracle import Judgement
from dgm_tf.experiments import open_memory, run
from dgm_tf.runs import run_format
from dgm_tf.runs.provenance import machine
from dgm_tf.runs.run_folder import RunFolder
from tests import tiny_run
from tests.class_folders import photographs
from trainers import learn

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "run-folder.md"
TEXT = PAGE.read_text(encoding="utf-8")
TINY = [
    "--image_size=16", "--steps=4", "--batch_size=4", "--generator_size=2", "--critic_size=4",
    "--consolidation_steps=4", "--verbosity=0", "--variant=w",
]  # fmt: skip


def table(title):
    """The cells of the table under a heading, without its head."""
    part = re.split(r"^#+ ", TEXT.partition(f"# {title}\n")[2], flags=re.M)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def fields(title):
    """The names in the first column of a table, in order."""
    return [name for cells in table(title) for name in re.findall(r"`([^`]+)`", cells[0])]


def fields_of(*kinds):
    """The names of rows' fields that rows of some kinds have."""
    found = [cells for cells in table("metrics.jsonl") if cells[1] in kinds]
    return {name for cells in found for name in re.findall(r"`(\w+)`", cells[0])}


def last_row(folder):
    return RunFolder(folder).rows()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of DGM; not to touch."""
    folder = tmp_path_factory.mktemp("run") / "w"
    return tiny_run.run(folder, tiny_run.MovedDGM(), tasks=2, page=True)


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """A memory of one command; not to touch."""
    desk = tmp_path_factory.mktemp("desk")
    images = np.random.RandomState(0).randint(0, 255, (24, 32, 32, 3)).astype(np.uint8)
    photographs(desk / "images", images, np.repeat([0, 1], 12), ["cat", "dog"], count=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            open_memory, "new_learner", lambda method, settings: tiny_run.MovedDGM(settings)
        )
        assert learn.main([f"--memory={desk}/pets", f"--images={desk}/images", *TINY]) == 0
    return desk / "pets"


def test_every_file_is_named(folder):
    named = set(fields("Files"))
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        first = re.sub(r"task-\d+", "task-01", name)
        assert path.is_dir() or first in named or name in named, name


def test_the_fields_of_settings_json_are_named(folder):
    written = json.loads((folder / "settings.json").read_text())
    assert fields("settings.json") == [*written]
    assert fields("Fields of stream") == [*written["stream"]]
    assert fields("Fields of machine") == [*written["machine"]] == [*machine()]


def test_the_fields_of_a_memorys_stream_are_named(memory):
    written = json.loads((memory / "settings.json").read_text())["stream"]
    (sentence,) = re.findall(r"^A memory has (.*?)\.", TEXT, re.M | re.S)
    named = re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", sentence))
    assert set(named) == written.keys()


def test_the_fields_of_a_row_are_named(folder, tmp_path):
    assert last_row(folder).keys() == fields_of("all", "generator", "masks")
    shared = tiny_run.run(tmp_path / "shared", tiny_run.MovedFineTune(), tasks=1)
    assert last_row(shared).keys() == fields_of("all", "generator")


def test_the_fields_of_a_memorys_row_are_named(memory):
    named = fields_of("all", "generator", "masks", "memory")
    assert last_row(memory).keys() == named
    assert fields_of("changed") == {"settings"}


def test_the_fields_of_an_oracle_are_named():
    class Judge:
        test_accuracy = 1.0

        def judge(self, *arguments):
            return Judgement({0: 1.0}, {0: 1.0}, 0.0, 1.0, 1.0)

    class Generator:
        generate, classes_seen = None, ()

    assert run._judged(Judge(), Generator(), None).keys() == fields_of("oracle")


def test_no_other_field_is_read():
    named = set(fields("metrics.jsonl"))
    assert {name.removesuffix("?") for name in run_format._ROW} <= named


def test_the_fields_of_layers_are_named(folder):
    for layer in last_row(folder)["layers"]:
        assert fields("Fields of layers") == [*layer]
