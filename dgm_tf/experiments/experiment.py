"""One stream through one learner: learn, evaluate, audit, write down, go on where it stopped."""

import dataclasses
import functools
import itertools
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, datasets, distribution, provenance, stopping
from dgm_tf.distribution import Distribution
from dgm_tf.errors import Diverged, InputError
from dgm_tf.evaluation.accuracy import AccuracyMatrix, evaluate
from dgm_tf.evaluation.audit import MemoryAudit
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import followers
from dgm_tf.experiments.progress import TaskProgress, task_summary
from dgm_tf.learners.base import Learner, reading_state
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.dgr import DGR
from dgm_tf.learners.ewc import EWC
from dgm_tf.learners.fine_tune import FineTune
from dgm_tf.learners.joint import JointClassifier, JointGAN
from dgm_tf.learners.keeper import TaskKeeper
from dgm_tf.learners.mergan import MeRGANJTR, MeRGANRA
from dgm_tf.learners.watch import NumbersWatch
from dgm_tf.reporting import page, pictures, tables, tensorboard
from dgm_tf.runs.run_folder import RunFolder, check_writable, warn
from dgm_tf.serving.export import Export, version_folder
from dgm_tf.settings import (
    METHODS,
    DGMSettings,
    LearnerSettings,
    ReplaySettings,
    method_of,
    passes,
    recorded,
)
from dgm_tf.storage.checkpoint import DEFAULT_EVERY, DEFAULT_KEPT, Every
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

# How a task that has diverged is learnt again, and how often.
_SLOWER = 0.5
_RETRIES = 3

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
        memory_of: folder of a DGM run whose generators are taken, so that the classifier alone is
            trained; None trains both.
        export_dir: NAME, where the memory is exported as NAME/<n> at the end; None does not.
        export_classifier: export the classifier, too.
        command: the command line, for the record.
        quiet: print nothing before the final report.
        epoch_lines: print a line per epoch, too.
        tensorboard: also write logs for TensorBoard, into the folder `tensorboard` of the run.
        oracle: judge generated images by a classifier that has seen all real ones (G_t); it is
            trained once per data set and kept.
        checkpoint_every: how often a task writes a checkpoint while it is learnt.
        keep_checkpoints: how many of these are kept, the last ones.
        on_divergence: "stop", or "retry" to learn a task whose training went wrong again at a lower
            rate.
        deterministic: let TensorFlow refuse or replace operations whose result may vary.
        distribute: one of `dgm_tf.settings.DISTRIBUTIONS`.
        replicas: devices to mirror; None for all.
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
    memory_of: str | None = None
    export_dir: str | None = None
    export_classifier: bool = False
    command: str = ""
    quiet: bool = False
    epoch_lines: bool = False
    tensorboard: bool = False
    oracle: bool = True
    checkpoint_every: Every = DEFAULT_EVERY
    keep_checkpoints: int = DEFAULT_KEPT
    on_divergence: str = "stop"
    deterministic: bool = False
    distribute: str = "none"
    replicas: int | None = None


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


def train(training: Training) -> RunResult | None:
    """Trains a method on a stream as a training command asks.

    Returns:
        The result; None in a process that only learns with the chief.

    Raises:
        InputError: something that was asked for cannot be done.
    """
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    if training.memory_of is not None:
        _check_memory_asked(training)
    place = distribution.start(training.distribute, replicas=training.replicas)
    # Before the data, which may take a download.
    if place.is_chief:
        _check_asked(training)
    stream = open_stream(training)
    check_sizes(stream, training, replicas=place.replicas)
    with distribution.used(place):
        learner = new_learner(training.method, training.settings, stream)
    settings = dataclasses.asdict(training.settings)
    identity = _identity(stream, learner, settings)
    if not place.is_chief:
        followers.follow(stream, learner, place, run=identity)
        return None
    default = f"{stream.name}-{len(stream)}/{learner.name}/seed{training.settings.seed}"
    run_dir = Path(training.run_dir or DEFAULT_RUNS / default)
    result = run(
        stream,
        learner,
        run_dir=run_dir,
        settings=settings,
        tasks=training.tasks,
        command=training.command,
        quiet=training.quiet,
        epoch_lines=training.epoch_lines,
        log_tensorboard=training.tensorboard,
        oracle=training.oracle,
        checkpoint_every=training.checkpoint_every,
        keep_checkpoints=training.keep_checkpoints,
        on_divergence=training.on_divergence,
        place=place,
    )
    if training.export_dir is not None:
        exported = result.learner.export(training.export_dir, classifier=training.export_classifier)
        _say(str(exported))
    return result


