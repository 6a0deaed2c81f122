"""States of learners and checkpoints, equal to the bit."""


def assert_same_arrays(found, expected):
    """Arrays by name: the names, types, shapes and bits are the same."""
    assert found.keys() == expected.keys()
    for name, array in found.items():
        other = expected[name]
        assert (array.dtype, array.shape) == (other.dtype, other.shape), name
        assert array.tobytes() == other.tobytes(), name


def assert_same_state(found, expected):
    """Each is a pair of what JSON holds and arrays by name."""
    assert found[0] == expected[0]
    assert_same_arrays(found[1], expected[1])
