"""The numbers of the paper's Table 1 (Ostapenko et al. 2018), to be drawn beside ours."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Published:
    """One row of the table for one data set.

    Attributes:
        method: what the paper calls it.
        key: the row's key in metrics.jsonl that measures the same. The rows on DGM are the
            accuracy of its own classifier on real test images; those taken from the MeRGAN paper
            are the accuracy of another classifier on generated images.
        percent: accuracy in percent by the number of tasks, one class each.
    """

    method: str
    key: str
    percent: dict[int, float]


_REAL, _GENERATED = "average_accuracy", "oracle_accuracy"
_TABLE = {
    # learner: (the paper's name, measure, MNIST A5 and A10, SVHN A5 and A10)
    "ewc": ("EWC-M", _GENERATED, (70.62, 77.03), (39.84, 33.02)),
    "dgr": ("DGR", _GENERATED, (90.39, 85.40), (61.29, 47.28)),
    "mergan-jtr": ("MeRGAN", _GENERATED, (98.19, 97.00), (80.90, 66.78)),
    "mergan-ra": ("MeRGAN", _GENERATED, (98.19, 97.00), (80.90, 66.78)),
    "joint": ("JT", _GENERATED, (97.66, 98.10), (85.30, 84.82)),
    "dgm-w": ("DGMw", _REAL, (98.26, 96.33), (80.37, 67.05)),
    "dgm-a": ("DGMa", _REAL, (99.17, 98.14), (84.18, 68.36)),
}
_DATASETS = ("mnist", "svhn_cropped")


def published(dataset: str, learner: str, classes: list[int]) -> Published | None:
    """The paper's numbers for a learner on a data set, if it has any.

    Args:
        dataset: the stream's name, such as `mnist`.
        learner: the learner's name, such as `dgm-w`.
        classes: classes of each task of the stream; the paper has ten tasks of one class.
    """
    if dataset not in _DATASETS or learner not in _TABLE or classes != [1] * 10:
        return None
    method, key, *by_dataset = _TABLE[learner]
    after_5, after_10 = by_dataset[_DATASETS.index(dataset)]
    return Published(method, key, {5: after_5, 10: after_10})
