"""The folder of a run: its files, its identity, and what a resumed run finds in it.

A task counts as finished once its checkpoint has its name. A checkpoint holds only what is new: its
task's row of `metrics.jsonl`, and the learner without the arrays that an earlier task has left for
good (`finished_arrays`). The tables are written again from the rows after each commit and when a
run resumes, so that a run killed at any moment neither loses nor doubles a line.

While a task is learnt its own checkpoints stand in `checkpoints/unfinished`, which goes when the
task is finished. A checkpoint that is not whole is named and passed over for the one before.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.runs import finished_arrays
from dgm_tf.runs.run_format import (
    OPEN,
    check_rows,
    class_names,
    origin,
    read_description,
    read_rows,
)
from dgm_tf.storage import checkpoint, paths
from dgm_tf.storage.files import (
    check_writable,
    locked,
    refuse_links_out,
    whole_folder,
    write_atomically,
)
from dgm_tf.terminal.printing import warn

# The last checkpoints inside a task that are kept.
_KEPT = 2

# The keys of a description that tell whether two runs are the same.
_IDENTITY = ("learner", "settings", "stream")
_ORIGIN = ("name", "source")  # of the images, of which their fingerprint tells more

# The keys of a checkpoint's dictionary that are not the learner's.
_ROW = "row"
_EARLIER_ROWS = "earlier_rows"  # in older ones; nothing reads it
_FINISHED = "finished"
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
        self.path = paths.expanded(path)
        self.audit = self.path / "audit"
        self.samples = self.path / "samples"
        self._settings = self.path / "settings.json"
        self._metrics = self.path / "metrics.jsonl"
        self._unfinished = self.path / "checkpoints" / "unfinished"
        self._identity: str | None = None
        self._description: Mapping[str, Any] = {}
        self._finished_digest = ""  # of the arrays that finished tasks have left

    def exists(self) -> bool:
        """Whether a run has been here, which has left its settings."""
        return self._settings.exists()

    @contextlib.contextmanager
    def opened(
        self,
        description: Mapping[str, Any],
        *,
        defaults: Mapping[str, Any] = MappingProxyType({}),
    ) -> Iterator["RunFolder"]:
        """A block in which the folder belongs to one run and to this process only.

        Args:
            description: content of `settings.json`. Its `learner`, `settings` and `stream` are the
                run's identity; a resumed run keeps the other values of the first start.
            defaults: of settings, for those that `settings.json` is too old to have.

        Raises:
            InputError: the folder holds a run with other settings or something else, is in use, or
                cannot be written.
        """
        refuse_links_out(self.path)
        check_writable(self.path)
        with locked(self.path):
            self._description = self._own(_plain(description), defaults)
            self._identity = _digest_of_identity(self._description)
            if not self._settings.exists():
                text = json.dumps(self._description, indent=2, ensure_ascii=False)
                write_atomically(self._settings, f"{text}\n".encode())
            yield self

    def _own(self, description: dict[str, Any], defaults: Mapping[str, Any]) -> Mapping[str, Any]:
        """The run's description: that of its first start, if it is the same run.

        Raises:
            InputError: the folder holds another run or something else.
        """
        if self._settings.exists():
            found = self.description()
            if OPEN == found["stream"].get("kind") != description["stream"].get("kind"):
                raise InputError(
                    f"{self.path} holds a memory, to which trainers.learn adds classes: name "
                    "another folder for a run"
                )
            if differing := differences(found, description, defaults):
                raise InputError(
                    f"{self.path} holds a run with other settings: {'; '.join(differing)}; "
                    "choose another folder or delete that one"
                )
            return found  # which its checkpoints belong to
        self.check_new()
        return description

    def check_new(self) -> None:
        """Refuses a folder that no run has been begun in and that holds something else.

        Raises:
            InputError: it holds results that belong to nothing, or folders.
        """
        if self._settings.exists():
            return
        if self._metrics.exists() or self.saved_tasks():
            raise InputError(
                f"{self.path} holds results without settings.json, so it cannot be told whether "
                "they belong to this run; choose another folder"
            )
        if others := paths.folders_in(self.path):
            raise InputError(
                f"a run or a memory gets a folder of its own, and {self.path} holds "
                f"{_checks.listed(others)}: name another folder"
            )

    def restore(
        self, *, earlier: bool = True
    ) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]] | None:
        """The state after the last finished task with a whole checkpoint; brings the tables to it.

        Args:
            earlier: whether a checkpoint that is not whole is passed over for the one before.

        Returns:
            The rows of metrics.jsonl and the learner's dictionary and arrays; None without a
            finished task.

        Raises:
            InputError: no checkpoint is whole, the last one is not this run's, or there is none
                and there are results.
        """
        found = self._newest_whole(earlier)
        if found is None:
            # Results are written after their checkpoint: where there is none, it was left out.
            if self._metrics.exists() and self._metrics.stat().st_size:
                raise InputError(
                    f"{self.path} holds results and no checkpoint that a run could resume from; to "
                    "repeat the run choose another folder, or delete that one"
                )
            self._tidy(1)
            self._write_tables([])
            return None
        last, meta, arrays = found
        folder, row = self._checkpoint(last), meta.pop(_ROW, None)
        self._finished_digest = meta.pop(_FINISHED, None) or ""
        try:
            rows = [*self._rows_before(last), row]
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

    def _rows_before(self, task: int) -> list[dict[str, Any]]:
        """The rows of all tasks before one, from metrics.jsonl or, without these, checkpoints.

        Raises:
            ValueError: neither has them.
        """
        with contextlib.suppress(OSError, ValueError, RecursionError):
            rows = read_rows(self._metrics)[: task - 1]
            if len(rows) == task - 1:
                return rows
        rows = []
        for earlier in range(1, task):
            try:
                rows.append(checkpoint.load(self._checkpoint(earlier))[0].get(_ROW))
            except checkpoint.DamagedError as error:
                raise ValueError(f"the row of task {earlier} is lost: {error}") from error
        return rows

    def commit(
        self, rows: Sequence[Mapping[str, Any]], meta: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Makes the last row's task a finished one, then writes the tables; after `restore` only.

        Args:
            rows: one row per finished task, in order.
            meta: the learner's dictionary.
            arrays: the learner's arrays.

        Returns:
            The rows as `restore` gives them.
        """
        rows = [*rows[:-1], _plain(rows[-1])]  # The others have been written before.
        task, own = len(rows), {_ROW: rows[-1], _RUN: self._identity}
        rest, finished = finished_arrays.split(arrays, task)
        files = {}
        if finished is not None:
            own[_FINISHED] = finished_arrays.chain(self._finished_digest, finished)
            files[finished_arrays.FILE] = finished
        checkpoint.save(self._checkpoint(task), {**meta, **own}, rest, files=files)
        self._finished_digest = own.get(_FINISHED, "")
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
                warn(f"{error}; the one before is looked for")
                continue
            if (meta.pop(_TASK, None), meta.pop(_RUN, None)) == (task, self._identity):
                return meta, arrays
            warn(f"the checkpoint {folder} is not of this run; the one before is looked for")
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
            The run's description with the origin of the task's images, the learner's dictionary and
            its arrays, those of finished tasks included.

        Raises:
            InputError: there is no run here, or it has not finished that task.
        """
        description, finished = self.description(), self.saved_tasks()
        if not finished:
            raise InputError(
                f"no task of {self.path} is finished yet: try again after the first one, or give "
                "its command again if that was stopped"
            )
        if task is not None and task not in finished:
            there = _checks.listed(map(str, finished))
            raise InputError(
                f"expected a task with a checkpoint in {self.path} (there are those of {there}), "
                f"received {task}"
            )
        if task is None and (lost := self._task_without_checkpoint(finished)):
            warn(
                f"{self.path} has results of task {lost}, and the last checkpoint is that of task "
                f"{finished[-1]}: it is taken"
            )
        row, meta, arrays = self.saved(task or finished[-1])
        return {**description, **origin(description, [row or {}])}, meta, arrays

    def write_reduced(self, folder: str | Path) -> None:
        """Writes a copy that is as large as it has to be: it is used and audited, not continued.

        It has the newest checkpoint only, with the arrays of all finished tasks in it, the table of
        results and the audit's records; neither pictures nor the page.

        Args:
            folder: is made, or replaced.

        Raises:
            InputError: the run has not finished a task, or the folder cannot be written.
        """
        self.state_after()
        newest = self.saved_tasks()[-1]
        meta, _ = checkpoint.load(self._checkpoint(newest))
        meta.pop(_FINISHED, None)
        _, arrays = self._loaded(newest)
        with whole_folder(folder, replace=True) as aside:
            for file in (self._settings, self._metrics):
                shutil.copyfile(file, aside / file.name)
            if self.audit.exists():
                shutil.copytree(self.audit, aside / self.audit.name)
            checkpoint.save(aside / "checkpoints" / _task_name(newest), meta, arrays)

    def description(self) -> dict[str, Any]:
        """The content of `settings.json`.

        Raises:
            InputError: there is none, it cannot be read or is not what a run writes, or a link in
                the folder leads out of it.
        """
        if not self._settings.is_file():
            if (self.path / checkpoint.STATE_FILE).is_file():
                raise InputError(
                    f"{self.path} was written by a learner's save, which Python reads: dgm_tf.load "
                    "opens it, and its audit and export do what the commands do with a run"
                )
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
                f"({_checks.one_line(error)}); restore it or choose another folder"
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
        """Tasks that have a checkpoint, in order.

        Raises:
            InputError: the folder cannot be read.
        """
        folder = self.path / "checkpoints"
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise InputError(
                f"cannot read {folder}: {_checks.reason(error)}; give this user the right to, or "
                "name another folder"
            ) from error
        return sorted(
            int(match[1]) for name in names if (match := re.fullmatch(r"task-(\d{2,5})", name))
        )

    def saved(self, task: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """A task's checkpoint: its row, the learner's dictionary and all of its arrays.

        Raises:
            InputError: it is missing, damaged, or of another run than `settings.json`.
        """
        meta, arrays = self._loaded(task)
        self._check_run(self._checkpoint(task), meta, _digest_of_identity(self.description()))
        meta.pop(_FINISHED, None)
        return meta.pop(_ROW, None), meta, arrays

    def saved_bytes(self, task: int) -> int | None:
        """Size of all that a run needs to go on after a task; None without its checkpoint.

        These are the task's arrays, and what finished tasks have left for good, each with its own.
        """
        arrays = self._checkpoint(task) / checkpoint.ARRAYS_FILE
        if not arrays.is_file():
            return None
        finished = [each / finished_arrays.FILE for each in self._checkpoints_to(task).values()]
        return sum(file.stat().st_size for file in (arrays, *finished) if file.is_file())

    def sample_file(self, task: int) -> Path:
        """The file of the pictures made after a task (from 1)."""
        return self.samples / f"{_task_name(task)}.png"

    def _checkpoint(self, task: int) -> Path:
        return self.path / "checkpoints" / _task_name(task)

    def _loaded(self, task: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """A task's checkpoint with the arrays that finished tasks have left.

        Raises:
            checkpoint.DamagedError: it or an earlier task's part is not whole.
            InputError: it is of another format.
        """
        meta, arrays = checkpoint.load(self._checkpoint(task))
        meta.pop(_EARLIER_ROWS, None)
        if (wanted := meta.get(_FINISHED)) is not None:
            digest, finished = finished_arrays.read(self._checkpoints_to(task))
            if digest != wanted:
                raise checkpoint.DamagedError(
                    f"{self._damaged_part(task)} is not what was written, and every task from "
                    "there on needs it: restore it"
                )
            arrays |= finished
        return meta, arrays

    def _damaged_part(self, task: int) -> Path:
        """The first file of finished arrays that its own checkpoint does not know."""
        digest, path = "", Path()
        for folder in self._checkpoints_to(task).values():
            path = folder / finished_arrays.FILE
            digest = finished_arrays.chain(digest, path.read_bytes())
            with contextlib.suppress(InputError):
                if checkpoint.load(folder)[0].get(_FINISHED) != digest:
                    break
        return path

    def _checkpoints_to(self, task: int) -> dict[int, Path]:
        return {each: self._checkpoint(each) for each in range(1, task + 1)}

    def _newest_whole(self, earlier: bool) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
        """The last task with a whole checkpoint, and its content; None if there are none.

        Raises:
            checkpoint.DamagedError: there are some, and none is whole, or not the last one and no
                `earlier` one will do.
            InputError: one is of another format.
        """
        first, saved = None, self.saved_tasks()
        if not earlier and (lost := self._task_without_checkpoint(saved)):
            raise self._refusal(f"the checkpoint of {_task_name(lost)} is missing", lost)
        for task in reversed(saved):
            try:
                meta, arrays = self._loaded(task)
            except checkpoint.DamagedError as error:
                if not earlier:
                    raise self._refusal(str(error), task) from error
                first = first or error
                continue
            if first is not None:
                warn(f"{first}; resuming after {_task_name(task)}")
            return task, meta, arrays
        if first is not None:
            raise first
        return None

    def _refusal(self, trouble: str, task: int) -> InputError:
        """The error of a state whose task may not be learnt again, with what helps."""
        advice = f"Restore the files of {self.path} from a copy"
        with contextlib.suppress(InputError):
            self._loaded(task - 1)  # Else giving up this task does not help.
            advice += (
                f", or to give up {_task_name(task)} delete its folder in checkpoints and "
                f"{self._metrics.name}, which is written again"
            )
        return InputError(f"{trouble}. Nothing was changed. {advice}")

    def _task_without_checkpoint(self, saved: Sequence[int]) -> int | None:
        """The last task of metrics.jsonl if its checkpoint, which came first, is missing.

        A table that cannot be read says nothing: it is written again.
        """
        with contextlib.suppress(OSError, ValueError, RecursionError):
            last = len(read_rows(self._metrics))
            return last if saved and last > saved[-1] else None
        return None

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
        names = class_names(self._description, rows)
        AccuracyMatrix.from_rows(rows).to_csv(self.path / "accuracy_matrix.csv", names=names)


def _digest_of_identity(description: Mapping[str, Any]) -> str:
    identity = {key: description[key] for key in _IDENTITY}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differences(
    found: Mapping[str, Any], wanted: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[str]:
    """What tells the runs of two descriptions apart, as `_checks.differences` says it.

    Args:
        found: description of the run that is there.
        wanted: description of the one that is asked for.
        defaults: of settings, for those that a description is too old to have.
    """
    there, here = (
        {
            **each,
            "settings": {**_plain(defaults), **each["settings"]},
            "stream": without_origin(each["stream"]),
        }
        for each in (found, wanted)
    )
    # Of another method all settings differ.
    keys = ("learner",) if there["learner"] != here["learner"] else _IDENTITY
    return _checks.differences(there, here, keys)


def without_origin(stream: Mapping[str, Any]) -> dict[str, Any]:
    """A description of a stream without where its images lie: the same ones are the same data."""
    return {**stream, **dict.fromkeys(_ORIGIN)}


def _task_name(task: int) -> str:
    return f"task-{task:02d}"


def _plain(value: Any) -> Any:
    """The value as JSON reads it back, with null for numbers that JSON does not have.

    In texts escapes stand for a path's bytes that are no text.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a NumPy number
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
