"""Each benchmark runs to its end at its smallest size; its numbers are nobody's business here."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALLEST = {
    "serving": ["--calls=1", "--generator_size=2"],
    "step_cost": ["--rounds=1", "--steps=8", "--generator_size=2"],
    "many_tasks": ["--tasks=3"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs(name):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *SMALLEST[name]],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and len(done.stdout.splitlines()) > 3
