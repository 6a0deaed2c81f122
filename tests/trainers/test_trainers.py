"""The trainers as a user meets them, on real digits, with a DGM whose training is a random move.

Those that start processes and train are slow.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.runs.run_folder import RunFolder
from tests.run_content import content
from tests.trainers.moved import TINY, train
from trainers import split_digits, split_folder

ROOT = Path(__file__).parents[2]


def numbers(folder):
    """Everything that a run measured or made, by file; not its pages and its own command."""
    left_out = ("report.html", "settings.json")
    return {name: value for name, value in content(folder).items() if name not in left_out}


def test_a_run_keeps_its_flags_and_its_command_and_draws_its_page(finished):
    page = (finished / "run" / "report.html").read_text()
    assert "DGMw" in page and "<img" in page
    settings = json.loads((finished / "run" / "settings.json").read_text())
    assert settings["settings"]["generator_size"] == 2
    assert "python -m trainers.split_digits --classes_per_task=5" in settings["command"]


def test_all_that_the_first_task_uses_is_newly_reserved(finished):
    first = RunFolder(finished / "run").rows()[0]
    assert first["mask_overlap"] == [sum(layer["reserved"] for layer in first["layers"])]


def test_a_run_stopped_by_a_signal_goes_on_with_the_same_numbers(
    finished, oracle, tmp_path, monkeypatch, capsys
):
    def disturb(task):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Oracle, "of", lambda stream, **_: oracle)
    arguments = (f"--run_dir={tmp_path}", "--oracle")
    assert train(monkeypatch, *arguments, disturb=disturb) == 143
    assert capsys.readouterr().err == "stopped; the same command resumes after task 1\n"
    assert train(monkeypatch, *arguments) == 0
    assert "resumed after task 1" in capsys.readouterr().out
    assert numbers(tmp_path) == numbers(finished / "run")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [(["--image_size=18"], "multiple of 4"), (["--run_dir={tmp_path}/file/run"], "cannot write")],
)
def test_what_cannot_be_done_is_said_before_any_work(arguments, wanted, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = [argument.replace("{tmp_path}", str(tmp_path)) for argument in arguments]
    assert split_digits.main([f"--run_dir={tmp_path}/run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert wanted in captured.err and captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_of_images_must_be_named_and_hold_classes(tmp_path, capsys):
    assert split_folder.main([]) == 2
    assert "--images=DIR" in capsys.readouterr().err
    (tmp_path / "images" / "only").mkdir(parents=True)
    run_dir = f"--run_dir={tmp_path}/run"
    assert split_folder.main([f"--images={tmp_path}/images", run_dir]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# Real processes, real training.


def command(*arguments):
    return [sys.executable, "-m", "trainers.split_digits", *TINY, *arguments]


def environment():
    """A user's environment: what the tests set to keep TensorFlow quiet is not there."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return kept | {"PYTHONUNBUFFERED": "1"}


def call(*arguments):
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(), capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, call(f"--run_dir={folder}")


@pytest.mark.slow
def test_a_pipe_gets_no_control_characters_and_no_log_of_tensorflow(trained):
    _, done = trained
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", done.stdout + done.stderr)
    assert not re.search(r"^[IWEF]\d{4} |absl::InitializeLog", done.stderr, re.MULTILINE)


BETWEEN = "stopped; the same command resumes after task 1"
OUTSIDE = "stopped; the same command resumes from the last checkpoint"  # nothing is being learnt
INSIDE = r"stopped at step \d+ of task 2 of 2; the same command .* from there"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "code", "every", "line"),
    [
        (signal.SIGINT, 130, "0", f"{BETWEEN}|{INSIDE}|{OUTSIDE}"),
        (signal.SIGTERM, 143, "1", INSIDE),
    ],
)
def test_a_process_stopped_by_a_signal_goes_on_with_the_same_numbers(
    trained, tmp_path, asked, code, every, line
):
    arguments = (f"--run_dir={tmp_path}", f"--checkpoint_every={every}")
    stopped = subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for output in stopped.stdout:
        if output.startswith("task 1 of 2"):
            break
    if every == "1":
        while stopped.poll() is None and not list(tmp_path.glob("checkpoints/*/task-02-step-*")):
            time.sleep(0.01)
    stopped.send_signal(asked)
    _, error = stopped.communicate(timeout=300)
    assert stopped.returncode == code
    assert re.fullmatch(line, error.splitlines()[-1])

    resumed = call(*arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after task 1" in resumed.stdout
    if every == "1":
        assert re.search(r"task 2 of 2: .*: resumed at step \d+", resumed.stdout)
    assert numbers(tmp_path) == numbers(trained[0])
