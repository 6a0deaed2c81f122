"""The live line on a terminal, in a notebook and nowhere else, and the lines after a task."""

import builtins
import io
import itertools
import sys
import types

import pytest

from dgm_tf.errors import InputError
from dgm_tf.experiments.summary import task_summary
from dgm_tf.terminal import progress
from dgm_tf.terminal.progress import TaskProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("CI", raising=False)
    return Terminal()


def train(callback, *, epochs=2, steps=3, logs=None):
    """Calls a callback the way `fit` does."""
    callback.set_params({"epochs": epochs, "steps": steps})
    callback.on_train_begin()
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        for step in range(steps):
            callback.on_train_batch_end(step, logs)
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end()


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_live_line_shows_losses_sparsity_and_time_left(terminal, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    clock = [0.0]
    logs = {"critic_loss": -1.5, "generator_loss": 0.25, "mask_sparsity": 0.375, "other": 9.0}
    with TaskProgress("task 3 of 10", file=terminal) as callback:
        callback._bar.get_time = lambda: clock[0]
        callback.set_params({"epochs": 2, "steps": 2})
        callback.on_train_begin()
        callback.on_epoch_begin(0)
        for step in range(2):
            # The time before the first step's end, 10 s, is no measure: it builds the graph.
            clock[0] += 10 if step == 0 else 5
            callback.on_train_batch_end(step, logs)
        callback._bar.console.print(callback._bar.get_renderable())
        assert len(callback._bar.console.render_lines(callback._bar.get_renderable())) == 1
    shown = terminal.getvalue()
    for text in (
        "task 3 of 10", "50 %", "00:10", "critic -1.5", "generator 0.25", "sparsity 0.38",
    ):  # fmt: skip
        assert text in shown
    assert "other" not in shown


def test_the_live_line_is_gone_when_the_task_ends(terminal):
    with pytest.raises(KeyboardInterrupt), TaskProgress("a task", file=terminal) as callback:
        train(callback, logs={"critic_loss": 1.0})
        raise KeyboardInterrupt  # Whatever ends it.
    assert "a task" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # "erase the line"
    assert "\x1b[?25h" in terminal.getvalue()  # the cursor is back


def test_a_later_phase_of_a_task_is_named(terminal):
    with TaskProgress("task 2 of 3", file=terminal) as callback:
        callback.set_model(types.SimpleNamespace(phase="adversarial"))
        train(callback, epochs=2, steps=3)
        callback.set_model(types.SimpleNamespace(phase="consolidation"))
        train(callback, epochs=1, steps=4)
    assert callback.steps == 10
    assert "adversarial" not in terminal.getvalue()
    assert "task 2 of 3  consolidation" in terminal.getvalue()


@pytest.mark.parametrize("setting", [{"TERM": "dumb"}, {"CI": "true"}, {}])
def test_nothing_is_written_where_no_line_can_be_redrawn(terminal, monkeypatch, setting):
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    file = terminal if setting else io.StringIO()  # a pipe, with a good environment
    with TaskProgress("a task", file=file) as callback:
        train(callback)
    assert file.getvalue() == ""
    assert callback.steps == 6


def test_a_phase_that_is_resumed_begins_where_it_stood(terminal):
    with TaskProgress("a task", file=terminal) as callback:
        callback.set_params({"epochs": 4, "steps": 10})
        callback.on_train_begin()
        callback.on_epoch_begin(2)
        callback.on_train_batch_end(9, {})
        callback._bar.console.print(callback._bar.get_renderable())
    assert "75 %" in terminal.getvalue() and "epoch 3/4" in terminal.getvalue()
    assert callback.steps == 1


# As Keras' `verbose`.


@pytest.mark.parametrize(
    "verbose, on_terminal, live, lines",
    [
        ("auto", True, True, 0), ("auto", False, False, 2), (0, True, False, 0),
        (1, True, True, 0), (1, False, True, 0), (2, True, False, 2), (2, False, False, 2),
    ],
)  # fmt: skip
def test_verbose_is_as_in_keras(terminal, monkeypatch, verbose, on_terminal, live, lines):
    file = terminal if on_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    with progress.shown(verbose, "task 1") as callbacks:
        for callback in callbacks:
            train(callback, epochs=2, logs={"critic_loss": 0.5})
    written = file.getvalue()
    assert ("\x1b[2K" in written) == live
    stay = [line for line in written.splitlines() if line.startswith("task 1  epoch")]
    assert len(stay) == lines


@pytest.mark.parametrize("verbose", [3, -1, "yes", None])
def test_another_verbose_is_refused(verbose):
    with pytest.raises(InputError, match='verbose must be "auto", 0, 1 or 2'):
        with progress.shown(verbose, "task 1"):
            pass


class Cell:
    """Stands in for `IPython.display`: what a cell's output shows, one state after another."""

    def __init__(self):
        self.states = []

    def display(self, data, *, raw, display_id):
        assert raw and display_id
        self.states.append(data["text/plain"])
        return self

    def update(self, data, *, raw):
        self.states.append(data["text/plain"])


@pytest.mark.parametrize("verbose", ["auto", 1])
def test_a_notebook_shows_the_line_as_text(monkeypatch, verbose):
    cell, clock = Cell(), itertools.count(1)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a notebook's kernel has it
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=cell))
    monkeypatch.setitem(sys.modules, "IPython.display", cell)
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(KeyboardInterrupt), progress.shown(verbose, "task 1") as callbacks:
        for callback in callbacks:
            train(callback, epochs=2, steps=2, logs={"critic_loss": -1.5})
            raise KeyboardInterrupt
    first, *others, last = cell.states
    assert "task 1" in first and "starting" in first and last == ""
    assert "critic -1.5" in others[-1] and "epoch 2/2" in others[-1] and "100 %" in others[-1]
    assert all("\n" not in state and "\x1b" not in state for state in cell.states)
    assert len(others) >= 3


