"""Use of a memory, of any other run, of a saved learner or of an exported model."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import _checks, memories
from dgm_tf.data import image_file, inputs
from dgm_tf.errors import InputError
from dgm_tf.evaluation.sampling import some_of
from dgm_tf.image_classifier import ImageClassifier
from dgm_tf.reporting import pictures
from dgm_tf.runs import saved
from dgm_tf.serving import export, loading
from dgm_tf.storage import checkpoint
from dgm_tf.storage.files import output_file

_TOGETHER = 64  # files that are read before they are classified
_COLUMNS = 16


def opened(path: str | Path) -> ImageClassifier:
    """What is in a folder: a learner or an exported model.

    Args:
        path: of a memory or another run, of a saved learner, or of an exported model.

    Raises:
        InputError: there is nothing of these, or it cannot be read.
    """
    folder = memories.folder(path)
    exported = (folder / "saved_model.pb").is_file() or (
        export.versions_in(folder) and not (folder / "settings.json").is_file()
    )
    if exported:
        return loading.load_exported(folder)
    if not any((folder / name).is_file() for name in ("settings.json", checkpoint.STATE_FILE)):
        raise InputError(
            "expected the folder of a memory or of another run, or an exported model; "
            f"{folder} is none of them"
        )
    return saved.load(folder)


@dataclasses.dataclass(frozen=True)
class Answer:
    """Classes of one file.

    Attributes:
        path: the file.
        best: names of the most probable classes and their probabilities, in that order.
        error: the reason why there are none, one line.
    """

    path: str
    best: tuple[tuple[str, float], ...] = ()
    error: str = ""


def classified(model: ImageClassifier, files: Sequence[str], *, top: int = 1) -> Iterator[Answer]:
    """Classifies image files, in their order.

    They are read as the memory's own images were: see `image_file.read_image`.

    Args:
        model: what `opened` gives.
        files: of any size and colours.
        top: classes to name for each.

    Yields:
        An answer for each file, also for one that cannot be read.
    """
    for first in range(0, len(files), _TOGETHER):
        yield from _answers(model, files[first : first + _TOGETHER], top)


def _answers(model: ImageClassifier, files: Sequence[str], top: int) -> Iterator[Answer]:
    size = model.image_shape[0]
    images, errors = {}, {}
    for file in files:
        try:
            images[file] = image_file.read_image(file, size)
        except InputError as error:
            errors[file] = str(error)
    found = {}
    if images:
        rows = model.predict(np.stack([*images.values()]))
        found = dict(zip(images, rows, strict=True))
    for file in files:
        if file in errors:
            yield Answer(file, error=errors[file])
        else:
            yield Answer(file, _best(model.class_names, found[file], top))


def _best(
    names: Sequence[str], probabilities: np.ndarray, top: int
) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple((names[place], float(probabilities[place])) for place in order)


def sample(
    memory: str | Path,
    *,
    labels: Sequence[str] | None = None,
    count: int = 16,
    out: str | Path,
    seed: int = 0,
) -> str:
    """Generates images of some classes into a PNG file.

    Args:
        memory: as in `opened`.
        labels: classes as `inputs.asked_classes` takes them; None for all, or for some of more
            than 40.
        count: images of each class.
        out: the file to write.
        seed: from 0.

    Returns:
        A line that says what was generated.

    Raises:
        InputError: no such memory or class, or the file cannot be written.
    """
    count = _checks.integer(count, "--count", low=1)
    seed = _checks.integer(seed, "--seed", low=0)
    file = output_file(out, endings=(".png",))
    model: Any = opened(memory)
    named = dict(zip(model.classes_seen, model.class_names, strict=True))
    if labels is None:
        wanted = some_of([*named], pictures.MOST_CLASSES, seed=0)
    else:
        wanted = inputs.asked_classes(labels, named, missing="has not been learnt")
    images = model.generate(np.repeat(wanted, count), seed=seed)
    names = [named[label] for label in wanted]
    shown = [name for name in names for _ in range(count)]
    pictures.sample_grid(images, min(count, _COLUMNS), file, labels=shown)
    some = f" (of {len(named)} classes)" if labels is None and len(wanted) < len(named) else ""
    return f"{len(images)} images of {_checks.listed(names)}{some}: {file}"
