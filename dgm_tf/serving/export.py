"""A trained memory as a SavedModel that runs where nothing of this package is installed."""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, _quiet, paths, randomness
from dgm_tf.errors import InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.evaluation.memory_audit import Record
from dgm_tf.networks import Generator
from dgm_tf.networks.drawing import GROUP, draw
from dgm_tf.replay import to_levels
from dgm_tf.runs import provenance
from dgm_tf.serving.shared_kernels import SharedKernels
from dgm_tf.storage.files import locked, whole_folder
from dgm_tf.stream import to_float

FORMAT = "dgm_tf export"
FORMAT_VERSION = 1
DESCRIPTION = "model.json"  # among the assets

ROWS_END = 2**40  # so that first * noise length stays an int64
# Standard normals stay below 10; far above this one what is computed could become infinite.
NOISE_LIMIT = 1e4


@dataclasses.dataclass(frozen=True)
class Export:
    """Result of an export; as a text, one line for the log.

    Attributes:
        path: the folder of the version, NAME/<n>.
        tasks: number of tasks in it.
        weight_bytes: size of its weights on disk.
        learner_bytes: size of the learner's state, embeddings and critic included.
        audited_pixels: pixels of the memory audit, all with the same bits as the learner's.
    """

    path: Path
    tasks: int
    weight_bytes: int
    learner_bytes: int
    audited_pixels: int

    def __str__(self) -> str:
        smaller = 1 - self.weight_bytes / self.learner_bytes
        return (
            f"exported {self.tasks} task{'s' if self.tasks > 1 else ''} to {self.path}: "
            f"{self.weight_bytes / 2**20:.2f} MiB of weights, {100 * smaller:.0f} % less than the "
            f"learner's {self.learner_bytes / 2**20:.2f} MiB; {self.audited_pixels} audited pixels "
            "bit-identical to the learner's"
        )


def export(
    learner: Any,
    path: str | Path,
    *,
    classifier: bool = False,
    audit: Sequence[dict[str, Any]] | None = None,
) -> Export:
    """Writes a learner's memory as a SavedModel in the layout that TensorFlow Serving polls.

    Signatures, each with named inputs and outputs, for any batch size B:

    - `generate`, also as `serving_default`: `labels` int32 [B] (the data set's class ids) and
      `seed` int64 [2] to `images` float32 [B, H, W, C] in [-1, 1]. The seed is a key and the number
      of the batch's first image: image i of a batch is a function of its label, the key and
      `seed[1] + i`. So the batch [0, 100) of a key can also be asked for as [0, 40) and [40, 100).
    - `generate_from_noise`: `labels` and `noise` float32 [B, latent] in [-10000, 10000] to
      `images`.
    - `generate_png`: `labels` and `seed` to `png_bytes`, a PNG file per image.
    - with `classifier`, `classify`: `images` float32 [B, H, W, C] in [-1, 1] to `probabilities`
      float32 [B, classes] in order of arrival, `label` int32 [B] and `class_name` string [B], the
      most probable class; and `classify_uint8`, the same for uint8 images of any height and width.

    The asset `model.json` has class names, tasks, image range, versions and the audit hashes.

    Args:
        learner: a `dgm_tf.DGM` with at least one finished task.
        path: NAME, which then gets its next version NAME/<n>; or NAME/<n> itself.
        classifier: take the critic along, for `classify`.
        audit: the `audit_entry` of each task, where the learner's images have been generated
            before.

    Raises:
        InputError: nothing has been learnt, a class has a name of several lines, the version
            exists or cannot be written, another process is exporting there, or the version
            generates other images than the learner, on this machine: then nothing is left of it.
    """
    path = paths.for_tensorflow(path)
    if audit is None:
        audit = [  # One record after the other: all together could be large.
            audit_entry(task, memory_audit.recorded(classes, learner.generate))
            for task, classes in enumerate(learner.task_classes, start=1)
        ]
    description = _description(learner, audit)
    pixels = int(np.prod(learner.generator.image_shape[:2]))
    audited = pixels * sum(len(each["labels"]) * each["images_per_label"] for each in audit)
    with locked(path.parent if path.name.isdecimal() else path):
        folder = version_folder(path)
        with _quiet.without_chatter(), whole_folder(folder) as aside:
            _save(aside, learner, description, classifier)
            if differing := _differing_pixels(aside, learner, audit):
                raise InputError(
                    f"{differing} of {audited} audited pixels of the export are not the learner's "
                    f"own, {folder} was not written; if this is on a GPU, export on the CPU "
                    "instead (CUDA_VISIBLE_DEVICES=-1)"
                )
    return Export(
        folder,
        tasks=len(audit),
        weight_bytes=sum(file.stat().st_size for file in (folder / "variables").iterdir()),
        learner_bytes=sum(array.nbytes for array in learner.state()[1].values()),
        audited_pixels=audited,
    )


