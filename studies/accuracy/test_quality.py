"""The measures of one class's generated images."""

import numpy as np
import pytest

from studies.accuracy.quality import quality


class Eyes:
    """Sees pixels as features, and class 7 where the first one is bright."""

    def features(self, images):
        return images.reshape(len(images), -1)

    def classify(self, images):
        return np.where(images[:, 0, 0, 0] > 0, 7, 1)


def test_it_is_measured_on_as_many_images_of_each_kind():
    real = np.random.default_rng(0).uniform(-1, -0.1, (6, 2, 2, 1)).astype(np.float32)
    generated = np.concatenate([real, real[:2]])
    generated[[0, 2, 3], 0, 0, 0] = 0.5
    real[[0, 2, 3], 0, 0, 0] = 0.5
    recognised, distance, precision, recall = quality(Eyes(), 7, real, generated)
    assert (recognised, precision, recall) == (100 * 3 / 8, 100, 100)
    assert distance == pytest.approx(0, abs=1e-6)
    _, distance, precision, recall = quality(Eyes(), 7, real, real + 2)
    assert (precision, recall) == (0, 0)
    # Gaussians of the same shape are as far apart as their means.
    assert distance == pytest.approx(4 * 2**2, rel=1e-5)
