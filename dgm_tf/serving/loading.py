"""Exported models read back, for people at a desk."""

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, determinism, randomness
from dgm_tf.errors import InputError
from dgm_tf.reporting import pictures
from dgm_tf.runs.run_format import (
    are_counts,
    check_text,
    is_count,
    is_list,
    is_object,
    is_text,
    require,
)
from dgm_tf.serving import export
from dgm_tf.storage.files import read_text, refuse_links_out

# A class takes some 500 bytes of it, its name aside.
MAX_DESCRIPTION_BYTES = 16 * 2**20

# `audit` draws so many of a class at once; an export has 16.
_MAX_IMAGES_PER_LABEL = 256

_COLUMNS = 16


class LoadedGenerator:
    """An exported memory.

    Attributes:
        path: the folder of the version.
        classes: class ids in order of arrival.
        class_names: their names.
        class_tasks: the task (from 1) of each.
        image_shape: (H, W, C) of the images.
        noise_length: numbers in a row of noise.
        versions: of the packages that exported it, by name.
    """

    def __init__(self, path: Path, description: dict[str, Any], model: Any):
        classes = description["classes"]
        self.path = path
        self.classes = tuple(entry["label"] for entry in classes)
        self.class_names = tuple(entry["name"] for entry in classes)
        self.class_tasks = tuple(entry["task"] for entry in classes)
        self.image_shape = tuple(description["image"]["shape"])
        self.noise_length = description["noise"]
        self.versions = description["versions"]
        self._audit = description["audit"]
        self._model = model  # a signature alone does not keep what it reads alive

    def generate(
        self, labels: Sequence[int] | np.ndarray, *, seed: int = 0, first: int = 0
    ) -> np.ndarray:
        """Images float32 [N, H, W, C] in [-1, 1] of the class ids [N].

        On the machine and build that exported it they are bit for bit what the learner's own
        `generate(labels, seed=seed)` gives.

        Args:
            labels: class ids.
            seed: from 0.
            first: number of the first image; the second half of a batch of 8 has `first=4`.

        Raises:
            InputError: a class that the model has not learnt, or no such first image.
        """
        first = _checks.integer(first, "first", low=0, high=export.ROWS_END - 1)
        return self._images(labels, [randomness.key(seed, "generate"), first])

    def generate_from_noise(
        self, labels: Sequence[int] | np.ndarray, noise: np.ndarray
    ) -> np.ndarray:
        """Images float32 [N, H, W, C] in [-1, 1] of class ids [N] and noise [N, noise_length].

        Raises:
            InputError: a class that the model has not learnt, noise of another shape, or far from
                any that is standard normal.
        """
        labels, noise = self._known(labels), np.asarray(noise, np.float32)
        if noise.shape != (wanted := (len(labels), self.noise_length)):
            raise InputError(f"expected noise of shape {wanted}, received {noise.shape}")
        if not np.all(np.abs(noise) <= (limit := export.NOISE_LIMIT)):
            raise InputError(
                f"expected noise in [-{limit:.0f}, {limit:.0f}], received up to {abs(noise).max()}"
            )
        return self._drawn("generate_from_noise", labels, noise=tf.constant(noise))

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Class ids int32 [N] of images float32 [N, H, W, C] in [-1, 1], or uint8 of any size.

        Raises:
            InputError: the model was exported without its classifier.
        """
        if "classify" not in self._model.signatures:
            raise InputError(f"{self.path} was exported without its classifier")
        kind = "classify_uint8" if images.dtype == np.uint8 else "classify"
        return self._model.signatures[kind](images=tf.constant(images))["label"].numpy()

    def audit(self) -> dict[int, bool]:
        """For each task, whether its fixed images still have the bits they had at the export.

        They do on the machine class and build that exported it; elsewhere they can be rounded
        differently.
        """
        return {entry["task"]: self._unchanged(entry) for entry in self._audit}

    def label(self, text: str) -> int:
        """The class id of a class id or name, as a user types it.

        Raises:
            InputError: there is no such class.
        """
        if text in self.class_names:
            return self.classes[self.class_names.index(text)]
        if text in map(str, self.classes):
            return int(text)
        raise self._unknown(text)

    def _images(self, labels: Sequence[int] | np.ndarray, seed: Sequence[int]) -> np.ndarray:
        return self._drawn("generate", self._known(labels), seed=tf.constant(seed, tf.int64))

    def _drawn(self, signature: str, labels: np.ndarray, **inputs: tf.Tensor) -> np.ndarray:
        drawn = self._model.signatures[signature]
        try:
            return drawn(labels=tf.constant(labels), **inputs)["images"].numpy()
        except tf.errors.InvalidArgumentError as error:
            raise InputError(
                f"the model in {self.path} does not know each class that its {export.DESCRIPTION} "
                "names; export again"
            ) from error

    def _known(self, labels: Sequence[int] | np.ndarray) -> np.ndarray:
        labels = np.asarray(labels)
        for label in set(labels.tolist()) - set(self.classes):
            raise self._unknown(label)
        return labels.astype(np.int32)

    def _unknown(self, label: Any) -> InputError:
        known = ", ".join(
            str(label) if name == str(label) else f"{label} ({name})"
            for label, name in zip(self.classes, self.class_names, strict=True)
        )
        return InputError(f"class {label} has not been learnt; {self.path} knows {known}")

    def _unchanged(self, entry: dict[str, Any]) -> bool:
        digest = hashlib.sha256()
        for label, seed in zip(entry["labels"], entry["seeds"], strict=True):
            images = self._images([label] * entry["images_per_label"], seed)
            digest.update(images.astype("<f4").tobytes())
        return digest.hexdigest() == entry["sha256_of_images"]


def newest_version(path: str | Path) -> Path:
    """The folder to load: NAME/<n> for NAME with its highest n, or NAME/<n> itself.

    Raises:
        InputError: there is no SavedModel.
    """
    path = Path(path)
    if versions := export.versions_in(path):
        return path / str(versions[-1])
    if not (path / "saved_model.pb").is_file():
        raise InputError(
            f"expected an exported model NAME or NAME/<version>, {path} holds none; "
            "python -m trainers.export writes one"
        )
    return path


def load_generator(path: str | Path) -> LoadedGenerator:
    """Loads an exported memory.

    Where TensorFlow has a GPU this turns `enable_op_determinism` on for the process.

    Args:
        path: NAME for its newest version, or NAME/<n>.

    Raises:
        InputError: there is none, or it is not of this package or not whole.
    """
    folder = newest_version(path)
    description = read_description(folder)
    determinism.ensure()  # the learner's own images on a GPU, too
    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"{folder} is damaged ({type(error).__name__}); export again") from error
    wanted = [None, description["noise"]], [None, *description["image"]["shape"]]
    if (found := _noise_and_images(model)) != wanted:
        raise InputError(
            f"{export.DESCRIPTION} of {folder} is of another model: it says noise and images of "
            f"shapes {wanted}, the model beside it has {found}; export again"
        )
    return LoadedGenerator(folder, description, model)


def read_description(folder: Path) -> dict[str, Any]:
    """What `model.json` of an exported model holds.

    Raises:
        InputError: it is not what `export` writes, or a link in the folder leads out of it.
    """
    refuse_links_out(folder)
    try:
        text = read_text(folder / "assets" / export.DESCRIPTION, limit=MAX_DESCRIPTION_BYTES)
        content = json.loads(text)
        check_description(content)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"expected the {export.DESCRIPTION} of a model exported by dgm_tf in {folder} "
            f"({_checks.one_line(error)}); export again"
        ) from error
    return content


def check_description(content: Any) -> None:
    """Makes sure that `model.json` is what `export` writes.

    Raises:
        ValueError: it is not; the text says why.
    """
    require(is_object(content), "it holds no object")
    check_text(content)
    found = content.get("format"), content.get("version")
    wanted = export.FORMAT, export.FORMAT_VERSION
    require(found == wanted, f"expected {wanted[0]} of version {wanted[1]}, it is {found}")
    require(_checks.is_line(content.get("learner")), "learner is no text of one line")
    lines = is_object(content.get("versions"), _checks.is_line)
    require(lines, "versions is no object of texts of one line")
    _checks.integer(content.get("noise"), "noise", low=1, high=2**31 - 1)
    image = content.get("image")
    require(is_object(image) and image.get("range") == [-1, 1], "image.range is not [-1, 1]")
    shape = image.get("shape")
    require(is_list(shape) and len(shape) == 3, "image.shape is no list of three")
    for size in shape:
        _checks.integer(size, "a side of image.shape", low=1, high=2**16)
    _check_audit(content.get("audit"), _labels_by_task(content.get("classes")))


def _labels_by_task(classes: Any) -> list[list[int]]:
    """Class ids of each task.

    Raises:
        ValueError: `classes` is not what `export` writes.
    """
    require(is_list(classes, is_object) and classes, "classes is no list of objects")
    by_task: list[list[int]] = []
    for entry in classes:
        label = _checks.integer(entry.get("label"), "a label", low=0, high=2**31 - 1)
        require(_checks.is_line(entry.get("name")), f"class {label} has no name of one line")
        last = len(by_task)
        task = _checks.integer(
            entry.get("task"), f"the task of class {label}", low=max(last, 1), high=last + 1
        )
        if task > last:
            by_task.append([])
        by_task[-1].append(label)
    distinct = set(itertools.chain(*by_task))
    require(len(distinct) == len(classes), "two classes have one label")
    return by_task


def _check_audit(audit: Any, by_task: Sequence[Sequence[int]]) -> None:
    """Raises a `ValueError` unless `audit` is what `export` writes for tasks of these labels."""
    fits = is_list(audit, is_object) and len(audit) == len(by_task)
    require(fits, "audit is no list of an object per task")
    for task, (entry, labels) in enumerate(zip(audit, by_task, strict=True), start=1):
        what = f"audit of task {task}"
        require(is_count(entry.get("task")) and entry["task"] == task, f"{what} is of another")
        own = are_counts(entry.get("labels")) and entry["labels"] == labels
        require(own, f"labels in {what} are not the task's own")
        seeds = entry.get("seeds")
        fits = is_list(seeds, _is_seed) and len(seeds) == len(labels)
        require(fits, f"seeds in {what} are not two integers per label")
        count = entry.get("images_per_label")
        _checks.integer(count, f"images_per_label in {what}", low=1, high=_MAX_IMAGES_PER_LABEL)
        for key in ("sha256_of_images", "sha256_of_record"):
            digest = is_text(entry.get(key)) and re.fullmatch("[0-9a-f]{64}", entry[key])
            require(digest, f"{key} in {what} is no SHA-256")


def _is_seed(value: Any) -> bool:
    return are_counts(value) and len(value) == 2 and value[1] < export.ROWS_END


def _noise_and_images(model: Any) -> tuple[list[int | None], list[int | None]] | None:
    """Shapes of the noise that a loaded model takes and the images that it draws, if it does."""
    try:
        images = model.signatures["generate"].structured_outputs["images"]
        inputs = model.signatures["generate_from_noise"].structured_input_signature[1]
        return inputs["noise"].shape.as_list(), images.shape.as_list()
    except (AttributeError, LookupError, TypeError, ValueError):
        return None


def sample(
    *, model: str, labels: Sequence[str] | None = None, count: int = 16, out: str, seed: int = 0
) -> str:
    """Draws images of some classes into a PNG file.

    Args:
        model: as in `load_generator`.
        labels: class ids or names; None for all classes.
        count: images of each class.
        out: the file to write.
        seed: from 0.

    Returns:
        A line that says what was drawn.

    Raises:
        InputError: no such model or class, or the file cannot be written.
    """
    count = _checks.integer(count, "--count", low=1)
    seed = _checks.integer(seed, "--seed", low=0)
    generator = load_generator(model)
    wanted = generator.classes if labels is None else [generator.label(text) for text in labels]
    names = dict(zip(generator.classes, generator.class_names, strict=True))
    rows = np.repeat(wanted, count)
    images = generator.generate(rows, seed=seed)
    pictures.sample_grid(
        images, min(count, _COLUMNS), out, labels=[names[label] for label in rows.tolist()]
    )
    return f"{len(images)} images of {', '.join(names[label] for label in wanted)}: {out}"
