"""`python -m trainers.tune` as a user types it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dgm_tf.errors import InputError
from dgm_tf.settings import settings_for
from trainers import flags, split_digits, tune

ROOT = Path(__file__).parents[2]
TINY = {
    "batch_size": 60, "generator_size": 2, "critic_size": 4, "consolidation_steps": 10,
    "replay_buffer": 128,
}  # fmt: skip


def parse(*arguments):
    return flags.define_tune().parse(arguments, program="python -m p", about="")


# Flags.


def test_what_is_not_given_is_the_data_sets_and_the_presets():
    found = parse("--dataset=svhn_cropped")
    assert found["training"]["settings"] == settings_for("svhn_cropped", "w")
    assert found["training"]["validation_fraction"] == 0.10
    assert parse("--dataset=digits")["training"]["validation_fraction"] == 0.15
    assert found["plan"]["tasks"] == found["training"]["tasks"] == 3
    assert found["tuning"]["search"] == ("s_max", "sparsity")


def test_what_is_given_arrives(tmp_path):
    (tmp_path / "begin.json").write_text(json.dumps({"preset": "paper", "critic_size": 8}))
    found = parse(
        "--dataset=mnist", "--variant=a", f"--settings={tmp_path}/begin.json", "--epochs=5",
        "--seed=4", "--search=replay,s_max", "--tuner=hyperband", "--factor=2", "--halvings=3",
        "--fresh_seeds=1,2", "--objective=mean", "--growth_price=0.1", "--tasks=2",
        "--search_dir=x",
    )  # fmt: skip
    expected = settings_for("mnist", "a", "paper", critic_size=8, epochs=5, seed=4)
    assert found["training"]["settings"] == expected
    assert found["plan"] == {
        "tasks": 2, "tuner": "hyperband", "factor": 2, "halvings": 3, "trials": 20,
        "fresh_seeds": (1, 2),
    }  # fmt: skip
    assert found["tuning"] == {
        "preset": "paper", "search": ("replay", "s_max"), "objective": "mean",
        "growth_price": 0.1, "search_dir": "x",
    }  # fmt: skip
    assert "python -m p --dataset=mnist --variant=a" in found["training"]["command"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), "expected --dataset=NAME"),
        (("--dataset=digits", "--search=s_max,epoch"), "expected --search as some of s_max,"),
        (("--dataset=digits", "--tuner=hyperband", "--trials=3"), "--trials means nothing"),
        (("--dataset=digits", "--images=x"), "together with --dataset=folder"),
        (("--dataset=folder",), "expected --images=DIR"),
        (("--dataset=digits", "--fresh_seeds=1,x"), "expected whole numbers such as 1,2"),
        (("--dataset=digits", "--tuner=grid"), "value should be one of"),
    ],
)
def test_a_wrong_flag_is_an_input_error_of_one_line(arguments, wanted):
    with pytest.raises(InputError) as error:
        parse(*arguments)
    assert wanted in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--dataset=digit"], "unknown data set 'digit'"),
        (["--dataset=digits", "--tasks=11"], "from 1 to 10"),
        (["--dataset=digits", "--trials=0"], "trials must be an integer of at least 1"),
        (["--dataset=digits", "--validation_fraction=0"], "validation_fraction is 0"),
        (["--dataset=digits", "--growth_price=-1"], "growth_price"),
        (["--dataset=digits", "--preset=paper", "--validation_fraction=0.6"], "--batch_size is 64"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(arguments, wanted, tmp_path, capsys):
    assert tune.main([*arguments, f"--search_dir={tmp_path}/search"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert wanted in captured.err and captured.out == ""
    assert not (tmp_path / "search").exists()


def test_help_says_which_images_a_search_looks_at(capsys):
    assert tune.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "VALIDATION images of all classes seen, finished tasks' included" in text
    assert "a search looks at them, a run never does" in text
    assert "sparsity (0.0001 to 1, logarithmic)" in text


# Whole searches of real learners.


def start(folder, *arguments, **environment):
    settings = folder.parent / "tiny.json"
    settings.write_text(json.dumps(TINY))
    command = [
        sys.executable, "-m", "trainers.tune", "--dataset=digits", "--classes_per_task=5",
        f"--settings={settings}", "--epochs=2", "--tasks=1", "--tuner=random",
        f"--search_dir={folder}", *arguments,
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_search_stopped_by_ctrl_c_goes_on_and_its_file_serves_a_trainer(tmp_path):
    folder = tmp_path / "search"
    stopped = start(folder, "--trials=3")
    for line in stopped.stdout:
        if line.startswith("trial 1:"):
            break
    stopped.send_signal(signal.SIGINT)
    _, error = stopped.communicate(timeout=300)
    assert stopped.returncode == 130
    last = "stopped; the same command goes on with the trials that are left"
    assert error.splitlines()[-1] == last and "Traceback" not in error

    resumed = start(folder, "--trials=3")
    output, error = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, error
    assert "going on after 1 finished trials" in output and "trial 1:" not in output
    assert "trial 3:" in output
    run = [f"--settings={folder}/best.json", "--epochs=1", "--classes_per_task=5", "--tasks=1"]
    assert split_digits.main([*run, f"--run_dir={tmp_path}/run", "--quiet", "--nooracle"]) == 0
    used = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    best = json.loads((folder / "best.json").read_text())
    assert {name: used[name] for name in best if name != "preset"} == {
        name: value for name, value in best.items() if name != "preset"
    }


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
    processes = {
        name: start(folder, "--trials=5", KERASTUNER_TUNER_ID=name, **common)
        for name in ("chief", "worker1", "worker2")
    }
    done = {name: process.communicate(timeout=900) for name, process in processes.items()}
    for name, process in processes.items():
        assert process.returncode == 0, done[name][1]
    assert "going on after 1 finished trials" in done["chief"][0]
    ran = [line for name in ("worker1", "worker2") for line in done[name][0].splitlines()]
    numbers = sorted(line.split(":")[0] for line in ran if line.startswith("trial "))
    assert numbers == [f"trial {number}" for number in (2, 3, 4, 5)]
    assert not any(line.startswith("trial ") for line in done["chief"][0].splitlines())
    rows = (folder / "trials.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == list("12345")
    assert (folder / "best.json").exists()