def test_a_notebooks_line_is_redrawn_four_times_a_second(monkeypatch):
    cell, now = Cell(), [0.0]
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=cell))
    monkeypatch.setitem(sys.modules, "IPython.display", cell)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = progress.NotebookBar()
    task = bar.add_task("a task", total=1000, values="")
    bar.start()
    for step in range(1000):
        now[0] += 0.01
        bar.update(task, completed=step)
    bar.stop()
    assert 38 <= len(cell.states) <= 42


ROW = {
    "task": 3,
    "seconds": 61.0,
    "steps": 320,
    "average_accuracy": 0.985,
    "forgetting": 0.0125,
    "newest_class_share": {"predictions": 0.34, "test_set": 0.33},
    "audit": {1: 0, 2: 0},
    "layer_widths": [120, 50, 24],
    "generator_parameters": 143210,
    "free_fraction": 0.5,
    "last_epoch": {"critic_loss": 0.5},
}


def test_the_summary_of_a_task_names_accuracy_forgetting_audit_and_size():
    text = task_summary(ROW, title="task 3 of 10: class 2", seconds_left=420.0)
    assert text.splitlines() == [
        "task 3 of 10: class 2: learnt in 1 min 01 s, 320 steps, about 7 min 00 s to go",
        "  A3 98.50 %, forgetting 1.25 %, newest classes 34.00 % of predictions, 33.00 % of images",
        "  memory audit: images of 2 earlier tasks identical",
        "  generator: 120, 50, 24 units, 143,210 parameters, 50.00 % free",
    ]


def test_the_summary_leaves_out_what_is_not_defined_and_warns_of_what_is_wrong():
    row = {**ROW, "task": 1, "forgetting": None, "audit": {}}
    text = task_summary(row, title="task 1 of 10: class 0", seconds_left=0.0)
    assert "forgetting" not in text and "audit" not in text and "to go" not in text
    broken = {"critic_loss": None, "generator_loss": 1.0}
    row = {**ROW, "audit": {"1": 0, "2": 17}, "last_epoch": broken}
    text = task_summary(row, title="task 3 of 10")
    assert "memory audit: images differ (task 2: 17 pixels)" in text
    assert text.endswith("warning: not a finite number at the end: critic_loss")


def test_a_line_per_epoch_stays_in_a_pipe_without_control_characters():
    file = io.StringIO()
    with TaskProgress("task 1 of 2", file=file, epoch_lines=True) as callback:
        train(callback, epochs=2, logs={"critic_loss": 0.5, "generator_loss": -1.0})
    assert file.getvalue().splitlines() == [
        "task 1 of 2  epoch 1/2  critic 0.5  generator -1",
        "task 1 of 2  epoch 2/2  critic 0.5  generator -1",
    ]


def test_in_a_pipe_a_line_each_minute_says_how_far_a_phase_is(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    file = io.StringIO()
    with TaskProgress("task 1 of 2", file=file, minute_lines=True) as callback:
        callback.set_params({"epochs": 2, "steps": 50})
        callback.on_train_begin()
        now[0] += 30  # the graph
        for epoch in range(2):
            callback.on_epoch_begin(epoch)
            for step in range(50):
                callback.on_train_batch_end(step)
                now[0] += 3
    assert file.getvalue().splitlines() == [
        "task 1 of 2  2 %  about 5 min to go",  # the first step of which is known how long it takes
        "task 1 of 2  22 %  about 4 min to go",
        "task 1 of 2  42 %  about 3 min to go",
        "task 1 of 2  62 %  about 2 min to go",
        "task 1 of 2  82 %  less than a minute to go",
    ]


def test_next_to_a_live_line_none_stays(terminal, monkeypatch):
    now = itertools.count(0.0, 30.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with TaskProgress("a task", file=terminal, minute_lines=True) as callback:
        train(callback)
    assert "to go" not in terminal.getvalue()


@pytest.mark.parametrize("live", [True, False])
def test_a_stream_that_fails_costs_no_training(live, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")

    class Full(Terminal):
        def write(self, text):
            raise OSError(28, "No space left on device")

    with TaskProgress("a task", file=Full(), live=live, epoch_lines=not live) as callback:
        train(callback, logs={"critic_loss": 1.0})
    assert callback.steps == 6


def test_a_stream_that_lacks_letters_gets_their_escapes():
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True)
    with TaskProgress("task 1: class \u72ac", file=narrow, epoch_lines=True) as callback:
        train(callback, epochs=1)
    assert narrow.buffer.getvalue().startswith(b"task 1: class \\u72ac  epoch 1/1")


def test_without_a_standard_output_learning_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with progress.shown("auto", "task 1") as callbacks:
        for callback in callbacks:
            train(callback)
    with TaskProgress("a task") as callback:
        train(callback)
    assert callback.steps == 6


@pytest.mark.parametrize(
    ("shell", "notebook"), [("ZMQInteractiveShell", True), ("Terminal", False)]
)
def test_a_kernels_shell_makes_a_notebook(shell, notebook, monkeypatch):
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    monkeypatch.setattr(builtins, "get_ipython", type(shell, (), {}), raising=False)
    assert progress._in_notebook() == notebook
