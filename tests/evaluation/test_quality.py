"""Distances and fractions against values known in closed form or found the slow way."""

import numpy as np
import pytest

from dgm_tf.evaluation.quality import frechet_distance, nearest, precision_recall


def draws(count, size, *, seed=0, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(size=[count, size]) * scale + shift


def test_equal_sets_have_no_distance():
    points = draws(50, 6)
    assert frechet_distance(points, points[::-1]) == pytest.approx(0.0, abs=1e-8)


def test_a_shift_and_a_scale_have_the_distance_of_their_gaussians():
    points = draws(40, 3)
    shifted = frechet_distance(points, points + [3.0, 0.0, 4.0])
    assert shifted == pytest.approx(25.0, rel=1e-6)
    # C2 = 4 C1: tr(C1 + 4 C1 - 2 * 2 C1) = tr(C1).
    centred = points - points.mean(axis=0)
    trace = np.trace(np.cov(centred.T))
    assert frechet_distance(centred, 2.0 * centred) == pytest.approx(trace, rel=1e-6)


def test_a_constant_feature_does_no_harm():
    points = np.concatenate([draws(30, 2), np.zeros([30, 3])], axis=1)
    assert frechet_distance(points, points + 1.0) == pytest.approx(5.0, rel=1e-6)


def test_precision_and_recall_are_the_fractions_within_reach():
    real, generated = draws(60, 4, seed=1), draws(50, 4, seed=2, shift=0.4, scale=0.7)

    def covered(points, support):
        hits = 0
        reach = [np.sort(np.linalg.norm(support - s, axis=1))[3] for s in support]
        for point in points:
            distances = np.linalg.norm(support - point, axis=1)
            hits += any(d <= r for d, r in zip(distances, reach, strict=True))
        return hits / len(points)

    expected = (covered(generated, real), covered(real, generated))
    assert precision_recall(real, generated) == pytest.approx(expected)
    assert 0.1 < expected[1] < expected[0] < 1.0


def test_one_good_image_over_and_over_is_precise_and_recalls_nothing():
    real = draws(100, 5)
    precision, recall = precision_recall(real, np.repeat(real[:1], 40, axis=0))
    assert precision == 1.0 and recall <= 0.05


def test_the_nearest_real_image_is_found():
    real, generated = draws(30, 4), draws(7, 4, seed=3)
    expected = [np.linalg.norm(real - g, axis=1).argmin() for g in generated]
    assert nearest(real, generated).tolist() == expected
