import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("switch", ["0", "1"])
def test_the_machine_says_whether_onednn_computes(switch):
    printed = subprocess.run(
        [sys.executable, "-c", "from dgm_tf.runs import provenance; print(provenance.machine())"],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": switch, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"'onednn': {switch == '1'}" in printed
