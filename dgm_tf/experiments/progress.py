"""What a run shows while it works: one live line per task, and a few lines when it ends."""

import os
import time
from collections.abc import Mapping
from typing import Any, TextIO

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from dgm_tf.reporting.tables import duration

# Logged quantities that the live line shows, and how it calls them.
_SHOWN = {"critic_loss": "critic", "generator_loss": "generator", "mask_sparsity": "sparsity"}

_WIDTH_WITH_BAR = 100  # on a narrower terminal the figures are worth more than the bar


class TaskProgress(keras.callbacks.Callback):
    """One live line while a task is learnt, and a count of its steps.

    The line says how far the task is, the time left in the present call of `fit`, the losses and
    the mask sparsity. It is drawn on a terminal alone: in a pipe, a file or a build service
    nothing is written. Use it as a context manager, so that the line is gone before
    anything else is printed, an error included.

    Example:

        with dgm_tf.TaskProgress("task 3 of 10") as progress:
            model.learn(task, callbacks=[progress])
        print(progress.steps)
    """

    # Keras then need not wait for each step's losses before it begins the next one.
    async_safe = True

    def __init__(
        self,
        title: str,
        *,
        file: TextIO | None = None,
        live: bool | None = None,
        epoch_lines: bool = False,
    ) -> None:
        """Prepares the line; nothing is drawn before training begins.

        Args:
            title: what the line begins with.
            file: where it is drawn; standard error unless given.
            live: whether it is drawn at all; found out from `file` unless given.
            epoch_lines: print a line that stays after each epoch, on `file`.
        """
        super().__init__()
        self._title = self._shown_title = title
        console = Console(stderr=True) if file is None else Console(file=file)
        live = is_live(console.file) if live is None else live
        self._bar = _bar(console) if live else None
        self._epoch_lines = console if epoch_lines else None
        self._line = None
        self._finished_steps = 0
        self._epoch_steps = 0
        self._fit_start = 0
        self._clock_start: tuple[int, float] | None = None
        self._epoch = 1

    @property
    def steps(self) -> int:
        """Training steps taken so far, over all calls of `fit`."""
        return self._finished_steps + self._epoch_steps

    def __enter__(self) -> "TaskProgress":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self.steps:  # The first phase of a task needs no name.
            phase = getattr(self.model, "phase", "")
            self._shown_title = f"{self._title}  {phase}" if phase else self._title
        self._fit_start = self.steps
        self._clock_start = None
        self._epoch = 1
        if self._bar is None:
            return
        if self._line is not None:
            self._bar.remove_task(self._line)
        self._line = self._bar.add_task(f"{self._shown_title}  starting", total=self._total())
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # `batch` is the last step of several under steps_per_execution, even where the epoch has
        # fewer; and Keras may call this from several threads, a later step first.
        steps = (self.params or {}).get("steps") or batch + 1
        self._epoch_steps = max(self._epoch_steps, min(batch + 1, steps))
        self._draw(logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._finished_steps, self._epoch_steps = self.steps, 0
        self._draw(logs)
        if self._epoch_lines is not None and not getattr(self.model, "played_back", False):
            epochs = (self.params or {}).get("epochs")
            line = "  ".join([self._shown_title, f"epoch {epoch + 1}/{epochs}", *_values(logs)])
            # By the live line's own console, which puts it above that line.
            self._epoch_lines.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, logs: Mapping[str, Any] | None) -> None:
        if self._line is None:
            return
        done, total = self.steps - self._fit_start, self._total()
        epochs = (self.params or {}).get("epochs")
        parts = [
            self._shown_title,
            f"{100 * done / total:.0f} %" if total else f"{done} steps",
            self._left(done, total),
            *_values(logs),
            f"epoch {self._epoch}/{epochs}" if epochs else "",
        ]
        text = "  ".join(filter(None, parts))
        self._bar.update(self._line, completed=done, total=total, description=text)

    def _left(self, done: int, total: int | None) -> str:
        """Time left by the pace since the first step, which is slow: it builds the graph."""
        now = time.monotonic()
        if self._clock_start is None or getattr(self.model, "played_back", False):
            self._clock_start = (done, now)
        first, start = self._clock_start
        if total is None or done <= first:
            return ""
        return f"{duration((now - start) / (done - first) * max(total - done, 0))} left"

    def _total(self) -> int | None:
        params = self.params or {}
        if not params.get("steps") or not params.get("epochs"):
            return None  # The bar then only moves to and fro.
        return params["steps"] * params["epochs"]


def is_live(file: TextIO) -> bool:
    """Whether a line may be redrawn on `file`: a terminal, and no build service behind it."""
    return file.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def task_summary(row: Mapping[str, Any], *, title: str, seconds_left: float | None = None) -> str:
    """The lines printed when a task is finished.

    Args:
        row: the task's row of metrics.jsonl (see `dgm_tf.reporting.tables`).
        title: the task by name, such as "task 3 of 10: class 2".
        seconds_left: a guess at the time that the remaining tasks will take.
    """
    left = f", about {duration(seconds_left)} to go" if seconds_left else ""
    lines = [f"{title}: learnt in {duration(row['seconds'])}, {row['steps']} steps{left}"]
    measures = f"A{row['task']} {_percent(row['average_accuracy'])}"
    if row.get("oracle_accuracy") is not None:
        measures += f", G{row['task']} {_percent(row['oracle_accuracy'])}"
    if row["forgetting"] is not None:
        share = {name: _percent(value) for name, value in row["newest_class_share"].items()}
        measures += f", forgetting {_percent(row['forgetting'])}"
        measures += f", newest classes {share['predictions']} of predictions"
        measures += f", {share['test_set']} of images"
    lines.append(measures)
    if row["audit"]:
        lines.append(f"memory audit: {_audit(row['audit'])}")
    if row.get("layer_widths"):
        lines.append(
            f"generator: {', '.join(map(str, row['layer_widths']))} units, "
            f"{row['generator_parameters']:,} parameters, {_percent(row['free_fraction'])} free"
        )
    broken = [name for name, value in row["last_epoch"].items() if value is None]
    if broken:
        lines.append(f"warning: not a finite number at the end: {', '.join(broken)}")
    return "\n  ".join(lines)


def _audit(differing_pixels: Mapping[Any, int]) -> str:
    differing = [
        f"task {task}: {pixels} pixels" for task, pixels in differing_pixels.items() if pixels
    ]
    if differing:
        return f"images differ ({', '.join(differing)})"
    count = len(differing_pixels)
    return f"images of {count} earlier task{'s' if count > 1 else ''} identical"


def _values(logs: Mapping[str, Any] | None) -> list[str]:
    logs = logs or {}
    names = [name for name in _SHOWN if name in logs] or list(logs)[:3]
    return [f"{_SHOWN.get(name, name)} {float(logs[name]):.2g}" for name in names]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _bar(console: Console) -> Progress:
    columns = [TextColumn("{task.description}", markup=False)]
    if console.width >= _WIDTH_WITH_BAR:
        columns.insert(0, BarColumn(bar_width=16))
    return Progress(*columns, console=console, transient=True, refresh_per_second=4)
