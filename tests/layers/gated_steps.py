"""A program: a gated layer's steps on two replicas, in a process that may divide its CPU in two."""

import sys

import keras
import numpy as np
import tensorflow as tf

from dgm_tf.layers import MaskedDense

INPUTS, UNITS, STEPS = 6, 5, 4


def gated_steps(variant: str, dtype: str, strategy: tf.distribute.Strategy) -> dict:
    """Takes steps on a layer of which a finished task has reserved a part.

    Returns:
        `reserved`: which weights must not move, bool; `before` and `after`: the kernel, float32.
    """
    random = np.random.RandomState(1)
    with strategy.scope():
        layer = MaskedDense(UNITS, variant=variant, dtype=dtype)
        layer.build((None, INPUTS))
        layer.embedding.assign(random.normal(size=layer.embedding.shape))
        layer = layer.finish_task()
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build([layer.kernel])
    gate = layer.gate(tf.ones(layer.kernel.shape)).numpy()
    before = layer.kernel.numpy()
    inputs = tf.constant(random.normal(size=[8, INPUTS]), tf.float32)

    @tf.function
    def step():
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

        strategy.run(on_replica)

    for _ in range(STEPS):
        step()
    return {"reserved": gate == 0, "before": before, "after": layer.kernel.numpy()}


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert two.num_replicas_in_sync == 2
    out, variant, dtype = sys.argv[1:]
    np.savez(out, **gated_steps(variant, dtype, two))
