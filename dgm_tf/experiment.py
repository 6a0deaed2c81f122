"""One stream through one learner: learn, evaluate, audit, write down, go on where it stopped."""

import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import datasets, pictures, provenance, report
from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import AccuracyMatrix, evaluate
from dgm_tf.evaluation.audit import MemoryAudit
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.export import Export
from dgm_tf.learners.base import Learner, reading_state
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.dgr import DGR
from dgm_tf.learners.ewc import EWC
from dgm_tf.learners.fine_tune import FineTune
from dgm_tf.learners.joint import JointClassifier, JointGAN
from dgm_tf.learners.mergan import MeRGANJTR, MeRGANRA
from dgm_tf.progress import TaskProgress, task_summary
from dgm_tf.reporting import page, tensorboard
from dgm_tf.run_folder import RunFolder, check_writable
from dgm_tf.settings import LearnerSettings
from dgm_tf.stream import Task, TaskStream, class_incremental

DEFAULT_RUNS = Path("runs")
FOLDER = "folder"  # the data set's name when the images come from a folder

_LEARNERS = {
    "dgm": DGM,
    "fine_tune": FineTune,
    "ewc": EWC,
    "dgr": DGR,
    "mergan_jtr": MeRGANJTR,
    "mergan_ra": MeRGANRA,
}

_PICTURES_SEED = 0  # where the randomness of the pictures comes from


