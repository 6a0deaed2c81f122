"""Replay: images of the right tasks, evenly over the classes, at a cost that does not grow."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.learners.dgm import TaskMemory
from dgm_tf.networks import Generator, drawing
from dgm_tf.networks.replay import BalancedReplay, FullReplay
from tests.networks.tiny_generator import CHANNELS, LATENT, SIDE, after, latents

SEED = randomness.pair(0, "test")


class OneImagePerClass(Generator):
    """Sees the label alone, so that each class has one image."""

    def latent(self, noise, own, classes):
        return super().latent(tf.zeros_like(noise), own, classes)


def turned_into(kind, generator):
    generator.__class__ = kind
    return generator


@pytest.fixture
def made(monkeypatch):
    """Numbers of images in each call that draws some."""
    numbers, drawn = [], drawing.drawn

    def counted(latent, finished):
        numbers.append(latent.shape[0])
        return drawn(latent, finished)

    monkeypatch.setattr(drawing, "drawn", counted)
    return numbers


@pytest.fixture(scope="module")
def generator():
    """Three tasks with classes at positions 0, (1, 2) and 3."""
    return after(1, 2, 1)


@pytest.fixture(scope="module")
def class_images(generator):
    """The image of each class position that a `OneImagePerClass` makes, [4, S, S, C]."""
    latents = [[1.0], [1.0, 0.0], [0.0, 1.0], [1.0]]
    latents = [np.float32([row + [0.0] * (LATENT - len(row))]) for row in latents]
    tasks = [1, 2, 2, 3]
    return np.concatenate(
        [generator.recall(row, task) for row, task in zip(latents, tasks, strict=True)]
    )


def balanced(generator, *, batch_size=8, size=20, seed=SEED):
    return BalancedReplay(TaskMemory(generator), batch_size=batch_size, size=size, seed=seed)


def draws(replay, steps, **wanted):
    """(images, positions) of so many steps, as a training step draws them."""
    step = tf.Variable(0, dtype=tf.int64)
    draw = tf.function(lambda: replay.draw(step, **wanted), autograph=False)
    found = []
    for number in range(steps):
        replay.refresh(number)
        images, positions = draw()
        found.append((images.numpy(), positions.numpy()))
        step.assign_add(1)
    assert draw.experimental_get_tracing_count() == 1
    return found


@pytest.mark.parametrize("exact", [False, True])
def test_a_class_is_recalled_by_its_task_with_the_label_it_was_learnt_with(generator, exact):
    noise = latents(count=3).numpy()
    memory = TaskMemory(generator, exact=exact)
    for position, task, label in [(0, 1, [1]), (1, 2, [1, 0]), (2, 2, [0, 1]), (3, 3, [1])]:
        latent = noise.copy()
        latent[:, : len(label)] = label
        expected = generator.recall(tf.constant(latent), task)
        found = memory.recall(position, tf.constant(noise))
        np.testing.assert_allclose(found, expected, atol=0 if exact else 1e-6)


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
    replay = balanced(turned_into(OneImagePerClass, after(1, 2, 1)))
    for images, positions in draws(replay, steps=12):
        levels = (images + 1) * 127.5
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
        expected = (class_images[positions] + 1) * 127.5
        assert np.max(np.abs(levels - expected)) <= 0.501
        distances = np.abs(images[:, None] - class_images).mean(axis=(2, 3, 4))
        assert distances.argmin(axis=1).tolist() == positions.tolist()


@pytest.mark.parametrize("batch_size, size, renewed_after", [(16, 128, 32), (2, 160, 320)])
def test_a_buffer_is_refreshed_as_it_is_used(generator, batch_size, size, renewed_after):
    # One class's turn in every eighth step: of 32 places all are renewed, of 40 the 4 oldest.
    replay = balanced(generator, batch_size=batch_size, size=size)
    found = [
        {image.tobytes() for image in images}
        for images, _ in draws(replay, steps=3 * renewed_after)
    ]
    assert not set.union(*found[:8]) & set.union(*found[renewed_after + 8 :])
    # Even so, an image can be drawn again before it goes.
    assert len(set.union(*found[:renewed_after])) < sum(map(len, found[:renewed_after]))


def test_a_large_buffer_hands_out_other_images_every_time(generator):
    early, *_, late = draws(balanced(generator, batch_size=4, size=4000), steps=5)
    early, late = ({image.tobytes() for image in images} for images, _ in (early, late))
    assert len(early) == 4 and not early & late


@pytest.mark.parametrize("tasks", [(1,), (1, 2), (1, 2, 1)])
def test_balanced_makes_a_new_image_for_four_drawn_whatever_the_number_of_tasks(tasks, made):
    replay = balanced(after(*tasks), batch_size=4, size=400)
    for first in range(0, 24, 8):
        made.clear()
        drawn = 0
        for step in range(first, first + 8):
            replay.refresh(step)
            drawn += len(replay.draw(tf.constant(step))[0])
        assert (made, drawn) == ([8], 32)


@pytest.mark.parametrize("size", [400, 160])
def test_images_are_made_as_many_at_a_time_whatever_the_number_of_classes(size, made):
    for tasks in ((1, 1), (1, 2), (1, 2, 1)):
        classes = sum(tasks)
        made.clear()
        replay = balanced(after(*tasks), batch_size=32, size=size)
        slots = size // classes
        at_once = 64 if slots >= 64 else 32
        assert made == [at_once] * (classes * -(-slots // at_once))
        made.clear()
        replay.refresh(0)
        assert made == [at_once] * -(-min(64, slots) // at_once)


def test_images_made_in_parts_are_those_of_one_noise(generator, monkeypatch):
    monkeypatch.setattr(TaskMemory, "recall", lambda self, position, noise: noise[:, None, None])
    replay = balanced(generator, batch_size=8, size=160)  # 40 a class, 16 at a time
    seed = randomness.fold(randomness.fold(SEED, 0), 2)
    noise = randomness.normal([48, LATENT], seed)[:40]
    expected = np.clip(np.round((noise.numpy() + 1) * 127.5), 0, 255)
    found = replay.variables[0].numpy().reshape(4, 40, LATENT)[2]
    np.testing.assert_array_equal(found, expected)


def test_a_renewal_is_of_one_class_in_turn(made):
    replay = balanced(after(1, 2, 1, 1, 1), batch_size=128, size=1)
    places = replay.variables[0].numpy().reshape(6, 32, -1)
    for step, position in ((0, 0), (8, 1), (48, 0)):
        made.clear()
        replay.refresh(step)
        assert made == [32]  # all of its places; 256 would be wanted
        now = replay.variables[0].numpy().reshape(6, 32, -1)
        changed = (places != now).any(axis=(1, 2))
        assert changed.tolist() == [each == position for each in range(6)]
        places = now


def test_a_full_step_costs_a_batch_per_class(made):
    replay = FullReplay(TaskMemory(after(1, 2, 1)), batch_size=3, seed=SEED)
    made.clear()
    replay.refresh(0)
    replay.draw(tf.constant(0))
    assert made == [3] * 4


@pytest.mark.parametrize("tasks, size", [((1,), 41), ((1, 2, 1), 4)])
def test_a_buffer_holds_bytes_no_more_than_asked_for_or_32_a_class(tasks, size):
    replay = balanced(after(*tasks), size=size)
    held = [value for value in vars(replay).values() if isinstance(value, tf.Variable)]
    assert [variable.dtype for variable in held] == [tf.uint8]
    classes = sum(tasks)
    assert held[0].shape[0] == max(32 * classes, size // classes * classes)


def test_full_is_one_batch_per_old_class(generator, class_images):
    generator = turned_into(OneImagePerClass, after(1, 2, 1))
    replay = FullReplay(TaskMemory(generator), batch_size=3, seed=SEED)
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
