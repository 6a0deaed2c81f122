"""Some of many: the first, the last, and the same others for the same seed."""

import pytest

from dgm_tf.evaluation.sampling import some_of


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_a_few_are_all_taken(count):
    assert some_of(range(count), 20, seed=1) == list(range(count))


def test_of_many_the_first_and_the_last_are_among_as_many_as_asked_for():
    for count in (21, 1000):
        found = some_of(range(1, count + 1), 20, seed=3)
        assert len(set(found)) == 20 and found == sorted(found)
        assert found[0] == 1 and found[-1] == count
        assert found == some_of(range(1, count + 1), 20, seed=3)


def test_over_many_seeds_each_one_is_taken():
    every = set().union(*(some_of(range(100), 20, seed=seed) for seed in range(100)))
    assert every == set(range(100))
