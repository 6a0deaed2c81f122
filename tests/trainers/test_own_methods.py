"""Methods from outside of the package, by DGM_METHODS: the commands of docs/how-to/methods.md."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dgm_tf.methods.registry import METHODS
from trainers import own_methods, split_digits

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "how-to" / "methods.md").read_text(encoding="utf-8")
MODULE = re.search(r"^```python\n(import dgm_tf\nimport numpy.*?)^```$", PAGE, re.M | re.S)[1]
COMMANDS = re.search(r"^```sh\n(export DGM_METHODS=.*?)^```$", PAGE, re.M | re.S)[1]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The page's method as a module on the path; forgotten afterwards."""
    (tmp_path / "brightness.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(METHODS)
    yield "brightness"
    METHODS.clear()
    METHODS.update(before)
    sys.modules.pop("brightness", None)


def test_a_module_that_the_variable_names_brings_its_method(module, monkeypatch):
    assert "brightness" not in METHODS
    monkeypatch.setenv(own_methods.VARIABLE, f" {module} ,")
    own_methods.register()
    assert METHODS["brightness"].label == "brightness"


def test_a_module_that_cannot_be_imported_ends_a_command_with_one_line(monkeypatch, capsys):
    monkeypatch.setenv(own_methods.VARIABLE, "no_such_module")
    with pytest.raises(SystemExit) as ended:
        own_methods.register()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "DGM_METHODS names 'no_such_module'" in line and "PYTHONPATH" in line


def test_ctrl_c_while_a_program_is_imported_ends_it_without_a_traceback(tmp_path):
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", "trainers.report"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, own_methods.VARIABLE: "slow", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_the_variable_is_part_of_the_command(monkeypatch):
    monkeypatch.setenv(own_methods.VARIABLE, "brightness")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    given = split_digits.define().parse(["--max_tasks=2"])
    assert given.command.startswith("DGM_METHODS=brightness python -m trainers.split_digits ")


@pytest.mark.slow
def test_the_commands_of_the_page_run(module, tmp_path):
    commands = COMMANDS.replace("PYTHONPATH=.", f"PYTHONPATH=.:{ROOT}")
    commands = commands.replace("python -m", f"{sys.executable} -m")
    done = subprocess.run(
        [shutil.which("sh"), "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "runs" / "quick" / "table1.md").read_text()
    assert re.search(r"^\| brightness \| 1 \|", table, re.M) and "| nearest mean | 1 |" in table
    audit = [sys.executable, "-m", "trainers.audit", "runs/brightness"]
    unknown = subprocess.run(
        audit, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert unknown.returncode == 2 and "DGM_METHODS" in unknown.stderr
