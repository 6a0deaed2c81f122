"""Reserved weights keep their bits under any precision and on any number of devices."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.gated_steps import gated_steps
from tests.layers.layer_check import bits

ROOT = Path(__file__).parents[2]

variants = pytest.mark.parametrize("variant", ["w", "a"])
dtypes = pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])


def check(found):
    reserved, before, after = (found[name] for name in ("reserved", "before", "after"))
    assert 0 < reserved.sum() < reserved.size
    np.testing.assert_array_equal(bits(after[reserved]), bits(before[reserved]))
    assert (after[~reserved] != before[~reserved]).all()


@variants
@dtypes
def test_on_one_device(variant, dtype):
    check(gated_steps(variant, dtype, tf.distribute.get_strategy()))


@variants
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_on_two_replicas(variant, dtype, tmp_path):
    out = tmp_path / "found.npz"
    done = subprocess.run(
        [sys.executable, "-m", "tests.layers.gated_steps", out, variant, dtype],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out) as found:
        check(found)
