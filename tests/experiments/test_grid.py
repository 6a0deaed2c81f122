"""The grid of runs: what is planned, what is skipped, and what a failure leaves."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgm_tf.errors import InputError
from dgm_tf.experiments import grid
from dgm_tf.experiments.options import RunOptions, SettingsOptions, StreamOptions
from dgm_tf.experiments.run import Run
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.registry import METHODS, new_learner
from dgm_tf.terminal import stopping
from tests.reporting import example
from trainers import table1, train

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def started(monkeypatch):
    """Commands that would have been started; each one writes ten rows, or fails."""
    commands = []

    class Process:
        def __init__(self, command, *, stderr, **_):
            commands.append(command)
            self._failing = any("svhn" in part for part in command)
            stderr.write("Warning\nerror: no data\n")

            if not self._failing:
                (folder,) = [part for part in command if part.startswith("--run_dir=")]
                write_rows(folder.removeprefix("--run_dir="), 10)

        def poll(self):
            return int(self._failing)

        def wait(self):
            pass

    monkeypatch.setattr(grid.subprocess, "Popen", Process)
    monkeypatch.setattr(grid, "_LOOK_SECONDS", 0)
    return commands


def write_rows(folder, count, tasks=10):
    rows = [example.row(task) for task in range(1, count + 1)]
    described = example.description(tasks=tasks, learner=Path(folder).parent.name)
    example.write_run(Path(folder), rows, described)


def test_only_what_is_missing_is_run_and_a_failure_does_not_stop_the_rest(tmp_path, started):
    planned = grid.plan(["svhn_cropped", "mnist"], ["dgm-w", "ewc"], [0, 1], str(tmp_path))
    assert len(planned) == 8
    write_rows(tmp_path / "mnist-10" / "ewc" / "seed1", 10)
    write_rows(tmp_path / "mnist-10" / "ewc" / "seed0", 4)  # goes on
    said = []
    failed = grid.run_missing(planned, say=said.append)
    assert len(started) == 7
    assert [run.dataset for run in failed] == ["svhn_cropped"] * 4
    assert said.count("failed, exit code 1: error: no data") == 4
    started.clear()
    assert len(grid.run_missing(planned, say=said.append)) == 4
    assert len(started) == 4


@pytest.mark.parametrize("asked", [[], [signal.SIGTERM]])
def test_runs_are_stopped_where_the_grid_fails_or_is_asked_to_stop(tmp_path, monkeypatch, asked):
    ended = []

    class Process:
        def __init__(self, *_, **__):
            for signum in asked:
                assert stopping.request(signum)

        def poll(self):
            raise OSError("a fault of the grid")

        def terminate(self):
            ended.append("asked")

        def wait(self, *_):
            ended.append("waited for")

    monkeypatch.setattr(grid.subprocess, "Popen", Process)
    monkeypatch.setattr(grid, "_LOOK_SECONDS", 0)
    planned = grid.plan(["mnist"], ["ewc"], [0], str(tmp_path))
    with pytest.raises(stopping.Stopped if asked else OSError):
        grid.run_missing(planned, say=lambda line: None)
    assert ended == ["asked", "waited for"]


PROGRAM = """
import os, sys, time
from pathlib import Path
time.sleep(0.2)  # a trainer, too, takes a while before it looks at its cores
(folder,) = [Path(part.removeprefix("--run_dir=")) for part in sys.argv if "--run_dir" in part]
folder.mkdir(parents=True)
(folder / "cores").write_text(repr(os.sched_getaffinity(0)))
def stop(signum, _):
    with open(folder / "asked", "a") as log:
        log.write(f"{signum} ")
    time.sleep(1)  # a checkpoint
    (folder / "stopped").touch()
    sys.exit(128 + signum)
import signal
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
(folder / "began").touch()
for _ in range(600):  # until all have begun
    if len(list(folder.parent.glob("*/began"))) >= 2:
        break
    time.sleep(0.1)
if "--stay" in sys.argv:
    time.sleep(60)
