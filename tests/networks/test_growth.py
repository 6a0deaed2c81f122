"""The growth rule: as much free capacity for every task as for the first, and no more units."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_tf.networks import growth


def free_after(*, new_inputs, new_units, taps, reserved):
    return new_inputs * new_units * taps - reserved


@pytest.mark.parametrize(
    "case, reserved, new_inputs, expected",
    [
        ("nothing reserved", 0, 10, 8),
        ("a full unit's weights", 40, 10, 9),
        ("one weight more", 41, 10, 10),
        ("one weight alone", 1, 10, 9),
        ("everything", 320, 10, 16),
        ("the wider input brings all that is needed", 64, 12, 8),
        ("and a bit less", 65, 12, 9),
        ("and more than that", 0, 20, 8),
    ],
)
def test_a_layer_of_weights_by_hand(case, reserved, new_inputs, expected):
    # 10 inputs, 8 units, 2x2 taps: 320 weights at first, 40 for each new unit of 10 inputs.
    assert expected == growth.widened_by_weights(
        units=8, taps=4, reserved=reserved, initial_free=320, new_inputs=new_inputs
    )


def test_a_later_task_counts_what_all_tasks_have_reserved():
    # 100 of 200 weights were free at the start; the layer grew to 15 units and 110 are reserved.
    assert 21 == growth.widened_by_weights(
        units=15, taps=1, reserved=110, initial_free=100, new_inputs=10
    )


@given(
    inputs=st.integers(1, 200),
    units=st.integers(1, 200),
    taps=st.sampled_from([1, 4, 9, 16, 25]),
    more_inputs=st.integers(0, 100),
    reserved_share=st.floats(0, 1),
    initial_share=st.floats(0, 1),
)
@settings(derandomize=True, deadline=None)
def test_free_weights_are_at_least_the_initial_ones_with_the_fewest_units(
    inputs, units, taps, more_inputs, reserved_share, initial_share
):
    weights = inputs * units * taps
    reserved, initial_free = round(reserved_share * weights), round(initial_share * weights)
    new_inputs = inputs + more_inputs
    new_units = growth.widened_by_weights(
        units=units,
        taps=taps,
        reserved=reserved,
        initial_free=initial_free,
        new_inputs=new_inputs,
    )
    sizes = {"new_inputs": new_inputs, "taps": taps, "reserved": reserved}
    assert new_units >= units
    assert free_after(new_units=new_units, **sizes) >= initial_free
    if new_units > units:
        assert free_after(new_units=new_units - 1, **sizes) < initial_free


@given(
    shares=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8),
)
@settings(derandomize=True, deadline=None)
def test_no_task_finds_less_free_capacity_than_the_first(shares):
    """Two layers, the upper one's inputs being the lower one's units, through a run of tasks."""
    taps, latent, widths, reserved = 16, 10, [6, 4], [0, 0]
    first = [latent * 6 * taps, 6 * 4 * taps]
    for share_of_layer in shares:
        grown, inputs = [], [latent, widths[0]]
        for layer, share in enumerate(share_of_layer):
            free = inputs[layer] * widths[layer] * taps - reserved[layer]
            reserved[layer] += math.floor(share * free)
            grown.append(
                growth.widened_by_weights(
                    units=widths[layer],
                    taps=taps,
                    reserved=reserved[layer],
                    initial_free=first[layer],
                    new_inputs=grown[0] if layer else latent,
                )
            )
        widths = grown
        free = [latent * widths[0] * taps - reserved[0], widths[0] * widths[1] * taps - reserved[1]]
        assert free[0] >= first[0] and free[1] >= first[1]
