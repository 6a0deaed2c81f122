"""Grids of methods, data sets and seeds, a trainer process for each run."""

import contextlib
import dataclasses
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dgm_tf import _checks
from dgm_tf.data import division
from dgm_tf.errors import InputError
from dgm_tf.experiments.options import FOLDER, StreamOptions, classes_per_task
from dgm_tf.methods.registry import METHODS as LEARNERS
from dgm_tf.methods.settings import VARIANTS, MethodSettings, setting_names
from dgm_tf.reporting import comparison
from dgm_tf.reporting.run import Run, read_run
from dgm_tf.runs import run_folder
from dgm_tf.storage import paths
from dgm_tf.storage.files import write_atomically
from dgm_tf.terminal import stopping

TRAINERS = {
    "digits": "split_digits",
    "mnist": "split_mnist",
    "fashion_mnist": "split_fashion_mnist",
    "svhn_cropped": "split_svhn",
    "cifar10": "split_cifar10",
    FOLDER: "split_folder",
}
# Method by folder name: the flags that choose it.
METHODS = {name: (f"--method={name}",) for name in LEARNERS if name != "dgm"} | {
    f"dgm-{variant}": (f"--variant={variant}",) for variant in VARIANTS
}
_OWN_FLAGS = ("method", "variant", "seed", "run_dir")  # of Planned.command
_HIDING_FLAGS = ("flagfile", "undefok")  # behind which others are not seen
_CLASSES = 10  # of each data set but a folder
_LOOK_SECONDS = 0.2
_STOP_SECONDS = 60.0  # for a step and a checkpoint


@dataclasses.dataclass(frozen=True)
class Planned:
    """One run of a grid.

    Attributes:
        dataset: one of `TRAINERS`.
        method: one of `METHODS`.
        seed: the run's.
        root: the results folder.
        extra: further flags of the trainer.
    """

    dataset: str
    method: str
    seed: int
    root: str
    extra: tuple[str, ...] = ()

    @property
    def tasks(self) -> int | None:
        """Tasks of the stream; None of a folder, whose classes nobody has counted."""
        if self.dataset == FOLDER:
            return None
        text = _value(self.extra, "classes_per_task")
        try:
            per_task = classes_per_task(text) if text else 1
        except ValueError as error:
            raise InputError(f"--classes_per_task={text}: {error}") from error
        return len(division.cut(range(_CLASSES), per_task))

    @property
    def folder(self) -> str:
        tasks = self.tasks
        name = f"{self.dataset}-{tasks}"
        if tasks is None:
            name = Path(_value(self.extra, "images")).resolve().name
        return f"{self.root}/{name}/{self.method}/seed{self.seed}"

    @property
    def command(self) -> list[str]:
        """The command as people type it, without the interpreter's path."""
        seed = [f"--seed={self.seed}"] if self.seed else []
        return [
            "python", "-m", f"trainers.{TRAINERS[self.dataset]}", *METHODS[self.method], *seed,
            *self.extra, f"--run_dir={self.folder}",
        ]  # fmt: skip

    @property
    def arguments(self) -> list[str]:
        """The trainer's, as it gets them."""
        return self.command[3:]

    def found(self) -> Run | None:
        """What the folder holds; None where that is not begun, or damaged."""
        try:
            return read_run(self.folder)
        except InputError:  # Of a damaged one the trainer says what to do.
            return None

    def is_finished(self) -> bool:
        if (run := self.found()) is None:
            return False
        asked = _value(self.extra, "max_tasks")
        return len(run.rows) >= min(run.tasks, int(asked) if asked else run.tasks)

    def check(self, stream: StreamOptions, settings: MethodSettings) -> None:
        """Refuses what the trainer would refuse once it knows its folder and its data.

        Args:
            stream: data and tasks, as the flags have them.
            settings: the method's, as the flags have them.

        Raises:
            InputError: the run's folder was learnt by other settings or on other tasks, images to
                learn from are in no folder, or there are not so many tasks.
        """
        if stream.max_tasks is not None:
            _checks.integer(stream.max_tasks, "--max_tasks", low=1, high=self.tasks)
        if (run := self.found()) is not None:
            wanted = {
                "learner": self.method,
                "settings": settings.as_json(),
                "stream": {**run.stream, **self._told(stream, run, settings.seed)},
            }
            if lines := run_folder.differences(run.description, wanted, settings.defaults()):
                raise InputError(
                    f"{self.folder} holds a run with other settings: {'; '.join(lines)}; name "
                    "another folder by --results"
                )
        for images in (stream.images, stream.test_images):
            if images is None or paths.expanded(images).is_dir():
                continue
            if not self.is_finished():  # A finished run needs them no more.
                raise InputError(
                    f"{images!r} is no folder: name one that has a subfolder of images per class"
                )

    def _told(self, stream: StreamOptions, run: Run, seed: int) -> dict[str, Any]:
        """What options say of a stream's description, of the classes that a run has."""
        side, fraction = stream.image_size, stream.validation_fraction
        side = division.default_size(self.dataset) if side is None else side
        if fraction is None:
            fraction = division.default_validation(self.dataset)
        order = division.ordered(stream.class_order, list(run.class_names.values()), seed)
        return {
            "task_classes": list(map(list, division.cut(order, stream.classes_per_task))),
            "image_shape": [side, side, run.stream["image_shape"][-1]],
            "validation_fraction": fraction,
        }