def _check_asked(training: Training) -> None:
    """Finds what a run cannot write, or cannot do, whatever its data are."""
    check_writable(training.run_dir or DEFAULT_RUNS)
    if training.tensorboard:
        tensorboard.check_installed()
    if training.export_classifier and training.export_dir is None:
        raise InputError(
            "--export_classifier says what to export, and nothing where: name an --export_dir, too"
        )
    if training.export_dir is not None:
        check_writable(training.export_dir, flag="--export_dir")
        version_folder(training.export_dir)
        if training.method != "dgm":
            raise InputError(
                f"only DGM's memory can be exported: --export_dir is given, --method is "
                f"{training.method}"
            )


def _epochs(settings: Mapping[str, Any], task: Task) -> int | None:
    """Passes over a task's images by a run's settings; None where these do not say."""
    if (epochs := settings.get("epochs")) is None or not settings.get("least_steps"):
        return epochs
    return passes(epochs, settings["least_steps"], task.steps_per_epoch(settings["batch_size"]))


def _check_memory_asked(training: Training) -> None:
    """Finds what does not go with the memory of another run."""
    if training.method != "dgm":
        raise InputError(
            f"only DGM's memory can be taken: --memory_of is given, --method is {training.method}"
        )
    if training.on_divergence != "stop":
        raise InputError(
            "a whole run that retries would learn the generator again, too: --memory_of goes with "
            "--on_divergence=stop"
        )
    if training.distribute == "multiworker":
        raise InputError(
            "processes share no disk, and a memory is read from one: --memory_of goes with "
            "--distribute=none or mirrored"
        )


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


def new_learner(method: str, settings: LearnerSettings, stream: TaskStream | None) -> Learner:
    """A learner that has learnt nothing.

    Args:
        method: one of `dgm_tf.settings.METHODS`.
        settings: the method's.
        stream: for joint training, which alone reads old images, to learn.
    """
    if method == "joint":
        return JointClassifier(stream, settings)
    if method == "joint_gan":
        return JointGAN(stream, **dataclasses.asdict(settings))
    return _LEARNERS[method].from_settings(settings)


def restored_learner(
    name: str,
    meta: dict[str, Any],
    arrays: dict[str, np.ndarray],
    *,
    stream: TaskStream | None = None,
) -> Learner:
    """The learner of a checkpoint.

    Args:
        name: the learner's, as `settings.json` has it.
        meta: its dictionary.
        arrays: its arrays.
        stream: for joint training that is to go on; without it, it reads none.

    Raises:
        InputError: there is no such learner, or the state is not one of it.
    """
    method = method_of(name)
    if method not in METHODS:
        raise InputError(f"settings.json names the learner {name!r}, which dgm_tf does not have")
    with reading_state():
        settings = recorded(METHODS[method], meta["settings"])
        return new_learner(method, settings, stream).restored(meta, arrays)


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


