"""Each benchmark runs to its end at its smallest size; its numbers are nobody's business here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import stream_time
from benchmarks.stream_time import NUMBERS, Side

ROOT = Path(__file__).parents[1]
SMALLEST = {
    "serving": ["--calls=1", "--generator_size=2"],
    "step_cost": ["--rounds=1", "--steps=8", "--generator_size=2"],
    "many_tasks": ["--tasks=3"],
    "distribution": ["--rounds=1", "--steps=2", "--generator_size=2"],
    "long_stream": ["--tasks=1"],
    "accelerator": ["--rounds=1", "--steps=8", "--generator_size=2"],
    "stream_time": ["--seeds=0", "--", "--max_tasks=1", "--steps=4", "--generator_size=2"],
}
SIDES = [Side("before", "1111111", ("split_digits",)), Side("after", "2222222", ("split_digits",))]


class Killed(Exception):
    """Stands in for Ctrl-C, which would end the tests."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs(name, tmp_path):
    out = [f"--out={tmp_path}"] if name == "stream_time" else []
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *out, *SMALLEST[name]],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and len(done.stdout.splitlines()) > 2


def run(side, seed, *numbers):
    return {"side": side, "seed": seed, **dict(zip(NUMBERS, numbers, strict=True))}


@pytest.fixture
def learnt(monkeypatch):
    """The runs that were asked for: 100 s before, 50 s after, and a kill after three of them."""
    asked = []

    def learn(side, checkout, *, seed):
        if len(asked) == 3:
            raise Killed
        asked.append((side.name, seed))
        seconds = 100.0 if side.name == "before" else 50.0
        return run(side.name, seed, seconds, seconds + 30, 150.0, 900.0, None, 97.0 + seed)

    monkeypatch.setattr(stream_time, "learnt", learn)
    return asked


def test_a_stream_is_learnt_by_both_revisions_in_turn_and_resumed_after_a_kill(learnt, tmp_path):
    def measured():
        places = {"before": Path("a"), "after": Path("b")}
        return stream_time.measured(SIDES, places, [0, 1], tmp_path / "new" / "runs.csv")

    with pytest.raises(Killed):
        measured()
    assert learnt == [("before", 0), ("after", 0), ("after", 1)]
    learnt.clear()
    rows = measured()
    assert learnt == [("before", 1)] and len(rows) == 4
    learnt.clear()
    again = measured()
    assert not learnt and stream_time.table(again) == stream_time.table(rows)


def test_runs_of_another_pair_are_no_part_of_this_one(learnt, tmp_path):
    places = {"before": Path("a"), "after": Path("b")}
    stream_time.measured(SIDES, places, [0], tmp_path / "runs.csv")
    learnt.clear()
    other = [SIDES[0], SIDES[1]._replace(revision="3333333")]
    stream_time.measured(other, places, [0], tmp_path / "runs.csv")
    assert learnt == [("before", 0), ("after", 0)]


def test_a_ratio_is_the_mean_over_pairs_and_an_accuracy_the_difference():
    rows = [
        run("before", 0, 100.0, 120.0, 150.0, 900.0, None, 97.5),
        run("after", 0, 50.0, 60.0, 75.0, 900.0, None, 97.0),
        run("before", 1, 200.0, 240.0, 300.0, 900.0, None, 96.0),
        run("after", 1, 50.0, 60.0, 75.0, 900.0, None, 96.25),
        run("before", 2, 9.0, 9.0, 9.0, 9.0, None, 9.0),  # its other half is missing
    ]
    lines = stream_time.table(rows).splitlines()
    assert "learning_s, after / before: 0.375 (0.250 to 0.500)" in lines
    assert "A10, after - before: -0.12 (-0.50 to +0.25)" in lines
    assert "A5: not reached" in lines
    (first, second) = stream_time.recorded(rows_with_origin(rows), SIDES, change="it", dataset="d")
    assert (first["before"], first["after"], first["seed"]) == ("1111111", "2222222", 0)
    assert (second["learning_s_before"], second["A10_after"]) == (200.0, 96.25)
    assert set(first) == set(stream_time.RECORDED)


def rows_with_origin(rows):
    return [{**row, "command_line": "c", "machine": "m", "date": "2018-12-01"} for row in rows]


def test_a_commands_seconds_and_memory_are_those_of_its_process(tmp_path):
    code = "import time; held = bytearray(300 << 20); end = time.process_time() + 0.3\n"
    code += "while time.process_time() < end: pass"
    used = stream_time.timed([sys.executable, "-c", code], tmp_path)
    assert used["command_s"] >= 0.3 and 0.3 <= used["cpu_s"] < 10
    assert used["peak_mib"] >= 300  # More where this process, whose copy it is at first, has more.


def test_a_command_that_fails_ends_the_benchmark(tmp_path):
    with pytest.raises(SystemExit, match="ended with 7"):
        stream_time.timed([sys.executable, "-c", "raise SystemExit(7)"], tmp_path)


def test_who_ends_the_benchmark_ends_its_command(tmp_path, monkeypatch):
    started = []

    def ctrl_c(child, options):
        started.append(child)
        raise Killed

    monkeypatch.setattr(os, "wait4", ctrl_c)
    with pytest.raises(Killed):
        stream_time.timed([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository")
def test_a_revision_is_copied_with_all_that_a_trainer_needs(tmp_path):
    short = stream_time.copy_aside("HEAD", tmp_path)
    assert short == stream_time.copy_aside(short, tmp_path / "again")
    text = subprocess.run(
        ["git", "show", f"{short}:trainers/split_digits.py"], cwd=ROOT, capture_output=True
    )
    assert (tmp_path / "trainers" / "split_digits.py").read_bytes() == text.stdout
    assert list(tmp_path.glob("dgm_tf/__pycache__/*.pyc"))
    with pytest.raises(SystemExit, match="nosuch"):
        stream_time.copy_aside("nosuch", tmp_path / "none")


def test_files_that_differ_have_another_name(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_time, "ROOT", tmp_path)
    names = []
    for text in ("1", "2", "2"):
        for package in stream_time.PACKAGES:
            (tmp_path / package).mkdir(exist_ok=True)
            (tmp_path / package / "a.py").write_text(text)
        names.append(stream_time.copy_aside(None, tmp_path / f"{len(names)}"))
    assert names[0] != names[1] == names[2]
    assert (tmp_path / "2" / "trainers" / "a.py").read_text() == "2"
