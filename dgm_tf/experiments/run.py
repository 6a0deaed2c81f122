"""One stream through one learner: learn, measure, write down, resume where it stopped."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks
from dgm_tf.data.stream import TaskStream
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution, onednn
from dgm_tf.errors import Diverged, InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.evaluation.accuracy import AccuracyMatrix, evaluate
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.evaluation.sampling import AUDITED, some_of
from dgm_tf.experiments.followers import Follower, State, crew
from dgm_tf.experiments.options import EPOCHS, FOLDER, QUIET, TASKS, RunOptions, StreamOptions
from dgm_tf.experiments.summary import task_summary
from dgm_tf.learners.generating_learner import GeneratingLearner
from dgm_tf.learners.learner import Learner
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.methods.registry import new_learner, reading_state
from dgm_tf.methods.settings import LearnerSettings
from dgm_tf.reporting import page, pictures, tables, tensorboard
from dgm_tf.reporting.run import read_run
from dgm_tf.runs import provenance
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.runs.run_format import origin
from dgm_tf.serving.export import version_folder
from dgm_tf.storage import paths
from dgm_tf.storage.files import check_writable
from dgm_tf.terminal import printing, stopping
from dgm_tf.terminal.progress import TaskProgress

DEFAULT_RUNS = Path("runs")
_PICTURES_SEED = 0  # source of the pictures' randomness


def prepare(
    stream: StreamOptions, method: str, settings: LearnerSettings, options: RunOptions
) -> "Run | Follower":
    """A run as a command asks for it; bad requests are refused before any work.

    Args:
        stream: data and tasks.
        method: name of the method.
        settings: the method's; their seed also determines the stream.
        options: all that the numbers do not depend on.

    Returns:
        The run; in a process that only learns with the chief, a follower of the chief.
    """
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    if options.replicas is not None:  # Before so many devices are made.
        settings.check_replicas(_checks.integer(options.replicas, "replicas", low=1))
    place = distribution.start(options.distribute, replicas=options.replicas)
    if place.is_chief:
        # Before the data, which may take a download.
        folders = (stream.images, stream.test_images)
        paths.check_apart(folders, options.run_dir or DEFAULT_RUNS, "--run_dir")
        if options.export_dir is not None:
            paths.check_apart(folders, options.export_dir, "--export_dir")
        _check_options(options, method)
    opened = stream.open(settings.seed)
    last = last_task(opened, stream.max_tasks)
    check_sizes(opened, settings, max_tasks=last)
    with distribution.used(place):
        learner = new_learner(method, settings, opened)
    learner.check_replicas(place.replicas)
    if not place.is_chief:
        return Follower(opened, learner, place, identity(opened, learner), last=last)
    run = Run(opened, learner, options, max_tasks=stream.max_tasks, place=place)
    if stream.dataset == FOLDER:
        _check_images(run.path, opened)
    return run


class Run:
    """One run, from its folder's state to its last task.

    Each task is learnt, measured on the real test images of all classes seen, audited and committed
    to the folder (see `dgm_tf.runs.run_folder`). A run that was stopped resumes after the last task
    committed, or from the last checkpoint inside the next one, with the numbers that it would have
    had.

    Args:
        stream: the tasks, none of them opened yet.
        learner: a learner that has learnt nothing.
        options: all that the numbers do not depend on.
        max_tasks: stop after so many tasks; by default learn all.
        place: the devices to learn on; by default those of the block that the program is in.

    Attributes:
        path: the run's folder.
        learner: the learner; after `run` it has learnt all tasks.
        rows: the rows of metrics.jsonl, one per finished task.

    Raises:
        InputError: the stream has no such number of tasks.

    Example:

        stream = dgm_tf.class_incremental("digits")
        Run(stream, dgm_tf.DGM(seed=1), RunOptions(run_dir="runs/mine")).run()
    """

    # Whether a task whose checkpoint is lost is learnt again.
    _repeats_tasks = True

    def __init__(
        self,
        stream: TaskStream,
        learner: Learner,
        options: RunOptions = RunOptions(),  # noqa: B008 (frozen)
        *,
        max_tasks: int | None = None,
        place: distribution.Distribution | None = None,
    ) -> None:
        self.stream, self.learner, self.options = stream, learner, options
        self.rows: list[dict[str, Any]] = []
        self._last = last_task(stream, max_tasks)
        self._seed = learner.settings.seed
        default = f"{stream.name}-{len(stream)}/{learner.name}/seed{self._seed}"
        self._folder = RunFolder(options.run_dir or DEFAULT_RUNS / default)
        self.path = self._folder.path
        self._crew = crew(place or distribution.present(), identity(stream, learner))
        self._oracle: Oracle | None = None
        self._rounded_here: dict[int, memory_audit.Record] = {}

    @property
    def accuracy(self) -> AccuracyMatrix:
        """Accuracy of each class after each task."""
        return AccuracyMatrix.from_rows(self.rows)

    def run(self) -> list[dict[str, Any]]:
        """Learns the tasks that the folder does not have yet, and reports.

        Returns:
            The rows of metrics.jsonl.

        Raises:
            Diverged: training went wrong; see `dgm_tf.learners.watch`.
            dgm_tf.terminal.stopping.Stopped: the run was asked to stop, and has written where it
                stands.
            InputError: the folder belongs to another run or cannot be used.
        """
        defaults = self.learner.settings.defaults()
        begun = self._folder.exists()
        with self._folder.opened(self._description(), defaults=defaults):
            self._restore()
            self._begin(begun)
            logs = self._logs()
            for task in self.stream.tasks(start=len(self.rows) + 1, last=self._last):
                with stopping.watched():
                    log = logs and logs.task(task.index, steps_before=self._steps())
                    row = self._learn(task, log)
                    self._commit(task, row | self._measure(task), log)
                    self._stop_between_tasks(task)
            self._crew.ends()
            self._report()
        if self.options.export_dir is not None:
            classifier = self.options.export_classifier
            printing.say(self.learner.export(self.options.export_dir, classifier=classifier))
        return self.rows

    def _restore(self) -> None:
        """Restores the folder's state."""
        restored = self._folder.restore(earlier=self._repeats_tasks)
        if restored is not None:
            self.rows, meta, arrays = restored
            with reading_state(), self._crew.devices():
                self.learner.load(meta, arrays)

    def _begin(self, begun: bool) -> None:
        """Opens audit and oracle for the remaining tasks, and says what there is.

        Args:
            begun: another process has begun the run.
        """
        finished = len(self.rows)
        if finished >= self._last:
            self._write_page()  # The run may have been killed before it could.
        elif begun:
            onednn.check_unchanged(self.path, self._folder.description()["machine"])
        self._say(self._greeting())
        if not begun and self.options.verbosity != QUIET:
            onednn.advise()
        generates = self.learner.generates
        # What the next task's audit needs is looked at before hours of learning.
        next_task = finished + 1 if generates and finished < self._last else 1
        for each in _audited_after(next_task):
            self._record(each)
        if not generates or finished >= self._last:
            return
        self._take_over()
        if self.options.oracle:
            self._oracle = Oracle.of(self.stream, say=self._say)
            self._say(f"oracle: {100 * self._oracle.test_accuracy:.2f} % on real test images")

    def _take_over(self) -> None:
        """On another machine than before, has the audit compare with images as it rounds them.

        What differs by more than rounding is not taken over. The records are written with the next
        task: until then the folder is the other machine's.
        """
        moved = provenance.elsewhere(origin(self._folder.description(), self.rows))
        if not moved:
            return
        pixels = 0
        for task in range(1, len(self.rows) + 1):
            then = self._record(task)
            now = memory_audit.recorded(then.classes, self.learner.generate)
            found = memory_audit.difference(now.images, then.images)
            if found.furthest <= memory_audit.ROUNDING:
                self._rounded_here[task] = now
                pixels += found.pixels
        if isinstance(self.learner, GeneratingLearner):
            self.learner.audit_as_rounded_here(self._rounded_here)
        if pixels:
            self._say(f"{moved}; from now on the audit compares with those made here")

    def _greeting(self) -> str:
        finished = len(self.rows)
        resumed = f", resumed after task {finished}" if finished else ""
        if finished >= self._last:
            resumed = ", finished before"
        last = max(self._last, finished)
        part = f"\nlearnt up to task {last}" if last < len(self.stream) else ""
        lines = [f"{self.stream.scenario}{part}", f"run folder: {self.path}{resumed}"]
        return "\n".join([*lines, *self.stream.remarks])

    def _learn(self, task: Task, log: tensorboard.TaskLog | None) -> dict[str, Any]:
        """Learns one task, from its last checkpoint if there is one.

        Returns:
            The row's part about training.
        """
        title = f"task {task.index} of {self._last}"
        found = self._unfinished(task)
        save = functools.partial(self._keep_unfinished, task)
        every = self.options.checkpoint_every
        checkpoint = TaskCheckpoint(save, every, found=found, title=title)
        if checkpoint.found_steps:
            self._say(f"{task}: resumed at step {checkpoint.found_steps}")
        verbosity = self.options.verbosity
        live = False if verbosity == QUIET else None
        progress = TaskProgress(
            title, live=live, epoch_lines=verbosity == EPOCHS, minute_lines=verbosity == TASKS
        )
        callbacks = [progress, *([log] if log else []), checkpoint]
        try:
            with progress, self._crew.learning(task, self.learner, found):
                history = self.learner.learn(task, callbacks=callbacks, verbose=0)
        except Diverged as error:
            self._crew.ends()
            text = f"{title}: the last good state is kept in {self.path}; {error.what}"
            raise Diverged(text, error.where) from error
        if checkpoint.steps:  # Of a learner without phases there is nothing to write.
            checkpoint.step_done()
        # A loop of a method's own may have trained, and nobody has counted.
        steps = checkpoint.steps or progress.steps or (None if history else 0)
        return {
            "task": task.index,
            "classes": list(task.classes),
            "class_names": list(task.class_names),
            "classes_seen": list(self.learner.classes_seen),
            "steps": steps,
            "epochs": 0 if steps == 0 else self._passes(task),
            "last_epoch": {name: values[-1] for name, values in history.items()},
            "history": {name: _short(values) for name, values in history.items()},
            "seconds": round(checkpoint.seconds, 3),
        }

    def _unfinished(self, task: Task) -> State | None:
        """Dictionary and arrays of the checkpoint inside a task to resume from, if there is one."""
        return self._folder.unfinished(task.index)

    def _keep_unfinished(
        self, task: Task, steps: int, meta: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> None:
        """Writes a checkpoint inside a task."""
        self._folder.keep_unfinished(task.index, steps, meta, arrays)

    def _evaluated(self, task: Task, test: Any) -> dict[str, Any]:
        """Returns the row's part about test images."""
        evaluation = evaluate(self.learner.classify, test)
        measured, matrix = evaluation.class_accuracy, self.accuracy
        matrix.add(task.index, measured, self._not_measured(measured))
        return {
            **matrix.summary(task.index),
            "class_accuracy": measured,
            "newest_class_share": evaluation.newest_class_share(task.classes),
        }

    def _not_measured(self, measured: Collection[int]) -> list[int]:
        """The classes seen without test images at hand: none, unless the stream is open."""
        return [label for label in self.learner.classes_seen if label not in measured]

    def _measure(self, task: Task) -> dict[str, Any]:
        """Returns the row's part about test images, audit, oracle and the generator's size."""
        start = time.monotonic()
        learner, test = self.learner, self.stream.seen_test(task)
        # First, so that nothing that a method calls its size stands for a measure.
        row = learner.growth() | self._evaluated(task, test) | {"audit": {}, "audit_pixels": {}}
        if learner.generates:
            found = {
                each: memory_audit.compare(self._record(each), learner.generate)
                for each in _audited_after(task.index)
            }
            row["audit"] = {each: one.pixels for each, one in found.items()}
            new = memory_audit.remember(
                self._folder.audit, task.index, task.classes, learner.generate
            )
            row["audit_pixels"] = {each: one.of for each, one in found.items()}
            row["audit_pixels"][task.index] = new.images[..., 0].size
        if self._oracle is not None:
            row |= _judged(self._oracle, learner, test)
        return row | {
            "evaluation_seconds": round(time.monotonic() - start, 3),
            "peak_memory_mib": provenance.peak_memory_mib(),
        }

    def _record(self, task: int) -> memory_audit.Record:
        if task in self._rounded_here:
            return self._rounded_here[task]
        return memory_audit.read(memory_audit.record_path(self._folder.audit, task))

    def _commit(self, task: Task, row: dict[str, Any], log: tensorboard.TaskLog | None) -> None:
        """Makes the task a finished one."""
        for each, record in self._rounded_here.items():
            memory_audit.write(self._folder.audit, each, record)
        self._rounded_here.clear()
        if provenance.elsewhere(self._folder.description()):
            row = row | {"versions": provenance.versions(), "machine": provenance.machine()}
        samples = self._folder.sample_file(task.index)
        if self.learner.generates:
            shown = pictures.shown_classes(self.learner.classes_seen, task.classes)
            named = {label: self.stream.class_names[label] for label in shown}
            _write_samples(self.learner, named, samples)
        self.rows = self._folder.commit([*self.rows, row], *self.learner.state())
        self._write_page()
        if log is not None:
            log.finish(self.rows[-1], samples, self.stream.class_names)
        seconds = [each["seconds"] + each["evaluation_seconds"] for each in self.rows[-3:]]
        left = statistics.fmean(seconds) * (self._last - len(self.rows))
        self._say(task_summary(self.rows[-1], title=str(task), seconds_left=left))

    def _stop_between_tasks(self, task: Task) -> None:
        if stopping.requested() and len(self.rows) < self._last:
            self._crew.ends()
            raise stopping.Stopped(f"stopped; the same command resumes after task {task.index}")

    def _report(self) -> None:
        text = tables.run_report(read_run(self.path))
        printing.say(f"\n{text}\nPage: {self.path / page.PAGE}")

    def _write_page(self) -> None:
        """Writes the run's page; a picture that cannot be made must not end a run of hours."""
        try:
            page.write_page(self.path)
        except Exception as error:
            printing.warn(f"no {page.PAGE} written: {error!r}")

    def _logs(self) -> tensorboard.TensorBoardLog | None:
        if not self.options.tensorboard:
            return None
        if len(self.rows) >= self._last:
            self._say("tensorboard: nothing was learnt, so nothing is logged")
            return None
        folder = self.path / tensorboard.FOLDER
        return tensorboard.TensorBoardLog(folder, dataclasses.asdict(self.learner.settings))

    def _steps(self) -> int:
        return sum(row["steps"] or 0 for row in self.rows)

    def _passes(self, task: Task) -> int:
        settings = self.learner.settings
        steps = task.train_size // settings.batch_size
        return settings.passes(classes=len(task.classes), steps_per_epoch=steps)

    def _description(self) -> dict[str, Any]:
        return {
            "scenario": self.stream.scenario,
            **identity(self.stream, self.learner),
            "command": self.options.command,
            "seed": self._seed,
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "date": provenance.today(),
        }

    def _say(self, text: str) -> None:
        if self.options.verbosity != QUIET:
            printing.say(text)


def last_task(stream: TaskStream, max_tasks: int | None) -> int:
    """The last of so many tasks of a stream, by default of all.

    Raises:
        InputError: there are not so many.
    """
    if max_tasks is not None and not 1 <= max_tasks <= len(stream):
        raise InputError(f"expected --max_tasks from 1 to {len(stream)}, received {max_tasks}")
    return len(stream) if max_tasks is None else max_tasks


def _audited_after(task: int) -> list[int]:
    """The earlier tasks whose images are generated again after a task: all, or of many some."""
    return some_of(range(1, task), AUDITED, seed=task)


def identity(stream: TaskStream, learner: Learner) -> dict[str, Any]:
    """Returns all that makes two runs the same, JSON-able."""
    # The scenario is made of the other values: it would repeat what differs.
    described = {key: value for key, value in stream.describe().items() if key != "scenario"}
    settings = learner.settings.as_json()
    return {"learner": learner.name, "settings": settings, "stream": described}


def check_sizes(
    stream: TaskStream, settings: LearnerSettings, *, max_tasks: int | None = None
) -> None:
    """Refuses sizes that do not fit the classes of the first `max_tasks` tasks.

    Raises:
        InputError: a batch is larger than a class, or the networks do not fit the images or the
            number of a task's classes.
    """
    stream.check_batch(settings.least_images, max_tasks=max_tasks)
    most = max(map(len, stream.task_classes[:max_tasks]))
    settings.check_task(side=stream.image_shape[0], classes=most)


def _check_images(path: Path, stream: TaskStream) -> None:
    """Refuses a run's folder whose run was begun with other images, and says what has changed."""
    folder = RunFolder(path)
    found = folder.description()["stream"] if folder.exists() else {}
    if found.get("fingerprint", "") in ("", stream.describe()["fingerprint"]):
        return
    there, here = found["class_names"], stream.class_names
    new, gone = ([name for name in one if name not in other]
                 for one, other in ((here, there), (there, here)))  # fmt: skip
    changed = [f"{what} {_checks.one_line(', '.join(names), 100)}"
               for what, names in (("new here:", new), ("gone:", gone)) if names]  # fmt: skip
    raise InputError(
        f"{path} holds a run of other images ({'; '.join(changed) or 'of the same classes'}), and "
        "a run keeps those that it was begun with: name another --run_dir, or use trainers.learn, "
        "whose memory takes new classes at any time and needs no old images"
    )


def _check_options(options: RunOptions, method: str) -> None:
    """Refuses what a run cannot write or do, before its data is known."""
    check_writable(options.run_dir or DEFAULT_RUNS)
    if options.run_dir is not None:
        RunFolder(options.run_dir).check_new()
    if options.tensorboard:
        tensorboard.check_installed()
    if options.export_dir is not None:
        check_writable(options.export_dir, flag="--export_dir")
        version_folder(options.export_dir)
    options.check_method(method)


def _short(values: Any) -> list[float]:
    """Rounds numbers for curves: rows go into checkpoints, and pictures show fewer digits."""
    return [float(f"{value:.6g}") for value in values]


def _judged(oracle: Oracle, learner: Learner, test: tf.data.Dataset) -> dict[str, Any]:
    """Returns the oracle's scores of generated images of all classes seen, for the row."""
    judgement = oracle.judge(learner.generate, learner.classes_seen, test)
    return {
        "oracle_accuracy": judgement.accuracy,
        "oracle_class_accuracy": judgement.class_accuracy,
        "oracle_test_accuracy": oracle.test_accuracy,
        "oracle_frechet_distance": judgement.frechet_distance,
        "oracle_precision": judgement.precision,
        "oracle_recall": judgement.recall,
    }


def _write_samples(learner: Learner, names: Mapping[int, str], path: Path) -> None:
    """Writes a row of generated images for each class, by id, with its name."""
    # Class by class: a call always has the same shape, so that nothing is traced again.
    images = [
        learner.generate(np.full(pictures.PER_CLASS, label, np.int32), seed=_PICTURES_SEED)
        for label in names
    ]
    labels = [name for name in names.values() for _ in range(pictures.PER_CLASS)]
    pictures.sample_grid(np.concatenate(images), pictures.PER_CLASS, path, labels=labels)
