"""The folder of a run: its files, its identity, and what a resumed run finds in it.

A task counts as finished once its checkpoint has its name; the checkpoint also holds the row of
`metrics.jsonl` of every task so far. The tables are written again from these rows after each commit
and when a run resumes, so that a run killed at any moment neither loses nor doubles a line.

While a task is learnt its own checkpoints stand in `checkpoints/unfinished`, which goes when the
task is finished. A checkpoint that is not whole is named and passed over for the one before.
"""

import contextlib
import hashlib
import json
import math
import re
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.runs.run_format import check_rows, read_description, read_rows
from dgm_tf.storage import checkpoint
from dgm_tf.storage.files import locked, refuse_links_out, write_atomically

# A task's checkpoint, audit record and pictures; a rough upper bound for the reference networks.
_MIB_PER_TASK = 30

# The last checkpoints inside a task that are kept.
_KEPT = 2

# The keys of a description that tell whether two runs are the same.
_IDENTITY = ("learner", "settings", "stream")

# The keys of a checkpoint's dictionary that are not the learner's.
_ROWS = "rows"
_RUN = "run"
_TASK = "task"


class RunFolder:
    """Paths, settings, tables and checkpoints of one run; nothing is read or written yet.

    Attributes:
        path: the folder itself.
        audit: the folder of the memory audit's records.
        samples: the folder of the pictures.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.audit = self.path / "audit"
        self.samples = self.path / "samples"
        self._settings = self.path / "settings.json"
        self._metrics = self.path / "metrics.jsonl"
        self._unfinished = self.path / "checkpoints" / "unfinished"
        self._identity: str | None = None

    @contextlib.contextmanager
    def opened(self, description: Mapping[str, Any], *, tasks: int) -> Iterator["RunFolder"]:
        """A block in which the folder belongs to one run and to this process only.

        Args:
            description: content of `settings.json`. Its `learner`, `settings` and `stream` are the
                run's identity; a resumed run keeps the other values of the first start.
            tasks: tasks still to be learnt at most, for the space they take.

        Raises:
            InputError: the folder holds a run with other settings or something else, is in use,
                cannot be written, or has too little space.
        """
        description = _plain(description)
        refuse_links_out(self.path)
        self._identity = _digest_of_identity(description)
        if self._settings.exists():
            found = self.description()
            if differences := _checks.differences(found, description, _IDENTITY):
                raise InputError(
                    f"{self.path} holds a run with other settings: {'; '.join(differences)}; "
                    "choose another --run_dir or delete that one"
                )
        elif self._metrics.exists() or self.saved_tasks():
            raise InputError(
                f"{self.path} holds results without settings.json, so it cannot be told whether "
                "they belong to this run; choose another --run_dir"
            )
        check_writable(self.path, mib=_MIB_PER_TASK * tasks)
        with locked(self.path):
            if not self._settings.exists():
                text = json.dumps(description, indent=2, ensure_ascii=False)
                write_atomically(self._settings, f"{text}\n".encode())
            yield self

    def restore(self) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]] | None:
        """The state after the last finished task with a whole checkpoint; brings the tables to it.

        Returns:
            The rows of metrics.jsonl and the learner's dictionary and arrays; None without a
            finished task.

        Raises:
            InputError: no checkpoint is whole, the last one is not this run's, or there is none
                and there are results.
        """
        found = _newest_whole([self._checkpoint(task) for task in reversed(self.saved_tasks())])
        if found is None:
            # Results are written after their checkpoint: where there is none, it was left out.
            if self._metrics.exists() and self._metrics.stat().st_size:
                raise InputError(
                    f"{self.path} holds results and no checkpoint that a run could resume from; to "
                    "repeat the run choose another --run_dir, or delete that one"
                )
            self._tidy(1)
            self._write_tables([])
            return None
        folder, meta, arrays = found
        rows, last = meta.pop(_ROWS, None), int(folder.name.removeprefix("task-"))
        try:
            check_rows(rows, tasks=last)
        except ValueError as error:
            raise InputError(
                f"the checkpoint {folder} does not hold the results of tasks 1 to {last} "
                f"({_checks.one_line(error)}); restore it or begin a new run folder"
            ) from error
        self._check_run(folder, meta, self._identity)
        self._tidy(last + 1)
        self._write_tables(rows)
        return rows, meta, arrays

    def commit(
        self, rows: Sequence[Mapping[str, Any]], meta: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Makes the last row's task a finished one, then writes the tables.

        Args:
            rows: one row per finished task, in order.
            meta: the learner's dictionary.
            arrays: the learner's arrays.

        Returns:
            The rows as `restore` gives them.
        """
        rows = _plain(rows)
        kept = {**meta, _ROWS: rows, _RUN: self._identity}
        checkpoint.save(self._checkpoint(len(rows)), kept, arrays)
        self._write_tables(rows)
        shutil.rmtree(self._unfinished, ignore_errors=True)
        return rows

    def keep_unfinished(
        self, task: int, steps: int, meta: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> None:
        """Writes a checkpoint inside a task after `steps` steps, and removes those before the last.

        If the folder cannot be written, the checkpoints before are still whole.
        """
        folder = self._unfinished / f"{_task_name(task)}-step-{steps:08d}"
        checkpoint.save(folder, {**meta, _TASK: task, _RUN: self._identity}, arrays)
        found = self._unfinished_checkpoints(task)
        place = found.index(folder)
        # Those of later steps are what `unfinished` passed over as it looked for a whole one.
        for old in (*found[:place], *found[place + _KEPT :]):
            shutil.rmtree(old, ignore_errors=True)

    def unfinished(self, task: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Dictionary and arrays of the last whole checkpoint inside a task, if there is one."""
        for folder in self._unfinished_checkpoints(task):
            try:
                meta, arrays = checkpoint.load(folder)
            except checkpoint.DamagedError as error:
                _warn(f"{error}; the one before is looked for")
                continue
            if (meta.pop(_TASK, None), meta.pop(_RUN, None)) == (task, self._identity):
                return meta, arrays
            _warn(f"the checkpoint {folder} is not of this run; the one before is looked for")
        return None

    def _tidy(self, task: int) -> None:
        """Removes what a killed process left, but for checkpoints inside the task that is next."""
        mine = set(self._unfinished_checkpoints(task))
        for path in self._unfinished.glob("*"):  # hidden ones, too
            if path not in mine:
                shutil.rmtree(path, ignore_errors=True)

    def state_after(
        self, task: int | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The learner as it was after a task, by default the last one finished.

        Returns:
            The run's description, the learner's dictionary and its arrays.

        Raises:
            InputError: there is no run here, or it has not finished that task.
        """
        finished = self.saved_tasks()
        if not finished:
            raise InputError(
                f"expected a run with a finished task, {self.path} holds none; name its --run_dir"
            )
        if task is not None and task not in finished:
            raise InputError(
                f"expected --task from {finished[0]} to {finished[-1]}, received {task}"
            )
        description = self.description()
        _, meta, arrays = self.saved(task or finished[-1])
        return description, meta, arrays

    def description(self) -> dict[str, Any]:
        """The content of `settings.json`.

        Raises:
            InputError: there is none, it cannot be read or is not what a run writes, or a link in
                the folder leads out of it.
        """
        if not self._settings.is_file():
            raise InputError(
                f"expected the folder of a run, with settings.json in it, received {self.path}; "
                "name a folder that a trainer has written"
            )
        refuse_links_out(self.path)
        try:
            return read_description(self._settings)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"cannot read {self._settings} as the settings of a run "
                f"({_checks.one_line(error)}); restore it or choose another --run_dir"
            ) from error

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`, one per finished task, in order."""
        try:
            return read_rows(self._metrics)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"expected a row per finished task, from task 1 on, in {self._metrics} "
                f"({_checks.one_line(error)}); restore the file"
            ) from error

    def saved_tasks(self) -> list[int]:
        """Tasks that have a checkpoint, in order."""
        names = (path.name for path in (self.path / "checkpoints").glob("task-*"))
        return sorted(
            int(match[1]) for name in names if (match := re.fullmatch(r"task-(\d{2,5})", name))
        )

    def saved(self, task: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """A task's checkpoint as it is: rows, the learner's dictionary and its arrays.

        Raises:
            InputError: it is missing, damaged, or of another run than `settings.json`.
        """
        meta, arrays = checkpoint.load(self._checkpoint(task))
        self._check_run(self._checkpoint(task), meta, _digest_of_identity(self.description()))
        return meta.pop(_ROWS, []), meta, arrays

    def sample_file(self, task: int) -> Path:
        """The file of the pictures made after a task (from 1)."""
        return self.samples / f"task-{task:02d}.png"

    def _checkpoint(self, task: int) -> Path:
        return self.path / "checkpoints" / _task_name(task)

    def _unfinished_checkpoints(self, task: int) -> list[Path]:
        """Checkpoints inside a task, the last one first."""
        return sorted(self._unfinished.glob(f"{_task_name(task)}-step-*"), reverse=True)

    @staticmethod
    def _check_run(folder: Path, meta: dict[str, Any], wanted: str | None) -> None:
        if meta.pop(_RUN, None) != wanted:
            raise InputError(
                f"the checkpoint {folder} is of a run with other settings; restore this run's own "
                "or begin a new run folder"
            )

    def _write_tables(self, rows: Sequence[Mapping[str, Any]]) -> None:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(self._metrics, lines.encode())
        AccuracyMatrix.from_rows(rows).to_csv(self.path / "accuracy_matrix.csv")


def _digest_of_identity(description: Mapping[str, Any]) -> str:
    identity = {key: description[key] for key in _IDENTITY}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _newest_whole(
    folders: Sequence[Path],
) -> tuple[Path, dict[str, Any], dict[str, Any]] | None:
    """The first checkpoint that is whole, and its content; None if there are none.

    Raises:
        checkpoint.DamagedError: there are some, and none is whole.
        InputError: one is of another format.
    """
    first = None
    for folder in folders:
        try:
            meta, arrays = checkpoint.load(folder)
        except checkpoint.DamagedError as error:
            first = first or error
            continue
        if first is not None:
            _warn(f"{first}; resuming after {folder.name}")
        return folder, meta, arrays
    if first is not None:
        raise first
    return None


def check_writable(folder: str | Path, *, mib: float = 0, flag: str = "--run_dir") -> None:
    """Tries to write where a folder is or would be made, and looks at the space left.

    Args:
        folder: is not made, so that a run that is refused later leaves nothing behind.
        mib: space that will be needed, in MiB.
        flag: its name on the command line.

    Raises:
        InputError: the folder cannot be made or written, or has too little space.
    """
    there = Path(folder)
    while not there.exists() and there != there.parent:
        there = there.parent
    probe = there / f".probe-{uuid.uuid4().hex}"
    try:
        write_atomically(probe, b"probe")
        probe.unlink()
        free = shutil.disk_usage(there).free / 2**20
    except (InputError, OSError) as error:
        reason = error.__cause__ or error
        raise InputError(
            f"cannot write to {folder}: {getattr(reason, 'strerror', None) or reason}; "
            f"name another {flag}"
        ) from error
    if free < mib:
        raise InputError(
            f"a run here needs up to {mib:.0f} MiB, {folder} has {free:.0f} MiB left; free some "
            f"space or name another {flag}"
        )


def _task_name(task: int) -> str:
    return f"task-{task:02d}"


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _plain(value: Any) -> Any:
    """The value as JSON reads it back, with null for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a NumPy number
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
