"""Judges the generator of a run by numbers, and by pictures next to real ones."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dgm_tf import _checks, datasets, pictures
from dgm_tf.errors import InputError
from dgm_tf.evaluation.oracle import IMAGES_PER_CLASS, Judgement, Oracle
from dgm_tf.evaluation.quality import nearest
from dgm_tf.experiments.options import FOLDER, StreamOptions
from dgm_tf.learners.learner import Learner, largest_divisor
from dgm_tf.registry import load_state
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.stream import TaskStream, to_float

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
    """

    oracle: Judgement
    oracle_test_accuracy: float
    class_names: dict[int, str]
    images_per_class: int
    sheet: Path

    def __str__(self) -> str:
        found = self.oracle
        even = 100 / len(found.class_accuracy)
        lines = [
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
            f"in the oracle's features: Frechet distance {found.frechet_distance:.2f}, precision "
            f"{100 * found.precision:.2f} %, recall {100 * found.recall:.2f} %",
            f"generated images, each next to the nearest real one: {self.sheet}",
        ]
        return "\n".join(lines)


def judge_run(
    *,
    run_dir: str,
    task: int | None = None,
    images: str | None = None,
    data_dir: str | None = None,
    images_per_class: int = IMAGES_PER_CLASS,
    out: str | None = None,
) -> Verdict:
    """Judges the images of a run's generator as it was after a task.

    Args:
        run_dir: the run's folder, with its checkpoints.
        task: from 1; None for the last one finished.
        images: the folder of images that it was learnt from, for a run of `split_folder`.
        data_dir: folder of prepared data.
        images_per_class: generated images of each class, at least 5.
        out: PNG file for the sheet; None for one among the run's samples.

    Raises:
        InputError: no such run or task, a run without a generator, data that cannot be had or are
            not those of the run.
    """
    count = _checks.integer(images_per_class, "--images_per_class", low=_PAIRS)
    stream, learner = restored_generator(run_dir, task=task, images=images, data_dir=data_dir)
    judge = Oracle.of(stream)
    classes, finished = learner.classes_seen, learner.finished_tasks
    test = stream.seen_test(finished)
    verdict = judge.judge(learner.generate, classes, test, images_per_class=count)
    sheet = Path(out or Path(run_dir) / "samples" / f"nearest-{finished:02d}.png")
    _write_nearest(judge, learner, stream, sheet)
    names = {label: stream.class_names[label] for label in classes}
    return Verdict(verdict, judge.test_accuracy, names, count, sheet)


def restored_generator(
    run_dir: str, *, task: int | None = None, images: str | None = None, data_dir: str | None = None
) -> tuple[TaskStream, Learner]:
    """The stream of a run, from its beginning, and the learner as it was after a task.

    Arguments and errors are those of `judge_run`.
    """
    description, meta, arrays = RunFolder(run_dir).state_after(task)
    described = description["stream"]
    if images is None and described["name"] not in datasets.NAMES:
        raise InputError(f"{run_dir} was learnt from a folder of images: name it by --images=DIR")
    stream = StreamOptions(
        described["name"] if images is None else FOLDER,
        images=images,
        data_dir=data_dir,
        classes_per_task=[len(classes) for classes in described["task_classes"]],
        class_order=[label for classes in described["task_classes"] for label in classes],
        validation_fraction=described["validation_fraction"],
        image_size=described["image_shape"][0],
    ).open(described["seed"])
    if stream.describe()["fingerprint"] != described["fingerprint"]:
        raise InputError(
            f"{run_dir} was learnt from other data ({described['source']}) than these "
            f"({stream.source}): name the folder of those by --data_dir or --images"
        )
    learner = load_state(meta, arrays, stream=stream)
    if not learner.generates:
        raise InputError(f"{run_dir} holds {learner.name}, which generates no images")
    return stream, learner


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
