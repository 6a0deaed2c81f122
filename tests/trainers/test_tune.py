"""`python -m trainers.tune` as a user types it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dgm_tf.tuning.space import Aim, Plan
from trainers import split_digits, tune

ROOT = Path(__file__).parents[2]
TINY = {
    "batch_size": 60, "generator_size": 2, "critic_size": 4, "consolidation_steps": 1,
    "replay_buffer": 128,
}  # fmt: skip


def test_flags_make_the_options_of_a_search():
    given = tune.define().parse(
        ["--dataset=mnist", "--search=replay,s_max", "--objective=mean", "--growth_price=0.1",
         "--tasks=2", "--tuner=hyperband", "--factor=2", "--halvings=3", "--fresh_seeds=1,2",
         "--search_dir=x", "--quiet", "--critic_size=8"]
    )  # fmt: skip
    assert given.of(Aim) == Aim(("replay", "s_max"), "mean", 0.1)
    assert given.of(Plan) == Plan(2, "hyperband", 20, 2, 3, (1, 2), "x", True)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "expected --dataset=NAME"),
        (
            ["--dataset=digits", "--search=s_max,epoch"],
            "unknown setting to search epoch; known are s_max,",
        ),
        (["--dataset=digits", "--fresh_seeds=1,x"], "expected whole numbers such as"),
        (["--dataset=digits", "--tuner=grid"], "expected random or bayesian or hyperband"),
        (["--dataset=digits", "--tasks=11"], "from 1 to 10"),
        (["--dataset=digits", "--validation_fraction=0"], "validation_fraction is 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_any_work(
    arguments, wanted, tmp_path, capsys
):
    assert tune.main([*arguments, f"--search_dir={tmp_path}/search"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert wanted in captured.err and captured.out == ""
    assert not (tmp_path / "search").exists()


def test_help_says_which_images_a_search_looks_at(capsys):
    assert tune.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "a search looks at them, a run never does" in text
    assert "sparsity (0.0001 to 1, logarithmic)" in text


# Whole searches of real learners.


def start(folder, *arguments, **environment):
    command = [
        sys.executable, "-m", "trainers.tune", "--dataset=digits", "--classes_per_task=5",
        f"--settings={json.dumps(TINY)}", "--epochs=1", "--tasks=1", "--tuner=random",
        f"--search_dir={folder}", *arguments,
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_search_stopped_by_ctrl_c_is_resumed_and_its_file_serves_a_trainer(tmp_path):
    folder = tmp_path / "search"
    stopped = start(folder, "--trials=2")
    for line in stopped.stdout:
        if line.startswith("trial 1:"):
            break
    stopped.send_signal(signal.SIGINT)
    _, error = stopped.communicate(timeout=300)
    assert stopped.returncode == 130
    last = "stopped; the same command resumes with the trials left"
    assert error.splitlines()[-1] == last and "Traceback" not in error

    resumed = start(folder, "--trials=2")
    output, error = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, error
    assert "resumed after 1 finished trials" in output and "trial 1:" not in output
    assert "trial 2:" in output
    run = [f"--settings={folder}/best.json", "--epochs=1", "--classes_per_task=5", "--max_tasks=1"]
    assert split_digits.main([*run, f"--run_dir={tmp_path}/run", "--nooracle"]) == 0
    used = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert json.loads((folder / "best.json").read_text()).items() <= used.items()


@pytest.mark.slow
def test_a_chief_and_two_workers_share_a_search_that_one_process_began(tmp_path):
    folder = tmp_path / "search"
    alone = start(folder, "--trials=1")
    _, error = alone.communicate(timeout=300)
    assert alone.returncode == 0, error
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    names = ("chief", "worker1", "worker2")
    processes = [start(folder, "--trials=4", KERASTUNER_TUNER_ID=name, **common) for name in names]
    chief, *workers = (process.communicate(timeout=900) for process in processes)
    assert [process.returncode for process in processes] == [0] * 3, (chief, workers)
    assert "resumed after 1 finished trials" in chief[0]
    lines = [line for output, _ in workers for line in output.splitlines()]
    ran = sorted(line.split(":")[0] for line in lines if line.startswith("trial "))
    assert ran == ["trial 2", "trial 3", "trial 4"]
    rows = (folder / "trials.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == list("1234")
    assert (folder / "best.json").exists()
