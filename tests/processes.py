"""Programs that tests start as processes of their own."""

import os
import subprocess
import sys


def started(*command, tf_config=None):
    """A Python program, with the errors that it prints in its output."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_CONFIG", None)
    if tf_config is not None:
        environment["TF_CONFIG"] = tf_config
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(process):
    """Its exit code and its output."""
    output, _ = process.communicate(timeout=900)
    return process.returncode, output


def finished(process):
    code, output = ended(process)
    assert code == 0, output
    return output
