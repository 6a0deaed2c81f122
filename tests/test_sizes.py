"""Sizes of images: what the networks make of them, and learners from training to export."""

import json

import numpy as np
import pytest

import dgm_tf
from dgm_tf import sizes
from dgm_tf.errors import InputError
from dgm_tf.methods import settings_file
from dgm_tf.methods.registry import load_state
from dgm_tf.methods.settings import DGMSettings
from dgm_tf.networks import ConditionalGenerator, Critic
from tests.layers.layer_check import bits
from tests.tiny_run import SIZES, MovedDGM, MovedFineTune

# Side of the images: blocks of the generator, side of the first, convolutions of the critic.
STAGES = {
    16: (3, 2, 3), 20: (2, 5, 3), 24: (2, 6, 3), 28: (2, 7, 3), 32: (3, 4, 3), 36: (2, 9, 3),
    40: (3, 5, 3), 48: (3, 6, 3), 56: (3, 7, 3), 60: (2, 15, 3), 64: (4, 4, 4), 72: (3, 9, 4),
    80: (4, 5, 4), 96: (4, 6, 4), 112: (4, 7, 4), 128: (5, 4, 5), 160: (5, 5, 5), 256: (6, 4, 5),
}  # fmt: skip
UNUSUAL = (28, 48, 64, 96, 128)
# Learners of most sides take seconds each.
LEARNT = [
    side if side in (28, 64) else pytest.param(side, marks=pytest.mark.slow) for side in UNUSUAL
]


@pytest.mark.parametrize("side", STAGES)
def test_networks_have_as_many_stages_as_suit_the_side(side):
    blocks, first, convolutions = STAGES[side]
    assert sizes.doublings(side) == blocks and first * 2**blocks == side
    assert sizes.halvings(side) == convolutions
    widths = DGMSettings(generator_size=3).first_widths(side)
    assert len(widths) == blocks and widths[-1] == 3
    assert all(wide == 2 * narrow for wide, narrow in zip(widths, widths[1:], strict=False))


def test_a_default_side_is_the_least_that_holds_the_images_and_comes_from_4_to_7_pixels():
    good = {m * 2**k for m in (4, 5, 6, 7) for k in range(9)}
    for smaller in range(1, 129):
        side = sizes.default_side(smaller, smaller + 9)
        assert side == min(each for each in good if each >= max(smaller, 16))
        assert side == 16 or side >> sizes.doublings(side) in (4, 5, 6, 7)
    assert sizes.default_side(500, 129) == 128


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [
        (8, 8, 16), (28, 28, 28), (30, 33, 32), (33, 40, 40), (64, 48, 48), (60, 60, 64),
        (100, 124, 112), (124, 124, 128), (640, 480, 128),
    ],
)  # fmt: skip
def test_arrays_are_learnt_at_their_smaller_side_rounded_up(height, width, side):
    images, labels = np.zeros([4, height, width, 1], np.uint8), [0, 0, 1, 1]
    data = dgm_tf.from_arrays(images, labels, test_images=images, test_labels=labels)
    stream = dgm_tf.class_incremental(data, validation_fraction=0)
    assert stream.image_shape == (side, side, 1)
    assert dgm_tf.class_incremental(data, image_size=20).image_shape == (20, 20, 1)


def test_widths_of_ones_own_are_the_blocks_before_the_first_task():
    assert DGMSettings(generator_widths=[9, 5]).first_widths(16) == (9, 5)
    assert DGMSettings(generator_widths=(7, 6, 5, 4)).first_widths(16) == (7, 6, 5, 4)
    model = dgm_tf.DGM(generator_widths=[4, 3], latent_dim=6)
    generator = model._first_generator((28, 28, 1))
    assert generator.widths == generator.initial_widths == (4, 3)
    assert [block.kernel_size for block in generator.blocks] == [7, 4]


def test_widths_come_back_from_json():
    settings = DGMSettings(generator_widths=(9, 5))
    record = json.loads(json.dumps(settings.as_json()))
    assert record == settings.as_json() and DGMSettings(**record) == settings
    assert settings_file.read('{"generator_widths": [9, 5]}') == {"generator_widths": [9, 5]}


@pytest.mark.parametrize(("widths", "side"), [((4, 3, 2), 28), ((1,) * 5, 16), ((2,) * 5, 48)])
def test_widths_that_do_not_fit_the_side_are_refused(widths, side):
    with pytest.raises(InputError, match=f"{len(widths)} blocks.*not {side}: give as many"):
        DGMSettings(generator_widths=widths).first_widths(side)


@pytest.mark.parametrize("widths", [[4, 0], [4, 2.0], [True]])
def test_each_width_is_a_number_of_units(widths):
    with pytest.raises(InputError, match="each of generator_widths must be an integer"):
        DGMSettings(generator_widths=widths)


@pytest.mark.parametrize("side", UNUSUAL)
def test_the_shared_networks_are_made_for_the_side(side):
    blocks, first, convolutions = STAGES[side]
    generator = ConditionalGenerator((side, side, 3), 2, size=2, latent_dim=5)
    generator.build()
    assert generator.projection.kernel.shape == (5, first**2 * 2**blocks)
    assert generator.recall(1, np.zeros([3, 5], np.float32)).shape == (3, side, side, 3)
    critic = Critic((side, side, 3), 4, size=2, norm="batch")
    critic.build()
    units = [layer.kernel.shape[-1] for layer in critic.convolutions]
    assert units == [2 * 2**layer for layer in range(convolutions)]
    assert len(critic.norms) == convolutions - 1
    assert critic(np.zeros([2, side, side, 3], np.float32))[1].shape == (2, 4)
    for network in (generator, critic):
        assert network.largest_kernel() == max(np.prod(each.shape) for each in network.weights)


def squares(side):
    labels = np.repeat(np.arange(3), 8)
    images = np.random.RandomState(0).randint(0, 256, [24, side, side, 1]).astype(np.uint8)
    return dgm_tf.class_incremental((images, labels, images, labels))


@pytest.mark.parametrize("side", LEARNT)
def test_a_memory_of_any_side_is_kept_saved_and_exported(side, tmp_path):
    model, first = MovedDGM(), None
    for task in squares(side).tasks():
        model.learn(task)
        images = model.generate([0, 0, 0], seed=4)
        first = images if first is None else first
    assert images.shape == (3, side, side, 1)
    np.testing.assert_array_equal(bits(images), bits(first))
    again = load_state(*model.state())
    np.testing.assert_array_equal(bits(again.generate([0, 0, 0], seed=4)), bits(first))
    # Which compares its images with the learner's, bit by bit.
    exported = model.export(tmp_path / "served", classifier=True)
    assert exported.audited_pixels == 3 * 16 * side**2


@pytest.mark.parametrize("side", LEARNT)
def test_the_shared_generator_learns_any_side(side):
    model = MovedFineTune()
    for task in squares(side).tasks():
        model.learn(task)
    assert load_state(*model.state()).generate([0, 2]).shape == (2, side, side, 1)


@pytest.mark.parametrize("side", [28, pytest.param(128, marks=pytest.mark.slow)])
def test_dgm_trains_at_any_side(side):
    model = dgm_tf.DGM(epochs=1, consolidation_steps=2, replay_buffer=8, **SIZES)
    for task in squares(side).tasks():
        history = model.learn(task)
    assert np.isfinite(history["generator_loss"]).all()
    assert model.classify(np.zeros([2, side, side, 1], np.float32)).shape == (2,)
