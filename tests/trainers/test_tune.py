"""`python -m trainers.tune` as a user types it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dgm_tf.devices import onednn
from dgm_tf.tuning.space import RANGES, Aim, Plan
from tests.class_folders import write
from trainers import split_digits, tune

ROOT = Path(__file__).parents[2]
TINY = {
    "batch_size": 60, "generator_size": 2, "critic_size": 4, "consolidation_steps": 1,
    "replay_buffer": 128,
}  # fmt: skip


def test_the_page_has_the_ranges_that_are_searched():
    page = (ROOT / "docs" / "how-to" / "tune.md").read_text(encoding="utf-8")
    table = page.partition("| setting | range |")[2].partition("\n\n")[0]
    named = {
        name: values
        for names, values in re.findall(r"^\| (`.*) \| (.*) \|$", table, re.M)
        for name in re.findall(r"\w+", names)
    }
    assert named == {name: str(values) for name, values in RANGES.items()}


def test_flags_make_the_options_of_a_search():
    given = tune.define().parse(
        ["--dataset=mnist", "--search=replay,s_max", "--objective=mean", "--growth_price=0.1",
         "--max_tasks=2", "--tuner=hyperband", "--factor=2", "--halvings=3", "--fresh_seeds=1,2",
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
            "unknown setting to search 'epoch': choose one of s_max,",
        ),
        (["--dataset=digits", "--fresh_seeds=1,x"], "expected whole numbers such as"),
        (["--dataset=digits", "--tuner=grid"], "expected random or bayesian or hyperband"),
        (["--dataset=digits", "--factor=2"], "--factor means nothing to --tuner=bayesian"),
        (
            ["--dataset=digits", "--tuner=hyperband", "--trials=4"],
            "--trials means nothing to --tuner=hyperband",
        ),
        (["--dataset=digits", "--max_tasks=11"], "expected --max_tasks from 1 to 10, received 11"),
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


@pytest.mark.parametrize("quiet", [True, False])
def test_a_quiet_search_of_two_classes_says_nothing_of_its_data(
    quiet, tmp_path, monkeypatch, capsys
):
    folder = write(tmp_path / "images", {"a": 100, "b": 120})
    shutil.copy(folder / "a" / "0.png", folder / "a" / "copy.png")
    plans = []
    monkeypatch.setattr("dgm_tf.tuning.search.search", lambda *given, **_: plans.append(given[2]))
    monkeypatch.setattr(onednn, "advise", lambda: print("advice"))
    flags = [f"--images={folder}", "--batch_size=2", f"--search_dir={tmp_path}/search"]
    assert tune.main(["--dataset=folder", *flags, *["--quiet"] * quiet]) == 0
    said = "images that are copies in their class, not counted: 1\nadvice\n"
    assert capsys.readouterr().out == ("" if quiet else said)
    assert [plan.max_tasks for plan in plans] == [2]  # and not 3, which two classes are too few for


def test_a_search_is_not_kept_among_the_images(tmp_path, capsys):
    arguments = ["--dataset=folder", f"--images={tmp_path}", f"--search_dir={tmp_path}/s"]
    assert tune.main(arguments) == 2
    assert "name another --search_dir" in capsys.readouterr().err


def test_help_says_which_images_a_search_looks_at(capsys):
    assert tune.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "compares trials by validation images" in text and "reads no test image" in text
    assert "sparsity (0.0001 to 1, logarithmic)" in text


# Whole searches of real learners.


def start(folder, *arguments, **environment):
    command = [
        sys.executable, "-m", "trainers.tune", "--dataset=digits", "--classes_per_task=5",
        f"--settings={json.dumps(TINY)}", "--epochs=1", "--max_tasks=1", "--tuner=random",
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
    assert "resumed after 1 finished trial" in output and "trial 1:" not in output
    assert "trial 2:" in output
    run = [f"--settings={folder}/best.json", "--epochs=1", "--classes_per_task=5", "--max_tasks=1"]
    assert split_digits.main([*run, f"--run_dir={tmp_path}/run", "--nooracle"]) == 0
    used = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert json.loads((folder / "best.json").read_text()).items() <= used.items()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start_several(folder, order, *arguments, port=None):
    """Processes by name, begun in this order, each so many seconds after the one before."""
    common = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port or free_port()}
    begun = {}
    for name, seconds in order:
        time.sleep(seconds)
        begun[name] = start(folder, *arguments, KERASTUNER_TUNER_ID=name, **common)
    return begun


def ended(processes):
    """Output and errors of processes that have ended well, by name."""
    found = {name: process.communicate(timeout=300) for name, process in processes.items()}
    codes = {name: process.returncode for name, process in processes.items()}
    assert set(codes.values()) == {0}, (codes, found)
    return found


def trials_run(found):
    lines = [line for output, _ in found.values() for line in output.splitlines()]
    return sorted(line.split(":")[0] for line in lines if line.startswith("trial "))


def check_results(folder, trials):
    rows = (folder / "trials.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, trials + 1))
    assert not any(row.split(",")[-1] for row in rows)  # none has failed
    assert (folder / "best.json").exists()


ORDERS = {
    "all at once": [("worker1", 0), ("chief", 0), ("worker2", 0)],
    "a worker long before": [("worker1", 0), ("chief", 25), ("worker2", 0)],
    "the chief long before": [("chief", 0), ("worker1", 25), ("worker2", 0)],
    "a worker after the end": [("chief", 0), ("worker1", 0), ("worker2", 45)],
}


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_a_chief_and_two_workers_may_start_in_any_order_and_at_any_pace(tmp_path, order):
    folder = tmp_path / "search"
    found = ended(start_several(folder, ORDERS[order], "--trials=3"))
    assert trials_run(found) == ["trial 1", "trial 2", "trial 3"]
    check_results(folder, 3)
    says = {name for name, (_, error) in found.items() if "waiting for" in error}
    if order == "a worker long before":
        assert "waiting for the chief at 127.0.0.1:" in found["worker1"][1]
    if order == "the chief long before":
        assert says == {"chief"}
    if order == "a worker after the end":
        assert f"the search is finished: {folder}" in found["worker2"][0]


@pytest.mark.slow
def test_a_folder_in_which_a_worker_was_first_is_taken(tmp_path):
    (tmp_path / "trials").mkdir()  # as workers once left it behind
    found = ended(start_several(tmp_path, [("worker1", 0), ("chief", 0)], "--trials=1"))
    assert trials_run(found) == ["trial 1"]
    check_results(tmp_path, 1)


@pytest.mark.slow
def test_a_search_survives_the_deaths_of_its_chief_and_of_a_worker_in_a_trial(tmp_path):
    folder, port = tmp_path / "search", free_port()
    order = [(name, 0) for name in ("chief", "worker1", "worker2")]
    begun = start_several(folder, order, "--trials=4", port=port)
    for line in begun["worker1"].stdout:
        if line.startswith("trial "):
            break
    time.sleep(1.0)  # It has a next one by now.
    for name in "worker1", "chief":
        begun[name].kill()
        begun[name].communicate()
    begun |= start_several(folder, [("chief", 8)], "--trials=4", port=port)
    del begun["worker1"]
    found = ended(begun)
    assert "waiting for the chief" in found["worker2"][1]
    assert "resumed after" in found["chief"][0]
    check_results(folder, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chief", "worker1"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_waits_says_so_and_ends_on_a_signal(tmp_path, name, signum):
    (waits,) = start_several(tmp_path / "search", [(name, 0)], "--trials=1").values()
    for line in waits.stderr:
        if "waiting for" in line:
            break
    waits.send_signal(signum)
    assert waits.wait(timeout=5) == 128 + signum
    waits.communicate()


@pytest.mark.slow
def test_a_worker_with_other_flags_is_refused(tmp_path):
    folder, port = tmp_path / "search", free_port()
    chief = start_several(folder, [("chief", 0)], "--trials=1", port=port)
    other = start_several(folder, [("worker1", 0)], "--trials=1", "--seed=3", port=port)["worker1"]
    _, error = other.communicate(timeout=200)
    assert other.returncode == 2 and "started for another search" in error
    assert "base.seed is 0 there, 3 here" in error
    ended(chief | start_several(folder, [("worker1", 0)], "--trials=1", port=port))


@pytest.mark.slow
def test_a_chief_and_two_workers_share_a_search_that_one_process_began(tmp_path):
    folder = tmp_path / "search"
    first = start(folder, "--trials=1")
    _, error = first.communicate(timeout=300)
    assert first.returncode == 0, error
    order = [(name, 0) for name in ("chief", "worker1", "worker2")]
    found = ended(start_several(folder, order, "--trials=4"))
    assert "resumed after 1 finished trial" in found["chief"][0]
    assert trials_run(found) == ["trial 2", "trial 3", "trial 4"]
    check_results(folder, 4)