def plan(
    datasets: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    root: str,
    extra: Sequence[str] = (),
) -> list[Planned]:
    """Every combination, data set by data set and seed by seed; unknown names are refused.

    A method gets the `extra` flags that mean something to it.

    Raises:
        InputError: an unknown name, one that is given twice, images of one's own without their
            folder, an extra flag that is not --name=value, that hides others, or that the grid
            itself gives.
    """
    for flag, values in (("--datasets", datasets), ("--methods", methods), ("--seeds", seeds)):
        _checks.different(values, flag)
    for kind, given, known in (("data set", datasets, TRAINERS), ("method", methods, METHODS)):
        for name in given:
            _checks.one_of(kind, name, known)
    for flag in extra:
        # A value may stand alone, as in `--max_tasks 3`, and a trainer reads -max_tasks=3, too.
        if not (match := re.match(r"--(\w+)(=|$)", flag)):
            raise InputError(f"expected flags as --name=value, received {flag!r}")
        name = match[1]
        if name in _HIDING_FLAGS:
            raise InputError(f"--{name} hides other flags: name each one behind --, without it")
        if name in _OWN_FLAGS:
            raise InputError(f"--{name} differs from run to run here: leave it out behind --")
    if FOLDER in datasets and not _value(extra, "images"):
        raise InputError(f"expected the trainer's flag --images=DIR for the data set {FOLDER}")
    return [
        Planned(dataset, method, seed, root, _meant_for(method, extra))
        for dataset in datasets
        for seed in seeds
        for method in methods
    ]


def _value(flags: Sequence[str], name: str) -> str:
    """The value of the last flag of a name; an empty text where there is none."""
    start = f"--{name}="
    values = [flag.removeprefix(start) for flag in flags if flag.startswith(start)]
    return values[-1] if values else ""


def _meant_for(method: str, flags: Sequence[str]) -> tuple[str, ...]:
    """The flags without those of settings that a method does not have."""
    own = setting_names(LEARNERS[method.partition("-")[0]].settings)
    foreign = set().union(*(setting_names(each.settings) for each in LEARNERS.values())) - own
    return tuple(flag for flag in flags if flag[2:].partition("=")[0] not in foreign)


def run_missing(
    planned: Sequence[Planned], *, say: Callable[[str], None], jobs: int = 1
) -> list[Planned]:
    """Runs all that is not finished, and resumes runs that were cut.

    A run that fails is named, and the others are still run.

    Args:
        planned: the grid.
        say: takes a line of progress.
        jobs: runs at the same time, each with its part of the cores: small networks leave cores
            idle, so that two runs side by side end before two in a row.

    Returns:
        The runs that failed.

    Raises:
        InputError: more jobs than cores.
        dgm_tf.terminal.stopping.Stopped: it was asked to stop, and so the runs have been.
    """
    parts = _core_parts(jobs)
    todo = [run for run in planned if not run.is_finished()]
    say(f"{len(planned)} runs, {len(planned) - len(todo)} of them finished before")
    failed, seconds = [], []
    running: dict[tuple[int, ...], _Started] = {}
    waiting = list(enumerate(todo, start=1))
    with stopping.watched(), _stopped_together(running):
        while waiting or running:
            for part in parts:
                if part not in running and waiting:
                    left = _time_left(seconds, runs=len(waiting) + len(running), jobs=jobs)
                    index, run = waiting.pop(0)
                    say(f"[{index}/{len(todo)}{left}] {shlex.join(run.command)}")
                    running[part] = _Started(run, part)
            time.sleep(_LOOK_SECONDS)
            if stopping.requested():
                raise stopping.Stopped(stopping.RESUMES)
            for part, started in list(running.items()):
                if (code := started.process.poll()) is None:
                    continue
                del running[part]
                seconds.append(time.monotonic() - started.since)
                last = started.ended()
                if code:
                    failed.append(started.run)
                    say(f"failed, exit code {code}: {last}")
    return failed


