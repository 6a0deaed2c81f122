"""What every trainer does with its flags: run, and turn errors into one line and an exit code."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dgm_tf import stopping
from dgm_tf.errors import Diverged, InputError, PeerLost
from trainers import flags

WRONG = 1  # an audit has found a fault
BAD_INPUT = 2
DIVERGED = 3
PEER_LOST = 4


def run(name: str, dataset: str, *, about: str, arguments: Sequence[str] | None = None) -> int:
    """Runs a trainer.

    Args:
        name: its module's name in this package.
        dataset: the data set that it learns; "folder" for a folder that --images names.
        about: what it does, for the help text.
        arguments: the command line without the program's name; the process's own unless given.

    Returns:
        The exit code: 0, 2 after bad input, 3 if training went wrong, 4 if another process of
        the run has ended, 130 after Ctrl-C, 143 after SIGTERM.
    """

    def train(**wanted: Any) -> None:
        with hushed():
            from dgm_tf.experiments import experiment
        experiment.train(experiment.Training(**wanted))

    defined = flags.define(dataset, images=dataset == "folder")
    stopped = "stopped; the same command goes on from the last checkpoint"
    return carried_out(name, defined, train, about, arguments, stopped)


def export(*, about: str, arguments: Sequence[str] | None = None) -> int:
    """Runs `trainers.export`; arguments and result as in `run`."""

    def work(*, export_classifier: bool, **wanted: Any) -> None:
        with hushed():
            from dgm_tf.experiments import experiment
        experiment.export_run(classifier=export_classifier, **wanted)

    defined = flags.define_export()
    return carried_out("export", defined, work, about, arguments, "stopped; nothing was exported")


def sample(*, about: str, arguments: Sequence[str] | None = None) -> int:
    """Runs `trainers.sample`; arguments and result as in `run`."""

    def work(**wanted: Any) -> None:
        with hushed():
            from dgm_tf.serving import loading
        print(loading.sample(**wanted))

    defined = flags.define_sample()
    return carried_out("sample", defined, work, about, arguments, "stopped; nothing was drawn")


def audit(*, about: str, arguments: Sequence[str] | None = None) -> int:
    """Runs `trainers.audit`; arguments as in `run`.

    Returns:
        The exit code: 0, 1 if something is wrong with a run, 2 after bad input, 130 after Ctrl-C.
    """

    def work(*, runs: Sequence[str]) -> int:
        if not runs:
            raise InputError("expected one RUN or more, folders that trainers have written")
        with hushed():
            from dgm_tf.experiments import run_audit
        wrong = False
        for run in runs:
            found = run_audit.audit_run(run)
            print(found, flush=True)
            wrong = wrong or bool(found.faults)
        return WRONG if wrong else 0

    return carried_out("audit", flags.define_audit(), work, about, arguments, "stopped")


def carried_out(
    name: str,
    defined: flags.CommandFlags,
    work: Callable[..., int | None],
    about: str,
    arguments: Sequence[str] | None,
    stopped: str,
) -> int:
    """Reads the command line and does the work; gives the exit code.

    Args:
        work: takes the flags by name; what it returns is the exit code, None is 0.
        stopped: the line that Ctrl-C or SIGTERM ends with where nothing else is at stake.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        wanted = defined.parse(arguments, program=f"python -m trainers.{name}", about=about)
        with _signals_end_process(stopped):
            return work(**wanted) or 0
    except stopping.Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except flags.HelpAsked as text:
        say(str(text))
    except BrokenPipeError:
        _leave_pipe()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, PeerLost):
            return PEER_LOST
        return DIVERGED if isinstance(error, Diverged) else BAD_INPUT
    return 0


def say(text: str) -> None:
    """Prints a line at once; a reader that has gone is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _leave_pipe()


def _leave_pipe() -> None:
    """The reader, such as `head`, has seen enough; at its exit Python would write once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _signals_end_process(line: str) -> Iterator[None]:
    """Ends the process on Ctrl-C and SIGTERM, with a line that says how to go on.

    A run that is learning a task is asked to stop at its next step; at any other time, and when
    asked a second time, the process ends at once.

    A `KeyboardInterrupt` is no help here: raised inside one of TensorFlow's callbacks it is
    swallowed or printed as a traceback. Nothing is lost, since a run can be killed at any moment.
    """
    stderr = os.dup(2)  # Descriptor 2 itself is turned away while TensorFlow is imported.

    def stop(signum: int, _: Any) -> None:
        if stopping.request(signum):
            return
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        # On a terminal a live line may stand there, with the cursor hidden.
        clear = b"\r\x1b[2K\x1b[?25h" if os.isatty(stderr) else b""
        os.write(stderr, clear + f"{line}\n".encode())
        os._exit(stopping.exit_code(signum))

    former = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
        os.close(stderr)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keeps TensorFlow quiet while it is imported and later, unless the user set its log level.

    While it is imported it writes to the descriptor of standard error whatever its log level is;
    what it wrote is shown after all if the import fails.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except Exception:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
