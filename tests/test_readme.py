"""README.md: one screen, whose names exist and whose first example ends where it says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from dgm_tf.methods.registry import METHODS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_one_screen():
    assert len(TEXT.splitlines()) <= 150 and len(TEXT.split()) <= 1500


def test_every_make_target_named_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, re.M)
    assert "demo" in named and set(named) <= set(targets)


def test_the_extras_named_exist():
    named = re.findall(r"pip install '\.\[(.*)\]'", TEXT)
    known = re.findall(
        r"^optional-dependencies\.(\w+)", (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert named and {extra for each in named for extra in each.split(",")} <= set(known)


def test_the_other_methods_are_as_many_as_it_says():
    assert len(METHODS) - 1 == 9 and "[Nine other methods]" in TEXT


def test_both_papers_are_cited_as_in_citation_cff():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    titles = re.findall(r"^  title = \{(.*)\}", TEXT, re.M)
    assert len(titles) == 2 and all(f'title: "{title}"' in citation for title in titles)


@pytest.mark.slow
def test_the_first_example_ends_where_the_text_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    (wanted,) = re.findall(r"ends above (\d+) %", example)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(example, "README.md", "exec"), {})
    *lines, shape, exact = shown.getvalue().splitlines()
    lines = [line for line in lines if line.endswith("test images)")]  # and not the progress
    assert [line.split(":")[0] for line in lines] == [f"task {n} of 10" for n in range(1, 11)]
    (accuracy,) = re.findall(r"accuracy ([\d.]+) %", lines[-1])
    assert float(accuracy) > float(wanted)
    assert (shape, exact) == ("(16, 10)", "True")
