"""Seeds: every random number of a run is a function of (seed, where it is used, step)."""

import zlib

import numpy as np
import tensorflow as tf


def derive(seed: int, *path: int | str) -> int:
    """A seed for one use, in [0, 2**31): the same for the same `path`, unrelated for another.

    Args:
        seed: the run's seed.
        *path: what the numbers are for, such as `("critic", 3)`. Strings and non-negative ints.

    Example:

    >>> derive(0, "critic", 3) == derive(0, "critic", 3)
    True
    >>> derive(0, "critic", 3) == derive(0, "critic", 4)
    False
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in path]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0] >> 1)


def pair(seed: int, *path: int | str) -> tf.Tensor:
    """The same as a stateless seed, int32 [2]."""
    return tf.constant([derive(seed, *path), derive(seed, *path, "second")], tf.int32)


def fold(seed: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """The seed int32 [2] for one step (or other counter) of a use, inside a graph."""
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int32))


def normal(shape: tuple[int, ...] | list[int] | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Standard normals float32; the same on every device and under XLA (hence Philox)."""
    return tf.random.stateless_normal(shape, seed, alg="philox")


def key(seed: int, *path: int | str) -> int:
    """The numbers of `pair` as one, in [0, 2**63), for where a seed must be a single integer."""
    first, second = pair(seed, *path).numpy().tolist()
    return first | second << 32


def pair_of(key: tf.Tensor) -> tf.Tensor:
    """The stateless seed int64 [2] that a key, an int64 scalar, stands for."""
    return tf.stack([tf.bitwise.bitwise_and(key, 0xFFFFFFFF), tf.bitwise.right_shift(key, 32)])


def normal_row(size: int, seed: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    """A row of `normal([N, size], seed)`, the same for every N; none of those before it is drawn.

    Args:
        size: numbers in a row.
        seed: integers [2].
        row: int64 scalar, from 0.

    Returns:
        float32 [size].
    """
    # Philox makes four numbers from each value of its counter, which `stateless_normal` counts up.
    start = row * size
    philox, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    moved = tf.bitcast(counter, tf.int64) + tf.stack([start // 4, tf.zeros([], tf.int64)])
    numbers = tf.raw_ops.StatelessRandomNormalV2(
        shape=[size + 4],  # up to three come before the row
        key=philox,
        counter=tf.bitcast(moved, tf.uint64),
        alg=1,  # Philox
    )
    skipped = tf.cast(start % 4, tf.int32)
    return tf.ensure_shape(numbers[skipped : skipped + size], [size])


def uniform(shape: tuple[int, ...] | list[int] | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Uniform float32 in [0, 1)."""
    return tf.random.stateless_uniform(shape, seed, alg="philox")


def integers(
    shape: tuple[int, ...] | list[int] | tf.Tensor, seed: tf.Tensor, below: int | tf.Tensor
) -> tf.Tensor:
    """Uniform int32 in [0, below)."""
    return tf.random.stateless_uniform(shape, seed, 0, below, tf.int32, alg="philox")
