"""Starts a driver of faults as the command that it is."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def found_by(module, folder, *arguments):
    """What a driver says that it found, read from its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, str(folder)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
