"""Generated images of each class beside real ones, in the eyes of an oracle."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dgm_tf import randomness
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.evaluation.quality import frechet_distance, precision_recall
from dgm_tf.experiments import judging
from dgm_tf.learners.base import Learner
from dgm_tf.replay import to_levels
from dgm_tf.stream import TaskStream, to_float

# Images by position of their class, uint8 [n, S, S, C] each.
ByClass = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class ClassQuality:
    """Generated images of one class, in an oracle's features beside as many real ones.

    Attributes:
        recognised: share that the oracle takes for the class, 0 to 1.
        frechet_distance: from the training images.
        precision: share within reach of a training image, 0 to 1.
        recall: share of the training images within reach of a generated one, 0 to 1.
        compared: images of each kind in the last three.
    """

    recognised: float
    frechet_distance: float
    precision: float
    recall: float
    compared: int


def judged(
    oracle: Oracle, label: int, real: np.ndarray, generated: np.ndarray
) -> tuple[np.ndarray, ClassQuality]:
    """Which generated images of a class the oracle takes for it, bool [n], and how good all are.

    Args:
        oracle: of the data set.
        label: the class's id.
        real: its training images, uint8 [m, S, S, C].
        generated: uint8 [n, S, S, C].
    """
    drawn = _floats(generated)
    hits = oracle.classify(drawn) == label
    compared = min(len(real), len(generated))
    features = oracle.features(_floats(real[:compared])), oracle.features(drawn[:compared])
    return hits, ClassQuality(
        float(hits.mean()),
        frechet_distance(*features),
        *precision_recall(*features),
        compared=compared,
    )


def real_images(stream: TaskStream, learner: Learner, most: int) -> ByClass:
    """Training images of each class seen, at most so many, as they were shuffled."""
    found: dict[int, list[np.ndarray]] = {label: [] for label in learner.classes_seen}
    for images, labels in judging.real_batches(stream, learner):
        pixels = to_levels(images).numpy()
        for label in np.unique(labels).tolist():
            found[label].append(pixels[labels == label])
    return [np.concatenate(parts)[:most] for parts in found.values()]


def generated_images(learner: Learner, classes: Sequence[int], count: int, seed: int) -> ByClass:
    """So many images of each of the given classes."""
    key = randomness.derive(seed, "dissection images")
    return [
        to_levels(learner.generate(np.full(count, label, np.int32), seed=key)).numpy()
        for label in classes
    ]


def _floats(images: np.ndarray) -> np.ndarray:
    return to_float(images, images.shape[1]).numpy()
