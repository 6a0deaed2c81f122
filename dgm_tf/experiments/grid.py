"""Runs a grid of methods, data sets and seeds, one trainer process after another."""

import dataclasses
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dgm_tf import settings
from dgm_tf.errors import InputError
from dgm_tf.reporting import table
from dgm_tf.storage.files import write_atomically

TRAINERS = {
    "digits": "split_digits",
    "mnist": "split_mnist",
    "fashion_mnist": "split_fashion_mnist",
    "svhn_cropped": "split_svhn",
    "cifar10": "split_cifar10",
}
# Method by folder name: the flags that choose it.
METHODS = {name: (f"--method={name}",) for name in settings.METHODS if name != "dgm"} | {
    f"dgm-{variant}": (f"--variant={variant}",) for variant in settings.VARIANTS
}
_TASKS = 10


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
    def folder(self) -> str:
        return f"{self.root}/{self.dataset}-{_TASKS}/{self.method}/seed{self.seed}"

    @property
    def command(self) -> list[str]:
        """The command without the interpreter's path; what the table shows."""
        seed = [f"--seed={self.seed}"] if self.seed else []
        return [
            "python", "-m", f"trainers.{TRAINERS[self.dataset]}", *METHODS[self.method], *seed,
            *self.extra, f"--run_dir={self.folder}",
        ]  # fmt: skip

    def finished_tasks(self) -> int:
        metrics = Path(self.folder) / "metrics.jsonl"
        return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def plan(
    datasets: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    root: str,
    extra: Sequence[str] = (),
) -> list[Planned]:
    """Every combination, data set by data set and seed by seed.

    Raises:
        InputError: an unknown data set or method.
    """
    for kind, given, known in (("data set", datasets, TRAINERS), ("method", methods, METHODS)):
        if unknown := [name for name in given if name not in known]:
            raise InputError(f"unknown {kind} {', '.join(unknown)}; known are {', '.join(known)}")
    return [
        Planned(dataset, method, seed, root, tuple(extra))
        for dataset in datasets
        for seed in seeds
        for method in methods
    ]


def run_missing(planned: Sequence[Planned], *, say: Callable[[str], None]) -> list[Planned]:
    """Runs what is not finished, going on where a run was cut.

    A run that fails is said to have failed, and the others go on.

    Args:
        planned: the grid.
        say: takes a line of progress.

    Returns:
        The runs that failed.
    """
    todo = [run for run in planned if run.finished_tasks() < _TASKS]
    say(f"{len(planned)} runs, {len(planned) - len(todo)} of them finished before")
    failed, seconds = [], []
    for index, run in enumerate(todo, start=1):
        left = ""
        if seconds:
            minutes = statistics.fmean(seconds) * (len(todo) - index + 1) / 60
            left = f", about {max(1, round(minutes))} min to go"
        say(f"[{index}/{len(todo)}{left}] {shlex.join(run.command)}")
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, *run.command[1:], "--quiet"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        seconds.append(time.monotonic() - start)
        if done.returncode:
            failed.append(run)
            reason = done.stderr.strip().splitlines()
            say(f"failed, exit code {done.returncode}: {reason[-1] if reason else 'no message'}")
    return failed


def write_tables(root: str | Path, out: str | Path) -> list[Path]:
    """Writes table1.md, table1.csv and table1.tex of the runs below `root` into `out`.

    Raises:
        InputError: a run cannot be read, or a file cannot be written.
    """
    runs = table.finished_runs(root)
    if not runs:
        raise InputError(f"no finished run in {root}: learn one first, or name another --results")
    texts = {
        "table1.md": table.markdown(runs) + "\n",
        "table1.csv": table.as_csv(runs),
        "table1.tex": table.latex(runs),
    }
    paths = []
    for name, text in texts.items():
        paths.append(Path(out) / name)
        write_atomically(paths[-1], text.encode())
    return paths
