"""Data of a user's own as a task: arrays, a `tf.data.Dataset` or a folder of images."""

import contextlib
import itertools
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, sizes
from dgm_tf.data import folder_scan, image_file, image_folder, inputs
from dgm_tf.data.datasets import DEFAULT_SIZE
from dgm_tf.data.task import Task, task_title, told_repeated
from dgm_tf.errors import InputError

_log = logging.getLogger(__name__)

LAST_CLASS = 2**20  # tables by class id are made


@contextlib.contextmanager
def task_of(
    data: Any,
    *,
    number: int,
    known: Mapping[int, str],
    image_shape: Sequence[int] | None,
    least: int = 1,
) -> Iterator[Task]:
    """A block in which data can be learnt as a task; what was made for it is gone at its end.

    Integer labels are class ids, and their texts are the names. Texts are names, whose classes get
    the next ids above all known ones, in their order (`2` before `10`). Of a folder each subfolder
    is a class, named like it.

    Args:
        data: an open `Task`, which is taken as it is; a pair (images, labels) as
            `dgm_tf.data.inputs` takes them; a finite `tf.data.Dataset` of such pairs, with batches
            or single images; or the path of a folder.
        number: of the task, from 1.
        known: names of the classes learnt before, by id.
        image_shape: (S, S, C) of the images learnt before; None if there are none. Then S is the
            `dgm_tf.sizes.default_side` of the images, from 16 to 128; of a folder it is 32.
        least: images of a class that a pass has at least: fewer are repeated, which is logged.

    Raises:
        InputError: the data cannot be used, or has a class that is known.
    """
    if isinstance(data, Task):
        _check_new(dict(zip(data.classes, data.class_names, strict=True)), known)
        if image_shape is not None and tuple(data.image_shape) != tuple(image_shape):
            raise InputError(
                f"expected images of shape {tuple(image_shape)}, as were learnt before; {data} has "
                f"{tuple(data.image_shape)}: make the stream with that image_size"
            )
        yield data
        return
    images, labels = _arrays(data, image_shape)
    inputs.check_paired(images, labels)
    classes = _named(labels, known)
    _check_new(classes, known)
    task = _made(images, _ids(labels, classes), classes, number, image_shape, least)
    try:
        yield task
    finally:
        task.close()


def _arrays(data: Any, image_shape: Sequence[int] | None) -> tuple[np.ndarray, np.ndarray]:
    """Images of the memory's channels and labels as `inputs.labels` gives them."""
    if isinstance(data, str | os.PathLike):
        size = DEFAULT_SIZE if image_shape is None else image_shape[0]
        images, labels = image_folder.read_classes(data, image_size=size)
    elif isinstance(data, tf.data.Dataset):
        images, labels = _joined(data)
    elif isinstance(data, tuple | list) and len(data) == 2:
        images, labels = data
    else:
        raise InputError(
            "expected a task of a stream, a pair (images, labels), a tf.data.Dataset of such pairs "
            f"or the path of a folder; received {_received(data)}"
        )
    images, labels = inputs.training_images(images), inputs.labels(labels)
    if image_shape is None:
        return images, labels
    if images.shape[-1] > image_shape[-1] and not image_file.is_grey(images):
        _log.warning("this memory is grey and learns these coloured images as grey")
    return image_file.in_colours(images, image_shape[-1]), labels


def _received(data: Any) -> str:
    shape = getattr(data, "shape", None)
    kind = type(data).__name__
    return kind if shape is None else f"{kind} of shape {tuple(shape)} without labels"


def _joined(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    batches = list(inputs.labelled_batches(dataset))
    if not batches:
        raise InputError("expected pairs of images and labels; received an empty data set")
    shapes = {pixels.shape[1:] for pixels, _ in batches}
    if len(shapes) > 1:
        raise InputError(
            f"expected images of one size; received {_checks.one_line(sorted(shapes), 100)}: "
            "resize them by dataset.map, or write them to a folder, where sizes may differ"
        )
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return images, labels


def _named(labels: np.ndarray, known: Mapping[int, str]) -> dict[int, str]:
    """Names of the labels' classes by id, in ascending order of ids."""
    found = np.unique(labels).tolist()
    _checks.class_names(map(str, found))
    if labels.dtype.kind == "U":
        return dict(zip(_free(known), sorted(found, key=folder_scan.natural), strict=False))
    classes = {label: str(label) for label in found}
    if min(classes) < 0 or max(classes) > LAST_CLASS:
        raise InputError(
            f"expected class ids from 0 to {LAST_CLASS}; received {min(classes)} to {max(classes)}"
        )
    return classes


def _free(known: Collection[int]) -> Iterator[int]:
    """The ids above all known ones up to the last, then those below that are free."""
    above = max(known, default=-1) + 1
    every = itertools.chain(range(above, LAST_CLASS + 1), range(above))
    return (label for label in every if label not in known)


def _check_new(classes: Mapping[int, str], known: Mapping[int, str]) -> None:
    names = {name: label for label, name in known.items()}
    again = [label for label, name in classes.items() if label in known or name in names]
    if again:
        shown, first = [classes[label] for label in again], again[0]
        if classes[first] == str(first):
            own = f"free ids, such as {next(_free({*known, *classes}))}"
        else:
            own = f"names of their own, such as {classes[first] + ' 2'!r}"
        raise InputError(
            f"already learnt: {_checks.listed(shown)}. Each class is learnt once: leave these "
            f"images out, or give them {own}"
        )


def _ids(labels: np.ndarray, classes: Mapping[int, str]) -> np.ndarray:
    if labels.dtype.kind != "U":
        return labels.astype(np.int32)
    by_name = {name: label for label, name in classes.items()}
    return np.array([by_name[name] for name in labels.tolist()], np.int32)


def _made(
    images: np.ndarray,
    ids: np.ndarray,
    classes: Mapping[int, str],
    number: int,
    image_shape: Sequence[int] | None,
    least: int,
) -> Task:
    if image_shape is None:
        side = sizes.default_side(*images.shape[1:3])
        image_shape = (side, side, images.shape[-1])
    rows = np.argsort(ids, kind="stable")  # class by class, as a stream has them
    for label, name in classes.items():
        if line := told_repeated(_checks.one_line(name, 80), int(np.sum(ids == label)), least):
            _log.warning("%s", line)
    return Task(
        task_title(str(number), [*classes.values()]),
        number,
        classes,
        tuple(image_shape),
        train=(images[rows], ids[rows]),
        validation=(images[:0], ids[:0]),
        least=least,
    )