def _save(folder: Path, learner: Any, description: dict[str, Any], classifier: bool) -> None:
    """Writes the SavedModel into an empty folder."""
    file = folder / DESCRIPTION
    file.write_text(f"{json.dumps(description, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
    root = tf.Module()
    root.description = tf.saved_model.Asset(str(file))
    signatures = _generating(root, learner.generator, learner.classes_seen)
    if classifier:
        signatures |= _classifying(root, learner)
    try:
        tf.saved_model.save(root, str(folder), signatures=signatures)
    except tf.errors.OpError as error:  # The system's; a file's path comes before what it says.
        raise OSError(_checks.one_line(error.message.rpartition("; ")[2])) from error
    file.unlink()  # The copy among the assets stays.


def version_folder(path: str | Path) -> Path:
    """NAME/<n> for NAME, n being one more than the last version there; NAME/<n> as it is.

    Raises:
        InputError: NAME/<n> exists.
    """
    path = paths.for_tensorflow(path)
    if not path.name.isdecimal():
        return path / str(max(versions_in(path), default=0) + 1)
    if path.exists():
        raise InputError(f"{path} exists and is not replaced; export to {path.parent}")
    return path


def versions_in(path: str | Path) -> list[int]:
    """Numbers of the versions in NAME, ascending; hidden folders are not whole yet."""
    names = (child.parent.name for child in Path(path).glob("*/saved_model.pb"))
    return sorted(int(name) for name in names if re.fullmatch(r"[0-9]+", name))


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
        "image": {"shape": list(generator.image_shape), "range": [-1.0, 1.0]},
        "noise": generator.latent_dim,
        "versions": provenance.versions(),
        "audit": list(audit),
    }


def audit_entry(task: int, record: Record) -> dict[str, Any]:
    """The inputs of `generate` for the fixed images of a task, and the hashes of these."""
    return {
        "task": task,
        "labels": record.classes.tolist(),
        "seeds": [_seed(number) for number in record.seeds.tolist()],  # one per label
        "images_per_label": len(record.images) // len(record.classes),
        "sha256_of_images": record.images_digest(),  # float32, little-endian, label by label
        "sha256_of_record": record.digest(),  # as in the run's audit folder
    }


def _seed(number: int) -> list[int]:
    """A learner's seed as the signatures take it, for a batch from its first image on."""
    return [randomness.key(number, "generate"), 0]


# The generator.


