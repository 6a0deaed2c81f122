"""Seeds: the same use gives the same numbers, another use gives others."""

import ast
import doctest
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import randomness

SEED = randomness.pair(3, "test")
# What seeds are derived from: a run of any release is resumed by the same ones.
USES = {
    "adversarial", "block", "buffer", "calibration", "class", "class_order", "classifier",
    "consolidation", "consolidation order", "consolidation replay", "convolution", "critic",
    "critic calibration", "experience replay", "fisher", "gan critic", "generate", "generator",
    "head", "joint", "joint order", "kernel", "oracle", "oracle order", "order", "projection",
    "replay", "search", "second", "source", "statistics", "stored images",
}  # fmt: skip
_TAKERS = ("derive", "pair", "key", "balanced_replay", "_initializer")


def test_a_seed_is_a_function_of_the_runs_seed_and_its_use():
    paths = [(), ("critic",), ("critic", 1), ("critic", 2), ("generator", 1), (1, "critic"), (1,)]
    seeds = [randomness.derive(seed, *path) for seed in (0, 1, 2**31) for path in paths]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds == [randomness.derive(seed, *path) for seed in (0, 1, 2**31) for path in paths]


def test_seeds_are_the_same_in_every_process_and_release():
    # Neither Python's salted hash nor a change of the rule: a resumed run depends on them.
    assert randomness.derive(0, "critic", 3) == 1871461047
    assert randomness.pair(0, "critic", 3).numpy().tolist() == [1871461047, 1567430808]


def test_no_string_that_a_seed_is_derived_from_has_changed():
    texts = set()
    for path in Path(randomness.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node, "func", None)
            if getattr(called, "attr", getattr(called, "id", None)) in _TAKERS:
                values = [getattr(argument, "value", None) for argument in node.args]
                texts |= {value for value in values if isinstance(value, str)}
    assert texts == USES


def test_a_pair_is_two_seeds():
    assert SEED.dtype == tf.int32 and SEED.shape == (2,)
    assert SEED[0] != SEED[1]
    assert np.any(SEED != randomness.pair(4, "test"))


DRAWS = {
    "normal": lambda seed: randomness.normal([50], seed),
    "uniform": lambda seed: randomness.uniform([50], seed),
    "integers": lambda seed: randomness.integers([50], seed, 1000),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_draws_depend_on_the_seed_alone(draw):
    first = draw(SEED).numpy()
    np.testing.assert_array_equal(draw(SEED), first)
    np.testing.assert_array_equal(tf.function(draw, autograph=False)(SEED), first)
    others = [draw(randomness.fold(SEED, step)).numpy().tolist() for step in range(5)]
    assert len({tuple(numbers) for numbers in [first.tolist(), *others]}) == 6


def test_a_folded_seed_is_the_same_from_a_number_and_from_a_graphs_counter():
    step = tf.Variable(7, dtype=tf.int64)
    in_graph = tf.function(lambda: randomness.fold(SEED, step), autograph=False)()
    np.testing.assert_array_equal(in_graph, randomness.fold(SEED, 7))


@pytest.mark.parametrize("size", [1, 3, 10, 16])
def test_a_row_is_that_of_a_whole_draw(size):
    pair = randomness.pair_of(tf.constant(randomness.key(3, "test"), tf.int64))
    whole = randomness.normal([40, size], SEED).numpy()
    for row in (0, 1, 2, 3, 13, 39):
        found = randomness.normal_row(size, pair, tf.constant(row, tf.int64))
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, whole[row])
    far = randomness.normal_row(size, SEED, tf.constant(2**33, tf.int64)).numpy()
    assert not np.isin(far, whole).any()


def test_every_integer_is_a_key():
    keys = [0, 1, -1, 2**31, 2**32, 2**63 - 1, -(2**63)]
    pairs = [randomness.pair_of(tf.constant(key, tf.int64)).numpy() for key in keys]
    assert len({tuple(pair) for pair in pairs}) == len(keys)
    draws = [randomness.normal_row(4, pair, tf.constant(0, tf.int64)) for pair in pairs]
    assert len({tuple(draw.numpy()) for draw in draws}) == len(keys)


def test_draws_have_their_distribution():
    normal = randomness.normal([4000], SEED).numpy()
    assert abs(normal.mean()) < 0.06 and abs(normal.std() - 1) < 0.06
    uniform = randomness.uniform([4000], SEED).numpy()
    assert 0 <= uniform.min() < 0.01 and 0.99 < uniform.max() < 1
    integers = randomness.integers([4000], SEED, 4).numpy()
    assert integers.dtype == np.int32
    shares = np.bincount(integers) / 4000
    np.testing.assert_allclose(shares, [0.25] * 4, atol=0.03)


def test_the_docstrings_examples_run():
    assert doctest.testmod(randomness).failed == 0
