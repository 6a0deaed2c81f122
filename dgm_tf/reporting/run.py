"""A run folder as read from disk, finished or not."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import _checks, pictures
from dgm_tf.errors import InputError
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.runs.run_format import MAX_METRICS_BYTES, check_rows
from dgm_tf.settings import METHODS, method_of, recorded_values
from dgm_tf.storage.files import read_text

Row = Mapping[str, Any]

_NAMES = {
    "dgm-w": "DGMw",
    "dgm-a": "DGMa",
    "joint": "joint training",
    "joint-gan": "joint training of the GAN",
    "fine-tune": "fine-tuning",
    "ewc": "EWC",
    "dgr": "DGR",
    "mergan-jtr": "MeRGAN-JTR",
    "mergan-ra": "MeRGAN-RA",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        path: its folder.
        description: what `settings.json` holds.
        rows: the rows of `metrics.jsonl` (see `dgm_tf.reporting.report`), one per finished task, in
            order.
    """

    path: Path
    description: Mapping[str, Any]
    rows: tuple[Row, ...] = ()

    @property
    def scenario(self) -> str:
        """One line that says what the numbers are for."""
        return self.description.get("scenario", "scenario not recorded")

    @property
    def learner(self) -> str:
        """The learner's short name with hyphens, such as `dgm-w`."""
        return str(self.description.get("learner", "unknown")).replace("_", "-")

    @property
    def method(self) -> str:
        """The learner as people call it, such as "DGMw"."""
        return _NAMES.get(self.learner, self.learner)

    @property
    def stream(self) -> Mapping[str, Any]:
        """The stream's part of the description."""
        return self.description.get("stream") or {}

    @property
    def dataset(self) -> str:
        return self.stream.get("name", "unknown data")

    @property
    def settings(self) -> Mapping[str, Any]:
        """The learner's settings."""
        return self.description.get("settings") or {}

    @property
    def method_name(self) -> str | None:
        """What the learner is called on the command line; none where this is no learner of ours."""
        name = method_of(self.learner).replace("-", "_")
        return name if name in METHODS else None

    @property
    def all_settings(self) -> Mapping[str, Any]:
        """Its settings, and where the run is older than one of them, what was done then."""
        method = self.method_name
        return recorded_values(METHODS[method], self.settings) if method else self.settings

    @property
    def seed(self) -> Any:
        return self.description.get("seed")

    @property
    def memory_of(self) -> str | None:
        """The run whose generators this one has taken; its times are those of classifiers alone."""
        return self.description.get("memory_of")

    def learning_seconds(self, tasks: int | None = None) -> float | None:
        """Seconds of learning; None where the generators were another run's or a task has none.

        Args:
            tasks: the first ones together; None for all.
        """
        seconds = [row.get("seconds") for row in self.rows[:tasks]]
        return None if self.memory_of or None in seconds else sum(seconds)

    @property
    def minutes(self) -> float | None:
        """The same of all tasks, in minutes."""
        seconds = self.learning_seconds()
        return None if seconds is None else seconds / 60

    @property
    def tasks(self) -> int:
        """Tasks of the stream, learnt or not."""
        return len(self.stream.get("task_classes", ())) or len(self.rows)

    def class_name(self, label: int) -> str:
        """What the data set calls a class, with its id in front where the two differ."""
        names = self.stream.get("class_names") or ()
        name = str(names[label]) if label < len(names) else str(label)
        return name if name == str(label) else f"{label} {name}"

    def samples(self, task: int) -> dict[int, np.ndarray]:
        """Generated images of each class seen, as the run drew them after a task (from 1).

        Returns:
            uint8 [10, H, W, 3] by class id; empty where the folder has no such picture.

        Raises:
            InputError: the picture is there and is not what a run writes.
        """
        path = RunFolder(self.path).sample_file(task)
        shape, classes = self.stream.get("image_shape"), self.rows[task - 1].get("classes_seen")
        if not shape or not classes or not path.is_file():
            return {}
        try:
            grid = pictures.read_grid(path, rows=len(classes), image_shape=shape)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(
                f"expected the pictures of {len(classes)} classes in {path} ({error}); delete the "
                "file or restore it"
            ) from error
        return dict(zip(classes, grid, strict=True))


def read_run(folder: str | Path) -> Run:
    """Reads the folder of a run, which may still be going on.

    Raises:
        InputError: there is no run, or its files are damaged.
    """
    path = Path(folder)
    settings, metrics = path / "settings.json", path / "metrics.jsonl"
    if not settings.is_file():
        raise InputError(
            f"expected the folder of a run, with settings.json in it, received {folder}; name a "
            "folder that a trainer has written"
        )
    description = RunFolder(path).description()
    try:
        # A run that has just begun has no rows yet.
        text = read_text(metrics, limit=MAX_METRICS_BYTES) if metrics.exists() else ""
        rows = [json.loads(line) for line in text.splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        reason = _checks.one_line(error)
        raise InputError(
            f"cannot read the run in {folder} ({reason}); restore its files"
        ) from error
    try:
        check_rows(rows, tasks=len(rows))
    except ValueError as error:
        raise InputError(
            f"expected a row per finished task, from task 1 on, in {metrics} "
            f"({_checks.one_line(error)}); restore the file"
        ) from error
    return Run(path, description, tuple(rows))


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Reads several run folders, once each however often and by whatever path it is named.

    Raises:
        InputError: as `read_run` does.
    """
    different: dict[Path, str | Path] = {}
    for folder in folders:
        different.setdefault(Path(folder).resolve(), folder)
    return [read_run(folder) for folder in different.values()]
