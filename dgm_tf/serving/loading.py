"""Exported models read back, for use in Python."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, randomness
from dgm_tf.data import inputs
from dgm_tf.data.image_file import GEOMETRY
from dgm_tf.devices import determinism
from dgm_tf.errors import InputError
from dgm_tf.image_classifier import ImageClassifier
from dgm_tf.serving import export, signatures
from dgm_tf.storage import paths, schema
from dgm_tf.storage.files import refuse_links_out
from dgm_tf.storage.schema import ANY, IMAGE_SHAPE, LINE, Leaf, exactly, integer
from dgm_tf.terminal import quiet

# A class takes some 500 bytes of it, its name aside.
_MAX_DESCRIPTION_BYTES = 16 * 2**20

_HEX = frozenset("0123456789abcdef")
_DIGEST = Leaf(
    "a SHA-256 in hex", lambda it: isinstance(it, str) and len(it) == 64 and set(it) <= _HEX
)
_DESCRIPTION = {
    "format": exactly(export.FORMAT),
    "version": exactly(export.FORMAT_VERSION),
    "learner": LINE,
    "classes": [{"label": integer(0, 2**31 - 1), "name": LINE, "task": integer(1)}],
    "image": {
        "shape": IMAGE_SHAPE,
        "range": exactly([-1.0, 1.0]),
        "geometry": exactly(GEOMETRY),
    },
    "noise": integer(1, 2**31 - 1),
    "versions": {ANY: LINE},
    "audit": [
        {
            "task": integer(1),
            "labels": [integer()],
            "keys": [integer(0, 2**63 - 1)],
            # The audit generates so many of a class at once; an export has 16.
            "images_per_label": integer(1, 256),
            "sha256_of_images": _DIGEST,
            "sha256_of_record": _DIGEST,
        }
    ],
}


class ExportedModel(ImageClassifier):
    """An exported memory: it generates images, and classifies them if it has its classifier.

    Attributes:
        path: the folder of the version.
        classes_seen: class ids in order of arrival.
        class_names: their names.
        class_tasks: the task (from 1) of each.
        image_shape: (S, S, C) of the images.
        noise_length: numbers in a row of noise.
        versions: of the packages that exported it, by name.

    Example:
        ```python
        model = dgm_tf.DGM.from_preset("digits", epochs=1, consolidation_steps=4)  # a trial
        for task in dgm_tf.class_incremental("digits").tasks(last=2):
            model.learn(task)
        model.export("exported", classifier=True)

        memory = dgm_tf.load_exported("exported")
        images = memory.generate([0, 1, 1], seed=3)  # float32 [3, 16, 16, 1] in [-1, 1]
        print(memory.classify(images), memory.audit())
        ```
    """

    # Replaced by attributes of the same names.
    classes_seen: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] = (0, 0, 0)

    def __init__(self, path: Path, description: dict[str, Any], model: Any):
        classes = description["classes"]
        self.path = path
        self.classes_seen = tuple(entry["label"] for entry in classes)
        self.class_names = tuple(entry["name"] for entry in classes)
        self.class_tasks = tuple(entry["task"] for entry in classes)
        self.image_shape = tuple(description["image"]["shape"])
        self.noise_length = description["noise"]
        self.versions = description["versions"]
        self._audit = description["audit"]
        self._model = model  # only a reference to the model keeps its variables alive

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        return (
            f"<ExportedModel {self.path}: {len(self.classes_seen)} classes of "
            f"{len(self._audit)} tasks, images {height}x{width}x{channels}>"
        )

    def generate(self, labels: Any, *, seed: int = 0, first: int = 0) -> np.ndarray:
        """Images float32 [N, S, S, C] in [-1, 1] of classes.

        On the machine and build that exported it they are bit for bit what the learner's own
        `generate(labels, seed=seed)` gives.

        Args:
            labels: class ids or names [N], or a single one.
            seed: from 0.
            first: number of the first image; the second half of a batch of 8 has `first=4`.

        Raises:
            InputError: a class that the model has not learnt, or no such seed or first image.
        """
        seed = _checks.integer(seed, "seed", low=0)
        labels = self._known(labels)
        last = signatures.ROWS_END - len(labels)
        first = _checks.integer(first, "first", low=0, high=last)
        return self._by_key(labels, randomness.key(seed, "generate"), first)

    def generate_from_noise(self, labels: Any, noise: np.ndarray) -> np.ndarray:
        """Images float32 [N, S, S, C] in [-1, 1] of classes [N] and noise [N, noise_length].

        Args:
            labels: class ids or names [N], or a single one.
            noise: float32 [N, noise_length], standard normal.

        Raises:
            InputError: a class that the model has not learnt, noise of another shape, or far from
                any that is standard normal.
        """
        labels = self._known(labels)
        try:
            noise = np.asarray(noise, np.float32)
        except Exception as error:  # Whatever an object that is no array says when it is asked.
            raise InputError(
                f"expected noise as numbers [N, {self.noise_length}], received "
                f"{type(noise).__name__} ({_checks.reason(error)})"
            ) from error
        if noise.shape != (wanted := (len(labels), self.noise_length)):
            raise InputError(f"expected noise of shape {wanted}, received {noise.shape}")
        if not np.all(np.abs(noise) <= (limit := signatures.NOISE_LIMIT)):
            raise InputError(
                f"expected noise in [-{limit:.0f}, {limit:.0f}], received up to {abs(noise).max()}"
            )
        return self._generated("generate_from_noise", labels, noise=tf.constant(noise))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of images, which users reach through `predict`.

        Args:
            images: float32 [N, S, S, C] in [-1, 1], N from 1 to 256.

        Returns:
            float32 [N, classes], in order of arrival.

        Raises:
            InputError: the model was exported without its classifier.
        """
        if "classify" not in self._model.signatures:
            raise InputError(
                f"{self.path} was exported without its classifier; export it by "
                "trainers.export --export_classifier, or model.export(path, classifier=True)"
            )
        return self._model.signatures["classify"](images=tf.constant(images))[
            "probabilities"
        ].numpy()

    def audit(self) -> dict[int, bool]:
        """By task, True if its fixed images still have the bits that they had at the export.

        They do on the machine class and build that exported it; elsewhere they can be rounded
        differently.
        """
        return {entry["task"]: self._unchanged(entry) for entry in self._audit}

    def _by_key(self, labels: np.ndarray, key: int, first: int = 0) -> np.ndarray:
        keys = np.full(len(labels), key, np.int64)
        rows = first + np.arange(len(labels), dtype=np.int64)
        return self._generated("generate", labels, keys=tf.constant(keys), rows=tf.constant(rows))

    def _generated(self, signature: str, labels: np.ndarray, **inputs: tf.Tensor) -> np.ndarray:
        made = self._model.signatures[signature](labels=tf.constant(labels), **inputs)
        if not made["valid"].numpy().all():
            raise InputError(
                f"the model in {self.path} does not know each class that its {export.DESCRIPTION} "
                "names; export again"
            )
        return made["images"].numpy()

    def _known(self, labels: Any) -> np.ndarray:
        return inputs.class_ids(labels, self._named_classes()).astype(np.int32)

    def _unchanged(self, entry: dict[str, Any]) -> bool:
        digest = hashlib.sha256()
        for label, key in zip(entry["labels"], entry["keys"], strict=True):
            labels = np.full(entry["images_per_label"], label, np.int32)
            digest.update(self._by_key(labels, key).astype("<f4").tobytes())
        return digest.hexdigest() == entry["sha256_of_images"]


