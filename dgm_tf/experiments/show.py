"""Answers of the page of trainers.show: what is on an image, images of a class, and the curves.

The page itself is `dgm_tf.experiments.show_page`; nothing here needs Gradio.
"""

import dataclasses
import functools
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import memories
from dgm_tf.data import image_file
from dgm_tf.errors import InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.experiments import memory_use
from dgm_tf.reporting import numbers, page
from dgm_tf.reporting.page import Shown
from dgm_tf.reporting.run import Run, read_run
from dgm_tf.runs import provenance, saved
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.runs.run_format import origin

IMAGES = 16  # of a class, as in the audit's records
MOST_TASKS_KEPT = 2  # earlier states that are held in memory

_INK = 0.3  # of the way from the ground to the strongest ink: what counts as ink


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Images of a class now and at the end of its task.

    Attributes:
        now: float32 [N, S, S, C] in [-1, 1], generated now.
        then: the same images as they were; None where nothing of that time is kept.
        again: images generated now that `then` is compared with: `now`, or those on record.
        verdict: a line on whether they are the same to the last bit.
    """

    now: np.ndarray
    then: np.ndarray | None
    again: np.ndarray | None
    verdict: str


class Memory:
    """A memory as the page shows it.

    Args:
        path: folder of a memory or of another run, of a saved learner or of an exported model, or
            the name of a memory that comes with the package.

    Raises:
        InputError: there is nothing of these, or it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.model: Any = memory_use.opened(path)
        self.path = memories.folder(path)
        self.name = str(path) if memories.is_shipped(path) else self.path.resolve().name
        self._run = RunFolder(self.path) if RunFolder(self.path).exists() else None
        self._lock = threading.Lock()  # The page asks from several threads.
        self._earlier = functools.lru_cache(MOST_TASKS_KEPT)(self._after)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.model.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.model.image_shape

    @property
    def about(self) -> str:
        """A line that says what this is."""
        count = len(self.class_names)
        classes = f"{count} class{'es' * (count != 1)}"
        if self._run is None:
            return f"{classes}, images of {self.image_shape[0]} x {self.image_shape[1]} pixels"
        return f"{classes}; {self._run.description()['scenario']}"

    # Images to classes.

    def probabilities(self, image: np.ndarray) -> dict[str, float]:
        """Probability of each class by name, in the order of arrival.

        Args:
            image: uint8 [H, W, 1 or 3].

        Raises:
            InputError: it is no such image, or the memory has no classifier.
        """
        with self._lock:
            (row,) = self.model.predict(image)
        return dict(zip(self.class_names, map(float, row), strict=True))

    def of_file(self, content: bytes) -> np.ndarray:
        """The pixels of an image file as the networks see them, uint8 [S, S, C].

        Args:
            content: of the file.

        Raises:
            InputError: it cannot be read as an image.
        """
        size, _, channels = self.image_shape
        return image_file.in_colours(image_file.read_image(_Dropped(content), size), channels)

    def of_drawing(self, ink: np.ndarray) -> np.ndarray | None:
        """A drawing as the networks see it, uint8 [S, S, C], placed as the memory's images are.

        Args:
            ink: float [H, W] from 0, nothing, to 1.

        Returns:
            None where nothing is drawn.
        """
        dark, filled = self._look
        return placed(ink, self.image_shape, dark=dark, filled=filled)

    @functools.cached_property
    def _look(self) -> tuple[bool, float]:
        """Whether things stand on a dark ground, and how much of an image's side they fill."""
        labels = [label for label in self.model.classes_seen for _ in range(IMAGES)]
        try:
            with self._lock:
                images = self.model.generate(labels)
        except InputError:  # A method without a generator.
            return True, 0.8
        return look(images)

    # Classes to images.

    def compared(self, name: str, seed: int) -> Comparison:
        """Images of a class now, and as they were when it had just been learnt.

        Args:
            name: of the class.
            seed: from 0.

        Raises:
            InputError: no such class or seed, or the memory generates no images.
        """
        with self._lock:
            now = self.model.generate([name] * IMAGES, seed=seed)
            return self._compared(name, seed, now)

    def _compared(self, name: str, seed: int, now: np.ndarray) -> Comparison:
        label = self.model.classes_seen[self.class_names.index(name)]
        tasks = getattr(self.model, "task_classes", ())
        task = next((number for number, each in enumerate(tasks, 1) if label in each), None)
        if task is None:
            return Comparison(now, None, None, "An exported model keeps no earlier state.")
        since = f"now, after task {len(tasks)}, and at the end of task {task}"
        if self._run is not None and task < len(tasks) and task in self._run.saved_tasks():
            then = self._earlier(task).generate([name] * IMAGES, seed=seed)
            return Comparison(now, then, now, self._verdict(now, then, since))
        record = None if self._run is None else memory_audit.record_path(self._run.audit, task)
        if record is not None and record.exists():
            then, of_record = self._on_record(memory_audit.read(record), label)
            again = self.model.generate([name] * len(then), seed=of_record)
            verdict = (
                f"{self._verdict(again, then, since)} The memory keeps no checkpoint of task "
                f"{task}: these are the images of its audit record, with seed {of_record}."
            )
            return Comparison(now, then, again, verdict)
        return Comparison(now, None, None, self._by_digest(task))

    def _after(self, task: int) -> Any:
        return saved.load(self.path, task=task)

    @staticmethod
    def _on_record(record: memory_audit.Record, label: int) -> tuple[np.ndarray, int]:
        place = record.classes.tolist().index(label)
        count = len(record.images) // len(record.classes)
        return record.images[place * count : (place + 1) * count], int(record.seeds[place])

    def _verdict(self, now: np.ndarray, then: np.ndarray, since: str) -> str:
        found = memory_audit.difference(now, then)
        if not found.pixels:
            return f"Bit-identical: {len(now)} images are the same {since}."
        line = (
            f"Different: {found.pixels} of {found.of} pixels are not the same {since}; they "
            f"differ by up to {found.furthest:.3g} on the scale of -1 to 1."
        )
        other = provenance.elsewhere(origin(self._run.description(), self._run.rows()))
        return f"{line} {other}." if other else line

    def _by_digest(self, task: int) -> str:
        same = self.model.audit().get(task)
        if same is None:
            return f"Nothing is kept of the images at the end of task {task}."
        found = "the same bits as" if same else "other bits than"
        return (
            f"A saved memory keeps no images of that time, only the SHA-256 of {IMAGES} of each "
            f"class: generated again, those of task {task} have {found} at its end."
        )

    # Curves.

    def figures(self) -> dict[str, list[Shown]]:
        """Figures over tasks by heading.

        Returns:
            Nothing where the memory has no table of results, as a saved learner.
        """
        if self._run is None or not (rows := read_run(self.path)).rows:
            return {}
        return _figures(rows)