def _time_left(seconds: Sequence[float], *, runs: int, jobs: int) -> str:
    if not seconds:
        return ""
    minutes = statistics.fmean(seconds) * runs / jobs / 60
    return f", about {max(1, round(minutes))} min to go"


class _Started:
    """A run in a process of its own, on some cores, or on all where none are named."""

    def __init__(self, run: Planned, cores: tuple[int, ...]):
        self.run = run
        self.since = time.monotonic()
        self._errors = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, *run.command[1:], "--verbosity=0"],
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        if cores:
            # It has a single thread yet, and all later ones inherit this.
            os.sched_setaffinity(self.process.pid, cores)

    def ended(self) -> str:
        """Waits for its end; the last line of its errors."""
        self.process.wait()
        with self._errors as errors:
            errors.seek(0)
            lines = errors.read().strip().splitlines()
        return lines[-1] if lines else "no message"


@contextlib.contextmanager
def _stopped_together(running: Mapping[Any, _Started]) -> Iterator[None]:
    """A block that leaves no run behind when it is stopped or fails."""
    try:
        yield
    except BaseException as reason:
        _stop(running.values(), reason)
        raise


def _stop(running: Collection[_Started], reason: BaseException) -> None:
    """Asks runs to stop, which they do after a checkpoint, and waits for them."""
    by_hand = isinstance(reason, KeyboardInterrupt) or (
        isinstance(reason, stopping.Stopped)
        and reason.exit_code == stopping.exit_code(signal.SIGINT)
    )
    if by_hand and _in_foreground():
        # Ctrl-C has asked them, too, and asked twice they would end without a checkpoint.
        deadline = time.monotonic() + _STOP_SECONDS
        for started in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.process.wait(max(0.0, deadline - time.monotonic()))
    for started in running:
        started.process.terminate()
    for started in running:
        started.ended()


def _in_foreground() -> bool:
    """Returns whether Ctrl-C on the terminal reaches this process, and so its children."""
    try:
        with open("/dev/tty") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def most_jobs(wanted: int) -> int:
    """`wanted` runs at the same time, or as many as this process has cores to divide."""
    return max(1, min(wanted, len(_own_cores())))


def _own_cores() -> list[int]:
    """This process's cores; none where the system does not let it divide them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []


def _core_parts(jobs: int) -> list[tuple[int, ...]]:
    """This process's cores, divided evenly."""
    jobs = _checks.integer(jobs, "--jobs", low=1)
    if jobs == 1:
        return [()]
    if not (cores := _own_cores()):
        raise InputError("--jobs divides the cores, which this system does not let it: leave it 1")
    if jobs > len(cores):
        raise InputError(f"--jobs must be at most the number of cores, {len(cores)}, got {jobs}")
    return [tuple(cores[place::jobs]) for place in range(jobs)]


def write_tables(planned: Sequence[Planned], out: str | Path) -> list[str]:
    """Writes table1.md, table1.csv and table1.tex of those planned runs that are finished.

    Args:
        planned: the grid.
        out: a folder.

    Returns:
        Lines to show: the table and the files.

    Raises:
        InputError: none is finished, a run cannot be read, or a file cannot be written.
    """
    runs = comparison.in_order(read_run(run.folder) for run in planned if run.is_finished())
    if not runs:
        raise InputError(
            f"none of the {len(planned)} runs is finished, such as {planned[0].folder}: learn one "
            "first, or name another --results"
        )
    texts = {
        "md": comparison.markdown(runs) + "\n",
        "csv": comparison.as_csv(runs),
        "tex": comparison.latex(runs),
    }
    paths = [Path(out) / f"table1.{kind}" for kind in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_atomically(path, text.encode())
    return [comparison.markdown(runs, commands=False), *map(str, paths)]
