"""Commands, links and Python of README.md and the documents: all can be typed and run."""

import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from dgm_tf.data.datasets import load_data
from dgm_tf.methods.registry import METHODS
from tests.site_hook import hook

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
NO_COMMANDS = ("train", "__main__")
MODULES = {
    path.stem: importlib.import_module(f"trainers.{path.stem}")
    for path in (ROOT / "trainers").glob("*.py")
    if re.search(r"^(def main|main = )", path.read_text(), re.M) and path.stem not in NO_COMMANDS
}
GENERATED = {(ROOT / "docs" / path).resolve(): make for path, make in hook.PAGES.items()}
# A line that continues with a backslash is one command.
LINES = {name: re.sub(r" *\\\n +", " ", text).splitlines() for name, text in TEXTS.items()}
COMMANDS = sorted(
    {
        (name, re.sub(r"\s+#.*$", "", line.strip()))
        for name, lines in LINES.items()
        for line in lines
        if re.match(r"\s*(\w+=\S+ )*((?:\S*/)?python -m trainers\.|dgm )\w+", line)
        # tests/trainers/test_own_methods.py runs those of a method of one's own.
        and not re.search(r"--methods?=brightness", line)
    }
)
# Python whose page has this comment takes minutes.
SLOW = "<!-- slow -->"
# What is between the two is what the block printed; `...` stands for anything.
BLOCKS = r"^```python\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?"
RUNNABLE = [
    pytest.param(name, marks=pytest.mark.slow if SLOW in text else ())
    for name, text in TEXTS.items()
    # tests/test_readme.py runs README.md's and looks at the accuracy.
    if name != "README.md" and re.search(BLOCKS, text, re.M | re.S)
]


def test_commands_are_found():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("page, command", COMMANDS)
def test_a_command_is_taken(page, command, tmp_path, monkeypatch):
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    monkeypatch.chdir(tmp_path)
    for file in re.findall(r"--settings=([^{\s]+)", command):  # what an earlier command wrote
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("{}")
    program = words[1] if words[0] == "dgm" else words[2].removeprefix("trainers.")
    arguments = words[2:] if words[0] == "dgm" else words[3:]
    assert MODULES[program].define().parse(arguments)


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for path, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", TEXTS[page]):
        if re.match(r"\w+:", path):
            continue
        target = folder / path if path else ROOT / page
        make = GENERATED.get(target.resolve())
        assert make or target.exists(), path
        if anchor and target.suffix == ".md":
            text = make() if make else target.read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.*)$", text, re.M)
            slugs = {
                re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in headings
            }
            assert anchor in slugs, f"{path}#{anchor}"


@pytest.fixture
def methods():
    """Forgets the methods that a page registers."""
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("page", RUNNABLE)
def test_the_python_of_a_page_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block, wanted in re.findall(BLOCKS, TEXTS[page], re.M | re.S):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(compile(block, page, "exec"), names)
        checker, options = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if wanted:
            assert checker.check_output(wanted, shown.getvalue(), options), shown.getvalue()


def test_the_piece_of_svhn_is_cut_from_the_original_file(tmp_path, monkeypatch):
    block = re.search(r"```sh\n(mkdir piece\n.*?END\n)", TEXTS["docs/how-to/data.md"], re.S)[1]
    images = np.zeros([32, 32, 3, 10_002], np.uint8)
    images[0, 0, 0] = np.arange(10_002) % 251
    labels = (np.arange(10_002) % 10 + 1).astype(np.uint8)[:, None]
    scipy.io.savemat(tmp_path / "test_32x32.mat", {"X": images, "y": labels})
    programs = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    subprocess.run(["sh", "-e", "-c", block], cwd=tmp_path, check=True)
    data = load_data("svhn_cropped", data_dir=tmp_path / "piece")
    cut = [(data.train_images, data.train_labels), (data.test_images, data.test_labels)]
    for (pixels, classes), first, end in zip(cut, (0, 8001), (8001, 10_000), strict=True):
        assert np.array_equal(pixels[:, 0, 0, 0], np.arange(first, end) % 251)
        assert np.array_equal(classes, (np.arange(first, end) + 1) % 10)
