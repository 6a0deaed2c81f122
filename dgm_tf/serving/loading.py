"""Exported models read back, for people at a desk."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, pictures, randomness
from dgm_tf.errors import InputError
from dgm_tf.serving import export

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
            InputError: a class that the model has not learnt.
        """
        return self._images(labels, [randomness.key(seed, "generate"), first])

    def generate_from_noise(
        self, labels: Sequence[int] | np.ndarray, noise: np.ndarray
    ) -> np.ndarray:
        """Images float32 [N, H, W, C] in [-1, 1] of class ids [N] and noise [N, noise_length].

        Raises:
            InputError: a class that the model has not learnt, or noise of another shape.
        """
        labels, noise = self._known(labels), np.asarray(noise, np.float32)
        if noise.shape != (wanted := (len(labels), self.noise_length)):
            raise InputError(f"expected noise of shape {wanted}, received {noise.shape}")
        signature = self._model.signatures["generate_from_noise"]
        return signature(labels=tf.constant(labels), noise=tf.constant(noise))["images"].numpy()

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
        known = ", ".join(
            str(label) if name == str(label) else f"{label} ({name})"
            for label, name in zip(self.classes, self.class_names, strict=True)
        )
        raise InputError(f"class {text} has not been learnt; {self.path} knows {known}")

    def _images(self, labels: Sequence[int] | np.ndarray, seed: Sequence[int]) -> np.ndarray:
        signature = self._model.signatures["generate"]
        labels = tf.constant(self._known(labels))
        return signature(labels=labels, seed=tf.constant(seed, tf.int64))["images"].numpy()

    def _known(self, labels: Sequence[int] | np.ndarray) -> np.ndarray:
        labels = np.asarray(labels)
        for label in set(labels.tolist()) - set(self.classes):
            self.label(str(label))
        return labels.astype(np.int32)

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

    Args:
        path: NAME for its newest version, or NAME/<n>.

    Raises:
        InputError: there is none, or it is not of this package or not whole.
    """
    folder = newest_version(path)
    try:
        text = (folder / "assets" / export.DESCRIPTION).read_text(encoding="utf-8")
        description = json.loads(text)
        found = description["format"], description["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"expected a model exported by dgm_tf, {folder} is not one") from error
    if found != (wanted := (export.FORMAT, export.FORMAT_VERSION)):
        raise InputError(f"expected {wanted[0]} of version {wanted[1]}, {folder} is {found}")
    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"{folder} is damaged ({type(error).__name__}); export again") from error
    return LoadedGenerator(folder, description, model)


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
