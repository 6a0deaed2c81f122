"""A run folder as read from disk, finished or not."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import memories
from dgm_tf._checks import one_line
from dgm_tf.errors import InputError
from dgm_tf.methods.registry import METHODS, label_of
from dgm_tf.reporting import paper, pictures
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.runs.run_format import OPEN, class_names

Row = Mapping[str, Any]

_LONGEST = 30  # letters of the names of a task's classes


@dataclasses.dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        path: its folder.
        description: the content of `settings.json`.
        rows: the rows of `metrics.jsonl` (see `dgm_tf.reporting.tables`), one per finished task,
            in order.
    """

    path: Path
    description: Mapping[str, Any]
    rows: tuple[Row, ...] = ()

    @property
    def scenario(self) -> str:
        """One line that says what the numbers are for."""
        return self.description["scenario"]

    @property
    def learner(self) -> str:
        """The learner's name, such as `mergan_ra`; that of DGM with its variant, `dgm-w`."""
        return self.description["learner"]

    @property
    def method(self) -> str:
        """The method as tables call it, such as "DGMw"."""
        return label_of(self.learner)

    @property
    def published(self) -> paper.Published | None:
        """The paper's numbers for this method on this stream, if it has any."""
        return paper.published(self.dataset, self.learner, self.task_classes)

    @property
    def stream(self) -> Mapping[str, Any]:
        """The stream's part of the description."""
        return self.description["stream"]

    @property
    def is_open(self) -> bool:
        """Whether classes can always be added: it is a memory, and its stream has no last task."""
        return self.stream.get("kind") == OPEN

    @property
    def tasks(self) -> int:
        """Tasks of the stream, learnt or not; of a memory those that it has learnt."""
        return len(self.task_classes)

    @property
    def task_classes(self) -> list[list[int]]:
        """Class ids of each task."""
        if self.is_open:
            return [row["classes"] for row in self.rows]
        return self.stream["task_classes"]

    @property
    def fingerprint(self) -> str:
        """What tells these images from others, in hex."""
        if self.is_open:
            of_classes = json.dumps([row.get("fingerprints") for row in self.rows])
            return hashlib.sha256(of_classes.encode()).hexdigest()[:16]
        return self.stream["fingerprint"]

    @property
    def dataset(self) -> str:
        return self.stream["name"]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The learner's settings."""
        return self.description["settings"]

    @property
    def seed(self) -> int:
        return self.description["seed"]

    @property
    def kept_bytes(self) -> int | None:
        """Size of what the run saves to go on after its last task, its classifier included.

        None of a method that reads all old images instead, and of a folder without checkpoints.
        """
        method = METHODS.get(self.learner.partition("-")[0])
        if not self.rows or (method is not None and method.needs_stream):
            return None
        return RunFolder(self.path).saved_bytes(len(self.rows))

    def up_to(self, task: int) -> "Run":
        """The run as it was after a task (from 1)."""
        return dataclasses.replace(self, rows=self.rows[:task])

    def class_name(self, label: int) -> str:
        """The name of a class."""
        return self.class_names.get(label, str(label))

    @functools.cached_property
    def class_names(self) -> dict[int, str]:
        """Names of the classes by id."""
        return class_names(self.description, self.rows)

    def task_name(self, task: int) -> str:
        """A task (from 1) by its number and the names of its classes, in one short line."""
        classes = self.rows[task - 1]["classes"] if task <= len(self.rows) else []
        names = one_line(", ".join(map(self.class_name, classes)), _LONGEST)
        return f"{task} ({names})" if names else str(task)

    def samples(self, task: int) -> dict[int, np.ndarray]:
        """Generated images of classes seen, as the run wrote them after a task (from 1).

        Returns:
            uint8 [10, H, W, 3] by class id; empty where the folder has no such picture.

        Raises:
            InputError: the picture is there and is not one that a run writes.
        """
        path = RunFolder(self.path).sample_file(task)
        if not path.is_file():
            return {}
        row = self.rows[task - 1]
        classes = pictures.shown_classes(row["classes_seen"], row["classes"])
        try:
            shape = self.stream["image_shape"]
            grid = pictures.read_grid(path, rows=len(classes), image_shape=shape)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(
                f"expected the pictures of {len(classes)} classes in {path} ({error}); delete the "
                "file or restore it"
            ) from error
        return dict(zip(classes, grid, strict=True))


def read_run(folder: str | Path) -> Run:
    """Reads the folder of a run, which may not be finished.

    Raises:
        InputError: there is no run, or its files are damaged.
    """
    run = RunFolder(memories.folder(folder))
    return Run(run.path, run.description(), tuple(run.rows()))


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Reads several run folders, once each however often and by whatever path it is named.

    Raises:
        InputError: as `read_run` does.
    """
    different: dict[Path, str | Path] = {}
    for folder in folders:
        different.setdefault(memories.folder(folder).resolve(), folder)
    return [read_run(folder) for folder in different.values()]