class _Dropped(io.BytesIO):
    """Content of a file without a path, for errors that name it."""

    def __str__(self) -> str:
        return "dropped on the page"


def _figures(run: Run) -> dict[str, list[Shown]]:
    groups = numbers.groups([run])
    found = {
        "Accuracy": [shown for row in page.accuracies(groups) for shown in row],
        "Growth": page.growth(groups),
        "Masks": page.masks(groups),
    }
    return {heading: shown for heading, shown in found.items() if shown}


def look(images: np.ndarray) -> tuple[bool, float]:
    """How a memory's images look.

    Args:
        images: float32 [N, S, S, C] in [-1, 1].

    Returns:
        Whether things stand on a dark ground, and the longer side of the box around a thing over
        the image's side, mean over the images.
    """
    grey = images.mean(axis=-1)
    edge = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    dark = bool(np.median(edge) < 0)
    ink = (grey + 1) / 2 if dark else (1 - grey) / 2
    boxes = [_box(each) for each in ink]
    sides = [max(box[1] - box[0], box[3] - box[2]) for box in boxes if box]
    return dark, float(np.mean(sides)) / ink.shape[1] if sides else 1.0


def placed(
    ink: np.ndarray, image_shape: tuple[int, int, int], *, dark: bool, filled: float
) -> np.ndarray | None:
    """A drawing in the middle of an image, as large as `look` says that things are.

    Args:
        ink: float [H, W] from 0, nothing, to 1.
        image_shape: (S, S, C) of the image.
        dark: draw in white on black.
        filled: the longer side of the drawing over that of the image.

    Returns:
        uint8 [S, S, C]; None where nothing is drawn.
    """
    from PIL import Image

    if (box := _box(ink)) is None:
        return None
    size, _, channels = image_shape
    top, bottom, left, right = box
    cut = Image.fromarray(np.rint(255 * ink[top:bottom, left:right]).astype(np.uint8))
    side = min(max(filled, 1 / size), 1.0) * size
    scale = side / max(cut.size)
    width, height = (max(1, round(scale * each)) for each in cut.size)
    cut = cut.resize((width, height), Image.Resampling.BILINEAR)
    found = np.zeros((size, size), np.uint8)
    y, x = (size - height) // 2, (size - width) // 2
    found[y : y + height, x : x + width] = np.asarray(cut)
    return np.repeat((found if dark else 255 - found)[..., np.newaxis], channels, axis=-1)


def _box(ink: np.ndarray) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of what is drawn."""
    if not (drawn := ink > _INK).any():
        return None
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
