"""Operations that repeat their bits, without which no memory is exact."""

import tensorflow as tf


def ensure() -> None:
    """Makes this process's operations repeat their bits where they would not: on a GPU.

    There TensorFlow otherwise times several algorithms for a shape and takes the fastest, another
    one each time. It replaces what it can and refuses the rest, which is a random operation without
    a seed; nothing that DGM does is refused. On a CPU operations repeat their bits anyway, and
    nothing is changed.
    """
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