@dataclasses.dataclass(frozen=True)
class Training:
    """Everything that a training command decides.

    Attributes:
        dataset: name of a data set, or "folder" for the images in `images`.
        settings: the learner's settings; their seed also decides the stream.
        method: one of `dgm_tf.settings.METHODS`.
        images: folder with one subfolder of images per class.
        data_dir: where prepared data is.
        classes_per_task: as in `class_incremental`.
        class_order: as in `class_incremental`.
        tasks: stop after that many tasks; None learns all.
        validation_fraction: share of a task's training images that is held out, 0 to 1.
        image_size: side of the square images; None for the data set's own default.
        run_dir: the run's folder; None for runs/<data set>-<tasks>/<learner>/seed<seed>.
        export_dir: NAME, where the memory is exported as NAME/<n> at the end; None does not.
        export_classifier: export the classifier, too.
        command: the command line, for the record.
        quiet: print nothing before the final report.
        epoch_lines: print a line per epoch, too.
        tensorboard: also write logs for TensorBoard, into the folder `tensorboard` of the run.
        oracle: judge generated images by a classifier that has seen all real ones (G_t); it is
            trained once per data set and kept.
    """

    dataset: str
    settings: LearnerSettings
    method: str = "dgm"
    images: str | None = None
    data_dir: str | None = None
    classes_per_task: int | Sequence[int] = 1
    class_order: str | Sequence[int] | None = None
    tasks: int | None = None
    validation_fraction: float = 0.15
    image_size: int | None = None
    run_dir: str | None = None
    export_dir: str | None = None
    export_classifier: bool = False
    command: str = ""
    quiet: bool = False
    epoch_lines: bool = False
    tensorboard: bool = False
    oracle: bool = True


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run leaves behind.

    Attributes:
        run_dir: its folder.
        learner: the learner after the last task.
        rows: the rows of metrics.jsonl, one per finished task.
    """

    run_dir: Path
    learner: Learner
    rows: tuple[dict[str, Any], ...]

    @property
    def accuracy(self) -> AccuracyMatrix:
        """Accuracy of each class after each task."""
        return AccuracyMatrix.from_rows(self.rows)


def train(training: Training) -> RunResult:
    """Trains a method on a stream as a training command asks.

    Raises:
        InputError: something that was asked for cannot be done.
    """
    # Before the data, which may take a download.
    check_writable(training.run_dir or DEFAULT_RUNS)
    if training.tensorboard:
        tensorboard.check_installed()
    if training.export_dir is not None:
        check_writable(training.export_dir, flag="--export_dir")
        if training.method != "dgm":
            raise InputError(
                f"only DGM's memory can be exported: --export_dir is given, --method is "
                f"{training.method}"
            )
    stream = open_stream(training)
    check_batch(stream, training)
    learner = new_learner(training.method, training.settings, stream)
    default = f"{stream.name}-{len(stream)}/{learner.name}/seed{training.settings.seed}"
    result = run(
        stream,
        learner,
        run_dir=training.run_dir or DEFAULT_RUNS / default,
        settings=dataclasses.asdict(training.settings),
        tasks=training.tasks,
        command=training.command,
        quiet=training.quiet,
        epoch_lines=training.epoch_lines,
        log_tensorboard=training.tensorboard,
        oracle=training.oracle,
    )
    if training.export_dir is not None:
        exported = result.learner.export(training.export_dir, classifier=training.export_classifier)
        _say(str(exported))
    return result


def export_run(
    *,
    run_dir: str | Path,
    task: int | None = None,
    export_dir: str | Path | None = None,
    classifier: bool = False,
) -> Export:
    """Exports the memory of a run as it was after a task.

    The run's memory audit is made once more before.

    Args:
        run_dir: the run's folder.
        task: from 1; None for the last one finished.
        export_dir: NAME, where the memory goes as NAME/<n>; None for `export` in the run's folder.
        classifier: export the classifier, too.

    Raises:
        InputError: no such run or task, or a run of a method without memory.
    """
    folder = RunFolder(run_dir)
    description, meta, arrays = folder.state_after(task)
    if not str(description.get("learner")).startswith("dgm-"):
        raise InputError(
            f"only DGM's memory can be exported, {folder.path} holds {description.get('learner')}"
        )
    # States did not always have them.
    with reading_state():
        names = description["stream"]["class_names"]
        learned = itertools.chain(*meta["tasks"])
        meta = {"class_names": [names[label] for label in learned], **meta}
        learner = DGM.from_state(meta, arrays)
    audit = MemoryAudit(folder.audit, finished_tasks=learner.finished_tasks)
    pixels, differing = sum(audit.pixels.values()), sum(audit.check(learner.generate).values())
    found = f"{differing} of {pixels} pixels differ" if differing else "all images identical"
    _say(f"memory audit of {folder.path}: {found}")
    exported = learner.export(export_dir or folder.path / "export", classifier=classifier)
    _say(str(exported))
    return exported


def new_learner(method: str, settings: LearnerSettings, stream: TaskStream) -> Learner:
    """A learner that has learnt nothing.

    Args:
        method: one of `dgm_tf.settings.METHODS`.
        settings: the method's.
        stream: for joint training, which alone reads old images.
    """
    if method == "joint":
        return JointClassifier(stream, settings)
    if method == "joint_gan":
        return JointGAN(stream, **dataclasses.asdict(settings))
    return _LEARNERS[method].from_settings(settings)


def open_stream(training: Training) -> TaskStream:
    """The stream that a training command asks for.

    Raises:
        InputError: the data cannot be had or cannot be cut as asked.
    """
    data: Any = training.dataset
    size = {} if training.image_size is None else {"image_size": training.image_size}
    if training.dataset == FOLDER:
        data = datasets.from_folder(training.images, seed=training.settings.seed, **size)
    return class_incremental(
        data,
        classes_per_task=training.classes_per_task,
        class_order=training.class_order,
        validation_fraction=training.validation_fraction,
        seed=training.settings.seed,
        data_dir=training.data_dir,
        **size,
    )


def check_batch(stream: TaskStream, training: Training) -> None:
    """Finds a batch larger than a class now, not when that class arrives."""
    batch_size = training.settings.batch_size
    counts = stream.describe()["train_images"]
    for class_id in itertools.chain(*stream.task_classes[: training.tasks]):
        if batch_size > counts[class_id]:
            raise InputError(
                f"a batch must not be larger than a class: class {class_id} has "
                f"{counts[class_id]} training images, --batch_size is {batch_size}; "
                "choose a smaller one"
            )


def run(
    stream: TaskStream,
    learner: Learner,
    *,
    run_dir: str | Path,
    settings: Mapping[str, Any],
    tasks: int | None = None,
    command: str = "",
    quiet: bool = False,
    epoch_lines: bool = False,
    log_tensorboard: bool = False,
    oracle: bool = False,
) -> RunResult:
    """Learns the tasks of a stream that the run folder does not have yet, and reports.

    Each task is learnt, evaluated on the real test images of all classes seen, audited and
    committed to the folder (see `dgm_tf.run_folder`); a run that was stopped goes on after the last
    task committed, with the numbers it would have had.

    Args:
        stream: the tasks, none of them opened yet.
        learner: a learner that has learnt nothing; it is replaced by the restored one when the
            run goes on.
        run_dir: the run's folder, made where it does not exist.
        settings: JSON-able; a folder with others is refused.
        tasks: stop after that many tasks; None learns all.
        command: the command line, for the record.
        quiet: print the final report alone.
        epoch_lines: print a line per epoch, too.
        log_tensorboard: write logs for TensorBoard, too; see `dgm_tf.reporting.tensorboard`.
        oracle: judge generated images after each task.

    Raises:
        InputError: the folder belongs to another run or cannot be used.
    """
    last = len(stream) if tasks is None else tasks
    if not 1 <= last <= len(stream):
        raise InputError(f"expected --tasks from 1 to {len(stream)}, received {tasks}")
    folder = RunFolder(run_dir)
    folder.open(_description(stream, learner, settings, command), tasks=last)
    rows: list[dict[str, Any]] = []
    if (restored := folder.restore()) is not None:
        rows, meta, arrays = restored
        with reading_state():
            learner = learner.restored(meta, arrays)
    audit = MemoryAudit(folder.audit, finished_tasks=len(rows) if learner.generates else 0)
    if not quiet:
        _say(f"{stream.scenario}\nrun folder: {folder.path}{_continued(rows, last)}")
    if len(rows) >= last:
        _write_page(folder)  # A run killed before it could.
    logs = None
    if log_tensorboard:
        logs = tensorboard.TensorBoardLog(folder.path / tensorboard.FOLDER, settings)
    judge = None
    if oracle and learner.generates and len(rows) < last:
        judge = Oracle.of(stream)
        if not quiet:
            _say(f"oracle: {100 * judge.test_accuracy:.2f} % on real test images")
    remaining = stream.tasks(start=len(rows) + 1)
    for task in itertools.islice(remaining, max(0, last - len(rows))):
        title = f"task {task.index} of {len(stream)}"
        progress = TaskProgress(title, live=False if quiet else None, epoch_lines=epoch_lines)
        log = None
        if logs is not None:
            log = logs.task(task.index, steps_before=sum(row["steps"] for row in rows))
        row = _learn(
            learner, task, audit=audit, stream=stream, rows=rows, progress=progress, log=log
        )
        row["epochs"] = settings.get("epochs")
        if judge is not None:
            start = time.monotonic()
            row |= _judged(judge, learner, stream, task)
            row["evaluation_seconds"] += round(time.monotonic() - start, 3)
        if learner.generates:
            _draw_samples(learner, folder.sample_file(task.index))
        rows = folder.commit([*rows, row], *learner.state())
        _write_page(folder)
        if log is not None:
            log.finish(rows[-1], folder.sample_file(task.index))
        if not quiet:
            _say(task_summary(rows[-1], title=str(task), seconds_left=_seconds_left(rows, last)))
    pictures_at = f"{folder.samples}/" if learner.generates else None
    text = report.run_report(rows, scenario=stream.scenario, pictures=pictures_at)
    _say(f"\n{text}\nPage: {folder.path / page.PAGE}")
    return RunResult(folder.path, learner, tuple(rows))


def _learn(
    learner: Learner,
    task: Task,
    *,
    audit: MemoryAudit,
    stream: TaskStream,
    rows: Sequence[Mapping[str, Any]],
    progress: TaskProgress,
    log: tensorboard.TaskLog | None,
) -> dict[str, Any]:
    """Learns one task and gives its row of metrics.jsonl."""
    start = time.monotonic()
    with progress:
        history = learner.learn(task, callbacks=list(filter(None, [progress, log])))
    seconds = time.monotonic() - start
    evaluation = evaluate(learner.classify, stream.seen_test(task))
    matrix = AccuracyMatrix.from_rows(rows)
    matrix.add(task.index, evaluation.class_accuracy)
    differing_pixels: dict[int, int] = {}
    if learner.generates:
        differing_pixels = audit.check(learner.generate)
        audit.remember(task.index, task.classes, learner.generate)
    return {
        "task": task.index,
        "classes": list(task.classes),
        "classes_seen": list(learner.classes_seen),
        **matrix.summary(task.index),
        "class_accuracy": evaluation.class_accuracy,
        "newest_class_share": evaluation.newest_class_share(task.classes),
        "audit": differing_pixels,
        "audit_pixels": audit.pixels if learner.generates else {},
        **learner.growth(),
        "steps": progress.steps,
        "last_epoch": {name: values[-1] for name, values in history.items() if values},
        "history": {name: _short(values) for name, values in history.items()},
        "seconds": round(seconds, 3),
        "evaluation_seconds": round(time.monotonic() - start - seconds, 3),
        "peak_memory_mib": provenance.peak_memory_mib(),
    }


def _short(values: Sequence[float]) -> list[float]:
    """To be drawn: six digits are more than a picture shows, and the rows go into checkpoints."""
    return [float(f"{value:.6g}") for value in values]


def _write_page(folder: RunFolder) -> None:
    """Writes the run's page; whatever is wrong with a picture must not end a run of hours."""
    try:
        page.write_page(folder.path)
    except Exception as error:
        print(f"warning: no {page.PAGE} written: {error!r}", file=sys.stderr)


