"""How the classes of a data set are divided into tasks, and what is used unless it is asked for.

A command line is checked by it before any data is read. TensorFlow is imported for a random order
only.
"""

import contextlib
import operator
from collections.abc import Iterable, Sequence

import numpy as np

from dgm_tf import _checks
from dgm_tf.data import inputs
from dgm_tf.errors import InputError

DEFAULT_SIZE = 32


def default_size(dataset: str) -> int:
    """Side of the images that the networks see of a data set that goes by a name."""
    return 16 if dataset == "digits" else DEFAULT_SIZE


def default_validation(dataset: str) -> float:
    """Fraction of each class's training images that is held out, as in DGM's paper."""
    return 0.10 if dataset == "svhn_cropped" else 0.15


def ordered(
    order: str | Sequence[int | str] | None, names: Sequence[str], seed: int
) -> tuple[int, ...]:
    """Class ids in order of arrival; see `class_incremental`."""
    classes = len(names)
    if order is None:
        return tuple(range(classes))
    if isinstance(order, str) and order == "random":
        from dgm_tf import randomness  # which needs TensorFlow

        # NumPy froze the stream of its legacy generator: a seed's order stays for ever.
        shuffle = np.random.RandomState(randomness.derive(seed, "class_order"))
        return tuple(shuffle.permutation(classes).tolist())
    given = list(order) if isinstance(order, Iterable) and not isinstance(order, str) else []
    ids: Sequence[int] = ()
    if all(isinstance(each, str) for each in given):
        ids = inputs.asked_classes(given, dict(enumerate(names)))
    else:
        with contextlib.suppress(TypeError):
            ids = tuple(operator.index(each) for each in given)
    if sorted(ids) != list(range(classes)):
        raise InputError(
            f'class_order must be None, "random" or a permutation of the {classes} classes, by id '
            f"(0 to {classes - 1}) or by name ({_checks.listed(names)}), got "
            f"{_checks.one_line(repr(order), 200)}"
        )
    return tuple(ids)


def cut(order: Sequence[int], per_task: int | Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Class ids of each task."""
    if isinstance(per_task, Sequence | np.ndarray) and not isinstance(per_task, str):
        sizes = [_checks.integer(size, "each of classes_per_task", low=1) for size in per_task]
        if sum(sizes) != len(order):
            raise InputError(
                f"classes_per_task must sum up to the {len(order)} classes of the data, "
                f"{sizes} sums up to {sum(sizes)}"
            )
    else:
        size = _checks.integer(per_task, "classes_per_task", low=1)
        if len(order) % size:
            raise InputError(
                f"classes_per_task {size} does not divide the {len(order)} classes of the data: "
                "give one number per task"
            )
        sizes = [size] * (len(order) // size)
    ends = np.cumsum(sizes)
    return tuple(tuple(order[end - size : end]) for size, end in zip(sizes, ends, strict=True))
