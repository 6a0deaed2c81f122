"""The numbers of the paper's Table 1 (Ostapenko et al. 2018)."""

import dataclasses
from collections.abc import Mapping, Sequence

_REAL, _GENERATED = "average_accuracy", "oracle_accuracy"
_TABLE = {
    # learner: (measure, MNIST A5 and A10, SVHN A5 and A10)
    "ewc": (_GENERATED, (70.62, 77.03), (39.84, 33.02)),
    "dgr": (_GENERATED, (90.39, 85.40), (61.29, 47.28)),
    "mergan_jtr": (_GENERATED, (98.19, 97.00), (80.90, 66.78)),
    "mergan_ra": (_GENERATED, (98.19, 97.00), (80.90, 66.78)),
    "joint": (_GENERATED, (97.66, 98.10), (85.30, 84.82)),
    "dgm-w": (_REAL, (98.26, 96.33), (80.37, 67.05)),
    "dgm-a": (_REAL, (99.17, 98.14), (84.18, 68.36)),
}
_DATASETS = ("mnist", "svhn_cropped")


@dataclasses.dataclass(frozen=True)
class Published:
    """One row of the table for one data set.

    Attributes:
        key: the row's key in metrics.jsonl that measures the same. The rows on DGM are the
            accuracy of its own classifier on real test images; those taken from the MeRGAN paper
            are the accuracy of another classifier on generated images.
        percent: accuracy in percent by the number of tasks, one class each.
    """

    key: str
    percent: Mapping[int, float]


def published(
    dataset: str, learner: str, task_classes: Sequence[Sequence[int]]
) -> Published | None:
    """The paper's numbers for a learner, if it has any.

    Args:
        dataset: the stream's name, such as `mnist`.
        learner: the learner's name, such as `dgm-w`.
        task_classes: classes of each task of the stream; the paper has ten tasks of one class.
    """
    ten_tasks = [len(classes) for classes in task_classes] == [1] * 10
    if dataset not in _DATASETS or learner not in _TABLE or not ten_tasks:
        return None
    key, *by_dataset = _TABLE[learner]
    after_5, after_10 = by_dataset[_DATASETS.index(dataset)]
    return Published(key, {5: after_5, 10: after_10})
