"""The numbers of the paper's Table 1 (Ostapenko et al. 2018)."""

import dataclasses
from collections.abc import Mapping, Sequence

_REAL, _GENERATED = "average_accuracy", "oracle_accuracy"
_TABLE = {
    # learner: (measure, A5 and A10 by data set)
    "ewc": (_GENERATED, {"mnist": (70.62, 77.03), "svhn_cropped": (39.84, 33.02)}),
    "dgr": (_GENERATED, {"mnist": (90.39, 85.40), "svhn_cropped": (61.29, 47.28)}),
    "mergan_jtr": (_GENERATED, {"mnist": (98.19, 97.00), "svhn_cropped": (80.90, 66.78)}),
    "mergan_ra": (_GENERATED, {"mnist": (98.19, 97.00), "svhn_cropped": (80.90, 66.78)}),
    "joint": (_GENERATED, {"mnist": (97.66, 98.10), "svhn_cropped": (85.30, 84.82)}),
    "dgm-w": (_REAL, {"mnist": (98.26, 96.33), "svhn_cropped": (80.37, 67.05)}),
    "dgm-a": (_REAL, {"mnist": (99.17, 98.14), "svhn_cropped": (84.18, 68.36)}),
}


@dataclasses.dataclass(frozen=True)
class Published:
    """One row of the table for one data set.

    Attributes:
        key: the row's key in metrics.jsonl that measures the same. The rows on DGM are the
            accuracy of its own classifier on real test images. Those of earlier methods, which the
            MeRGAN paper has, are the accuracy of another classifier on generated images.
        percent: accuracy in percent by the number of tasks, one class each.
    """

    key: str
    percent: Mapping[int, float]


def published(
    dataset: str, learner: str, task_classes: Sequence[Sequence[int]]
) -> Published | None:
    """The paper's numbers for a learner, if it has any: it has ten tasks of one class."""
    key, by_dataset = _TABLE.get(learner, ("", {}))
    if dataset not in by_dataset or [len(classes) for classes in task_classes] != [1] * 10:
        return None
    after_5, after_10 = by_dataset[dataset]
    return Published(key, {5: after_5, 10: after_10})
