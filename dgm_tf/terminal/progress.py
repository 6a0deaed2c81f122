"""What shows how far the learning of a task has come: a live line, or a line per epoch."""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dgm_tf.errors import InputError
from dgm_tf.terminal.printing import Output

# Logged quantities that the live line shows, and how it calls them.
_SHOWN = {"critic_loss": "critic", "generator_loss": "generator", "mask_sparsity": "sparsity"}

_WIDTH_WITH_BAR = 100  # on a narrower terminal the figures are worth more than the bar
_SECONDS = 0.25  # between two states of the line
_FIRST_LINE, _NEXT_LINE = 20.0, 60.0  # seconds until a line that stays, and between two


@contextlib.contextmanager
def shown(verbose: str | int, title: str) -> Iterator[list[keras.callbacks.Callback]]:
    """A block that learns a task, with the callbacks that show it as Keras' `fit` would.

    Args:
        verbose: 0 shows nothing, 1 a live line, 2 a line per epoch; "auto" is 1 on a terminal and
            in a notebook, and 2 elsewhere.
        title: what is learnt.

    Raises:
        InputError: `verbose` is none of these.
    """
    if verbose not in ("auto", 0, 1, 2):
        raise InputError(f'verbose must be "auto", 0, 1 or 2, got {verbose!r}')
    if verbose == "auto":
        verbose = 1 if _can_redraw(Output(sys.stdout)) else 2
    if not verbose:
        yield []
        return
    with TaskProgress(title, file=sys.stdout, live=verbose == 1, epoch_lines=verbose == 2) as line:
        yield [line]


class TaskProgress(keras.callbacks.Callback):
    """A Keras callback: one live line while a task is learnt.

    The line shows the progress of the present call of `fit`, the time that is left in it, the
    losses and the mask sparsity. It stands on a terminal and in a notebook: in a pipe, a file or a
    build service nothing is written but the lines that are asked for. Use it as a context manager,
    so that the line is gone before anything else is printed, an error included.

    Attributes:
        steps: training steps computed so far, over all calls of `fit`.

    Args:
        title: the line's beginning.
        file: gets the line; by default standard error.
        live: show a live line; by default where one can be redrawn.
        epoch_lines: print a line that stays after each epoch, on `file`.
        minute_lines: print a line that stays each minute, on `file`, where no live line is.

    Example:
        ```python
        stream = dgm_tf.class_incremental("digits")
        model = dgm_tf.ExperienceReplay.from_preset("digits", epochs=1, consolidation_steps=4)
        for task in stream.tasks(last=1):
            with dgm_tf.TaskProgress("task 1 of 10") as progress:
                model.learn(task, callbacks=[progress], verbose=0)
        ```
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
        minute_lines: bool = False,
    ) -> None:
        """Prepares the line, which appears when training begins."""
        super().__init__()
        self.steps = 0
        self._title = self._shown_title = title
        # In a notebook rich would want widgets.
        terminal = True if live else None
        output = Output(sys.stderr if file is None else file)
        console = Console(file=output, force_terminal=terminal, force_jupyter=False)
        live = _can_redraw(console.file) if live is None else live
        self._bar = None
        if live:
            self._bar = NotebookBar() if _in_notebook() else _bar(console)
        self._epoch_lines = console if epoch_lines else None
        self._minute_lines = console if minute_lines and not live else None
        self._next_line = 0.0
        self._first: tuple[int, float] | None = None  # steps of a phase and time, once it runs
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
        self._first, self._next_line = None, time.monotonic() + _FIRST_LINE
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
        steps, epochs = self._steps_and_epochs()
        done = self._epoch * (steps or 0) + batch + 1
        if self._minute_lines is not None and steps and epochs:
            self._tell(done, steps * epochs)
        if self._line is None:
            return
        epoch = [f"epoch {self._epoch + 1}/{epochs}"] if epochs else []
        self._bar.update(self._line, completed=done, values="  ".join([*_values(logs), *epoch]))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._epoch_lines is not None:
            _, epochs = self._steps_and_epochs()
            line = "  ".join([self._shown_title, f"epoch {epoch + 1}/{epochs}", *_values(logs)])
            self._print(self._epoch_lines, line)

    def _tell(self, done: int, total: int) -> None:
        """Prints how far the phase is and how long it takes, if it is time to."""
        now = time.monotonic()
        if self._first is None:  # The first step builds the graph.
            self._first = done, now
        if now < self._next_line or done == self._first[0]:
            return
        self._next_line = now + _NEXT_LINE
        before, since = self._first
        minutes = (total - done) * (now - since) / (done - before) / 60
        left = f"about {minutes:.0f} min" if minutes >= 1 else "less than a minute"
        line = f"{self._shown_title}  {100 * done // total} %  {left} to go"
        self._print(self._minute_lines, line)

    def _print(self, console: Console, line: str) -> None:
        # By the live line's own console, which puts it above that line.
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _steps_and_epochs(self) -> tuple[int | None, int | None]:
        params = self.params or {}
        return params.get("steps"), params.get("epochs")


class NotebookBar:
    """The live line as text in the output of a notebook's cell: as rich's `Progress`, redrawn."""

    def __init__(self) -> None:
        self._console = Console(
            file=io.StringIO(),
            width=_WIDTH_WITH_BAR,
            color_system=None,
            force_terminal=False,
            force_jupyter=False,
        )
        self._bar = _bar(self._console)
        self._handle: Any = None
        self._shown_at = 0.0

    def start(self) -> None:
        """Makes the line."""
        if self._handle is None:
            from IPython.display import display

            self._handle = display(self._line(), raw=True, display_id=True)

    def add_task(self, *args: Any, **fields: Any) -> Any:
        return self._bar.add_task(*args, **fields)

    def remove_task(self, task: Any) -> None:
        self._bar.remove_task(task)

    def update(self, *args: Any, **fields: Any) -> None:
        """Redraws the line, four times a second at most."""
        self._bar.update(*args, **fields)
        if self._handle is not None and time.monotonic() - self._shown_at >= _SECONDS:
            self._shown_at = time.monotonic()
            self._handle.update(self._line(), raw=True)

    def stop(self) -> None:
        """Clears the line."""
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)

    def _line(self) -> dict[str, str]:
        with self._console.capture() as written:
            self._console.print(self._bar.get_renderable())
        return {"text/plain": written.get().rstrip()}


def _can_redraw(file: TextIO) -> bool:
    """Returns whether a live line can stand in `file`: a terminal, or a notebook's output."""
    return _is_live(file) or _in_notebook()


def _is_live(file: TextIO) -> bool:
    """Returns whether `file` is a terminal, and no build service behind it."""
    return file.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def _in_notebook() -> bool:
    return Console().is_jupyter


def _values(logs: Mapping[str, Any] | None) -> list[str]:
    logs = logs or {}
    names = [name for name in _SHOWN if name in logs] or list(logs)[:3]
    return [f"{_SHOWN.get(name, name)} {float(logs[name]):.2g}" for name in names]


def _bar(console: Console) -> Progress:
    columns = [
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[values]}", markup=False),
    ]
    if console.width >= _WIDTH_WITH_BAR:
        columns.insert(0, BarColumn(bar_width=16))
    return Progress(*columns, console=console, transient=True, refresh_per_second=1 / _SECONDS)