(folder / "metrics.jsonl").write_text("{}\\n" * 10)
"""
two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores to divide",
)


def of_program(tmp_path, monkeypatch, *extra):
    """Three runs of a program that does nothing."""
    monkeypatch.setattr(
        grid.Planned, "command", property(lambda run: ["python", "-c", PROGRAM, *extra,
                                                       f"--run_dir={run.folder}"]),
    )  # fmt: skip
    return grid.plan(["mnist"], ["ewc"], [0, 1], str(tmp_path))


@two_cores
@pytest.mark.slow
def test_runs_side_by_side_have_cores_of_their_own(tmp_path, monkeypatch):
    planned = of_program(tmp_path, monkeypatch)
    assert grid.run_missing(planned, say=lambda line: None, jobs=2) == []
    first, second = (eval((Path(run.folder) / "cores").read_text()) for run in planned)
    assert first and second and not first & second


# What table1 does, with runs of the program above.
GRID = """
import sys
from tests.experiments import test_grid
from trainers import command
with command.outcome("ended at once") as outcome:
    planned = test_grid.of_program(sys.argv[1], test_grid.Patched, "--stay")
    test_grid.grid.run_missing(planned, say=lambda line: None, jobs=2)
sys.exit(outcome.code)
"""


class Patched:
    setattr = setattr


def begun(folder):
    return len(list(folder.glob("mnist-10/ewc/*/began"))) == 2


def stopped_runs(folder):
    """The signals that each run has had which was let to write its checkpoint."""
    return [(path.parent / "asked").read_text().split() for path in folder.rglob("stopped")]


@two_cores
@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_runs_side_by_side_are_asked_to_stop_where_the_grid_is(tmp_path, signum):
    process = subprocess.Popen(
        [sys.executable, "-c", GRID, str(tmp_path)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not begun(tmp_path):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signum)  # to this one alone, and no terminal is near
    assert "the same command resumes what is missing" in process.communicate()[1]
    assert process.returncode == 128 + signum
    assert stopped_runs(tmp_path) == [[str(int(signal.SIGTERM))]] * 2


@two_cores
@pytest.mark.slow
def test_ctrl_c_on_a_terminal_reaches_each_run_once(tmp_path):
    on_terminal = (
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", on_terminal, sys.executable, "-c", GRID, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not begun(tmp_path):
        assert process.poll() is None
        time.sleep(0.1)
    process.stdin.write(b"\x03")
    process.stdin.flush()
    assert process.wait() == 128 + signal.SIGINT
    process.stdin.close()
    assert stopped_runs(tmp_path) == [[str(int(signal.SIGINT))]] * 2


@pytest.mark.parametrize("jobs", [0, 10_000])
def test_there_are_no_more_jobs_than_cores(jobs):
    with pytest.raises(InputError, match="--jobs must be"):
        grid.run_missing([], say=lambda line: None, jobs=jobs)


@two_cores
@pytest.mark.parametrize(
    ("given", "jobs"), [([], 1), (["--quick"], 2), (["--quick", "--jobs=1"], 1), (["--jobs=2"], 2)]
)
def test_a_quick_table_is_learnt_two_runs_at_a_time(tmp_path, monkeypatch, given, jobs):
    asked = []
    monkeypatch.setattr(grid, "run_missing", lambda *_, jobs, **__: asked.append(jobs) or [])
    monkeypatch.setattr(grid, "write_tables", lambda *_: [])
    assert table1.main([*given, f"--results={tmp_path}"]) == 0
    assert asked == [jobs]


def test_every_command_is_one_that_its_trainer_takes():
    methods = list(grid.METHODS)
    datasets = [name for name in grid.TRAINERS if name != "folder"]
    for run in grid.plan(datasets, methods, [0, 3], "results", table1.QUICK):
        trainer = train.define(grid.TRAINERS[run.dataset], run.dataset, "")
        given = trainer.parse(run.arguments)
        chosen = given.of(SettingsOptions)
        settings = chosen.resolve(run.dataset, given.among(*train.SETTINGS))
        name = chosen.method.replace("dgm", f"dgm-{getattr(settings, 'variant', '')}")
        assert run.folder == f"results/{run.dataset}-10/{name}/seed{settings.seed}"
        assert given.of(RunOptions).run_dir == run.folder
    assert {method.split("-")[0] for method in methods} == set(METHODS)


def test_flags_behind_two_dashes_reach_each_trainer_that_has_them(tmp_path, started):
    (tmp_path / "shapes").mkdir()
    flags = [f"--images={tmp_path}/shapes", "--image_size=24", "--critic_size=8", "--max_tasks=3"]
    options = ["--datasets=folder", "--methods=dgm-a,nearest_mean", f"--results={tmp_path}"]
    assert table1.main([*options, "--", *flags]) == 0
    dgm, mean = started
    assert dgm[1:3] == mean[1:3] == ["-m", "trainers.split_folder"]
    assert set(flags) < set(dgm) and f"--run_dir={tmp_path}/shapes/dgm-a/seed0" in dgm
    # The nearest mean has no critic.
    assert set(flags) - set(mean) == {"--critic_size=8"}


def test_a_run_of_fewer_tasks_is_finished_with_its_last_one(tmp_path):
    flags = ["--images=shapes"]
    (run,) = grid.plan(["folder"], ["ewc"], [0], str(tmp_path), flags)
    (shorter,) = grid.plan(["folder"], ["ewc"], [0], str(tmp_path), [*flags, "--max_tasks=2"])
    for learnt, whole, short in (1, False, False), (2, False, True), (4, True, True):
        write_rows(run.folder, learnt, tasks=4)
        assert (run.is_finished(), shorter.is_finished()) == (whole, short)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--datasets=folder"], "expected the trainer's flag --images=DIR"),
        (["--datasets=mnist", "--", "--stepz=3"], "unknown command line flag 'stepz'"),
        (["--datasets=mnist", "--", "3"], "expected flags as --name=value"),
        (["--datasets=mnist", "--", "--max_tasks", "3"], "--name=value, received '3'"),
        (["--datasets=mnist", "--", "--seed=3"], "--seed differs from run to run"),
        (["--datasets=mnist", "--", "-max_tasks=3"], "--name=value, received '-max_tasks=3'"),
        (["--datasets=mnist", "--", "---seed=3"], "--name=value, received '---seed=3'"),
        (["--datasets=mnist", "--", "--undefok=stepz", "--stepz=3"], "--undefok hides other flags"),
        (["--datasets=digits,digits"], "expected --datasets that differ, received digits twice"),
        (["--methods=ewc,joint,ewc"], "expected --methods that differ, received ewc twice"),
        (["--seeds=0,1,0"], "expected --seeds that differ, received 0 twice"),
        (["--quick", "--datasets=mnist"], "leave out --datasets, or --quick"),
        (["--datasets=mnist", "--", "--classes_per_task=3"], "3 does not divide the 10 classes"),
        (["--datasets=mnist", "--", "--classes_per_task=x"], "--classes_per_task=x: expected a"),
        (
            ["--datasets=mnist", "--", "--max_tasks=0"],
            "--max_tasks must be an integer from 1 to 10",
        ),
        (
            ["--datasets=mnist", "--", "--classes_per_task=5", "--max_tasks=3"],
            "--max_tasks must be an integer from 1 to 2, got 3",
        ),
        (["--datasets=mnist", "--", "--export_classifier=true"], "name an --export_dir"),
        (
            ["--datasets=mnist", "--methods=dgm-w,ewc", "--", "--export_dir=x"],
            "only DGM's memory can be exported: --export_dir is given, --method is ewc",
        ),
        (["--datasets=folder", "--", "--images=no/where"], "'no/where' is no folder"),
        (["--datasets=mnist", "--methods=ewc", "--", "--images=x"], "flag 'images'"),
        (["--datasets=mnist", "--methods=ewc", "--", "--critic_size=0"], "critic_size"),
    ],
)
def test_flags_that_a_trainer_refuses_are_refused_before_work(
    arguments, wanted, tmp_path, started, capsys
):
    assert table1.main([f"--results={tmp_path}", *arguments]) == 2
    assert wanted in capsys.readouterr().err and not started


def test_a_file_of_flags_behind_the_dashes_is_refused(tmp_path, started, capsys):
    (tmp_path / "flags").write_text("--seed=3\n")
    assert table1.main(["--datasets=mnist", "--", f"--flagfile={tmp_path}/flags"]) == 2
    assert "--flagfile hides other flags" in capsys.readouterr().err and not started


@pytest.mark.parametrize("per_task", ["1", "5", "5,3,2"])
def test_a_run_has_the_name_that_its_trainer_gives_it(per_task):
    (run,) = grid.plan(["digits"], ["joint"], [3], "runs", [f"--classes_per_task={per_task}"])
    options = train.define("split_digits", "digits", "").parse(run.arguments).of
    stream = options(StreamOptions, dataset="digits").open(3)
    learner = new_learner("joint", settings_for("digits", method="joint", seed=3), stream)
    assert run.folder == str(Run(stream, learner).path)


def joint_run(folder, dataset, side):
    """A finished run of joint training by its defaults, on ten classes."""
    described = example.description(tasks=10, learner="joint")
    described["settings"] = settings_for(dataset, method="joint").as_json()
    described["stream"] |= {"image_shape": [side, side, 1], "validation_fraction": 0.15}
    rows = [example.row(task, generates=False) for task in range(1, 11)]
    example.write_run(folder / "joint" / "seed0", rows, described)


@pytest.mark.parametrize(
    ("flag", "differing"),
    [
        ("--epochs=3", "settings.epochs is "),
        ("--class_order=1,0,2,3,4,5,6,7,8,9", "stream.task_classes is [[0], [1], [2], "),
        ("--class_order=random", "there, [[3], [8], [1], [4], "),
        ("--image_size=24", "stream.image_shape is [16, 16, 1] there, [24, 24, 1] here"),
        ("--validation_fraction=0.3", "stream.validation_fraction is 0.15 there, 0.3 here"),
    ],
)
def test_a_folder_of_other_settings_is_refused_before_work(
    flag, differing, tmp_path, started, capsys
):
    joint_run(tmp_path / "digits-10", "digits", side=16)
    options = ["--datasets=digits", "--methods=ewc,joint", f"--results={tmp_path}"]
    assert table1.main([*options, "--", flag]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/digits-10/joint/seed0 holds a run with other settings: " in line
    assert differing in line and line.endswith("name another folder by --results")
    assert not started and table1.main(options) == 0
    assert [command[3] for command in started] == ["--method=ewc"]


def test_a_finished_run_of_a_folder_is_taken_without_its_images(tmp_path, started, capsys):
    joint_run(tmp_path / "gone", None, side=32)
    options = ["--datasets=folder", "--methods=joint", f"--results={tmp_path}", "--"]
    assert table1.main([*options, "--images=gone"]) == 0
    assert table1.main([*options, "--images=gone", "--classes_per_task=5"]) == 2
    assert "stream.task_classes is [[0], [1], " in capsys.readouterr().err and not started


def test_failures_are_told_where_no_run_is_finished(tmp_path, started, capsys):
    options = ["--methods=dgm-w,ewc", f"--results={tmp_path}"]
    assert table1.main([*options, "--datasets=svhn_cropped"]) == 2
    assert capsys.readouterr().err == "error: 2 runs failed; the same command tries them again\n"
    assert len(started) == 2 and not (tmp_path / "table1.md").exists()
    assert table1.main([*options, "--datasets=svhn_cropped,mnist"]) == 2
    assert "2 runs failed" in capsys.readouterr().err and (tmp_path / "table1.md").exists()


@pytest.mark.slow
def test_methods_are_compared_on_a_folder(tmp_path, capsys):
    random = np.random.default_rng(0)
    for label, level in (("dark", 60), ("light", 190)):
        (tmp_path / "levels" / label).mkdir(parents=True)
        for index in range(40):
            pixels = random.integers(level - 30, level + 30, (16, 16), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "levels" / label / f"{index}.png")
    options = ["--datasets=folder", "--methods=nearest_mean", f"--results={tmp_path}/runs"]
    assert table1.main([*options, "--seeds=0,1", "--", f"--images={tmp_path}/levels"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^\| nearest mean \| 2 \| 100.00 ± 0.00 \|", shown, re.M)
    assert (tmp_path / "runs" / "levels" / "nearest_mean" / "seed1" / "report.html").is_file()


@pytest.mark.parametrize("datasets, methods", [(["mnist", "x"], ["ewc"]), (["mnist"], ["x"])])
def test_an_unknown_name_is_refused(datasets, methods):
    with pytest.raises(InputError, match="unknown .* 'x': choose one of"):
        grid.plan(datasets, methods, [0], "results")


def test_the_table_is_of_the_planned_runs_and_is_shown_without_commands(tmp_path):
    root = ROOT / "results"
    shutil.copytree(root / "digits-10", tmp_path / "digits-10")
    planned = grid.plan(["digits"], ["nearest_mean", "dgm-w"], [0, 1], str(tmp_path))
    shown, *files = grid.write_tables(planned, tmp_path / "out")
    written = (tmp_path / "out" / "table1.md").read_text()
    assert re.findall(r"^\| ([\w ]+) \| 1 \|", shown, re.M) == ["nearest mean", "DGMw"]
    assert "EWC" not in written and "Made by" not in shown
    assert written.startswith(shown) and re.search(r"trainers.split_digits .*--variant=w", written)
    assert [Path(file).name for file in files] == ["table1.md", "table1.csv", "table1.tex"]
    with pytest.raises(InputError, match="none of the 1 runs is finished"):
        grid.write_tables(grid.plan(["mnist"], ["ewc"], [0], str(tmp_path)), tmp_path)
