"""The grid of runs: what is planned, what is skipped, and what a failure leaves."""

import subprocess
from pathlib import Path

import pytest

from dgm_tf import settings
from dgm_tf.errors import InputError
from dgm_tf.experiments import grid
from trainers import flags, table1


@pytest.fixture
def started(monkeypatch):
    """Commands that would have been started; each one writes ten rows, or fails."""
    commands = []

    def run(command, **_):
        commands.append(command)
        failing = any("svhn" in part for part in command)
        if not failing:
            (folder,) = [part for part in command if part.startswith("--run_dir=")]
            write_rows(folder.removeprefix("--run_dir="), 10)
        return subprocess.CompletedProcess(command, int(failing), "", "error: no data\n")

    monkeypatch.setattr(grid.subprocess, "run", run)
    return commands


def write_rows(folder, count):
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / "metrics.jsonl").write_text("{}\n" * count)


def test_only_what_is_missing_is_run_and_a_failure_does_not_stop_the_rest(tmp_path, started):
    planned = grid.plan(["svhn_cropped", "mnist"], ["dgm-w", "ewc"], [0, 1], str(tmp_path))
    assert len(planned) == 8
    write_rows(tmp_path / "mnist-10" / "ewc" / "seed1", 10)
    write_rows(tmp_path / "mnist-10" / "ewc" / "seed0", 4)  # goes on
    said = []
    failed = grid.run_missing(planned, say=said.append)
    assert len(started) == 7
    assert [run.dataset for run in failed] == ["svhn_cropped"] * 4
    assert any("no data" in line for line in said)
    started.clear()
    assert len(grid.run_missing(planned, say=said.append)) == 4
    assert len(started) == 4


def test_every_command_is_one_that_its_trainer_takes():
    methods = list(grid.METHODS)
    for run in grid.plan(list(grid.TRAINERS), methods, [0, 3], "results", table1.QUICK):
        _, _, _, *arguments = run.command
        found = flags.define(run.dataset).parse(arguments, program="p", about="")
        name = found["method"].replace("dgm", f"dgm-{getattr(found['settings'], 'variant', '')}")
        assert run.folder == f"results/{run.dataset}-10/{name}/seed{found['settings'].seed}"
        assert found["run_dir"] == run.folder
    assert {method.split("-")[0] for method in methods} == set(settings.METHODS)


@pytest.mark.parametrize("datasets, methods", [(["mnist", "x"], ["ewc"]), (["mnist"], ["x"])])
def test_an_unknown_name_is_refused(datasets, methods):
    with pytest.raises(InputError, match="unknown .* x; known are"):
        grid.plan(datasets, methods, [0], "results")


def test_a_folder_without_a_finished_run_has_no_table(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        grid.write_tables(tmp_path, tmp_path)


def test_wrong_seeds_are_one_line(capsys):
    assert table1.main(["--seeds=1,x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: expected --seeds") and error.count("\n") == 1
