"""Reserved weights keep their bits under any precision and on any number of devices."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.layers import MaskedDense
from dgm_tf.learners.phase import new_adam
from tests.layers.layer_check import bits

INPUTS, UNITS, STEPS = 6, 5, 4
VARIANTS = ("w", "a")
DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")


def check_steps(variant: str, dtype: str, strategy: tf.distribute.Strategy) -> None:
    """Takes steps on a layer of which a finished task has reserved a part, which must not move."""
    random = np.random.RandomState(1)
    with strategy.scope():
        layer = MaskedDense(UNITS, variant=variant, dtype=dtype)
        layer.build((None, INPUTS))
        layer.embedding.assign(random.normal(size=layer.embedding.shape))
        layer = layer.finish_task()
        optimizer = new_adam(0.1, [layer.kernel])
    reserved = np.broadcast_to(layer.reserved_weights(), layer.kernel.shape)
    before = layer.kernel.numpy()
    inputs = tf.constant(random.normal(size=[8, INPUTS]), tf.float32)

    def on_replica():
        replica = tf.distribute.get_replica_context()
        # Another part of the batch on each replica.
        mine = tf.roll(inputs, replica.replica_id_in_sync_group, axis=0)[:4]
        with tf.GradientTape() as tape:
            outputs = tf.cast(layer(mine, scale=3.0), tf.float32)
            loss = tf.reduce_mean(tf.square(outputs - 1.0))
        gradient = layer.gate(tape.gradient(loss, layer.kernel.value))
        gradient = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradient)
        optimizer.apply([gradient], [layer.kernel])

    step = tf.function(lambda: strategy.run(on_replica), autograph=False)
    for _ in range(STEPS):
        step()
    assert 0 < reserved.sum() < reserved.size
    for copy in strategy.experimental_local_results(layer.kernel.value):
        after = copy.numpy()
        np.testing.assert_array_equal(bits(after[reserved]), bits(before[reserved]))
        assert (after[~reserved] != before[~reserved]).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_on_one_device(variant, dtype):
    check_steps(variant, dtype, tf.distribute.get_strategy())


def test_on_two_replicas():
    """In a process that divides its CPU in two."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.layers.test_gate"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert two.num_replicas_in_sync == 2
    for variant, dtype in itertools.product(VARIANTS, DTYPES):
        check_steps(variant, dtype, two)