def _generating(root: tf.Module, generator: Generator, classes: Sequence[int]) -> dict[str, Any]:
    """The signatures that make images; their variables are attached to `root`."""
    images = _images(SharedKernels(root, generator), generator, classes)
    size = generator.latent_dim
    labels_spec = tf.TensorSpec([None], tf.int32, "labels")
    seed_spec = tf.TensorSpec([2], tf.int64, "seed")

    def from_seed(labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        seed = tf.ensure_shape(seed, [2])
        valid = _check(
            tf.logical_and(seed[1] >= 0, seed[1] < ROWS_END),
            f"expected seed[1], the number of the first image, from 0 to {ROWS_END - 1}, received",
            seed[1],
        )
        with tf.control_dependencies([valid]):
            pair = randomness.pair_of(seed[0])
        rows = tf.size(tf.ensure_shape(labels, [None]))
        return images(labels, randomness.normal_rows(rows, size, pair, first=seed[1]))

    @_traced(labels_spec, seed_spec)
    def generate(labels: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"images": from_seed(labels, seed)}

    @_traced(labels_spec, tf.TensorSpec([None, size], tf.float32, "noise"))
    def generate_from_noise(labels: tf.Tensor, noise: tf.Tensor) -> dict[str, tf.Tensor]:
        noise = tf.ensure_shape(noise, [None, size])
        inside = _check(
            tf.reduce_all(tf.abs(noise) <= NOISE_LIMIT),
            f"expected noise in [-{NOISE_LIMIT:.0f}, {NOISE_LIMIT:.0f}], received up to",
            tf.reduce_max(tf.abs(noise)),
        )
        with tf.control_dependencies([inside]):
            return {"images": images(labels, tf.identity(noise))}

    @_traced(labels_spec, seed_spec)
    def generate_png(labels: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        # TensorFlow Serving's REST interface encodes outputs called *_bytes in base 64.
        return {"png_bytes": tf.io.encode_png(to_levels(from_seed(labels, seed)))}

    return {
        "serving_default": generate,
        "generate": generate,
        "generate_from_noise": generate_from_noise,
        "generate_png": generate_png,
    }


def _images(
    kernels: SharedKernels, generator: Generator, classes: Sequence[int]
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The function of class ids and noise that makes images, each by the task of its class."""
    counts = np.asarray(generator.finished, np.int32)
    task_of_class = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    own_of_class = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    size = generator.latent_dim

    @_traced(tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, size], tf.float32))
    def images(labels: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        labels = tf.ensure_shape(labels, [None])
        fitting = _check(
            tf.equal(tf.shape(labels)[0], tf.shape(noise)[0]),
            "expected as many rows of noise as labels, received noise and labels of shapes",
            tf.shape(noise),
            tf.shape(labels),
        )
        with tf.control_dependencies([fitting]):
            positions = _positions(labels, classes)
        tasks, own = tf.gather(task_of_class, positions), tf.gather(own_of_class, positions)
        # As `Generator.latent` does, where tasks have other numbers of classes.
        column = tf.range(size)
        label = tf.cast(column == own[:, None], tf.float32)
        latent = tf.where(column < tf.gather(counts, tasks)[:, None], label, noise)
        made = _by_task(kernels, tasks, latent, generator.image_shape)
        return tf.ensure_shape(made, [None, *generator.image_shape])

    return images


def _by_task(
    kernels: SharedKernels, tasks: tf.Tensor, latent: tf.Tensor, image_shape: Sequence[int]
) -> tf.Tensor:
    """Images of rows of any tasks, in groups of one task, as `drawing.in_groups` makes them.

    A task that no row asks for costs nothing.

    Args:
        kernels: of all tasks.
        tasks: int32 [B], from 0.
        latent: float32 [B, latent].
        image_shape: (S, S, C).
    """
    order = tf.argsort(tasks, stable=True)
    present, _, counts = tf.unique_with_counts(tf.gather(tasks, order))
    groups = -(-counts // GROUP)
    ends = tf.cumsum(groups)
    # Where each row stands among the groups, each of which is filled up with zeros.
    skipped = tf.cumsum(groups * GROUP - counts, exclusive=True)
    slots = tf.range(tf.size(tasks)) + tf.repeat(skipped, counts)
    total = tf.reduce_sum(groups)
    rows = tf.scatter_nd(
        slots[:, None], tf.gather(latent, order), [total * GROUP, latent.shape[-1]]
    )
    rows = tf.reshape(rows, [total, GROUP, latent.shape[-1]])
    made = tf.TensorArray(tf.float32, size=total, element_shape=[GROUP, *image_shape])

    def of_task(index: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        finished = kernels.finished(present[index])

        def of_group(group: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return group + 1, made.write(group, draw(rows[group], finished))

        _, made = tf.while_loop(
            lambda group, _: group < ends[index],
            of_group,
            [ends[index] - groups[index], made],
            parallel_iterations=1,
        )
        return index + 1, made

    _, made = tf.while_loop(
        lambda index, _: index < tf.size(present), of_task, [0, made], parallel_iterations=1
    )
    images = tf.reshape(made.stack(), [-1, *image_shape])
    slot_of_row = tf.scatter_nd(order[:, None], slots, [tf.size(tasks)])
    return tf.gather(images, slot_of_row)


def _positions(labels: tf.Tensor, classes: Sequence[int]) -> tf.Tensor:
    """Positions in order of arrival int32 [B] of class ids; asserts that they are known."""
    order = np.argsort(classes).astype(np.int32)
    known = np.asarray(classes, np.int32)[order]
    nearest = tf.minimum(tf.searchsorted(known, labels), len(known) - 1)
    hits = tf.equal(tf.gather(known, nearest), labels)
    checked = _check(
        tf.reduce_all(hits),
        f"expected labels of the classes learnt, {', '.join(map(str, known))}, received",
        tf.boolean_mask(labels, tf.logical_not(hits)),
    )
    with tf.control_dependencies([checked]):
        return tf.gather(order, nearest)


# The classifier.


def _classifying(root: tf.Module, learner: Any) -> dict[str, Any]:
    """The signatures that classify images; their variables are attached to `root`."""
    critic = learner.classifier
    root.classifier = [variable.value for variable in critic.class_variables()]
    labels = tf.constant(learner.classes_seen, tf.int32)
    names = tf.constant(learner.class_names)
    size, _, channels = critic.image_shape

    def classified(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = critic.class_logits(images)
        best = tf.argmax(logits, axis=1)
        return {
            "probabilities": tf.nn.softmax(logits),
            "label": tf.gather(labels, best),
            "class_name": tf.gather(names, best),
        }

    @_traced(tf.TensorSpec([None, *critic.image_shape], tf.float32, "images"))
    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.ensure_shape(images, [None, *critic.image_shape])
        inside = _check(
            tf.reduce_all(tf.abs(images) <= 1.0),
            "expected images in [-1, 1] (classify_uint8 takes 0 to 255), received up to",
            tf.reduce_max(tf.abs(images)),
        )
        with tf.control_dependencies([inside]):
            return classified(tf.identity(images))

    @_traced(tf.TensorSpec([None, None, None, channels], tf.uint8, "images"))
    def classify_uint8(images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.ensure_shape(images, [None, None, None, channels])
        sides = tf.shape(images)[1:3]
        visible = _check(
            tf.reduce_all(sides > 0),
            "expected images of a pixel or more, received height and width",
            sides,
        )
        with tf.control_dependencies([visible]):
            return classified(to_float(tf.identity(images), size))

    return {"classify": classify, "classify_uint8": classify_uint8}


# Parts of both.


def _traced(*signature: tf.TensorSpec) -> Callable[[Callable[..., Any]], Any]:
    return tf.function(input_signature=signature, autograph=False)


def _check(condition: tf.Tensor, text: str, *received: tf.Tensor) -> Any:
    """Fails the call only, with a line that says what was wanted.

    On a GPU an index out of range would give zeros without a word.
    """
    return tf.debugging.Assert(condition, [text, *received], summarize=20)


def _differing_pixels(folder: Path, learner: Any, audit: Sequence[dict[str, Any]]) -> int:
    """Pixels in which the written model's images have other bits than the learner's."""
    model = tf.saved_model.load(str(folder))

    def generate(labels: np.ndarray, *, seed: int) -> np.ndarray:
        seed = tf.constant(_seed(seed), tf.int64)
        return model.signatures["generate"](labels=tf.constant(labels), seed=seed)["images"].numpy()

    differing = 0
    for entry in audit:
        record = memory_audit.recorded(entry["labels"], generate)
        if record.digest() != entry["sha256_of_record"]:
            differing += memory_audit.compare(record, learner.generate).pixels or 1
    return differing