def _judged(oracle: Oracle, learner: Learner, stream: TaskStream, task: Task) -> dict[str, Any]:
    """What the oracle says of generated images of all classes seen, for a row of metrics.jsonl."""
    judgement = oracle.judge(learner.generate, learner.classes_seen, stream.seen_test(task))
    return {
        "oracle_accuracy": judgement.accuracy,
        "oracle_class_accuracy": judgement.class_accuracy,
        "oracle_class_share": judgement.class_share,
        "oracle_test_accuracy": oracle.test_accuracy,
        "oracle_frechet_distance": judgement.frechet_distance,
        "oracle_precision": judgement.precision,
        "oracle_recall": judgement.recall,
    }


def _draw_samples(learner: Learner, path: Path) -> None:
    """Writes a row of generated pictures for each class seen."""
    # Class by class: a call always has the same shape, so that nothing is traced anew.
    images = [
        learner.generate(np.full(pictures.PER_CLASS, label, np.int32), seed=_PICTURES_SEED)
        for label in learner.classes_seen
    ]
    labels = np.repeat(learner.classes_seen, pictures.PER_CLASS).tolist()
    pictures.sample_grid(np.concatenate(images), pictures.PER_CLASS, path, labels=labels)


def _description(
    stream: TaskStream, learner: Learner, settings: Mapping[str, Any], command: str
) -> dict[str, Any]:
    # The scenario is made of the other values: it would repeat what differs.
    described = {key: value for key, value in stream.describe().items() if key != "scenario"}
    return {
        "scenario": stream.scenario,
        "learner": learner.name,
        "settings": settings,
        "stream": described,
        "command": command,
        "seed": settings.get("seed"),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "date": provenance.today(),
    }


def _continued(rows: Sequence[Mapping[str, Any]], last: int) -> str:
    if not rows:
        return ""
    if len(rows) >= last:
        return ", finished before"
    return f", going on after task {len(rows)}"


def _seconds_left(rows: Sequence[Mapping[str, Any]], last: int) -> float:
    each = statistics.fmean(row["seconds"] + row["evaluation_seconds"] for row in rows[-3:])
    return each * (last - len(rows))


def _say(text: str) -> None:
    print(text, flush=True)