def check_sizes(stream: TaskStream, training: Training, *, replicas: int = 1) -> None:
    """Finds what is too large or too small for a class now, not when that class arrives."""
    settings = training.settings
    settings.check_replicas(replicas)
    batch_size = settings.batch_size
    counts = stream.describe()["train_images"]
    classes = list(itertools.chain(*stream.task_classes[: training.tasks]))
    for class_id in classes:
        if batch_size > counts[class_id]:
            raise InputError(
                f"a batch must not be larger than a class: class {class_id} has "
                f"{counts[class_id]} training images, --batch_size is {batch_size}; "
                "choose a smaller one"
            )
    if isinstance(settings, DGMSettings) and settings.latent_dim <= len(classes):
        raise InputError(
            f"--latent_dim must be larger than the number of classes, whose label takes its first "
            f"entries: {len(classes)} classes, --latent_dim is {settings.latent_dim}"
        )
    if isinstance(settings, ReplaySettings) and settings.replay_buffer < len(classes):
        raise InputError(
            f"--replay_buffer must hold at least one image of each class: {len(classes)} classes, "
            f"--replay_buffer is {settings.replay_buffer}"
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
    checkpoint_every: Every = DEFAULT_EVERY,
    keep_checkpoints: int = DEFAULT_KEPT,
    on_divergence: str = "stop",
    place: Distribution | None = None,
) -> RunResult:
    """Learns the tasks of a stream that the run folder does not have yet, and reports.

    Each task is learnt, evaluated on the real test images of all classes seen, audited and
    committed to the folder (see `dgm_tf.runs.run_folder`); a run that was stopped goes on after
    the last task committed, or from the last checkpoint inside the next one, with the numbers it
    would have had.

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
        checkpoint_every: how often a task writes a checkpoint while it is learnt.
        keep_checkpoints: how many of these are kept, at least 1.
        on_divergence: "stop", or "retry" to learn a task whose training went wrong again at half
            the learning rates, three times at most.
        place: the devices to learn on; None for those of the block the program is in. In a run of
            several processes this is the chief's part, see `dgm_tf.experiments.followers`.

    Raises:
        Diverged: training went wrong; see `dgm_tf.learners.watch`.
        dgm_tf.stopping.Stopped: the run was asked to stop, and has written where it stands.
        InputError: the folder belongs to another run or cannot be used.
    """
    place = distribution.present() if place is None else place
    if not place.is_chief:
        raise ValueError("a run belongs to the chief; the other processes follow it")
    last = _last_task(stream, tasks)
    keep_checkpoints = _checks.integer(keep_checkpoints, "keep_checkpoints", low=1)
    description = _description(stream, learner, settings, command)
    identity = _identity(stream, learner, settings)
    with RunFolder(run_dir).opened(description, tasks=last) as folder:
        rows: list[dict[str, Any]] = []
        if (restored := folder.restore()) is not None:
            rows, meta, arrays = restored
            with reading_state(), distribution.used(place):
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
            with stopping.watched():
                learner, row, log = _learnt(
                    learner,
                    task,
                    folder=folder,
                    rows=rows,
                    stream=stream,
                    logs=logs,
                    checkpoint_every=checkpoint_every,
                    keep_checkpoints=keep_checkpoints,
                    on_divergence=on_divergence,
                    quiet=quiet,
                    epoch_lines=epoch_lines,
                    place=place,
                    identity=identity,
                )
                start = time.monotonic()
                row |= _evaluated(learner, task, audit=audit, stream=stream, rows=rows)
                if judge is not None:
                    row |= _judged(judge, learner, stream, task)
                row |= {
                    "epochs": 0 if learner.memory_of else _epochs(settings, task),
                    "evaluation_seconds": round(time.monotonic() - start, 3),
                    "peak_memory_mib": provenance.peak_memory_mib(),
                }
                if learner.generates:
                    _draw_samples(learner, folder.sample_file(task.index))
                rows = folder.commit([*rows, row], *learner.state())
                _write_page(folder)
                if log is not None:
                    log.finish(rows[-1], folder.sample_file(task.index))
                if not quiet:
                    left = _seconds_left(rows, last)
                    _say(task_summary(rows[-1], title=str(task), seconds_left=left))
                if stopping.requested() and len(rows) < last:
                    followers.announce(place, followers.Assignment(task=0))
                    raise stopping.Stopped(
                        f"stopped; the same command goes on after task {task.index}"
                    )
        followers.announce(place, followers.Assignment(task=0))
        pictures_at = f"{folder.samples}/" if learner.generates else None
        text = tables.run_report(rows, scenario=stream.scenario, pictures=pictures_at)
        _say(f"\n{text}\nPage: {folder.path / page.PAGE}")
        return RunResult(folder.path, learner, tuple(rows))


def _last_task(stream: TaskStream, tasks: int | None) -> int:
    last = len(stream) if tasks is None else tasks
    if not 1 <= last <= len(stream):
        raise InputError(f"expected --tasks from 1 to {len(stream)}, received {tasks}")
    return last


