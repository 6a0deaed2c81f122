"""Distorted and recoloured images: what stays, what changes, and by how much."""

import numpy as np
import pytest

from dgm_tf import randomness
from dgm_tf.data import augmentation
from dgm_tf.learners.classifier_phase import ClassifierPhase, ConsolidationImages
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.settings import AUGMENTATIONS
from dgm_tf.networks import Critic

SEED = randomness.pair(3, "test")


def images(count=400, channels=3):
    return np.random.default_rng(0).uniform(-1, 1, [count, 8, 8, channels]).astype(np.float32)


def recoloured(given, seed=SEED, inverted=0.5):
    return augmentation.recoloured(given, seed, inverted=inverted).numpy()


def lines(before, after):
    """Slope and offset [N, C] of each image's channels, and the largest distance from the line."""
    x, y = (
        part.reshape(len(part), -1, part.shape[-1]).astype(np.float64) for part in (before, after)
    )
    x_mean, y_mean = x.mean(axis=1), y.mean(axis=1)
    slope = ((x - x_mean[:, None]) * (y - y_mean[:, None])).mean(axis=1) / x.var(axis=1)
    offset = y_mean - slope * x_mean
    return slope, offset, np.abs(y - slope[:, None] * x - offset[:, None]).max()


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_gets_its_own_contrast_brightness_and_tint(channels):
    given = images(channels=channels)
    slope, offset, distance = lines(given, recoloured(given))
    assert distance < 1e-5  # a line: nothing is cut off
    assert np.mean(slope[:, 0] < 0) == pytest.approx(0.5, abs=0.08)
    assert ((slope < 0).all(axis=1) | (slope > 0).all(axis=1)).all()
    steepness = np.log(np.abs(slope))
    # Uniform contrast and tint, each to its bound.
    assert 0.6 < np.abs(steepness).max() <= 0.7 and 0.5 < np.abs(offset).max() <= 0.6
    assert np.mean(steepness) == pytest.approx(0.0, abs=0.05)
    assert len(np.unique(slope[:, 0])) == len(given)
    if channels == 3:
        assert 0.3 < np.ptp(steepness, axis=1).max() <= 0.4


def test_no_image_is_inverted_unless_it_is_asked_for():
    given = images()
    slope, *_ = lines(given, recoloured(given, inverted=0.0))
    assert (slope > 0).all()
    np.testing.assert_allclose(slope, np.abs(lines(given, recoloured(given))[0]), rtol=1e-5)


def test_the_seed_decides_it():
    given = images()
    first = recoloured(given)
    np.testing.assert_array_equal(recoloured(given), first)
    assert (recoloured(given, randomness.pair(4, "test")) != first).mean() > 0.9


def test_half_of_the_images_are_mirrored_and_nothing_else_changes():
    given = images()
    made = augmentation.mirrored(given, SEED).numpy()
    turned = (made == given[:, :, ::-1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(made[~turned], given[~turned])
    assert np.mean(turned) == pytest.approx(0.5, abs=0.08)


class Pictures:
    """A replay of eight fixed images."""

    def draw(self, step):
        return np.tile(images(8, channels=1), [1, 2, 2, 1]), np.arange(8, dtype=np.int32) % 2


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_the_classifier_sees_images_as_its_settings_say(kind, monkeypatch):
    classifier = Critic((16, 16, 1), 2, size=2)
    classifier.build()
    seen = []
    monkeypatch.setattr(augmentation, "distorted", lambda given, seed: given)

    def kept_by(way):
        def keep(given, seed, **how):
            seen.append((way, *how.values()))
            return given

        return keep

    for way in ("recoloured", "mirrored"):
        monkeypatch.setattr(augmentation, way, kept_by(way))
    phase = ClassifierPhase(
        classifier,
        settings_for("digits", augmentation=kind),
        positions=np.arange(2),
        steps=1,
        seed=SEED,
        images=ConsolidationImages(Pictures()),
    )
    phase.train_step(None)
    ways = {
        "none": [],
        "light": [("recoloured", 0.0)],
        "photo": [("recoloured", 0.5)],
        "mirror": [("mirrored",)],
        "light+mirror": [("recoloured", 0.0), ("mirrored",)],
    }
    assert seen == ways[kind]


def test_real_margins_come_from_the_real_images_only():
    given = images(600, channels=3)
    given[200:] += 10.0  # the real ones
    made = augmentation.with_real_margins(given, SEED, real=400, fraction=0.25).numpy()
    np.testing.assert_array_equal(made[200:], given[200:])
    # Of 8 columns a sixth is one.
    np.testing.assert_array_equal(made[:200, :, 1:7], given[:200, :, 1:7])
    changed = (made != given).any(axis=(1, 2, 3))[:200]
    assert changed.mean() == pytest.approx(0.25, abs=0.1)
    sources = set()
    for image in made[:200][changed]:
        source = np.flatnonzero((given[200:, :, 0] == image[:, 0]).all(axis=(1, 2)))
        assert len(source) == 1
        np.testing.assert_array_equal(given[200 + source[0], :, 7], image[:, 7])
        sources.add(source[0])
    assert len(sources) > 0.8 * changed.sum()  # each from another one


def test_no_margins_or_all_of_them():
    given = images(20)
    for fraction, expected in ((0.0, 0.0), (1.0, 1.0)):
        made = augmentation.with_real_margins(given, SEED, real=10, fraction=fraction).numpy()
        assert (made != given)[:10, :, [0, 7]].mean() == expected
