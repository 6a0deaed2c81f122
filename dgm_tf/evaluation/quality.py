"""Quality and variety of generated images, in the feature space of a classifier.

All measures compare two sets of feature vectors: name the features next to the number. With an
oracle's features a distance is no "FID", which means Inception's.
"""

import numpy as np
from sklearn.neighbors import NearestNeighbors

_NEIGHBOURS = 3
FEWEST = _NEIGHBOURS + 1  # images that `precision_recall` needs of each kind


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Distance of two Gaussians fitted to features (Heusel et al. 2017).

    `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`; 0 for equal distributions.

    Args:
        real: features float [N, F], N >= 2.
        generated: features float [M, F], M >= 2.
    """
    real, generated = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    difference = real.mean(axis=0) - generated.mean(axis=0)
    first, second = np.atleast_2d(np.cov(real.T)), np.atleast_2d(np.cov(generated.T))
    # tr (C1 C2)^(1/2) by the eigenvalues of a symmetric matrix: real also where C is singular.
    variances, axes = np.linalg.eigh(first)
    root = axes * np.sqrt(np.clip(variances, 0.0, None)) @ axes.T
    values = np.linalg.eigvalsh(root @ second @ root)
    crossed = np.sqrt(np.clip(values, 0.0, None)).sum()
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2.0 * crossed)


def precision_recall(real: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019), each 0 to 1.

    Precision is the fraction of generated images within reach of a real one, recall the fraction
    of real images within reach of a generated one. An image's reach is the distance to its third
    nearest neighbour in its own set.

    Args:
        real: features float [N, F], N >= 4.
        generated: features float [M, F], M >= 4.
    """
    real, generated = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    return _covered(generated, real), _covered(real, generated)


def _covered(points: np.ndarray, support: np.ndarray) -> float:
    """Fraction of `points` that lie within the reach of any of `support`."""
    neighbours = NearestNeighbors(n_neighbors=_NEIGHBOURS + 1).fit(support)
    reach = neighbours.kneighbors(support)[0][:, -1]  # the first one is the point itself
    squared = (
        np.sum(points**2, axis=1)[:, None] + np.sum(support**2, axis=1) - 2.0 * points @ support.T
    )
    return float(np.mean(np.any(squared <= reach**2 * (1.0 + 1e-9), axis=1)))


def nearest(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Index int [M] of the real feature vector nearest to each generated one."""
    return NearestNeighbors(n_neighbors=1).fit(real).kneighbors(generated)[1][:, 0]