def _learnt(
    learner: Learner,
    task: Task,
    *,
    folder: RunFolder,
    rows: Sequence[Mapping[str, Any]],
    stream: TaskStream,
    logs: tensorboard.TensorBoardLog | None,
    checkpoint_every: Every,
    keep_checkpoints: int,
    on_divergence: str,
    quiet: bool,
    epoch_lines: bool,
    place: Distribution,
    identity: Mapping[str, Any],
) -> tuple[Learner, dict[str, Any], tensorboard.TaskLog | None]:
    """Learns one task, from its last checkpoint if there is one, and again if it diverges.

    Returns:
        The learner, which is another one after a divergence; what its training says for the row of
        metrics.jsonl; and the task's log.
    """
    title = f"task {task.index} of {len(stream)}"
    found = folder.unfinished(task.index)
    divergences = found[0].get("divergences", []) if found else []
    while True:
        keeper = TaskKeeper(
            functools.partial(_keep, folder, task, divergences, keep_checkpoints),
            checkpoint_every,
            found=found,
        )
        if keeper.found_steps and not quiet:
            _say(f"{task}: going on at step {keeper.found_steps}")
        progress = TaskProgress(title, live=False if quiet else None, epoch_lines=epoch_lines)
        log = None
        if logs is not None:
            log = logs.task(task.index, steps_before=sum(row["steps"] for row in rows))
        factor = _SLOWER ** len(divergences)
        state = learner.state() if learner.finished_tasks else None
        followers.announce(place, followers.Assignment(task.index, factor, state, found, identity))
        try:
            with (
                progress,
                learner.slowed(factor),
                distribution.used(place),
                place.watching_peers(),
            ):
                callbacks = [progress, log, keeper, NumbersWatch()]
                history = learner.learn(task, callbacks=list(filter(None, callbacks)))
            break
        except Diverged as error:
            if on_divergence == "stop" or len(divergences) >= _RETRIES:
                followers.announce(place, followers.Assignment(task=0))
                raise Diverged(
                    f"{title}: what was good is kept in {folder.path}, and --on_divergence=retry "
                    f"learns the task again at a lower rate; {error.what}",
                    error.where,
                ) from error
            divergences = [*divergences, error.where]
            slower = f"{factor * _SLOWER:g} of the learning rates"
            warn(f"{title}: {error}; it is learnt again at {slower}")
        folder.drop_unfinished()
        found = None
        if (restored := folder.restore()) is not None:
            with distribution.used(place):
                learner = learner.restored(*restored[1:])
    if keeper.steps:  # Of a learner without phases there is nothing to keep.
        keeper.look()
    row = {
        "task": task.index,
        "classes": list(task.classes),
        "classes_seen": list(learner.classes_seen),
        "steps": progress.steps,
        "last_epoch": {name: values[-1] for name, values in history.items() if values},
        "history": {name: _short(values) for name, values in history.items()},
        "seconds": round(keeper.seconds, 3),
    }
    if divergences:
        row |= {"divergences": divergences, "learning_rate_factor": _SLOWER ** len(divergences)}
    return learner, row, log


def _keep(
    folder: RunFolder,
    task: Task,
    divergences: Sequence[str],
    last: int,
    steps: int,
    meta: Mapping[str, Any],
    arrays: Mapping[str, Any],
) -> None:
    meta = {**meta, "divergences": divergences}
    folder.keep_unfinished(task.index, steps, meta, arrays, last=last)


def _evaluated(
    learner: Learner,
    task: Task,
    *,
    audit: MemoryAudit,
    stream: TaskStream,
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What the real test images, the audit and the generator's size say, for the row."""
    evaluation = evaluate(learner.classify, stream.seen_test(task))
    matrix = AccuracyMatrix.from_rows(rows)
    matrix.add(task.index, evaluation.class_accuracy)
    differing_pixels: dict[int, int] = {}
    if learner.generates:
        differing_pixels = audit.check(learner.generate)
        audit.remember(task.index, task.classes, learner.generate)
    return {
        **matrix.summary(task.index),
        "class_accuracy": evaluation.class_accuracy,
        "newest_class_share": evaluation.newest_class_share(task.classes),
        "audit": differing_pixels,
        "audit_pixels": audit.pixels if learner.generates else {},
        **learner.growth(),
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
    return {
        "scenario": stream.scenario,
        **_identity(stream, learner, settings),
        "command": command,
        **({"memory_of": learner.memory_of} if learner.memory_of else {}),
        "seed": settings.get("seed"),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "date": provenance.today(),
    }


def _identity(stream: TaskStream, learner: Learner, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What tells whether two runs are the same."""
    # The scenario is made of the other values: it would repeat what differs.
    described = {key: value for key, value in stream.describe().items() if key != "scenario"}
    return {"learner": learner.name, "settings": settings, "stream": described}


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