def newest_version(path: str | Path) -> Path:
    """The folder to load: NAME/<n> for NAME with its highest n, or NAME/<n> itself.

    Raises:
        InputError: there is no SavedModel.
    """
    path = paths.for_tensorflow(path)
    if versions := export.versions_in(path):
        return path / str(versions[-1])
    if not (path / "saved_model.pb").is_file():
        raise InputError(
            f"expected an exported model NAME or NAME/<version>, {path} holds none; "
            "python -m trainers.export writes one"
        )
    return path


def load_exported(path: str | Path) -> ExportedModel:
    """Loads an exported memory, and its classifier if it was exported, too.

    Where TensorFlow has a GPU this turns `enable_op_determinism` on for the process.

    Args:
        path: NAME for its newest version, or NAME/<n>.

    Returns:
        The model, which generates and classifies.

    Raises:
        InputError: there is none, or it is not of this package or not whole.

    Example:
        ```python
        model = dgm_tf.DGM.from_preset("digits", epochs=1, consolidation_steps=4)  # a trial
        for task in dgm_tf.class_incremental("digits").tasks(last=1):
            model.learn(task)
        model.export("exported")
        print(dgm_tf.load_exported("exported"))
        ```
    """
    return ExportedModel(*opened(path))


def opened(path: str | Path) -> tuple[Path, dict[str, Any], Any]:
    """The folder, the description and the SavedModel of an export; see `load_exported`."""
    folder = newest_version(path)
    description = read_description(folder)
    determinism.ensure()  # the learner's own images on a GPU, too
    try:
        with quiet.without_chatter():
            model = tf.saved_model.load(str(folder))
    except Exception as error:  # Files that are not whole fail anywhere in TensorFlow.
        raise InputError(f"{folder} is damaged ({type(error).__name__}); export again") from error
    wanted = [None, description["noise"]], [None, *description["image"]["shape"]]
    if (found := _noise_and_images(model)) != wanted:
        raise InputError(
            f"{export.DESCRIPTION} of {folder} is of another model: it says noise and images of "
            f"shapes {wanted}, the model next to it has {found}; export again"
        )
    return folder, description, model


