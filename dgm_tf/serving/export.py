"""A trained memory as a SavedModel that runs where nothing of this package is installed."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, randomness
from dgm_tf.data.image_file import GEOMETRY
from dgm_tf.errors import InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.evaluation.memory_audit import Record
from dgm_tf.runs import provenance
from dgm_tf.serving import signatures, warmup
from dgm_tf.storage import paths
from dgm_tf.storage.files import locked, whole_folder
from dgm_tf.terminal import quiet

FORMAT = "dgm_tf export"
FORMAT_VERSION = 2
DESCRIPTION = "model.json"  # among the assets


@dataclasses.dataclass(frozen=True)
class Export:
    """Result of an export; as a text, one line for the log.

    Attributes:
        path: the folder of the version, NAME/<n>.
        tasks: number of tasks in it.
        classifier: whether the classifier is in it, too.
        bytes: size of the folder on disk.
        audited_pixels: pixels of the memory audit, all with the same bits as the learner's.
    """

    path: Path
    tasks: int
    classifier: bool
    bytes: int
    audited_pixels: int

    def __str__(self) -> str:
        return (
            f"exported {self.tasks} task{'s' if self.tasks > 1 else ''}, "
            f"{'with' if self.classifier else 'without'} the classifier, to {self.path}: "
            f"{self.bytes / 2**20:.2f} MiB on disk; {self.audited_pixels} audited pixels "
            "bit-identical to the learner's"
        )


def export(learner: Any, path: str | Path, *, classifier: bool = False) -> Export:
    """Writes a learner's memory as a SavedModel in the layout that TensorFlow Serving polls.

    Signatures, each with named inputs and outputs that have one row per image, for any number of
    images B. A row's answer depends on that row alone, so a server may merge, split and fill up
    batches. A row that cannot be answered has `valid` false; its numbers are NaN.

    - `generate`, also as `serving_default`: `labels` int32 [B] (the data set's class ids), `keys`
      int64 [B] and `rows` int64 [B], from 0, to `images` float32 [B, S, S, C] in [-1, 1] and
      `valid` bool [B]. Under one key each row number has its own noise.
    - `generate_from_noise`: `labels` and `noise` float32 [B, latent] in [-10000, 10000] to
      `images` and `valid`.
    - `generate_png`: as `generate`, to `png_bytes`, a PNG file per image, and `valid`.
    - with `classifier`, `classify`: `images` float32 [B, S, S, C] in [-1, 1] to `probabilities`
      float32 [B, classes] in order of arrival, `label` int32 [B] and `class_name` string [B], the
      most probable class, and `valid`; and `classify_uint8`, the same for `images` uint8
      [B, S, S, C].

    The function `generate_class` of the loaded model makes images of one class from noise, and is
    written so that TensorFlow Lite's converter takes it.

    The asset `model.json` has class names, tasks, image range, versions and the audit hashes. A
    server is warmed by `assets.extra/tf_serving_warmup_requests`.

    Args:
        learner: a `dgm_tf.DGM` with at least one finished task.
        path: NAME, which then gets its next version NAME/<n>; or NAME/<n> itself.
        classifier: take the classifier along, for `classify`.

    Raises:
        InputError: nothing has been learnt, a class has a name of several lines, the version
            exists or cannot be written, another process is exporting there, or the version
            generates other images than the learner, on this machine: then nothing is left of it.
    """
    path = paths.for_tensorflow(path)
    with locked(path.parent if _is_version(path.name) else path):
        folder = version_folder(path)
        audit = [  # One record after the other: all together could be large.
            _audit_entry(task, memory_audit.recorded(classes, learner.generate))
            for task, classes in enumerate(learner.task_classes, start=1)
        ]
        description = _description(learner, audit)
        pixels = int(np.prod(learner.generator.image_shape[:2]))
        audited = pixels * sum(len(each["labels"]) * each["images_per_label"] for each in audit)
        with quiet.without_chatter(), whole_folder(folder) as aside:
            model = _saved(aside, learner, description, classifier)
            if differing := _differing_pixels(model, learner, audit):
                raise InputError(
                    f"{differing} of {audited} audited pixels of the export are not the learner's "
                    f"own, {folder} was not written; if this is on a GPU, export on the CPU "
                    "instead (CUDA_VISIBLE_DEVICES=-1)"
                )
    return Export(
        folder,
        tasks=len(audit),
        classifier=classifier,
        bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        audited_pixels=audited,
    )


def _saved(folder: Path, learner: Any, description: dict[str, Any], classifier: bool) -> Any:
    """Writes the SavedModel into an empty folder, and loads it."""
    file = folder / DESCRIPTION
    file.write_text(f"{json.dumps(description, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
    root = tf.Module()
    root.description = tf.saved_model.Asset(str(file))
    named = signatures.generating(root, learner.generator, learner.classes_seen)
    if classifier:
        named |= signatures.classifying(root, learner)
    try:
        tf.saved_model.save(root, str(folder), signatures=named)
        file.unlink()  # The copy among the assets stays.
        model = tf.saved_model.load(str(folder))
        warmup.write(folder, warmup.requests(model.signatures, learner.classes_seen[0]))
        return model
    except tf.errors.OpError as error:  # The system's; a file's path comes before what it says.
        raise OSError(_checks.one_line(error.message.rpartition("; ")[2])) from error


def version_folder(path: str | Path) -> Path:
    """NAME/<n> for NAME, n being one more than the last version there; NAME/<n> as it is.

    Raises:
        InputError: NAME/<n> exists, or NAME holds folders of something else.
    """
    path = paths.for_tensorflow(path)
    if not _is_version(path.name):
        if versions_in(path.parent):
            raise InputError(
                f"{path.parent} holds versions of an exported model, and {path.name} is no number "
                f"as servers write it: export to {path.parent}, or to another folder"
            )
        if others := [name for name in paths.folders_in(path) if not _is_version(name)]:
            raise InputError(
                f"{path} holds {_checks.listed(others)}, which are no versions of an exported "
                "model: export to another folder"
            )
        return path / str(max(versions_in(path), default=0) + 1)
    if path.exists():
        raise InputError(f"{path} exists and is not replaced; export to {path.parent}")
    return path


def versions_in(path: str | Path) -> list[int]:
    """Numbers of the versions in NAME, ascending; hidden folders are not whole yet."""
    names = (child.parent.name for child in Path(path).glob("*/saved_model.pb"))
    return sorted(int(name) for name in names if _is_version(name))


def _is_version(name: str) -> bool:
    """Whether it is a number as servers write them, without zeros before it."""
    return re.fullmatch(r"0|[1-9][0-9]*", name) is not None


def _description(learner: Any, audit: Sequence[dict[str, Any]]) -> dict[str, Any]:
    generator = learner.generator
    tasks = generator.class_tasks.tolist()
    for name in learner.class_names:
        if not _checks.is_line(name):
            raise InputError(
                f"the name of a class must be one line of at most {_checks.LINE_LIMIT} characters, "
                f"received {name!a:.100}; name it otherwise"
            )
    named = zip(learner.classes_seen, learner.class_names, tasks, strict=True)
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "learner": learner.name,
        "classes": [{"label": label, "name": name, "task": task} for label, name, task in named],
        "image": {"shape": list(generator.image_shape), "range": [-1.0, 1.0], "geometry": GEOMETRY},
        "noise": generator.latent_dim,
        "versions": provenance.versions(),
        "audit": list(audit),
    }


def _audit_entry(task: int, record: Record) -> dict[str, Any]:
    """The inputs of `generate` for the fixed images of a task, and the hashes of these."""
    return {
        "task": task,
        "labels": record.classes.tolist(),
        "keys": [_key(number) for number in record.seeds.tolist()],  # one per label
        "images_per_label": len(record.images) // len(record.classes),
        "sha256_of_images": record.images_digest(),  # float32, little-endian, label by label
        "sha256_of_record": record.digest(),  # as a run's audit keeps it
    }


def _key(seed: int) -> int:
    """A learner's seed as the signatures take it."""
    return randomness.key(seed, "generate")


def _differing_pixels(model: Any, learner: Any, audit: Sequence[dict[str, Any]]) -> int:
    """Pixels in which the written model's images have other bits than the learner's."""

    def generate(labels: np.ndarray, *, seed: int) -> np.ndarray:
        inputs = {
            "labels": tf.constant(labels),
            "keys": tf.fill([len(labels)], tf.constant(_key(seed), tf.int64)),
            "rows": tf.range(len(labels), dtype=tf.int64),
        }
        return model.signatures["generate"](**inputs)["images"].numpy()

    differing = 0
    for entry in audit:
        record = memory_audit.recorded(entry["labels"], generate)
        if record.digest() != entry["sha256_of_record"]:
            differing += memory_audit.compare(record, learner.generate).pixels or 1
    return differing
