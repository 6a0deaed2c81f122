"""Judges the generator of a run by numbers, and by pictures next to real ones."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import _checks, memories
from dgm_tf.data import datasets, folder_scan, image_file
from dgm_tf.data.image_folder import TEST_FRACTION, read_all
from dgm_tf.data.pixels import to_float
from dgm_tf.data.stream import TaskStream, class_incremental
from dgm_tf.errors import InputError
from dgm_tf.evaluation.oracle import IMAGES_PER_CLASS, Judgement, Oracle
from dgm_tf.evaluation.quality import nearest
from dgm_tf.experiments.options import FOLDER, StreamOptions
from dgm_tf.learners.generating_learner import largest_divisor
from dgm_tf.learners.learner import Learner
from dgm_tf.methods.registry import generates, load_state
from dgm_tf.reporting import pictures, tables
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.runs.run_format import OPEN
from dgm_tf.storage.files import output_file
from dgm_tf.terminal import printing

_PAIRS = 5  # in a row of the sheet
_SEED = 0
_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Findings of `judge_run`; as a text, a table.

    Attributes:
        oracle: the oracle's judgement.
        oracle_test_accuracy: the oracle's own accuracy on real test images, 0 to 1.
        class_names: by class id.
        images_per_class: generated images of each class.
        sheet: PNG file with generated images, each next to the nearest real training image.
        remarks: lines on images that were passed over, and on classes that were not judged.
    """

    oracle: Judgement
    oracle_test_accuracy: float
    class_names: dict[int, str]
    images_per_class: int
    sheet: Path
    remarks: Sequence[str] = ()

    def __str__(self) -> str:
        found = self.oracle
        even = 100 / len(found.class_accuracy)
        lines = [
            *self.remarks,
            f"{self.images_per_class} generated images of each class, judged by an oracle that "
            f"knows {100 * self.oracle_test_accuracy:.2f} % of the real test images",
            f"{'class':>16}  recognised, %  all taken for it, % (balance: {even:.2f})",
        ]
        for label, accuracy in found.class_accuracy.items():
            taken = found.class_share[label]
            name = self.class_names[label]
            lines.append(f"{name:>16}  {100 * accuracy:13.2f}  {100 * taken:19.2f}")
        lines += [
            f"{'mean (G_t)':>16}  {100 * found.accuracy:13.2f}",
            "in the oracle's features: "
            f"Frechet distance {_measured(found.frechet_distance)}, "
            f"precision {_measured(100 * found.precision, ' %')}, "
            f"recall {_measured(100 * found.recall, ' %')}",
            f"generated images, each next to the nearest real one: {self.sheet}",
        ]
        return "\n".join(lines)


def _measured(value: float, unit: str = "") -> str:
    """A measure as text; too few real images leave it undefined."""
    return tables.UNDEFINED if math.isnan(value) else f"{value:.2f}{unit}"


def judge_run(
    *,
    memory: str,
    task: int | None = None,
    images: str | None = None,
    test_images: str | None = None,
    follow_links: bool = False,
    data_dir: str | None = None,
    images_per_class: int = IMAGES_PER_CLASS,
    out: str | None = None,
) -> Verdict:
    """Judges the images of a run's generator as it was after a task.

    Args:
        memory: the run's folder, with its checkpoints.
        task: from 1; None for the last one finished.
        images: the folder of images that it was learnt from, for a run of `split_folder`; for a
            memory real images of some of its classes, which alone are judged, those of folders
            train and test together.
        test_images: the folder of test images of a run of `split_folder`.
        follow_links: take links that lead out of these folders, too.
        data_dir: folder of prepared data.
        images_per_class: generated images of each class, at least 5.
        out: PNG file for the sheet; None for one among the run's samples.

    Raises:
        InputError: no such run or task, a run without a generator, data that cannot be had or are
            not those of the run.
    """
    count = _checks.integer(images_per_class, "--images_per_class", low=_PAIRS)
    if out is None:
        memories.check_not_written(memory, "name a file for the sheet by --out")
    sheet = None if out is None else output_file(out, endings=(".png",))
    where = {"images": images, "test_images": test_images, "follow_links": follow_links}
    stream, learner = restored_generator(memory, task=task, data_dir=data_dir, **where)
    folder = RunFolder(memory)
    if sheet is None:
        sheet = output_file(folder.samples / f"nearest-{task or folder.saved_tasks()[-1]:02d}.png")
    judge = Oracle.of(stream, say=printing.say)
    classes, test = learner.classes_seen, stream.seen_test(learner.finished_tasks)
    verdict = judge.judge(learner.generate, classes, test, images_per_class=count)
    _write_nearest(judge, learner, stream, sheet)
    names = {label: stream.class_names[label] for label in classes}
    return Verdict(verdict, judge.test_accuracy, names, count, sheet, stream.remarks)


