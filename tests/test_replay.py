"""Replay: images of the right tasks, evenly over the classes, at a cost that does not grow."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.learners.dgm import TaskMemory
from dgm_tf.networks import Generator
from dgm_tf.replay import BalancedReplay, FullReplay
from tests.networks.tiny_generator import CHANNELS, LATENT, SIDE, after, latents

SEED = randomness.pair(0, "test")


class OneImagePerClass(Generator):
    """Sees the label alone, so that each class has one image."""

    def latent(self, noise, positions, classes):
        return super().latent(tf.zeros_like(noise), positions, classes)


class Counting(Generator):
    """Counts the images that it makes."""

    made = 0

    def recall(self, latent, task):
        type(self).made += latent.shape[0]
        return super().recall(latent, task)


def turned_into(kind, generator):
    other = kind.from_config(generator.get_config())
    other.build()
    other.set_weights(generator.get_weights())
    return other


@pytest.fixture(scope="module")
def generator():
    """Three tasks with classes at positions 0, (1, 2) and 3."""
    return after(1, 2, 1)


@pytest.fixture(scope="module")
def class_images(generator):
    """The image of each class position that a `OneImagePerClass` makes, [4, S, S, C]."""
    generator = turned_into(OneImagePerClass, generator)
    noise = tf.zeros([1, LATENT])
    memory = TaskMemory(generator)
    tasks = [1, 2, 2, 3]
    return np.concatenate(
        [memory.recall_task(task, tf.constant([p]), noise) for p, task in enumerate(tasks)]
    )


def balanced(generator, *, batch_size=8, size=20, seed=SEED):
    return BalancedReplay(TaskMemory(generator), batch_size=batch_size, size=size, seed=seed)


def draws(replay, steps, **wanted):
    """(images, positions) of so many steps, as a training step draws them."""
    step = tf.Variable(0, dtype=tf.int64)
    draw = tf.function(lambda: replay.draw(step, **wanted), autograph=False)
    found = []
    for _ in range(steps):
        images, positions = draw()
        found.append((images.numpy(), positions.numpy()))
        step.assign_add(1)
    assert draw.experimental_get_tracing_count() == 1
    return found


def test_each_class_belongs_to_the_task_that_brought_it(generator):
    assert TaskMemory(generator).tasks.tolist() == [1, 2, 2, 3]


def test_a_task_is_recalled_with_the_label_it_was_learnt_with(generator):
    # In the second task three classes had been seen; later ones do not change its input.
    noise = latents(count=2)
    latent = np.concatenate([[[0, 0, 1], [0, 1, 0]], noise[:, 3:]], axis=1)
    memory = TaskMemory(generator)
    expected = generator.recall(tf.constant(latent, tf.float32), 2).numpy()
    np.testing.assert_array_equal(memory.recall_task(2, tf.constant([2, 1]), noise), expected)
    # Class by class, known in Python or only in the graph.
    for position in (2, tf.constant(2)):
        np.testing.assert_array_equal(memory.recall(position, noise)[:1], expected[:1])


@pytest.mark.parametrize("batch_size", [3, 4, 10])
def test_balanced_has_a_fixed_size_spread_evenly_over_the_classes(generator, batch_size):
    found = draws(balanced(generator, batch_size=batch_size), steps=40)
    for images, positions in found:
        assert images.shape == (batch_size, SIDE, SIDE, CHANNELS)
        assert images.dtype == np.float32 and positions.dtype == np.int32
        counts = np.bincount(positions, minlength=4)
        assert counts.sum() == batch_size and np.ptp(counts) <= 1
    # Where classes do not divide the batch it is not always the same ones that get more.
    counts = np.bincount(np.concatenate([positions for _, positions in found]))
    np.testing.assert_allclose(counts / (40 * batch_size), [0.25] * 4, atol=0.06)


def test_balanced_images_are_those_of_their_class_rounded_to_bytes(generator, class_images):
    replay = balanced(turned_into(OneImagePerClass, generator))
    for images, positions in draws(replay, steps=12):
        levels = (images + 1) * 127.5
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
        expected = (class_images[positions] + 1) * 127.5
        assert np.max(np.abs(levels - expected)) <= 0.501
        distances = np.abs(images[:, None] - class_images).mean(axis=(2, 3, 4))
        assert distances.argmin(axis=1).tolist() == positions.tolist()


@pytest.mark.parametrize("batch_size, size, renewed_after", [(8, 12, 32), (2, 24, 64)])
def test_a_buffer_is_refreshed_as_it_is_used(generator, batch_size, size, renewed_after):
    # One class's turn in every eighth step: of 3 slots all are renewed, of 6 slots the 4 oldest.
    replay = balanced(generator, batch_size=batch_size, size=size)
    found = [
        {image.tobytes() for image in images}
        for images, _ in draws(replay, steps=5 * renewed_after)
    ]
    assert not set.union(*found[:renewed_after]) & set.union(*found[2 * renewed_after :])
    # Even so, an image can be drawn again before it goes.
    assert any(found[step] & found[step + 1] for step in range(len(found) - 1))


def test_a_large_buffer_hands_out_other_images_every_time(generator):
    early, *_, late = draws(balanced(generator, batch_size=4, size=4000), steps=5)
    early, late = ({image.tobytes() for image in images} for images, _ in (early, late))
    assert len(early) == 4 and not early & late


@pytest.mark.parametrize("tasks", [(1,), (1, 2), (1, 2, 1)])
def test_balanced_makes_a_new_image_for_four_drawn_whatever_the_number_of_tasks(tasks):
    replay = balanced(turned_into(Counting, after(*tasks)), batch_size=4, size=400)
    for first in range(0, 24, 8):
        Counting.made = 0
        drawn = [len(replay.draw(tf.constant(step))[0]) for step in range(first, first + 8)]
        assert (Counting.made, drawn) == (8, [4] * 8)


def test_a_full_step_costs_a_batch_per_class():
    replay = FullReplay(TaskMemory(turned_into(Counting, after(1, 2, 1))), batch_size=3, seed=SEED)
    Counting.made = 0
    replay.draw(tf.constant(0))
    assert Counting.made == 12


@pytest.mark.parametrize("tasks", [(1,), (1, 2, 1)])
def test_a_buffer_holds_bytes_no_more_than_asked_for(tasks):
    replay = balanced(after(*tasks), size=21)
    held = [value for value in vars(replay).values() if isinstance(value, tf.Variable)]
    assert [variable.dtype for variable in held] == [tf.uint8]
    assert 0 < held[0].numpy().nbytes <= 21 * SIDE * SIDE * CHANNELS


def test_a_buffer_needs_a_slot_for_each_class(generator):
    assert len(balanced(generator, size=4).draw(tf.constant(0))[0]) == 8
    with pytest.raises(InputError, match="each of the 4 old classes; it holds 3"):
        balanced(generator, size=3)


def test_full_is_one_batch_per_old_class(generator, class_images):
    replay = FullReplay(
        TaskMemory(turned_into(OneImagePerClass, generator)), batch_size=3, seed=SEED
    )
    (images, positions), *_ = draws(replay, steps=1)
    assert sorted(positions.tolist()) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    np.testing.assert_allclose(images, class_images[positions], atol=1e-5)


KINDS = [lambda g, **options: FullReplay(TaskMemory(g), **options), balanced]


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_a_function_of_seed_and_step(generator, kind):
    def images(seed):
        return [images for images, _ in draws(kind(generator, batch_size=8, seed=seed), steps=3)]

    first = images(SEED)
    np.testing.assert_array_equal(images(SEED), first)
    assert np.all(np.any(images(randomness.pair(1, "test"))[0] != first[0], axis=(1, 2, 3)))
    assert np.any(first[0] != first[1]) and np.any(first[1] != first[2])