def read_description(folder: Path) -> dict[str, Any]:
    """The content of `model.json` of an exported model.

    Raises:
        InputError: `export` writes no such file, or a link in the folder leads out of it.
    """
    refuse_links_out(folder)
    try:
        path = folder / "assets" / export.DESCRIPTION
        content = schema.read(path, _DESCRIPTION, limit=_MAX_DESCRIPTION_BYTES)
        _check_description(content)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"expected the {export.DESCRIPTION} of a model exported by dgm_tf in {folder} "
            f"({_checks.one_line(error)}); export again"
        ) from error
    return content


def _check_description(content: dict[str, Any]) -> None:
    """Raises a `ValueError` where the parts of a description do not go together."""
    classes, audit = content["classes"], content["audit"]
    labels = [each["label"] for each in classes]
    tasks = [each["task"] for each in classes]
    _require(classes and len(set(labels)) == len(labels), "its classes are none, or not distinct")
    _require(tasks == sorted(tasks), "its classes are not in order of their tasks")
    found = [(each["task"], label) for each in audit for label in each["labels"]]
    whole = found == list(zip(tasks, labels, strict=True)) and len(audit) == len(set(tasks))
    _require(whole and set(tasks) == set(range(1, len(audit) + 1)), "audit is of other classes")
    for each in audit:
        fits = len(each["keys"]) == len(each["labels"])
        _require(fits, f"keys in the audit of task {each['task']} are not one per label")


def _require(fits: Any, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)


def _noise_and_images(model: Any) -> tuple[list[int | None], list[int | None]] | None:
    """Shapes of a loaded model's noise and of its images; None where it has no such signatures."""
    try:
        images = model.signatures["generate"].structured_outputs["images"]
        inputs = model.signatures["generate_from_noise"].structured_input_signature[1]
        return inputs["noise"].shape.as_list(), images.shape.as_list()
    except (AttributeError, LookupError, TypeError, ValueError):
        return None