def restored_generator(
    memory: str,
    *,
    task: int | None = None,
    images: str | None = None,
    test_images: str | None = None,
    follow_links: bool = False,
    data_dir: str | None = None,
) -> tuple[TaskStream, Learner]:
    """The stream of a run, from its beginning, and the learner as it was after a task.

    Arguments and errors are those of `judge_run`.
    """
    description, meta, arrays = RunFolder(memories.folder(memory)).state_after(task)
    described = description["stream"]
    if not generates(description["learner"]):
        raise InputError(
            f"{memory} holds {description['learner']}, which generates no images: judge a run of a "
            "method with a generator"
        )
    if described.get("kind") == OPEN:
        if test_images is not None or data_dir is not None:
            raise InputError(
                f"{memory} is a memory, which is judged by the images of --images only: leave "
                "--test_images and --data_dir out"
            )
        return _of_memory(memory, load_state(meta, arrays), images, follow_links)
    known = described["name"] in datasets.NAMES
    if images is None and not known:
        raise InputError(f"{memory} was learnt from a folder of images: name it by --images=DIR")
    if images is not None and known:
        raise InputError(
            f"{memory} was learnt from {described['name']} and is judged by these images, received "
            f"--images={images}: leave --images out"
        )
    size = described["image_shape"][0]
    data = StreamOptions(
        described["name"] if known else FOLDER,
        images=images,
        test_images=test_images,
        follow_links=follow_links,
        data_dir=data_dir,
        image_size=size,
    ).read()
    # Before they are cut into tasks, which other classes do not fit.
    found = list(data.class_names), data.fingerprint
    if found != (described["class_names"], described["fingerprint"]):
        raise InputError(
            f"{memory} was learnt from other data ({described['source']}; classes "
            f"{_checks.listed(described['class_names'])}) than these ({data.source}; classes "
            f"{_checks.listed(data.class_names)}): name the folder of those by "
            f"{'--data_dir' if known else '--images and --test_images'}"
        )
    stream = class_incremental(
        data,
        classes_per_task=[len(classes) for classes in described["task_classes"]],
        class_order=[label for classes in described["task_classes"] for label in classes],
        image_size=size,
        validation_fraction=described["validation_fraction"],
        seed=described["seed"],
    )
    return stream, load_state(meta, arrays, stream=stream)


class _AtHand:
    """The classes of a memory whose real images are at hand, with ids from 0, as one task."""

    finished_tasks = 1

    def __init__(self, learner: Learner, labels: Sequence[int]) -> None:
        self._learner, self._labels = learner, np.array(labels, np.int32)
        self.classes_seen = tuple(range(len(labels)))

    def generate(self, labels: Sequence[int] | np.ndarray, *, seed: int = 0) -> np.ndarray:
        return self._learner.generate(self._labels[np.asarray(labels)], seed=seed)


def _of_memory(
    memory: str, learner: Any, images: str | None, follow_links: bool
) -> tuple[TaskStream, Any]:
    """The real images at hand of a memory's classes, as one task, and its learner for these."""
    if images is None:
        raise InputError(
            f"{memory} keeps no image that it was learnt from: name a folder with some of its "
            "classes by --images=DIR"
        )
    given = folder_scan.parts(images, follow_links=follow_links)
    files, remarks = dict(given.train), given.remarks
    for name, others in (given.test or {}).items():
        files[name] = [*files.get(name, ()), *others]
    named = dict(zip(learner.class_names, learner.classes_seen, strict=True))
    size, _, channels = learner.image_shape
    every = read_all({name: files[name] for name in named if name in files}, size)
    names = [name for name, found in every.items() if len(found.digests) > 1]
    if len(names) < 2:
        raise InputError(
            f"expected two images or more of at least two classes of {memory} in {images}, "
            f"received {len(names)} such classes"
        )
    if absent := [name for name in named if name not in names]:
        listed = _checks.listed(absent)
        remarks.append(f"not judged, for want of two real images: {listed}")
    parts = [every[name].divided(every[name].held_out(TEST_FRACTION)) for name in names]
    pixels, labels = [], []
    for split in zip(*parts, strict=True):
        of_split = [image_file.in_colours(part.images, channels) for part in split]
        pixels.append(np.concatenate(of_split))
        labels.append(np.repeat(np.arange(len(names)), [*map(len, of_split)]))
    data = datasets.ImageData(
        name="memory",
        train_images=pixels[0],
        train_labels=labels[0],
        test_images=pixels[1],
        test_labels=labels[1],
        class_names=tuple(names),
        source=f"images of {len(names)} classes",
        image_size=size,
        remarks=tuple(remarks),
    )
    stream = class_incremental(data, classes_per_task=len(names), validation_fraction=0.0)
    return stream, _AtHand(learner, [named[name] for name in names])


def real_batches(stream: TaskStream, learner: Learner) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every training image of the classes that a learner has seen, once, and class ids.

    Images are float32 [B, S, S, C] in [-1, 1]. No learner may learn from them.
    """
    counts = stream.describe()["train_images"]
    total = sum(counts[label] for label in learner.classes_seen)
    batch = largest_divisor(total, at_most=_CHUNK)  # so that none is left out; 1 for a prime total
    batches = stream.joint_batches(learner.finished_tasks, batch, epochs=1, seed=_SEED)
    for images, labels in batches.rebatch(_CHUNK):
        yield images.numpy(), labels.numpy()


def _write_nearest(judge: Oracle, learner: Learner, stream: TaskStream, path: Path) -> None:
    """Writes generated images, each with the nearest real training image on its right.

    A generator that has learnt its training images by heart shows the same picture twice.
    """
    labels = np.repeat(learner.classes_seen, _PAIRS)
    made = learner.generate(labels, seed=_SEED)
    pixels, features = [], []
    for real, _ in real_batches(stream, learner):
        features.append(judge.features(real))
        pixels.append(pictures.to_uint8(real))
    rows = nearest(np.concatenate(features), judge.features(made))
    found = to_float(np.concatenate(pixels)[rows], made.shape[1]).numpy()
    pairs = np.stack([made, found], axis=1).reshape(-1, *made.shape[1:])
    names = [stream.class_names[label] for label in np.repeat(labels, 2)]
    pictures.sample_grid(pairs, 2 * _PAIRS, path, labels=names)
