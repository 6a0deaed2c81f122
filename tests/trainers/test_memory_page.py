"""The commands of docs/how-to/memory.md, typed one after another."""

import re
import shlex
from pathlib import Path

import pytest

from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import open_memory, run
from dgm_tf.reporting import page
from tests.class_folders import photographs
from tests.tiny_run import MovedDGM
from tests.trainers.tiny_memory import TINY, noise
from trainers import __main__ as commands

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
TEXT = (PAGES / "memory.md").read_text(encoding="utf-8")
STREAMS = ["split_folder --images=week1", "split_folder --images=week1 --test_images=held_out"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the images that the page speaks of, and learners that only move."""
    images, labels = noise(12, 3)
    photographs(tmp_path / "week1", images, labels, ["cat", "dog"], count=12)
    photographs(tmp_path / "week2", images, labels - 2, ["ape"], count=12)
    photographs(tmp_path / "week3", images, labels - 2, ["bee"], count=12)
    photographs(tmp_path / "held_out", images[::-1], labels[::-1], ["cat", "dog"], count=3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(open_memory, "new_learner", lambda method, settings: MovedDGM(settings))
    monkeypatch.setattr(run, "new_learner", lambda method, settings, _: MovedDGM(settings))
    monkeypatch.setattr(page, "write_page", lambda *folders, **_: "report.html")
    monkeypatch.setattr(Oracle, "of", lambda stream, **_: Oracle((16, 16, 3), 2))
    return tmp_path


def test_every_command_of_the_page_works_in_its_order(place, capsys):
    lines = re.findall(r"^python -m trainers\.(.*)$", TEXT, re.M)
    assert len(lines) == 10
    lines += STREAMS  # a memory's folders are also a stream's
    for number, line in enumerate(lines):
        small = TINY if number == 0 or line.startswith("split_folder") else []
        if line.startswith("split_folder"):
            small = [*small, f"--run_dir=run{number}", "--nooracle"]
        assert commands.main([*shlex.split(line), *small]) == 0, line
    assert (place / "grid.png").is_file() and (place / "pets" / "export" / "1").is_dir()
    said = capsys.readouterr().out
    assert "week2/ape/1.jpg\t" in said and '"path": "week1/cat/0.png"' in said
