"""Output of a run while it works: one live line per task, and a few lines when it ends."""

import os
from collections.abc import Mapping
from typing import Any, TextIO

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dgm_tf.reporting.tables import duration

# Logged quantities that the live line shows, and how it calls them.
_SHOWN = {"critic_loss": "critic", "generator_loss": "generator", "mask_sparsity": "sparsity"}

_WIDTH_WITH_BAR = 100  # on a narrower terminal the figures are worth more than the bar


class TaskProgress(keras.callbacks.Callback):
    """One live line while a task is learnt.

    The line shows the progress of the present call of `fit`, the time that is left in it, the
    losses and the mask sparsity. It stands only on a terminal: in a pipe, a file or a build service
    nothing is written. Use it as a context manager, so that the line is gone before anything else
    is printed, an error included.

    Attributes:
        steps: training steps computed so far, over all calls of `fit`.

    Example:

        with dgm_tf.TaskProgress("task 3 of 10") as progress:
            model.learn(task, callbacks=[progress])
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
        """Prepares the line, which appears when training begins.

        Args:
            title: the line's beginning.
            file: gets the line; by default standard error.
            live: show a live line; by default `file` decides.
            epoch_lines: print a line that stays after each epoch, on `file`.
        """
        super().__init__()
        self.steps = 0
        self._title = self._shown_title = title
        console = Console(stderr=True) if file is None else Console(file=file)
        live = _is_live(console.file) if live is None else live
        self._bar = _bar(console) if live else None
        self._epoch_lines = console if epoch_lines else None
        self._line = None
        self._epoch = 0

    def __enter__(self) -> "TaskProgress":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self.steps:  # The first phase of a task needs no name.
            phase = getattr(self.model, "phase", "")
            self._shown_title = f"{self._title}  {phase}" if phase else self._title
        if self._bar is None:
            return
        if self._line is not None:
            self._bar.remove_task(self._line)
        steps, epochs = self._steps_and_epochs()
        # Without a total the bar only moves to and fro.
        total = steps * epochs if steps and epochs else None
        self._line = self._bar.add_task(self._shown_title, total=total, values="starting")
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.steps += 1
        if self._line is None:
            return
        steps, epochs = self._steps_and_epochs()
        done = self._epoch * (steps or 0) + batch + 1
        epoch = [f"epoch {self._epoch + 1}/{epochs}"] if epochs else []
        self._bar.update(self._line, completed=done, values="  ".join([*_values(logs), *epoch]))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._epoch_lines is not None:
            _, epochs = self._steps_and_epochs()
            line = "  ".join([self._shown_title, f"epoch {epoch + 1}/{epochs}", *_values(logs)])
            # By the live line's own console, which puts it above that line.
            self._epoch_lines.print(line, markup=False, highlight=False, soft_wrap=True)

    def _steps_and_epochs(self) -> tuple[int | None, int | None]:
        params = self.params or {}
        return params.get("steps"), params.get("epochs")


def _is_live(file: TextIO) -> bool:
    """Returns whether `file` is a terminal, and no build service behind it."""
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
        fraction = {name: _percent(value) for name, value in row["newest_class_share"].items()}
        measures += f", forgetting {_percent(row['forgetting'])}"
        measures += f", newest classes {fraction['predictions']} of predictions"
        measures += f", {fraction['test_set']} of images"
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


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _bar(console: Console) -> Progress:
    columns = [
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[values]}", markup=False),
    ]
    if console.width >= _WIDTH_WITH_BAR:
        columns.insert(0, BarColumn(bar_width=16))
    return Progress(*columns, console=console, transient=True, refresh_per_second=4)
