"""The frame of every command: errors and signals become one line and an exit code."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator

from dgm_tf._checks import reason
from dgm_tf.errors import Diverged, InputError, PeerLost
from dgm_tf.terminal import quiet, stopping
from dgm_tf.terminal.printing import Output
from dgm_tf.terminal.printing import say as say
from trainers.flags import HelpAsked

WRONG = 1  # an audit has found a fault
BAD_INPUT = 2
DIVERGED = 3
PEER_LOST = 4
READER_GONE = 128 + 13  # as shells report a program that SIGPIPE has ended


@dataclasses.dataclass
class Outcome:
    """End of a command.

    Attributes:
        code: its exit code: 0, WRONG, BAD_INPUT, DIVERGED, PEER_LOST, READER_GONE, 130 after
            Ctrl-C or 143 after SIGTERM.
    """

    code: int = 0


@contextlib.contextmanager
def outcome(stopped: str = "stopped") -> Iterator[Outcome]:
    """A block that is a command's work; it turns errors and signals into an `Outcome`.

    Output that cannot be written, to a full disk for example, is left out: the work is done to its
    end, and then the code is BAD_INPUT. Where the output's reader has gone the work ends.

    Args:
        stopped: the line that Ctrl-C or SIGTERM ends with where nothing else is at stake.
    """
    found = Outcome()
    _open_what_is_closed()
    with _outputs() as (out, err):
        try:
            try:
                with _signals_end_process(stopped), quiet.without_chatter():
                    yield found
                out.flush()
            except HelpAsked as text:
                say(text)
        except stopping.Stopped as stop:
            print(stop, file=err)
            found.code = stop.exit_code
        except BrokenPipeError:
            if not out.lost:  # It is another one's.
                raise
            found.code = READER_GONE
        except InputError as error:
            print(f"error: {error}", file=err)
            codes = {PeerLost: PEER_LOST, Diverged: DIVERGED}
            found.code = codes.get(type(error), BAD_INPUT)
        except MemoryError as error:
            print(f"error: memory is exhausted: {reason(error)}; choose smaller sizes", file=err)
            found.code = BAD_INPUT
        if out.lost and found.code != READER_GONE:
            print(f"error: output is lost, it cannot be written: {out.lost}", file=err)
            found.code = found.code or BAD_INPUT


@contextlib.contextmanager
def _outputs() -> Iterator[tuple[Output, Output]]:
    """A block in which standard output and standard error are an `Output` each."""
    kept = sys.stdout, sys.stderr
    out, err = sys.stdout, sys.stderr = Output(sys.stdout, ends=True), Output(sys.stderr)
    try:
        yield out, err
    finally:
        with contextlib.suppress(BrokenPipeError):
            out.flush()
        sys.stdout, sys.stderr = kept
        for each in (out, err):
            if each.lost:
                _silence(each)


def _silence(output: Output) -> None:
    """Leads a stream nowhere: at its exit Python would write what waits in its buffer once more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output.fileno())
        os.close(nowhere)


def _open_what_is_closed() -> None:
    """Gives standard streams that are closed (`2>&-`) a descriptor that leads nowhere.

    The next file that is opened would get theirs, and what TensorFlow logs would be written to it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest one that is free, which this is


@contextlib.contextmanager
def _signals_end_process(line: str) -> Iterator[None]:
    """Ends the process on Ctrl-C and SIGTERM, with a line that says how to resume.

    A run that is learning a task is asked to stop at its next step; at any other time, and when
    asked a second time, the process ends at once.

    A `KeyboardInterrupt` is no help here: raised inside one of TensorFlow's callbacks it is
    swallowed or printed as a traceback. Nothing is lost, since a run can be killed at any moment.
    """
    stderr = os.dup(2)  # Descriptor 2 itself is turned away while TensorFlow is imported.

    def stop(signum: int) -> None:
        if stopping.request(signum):
            return
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        # On a terminal a live line may stand there, with the cursor hidden.
        clear = b"\r\x1b[2K\x1b[?25h" if os.isatty(stderr) else b""
        os.write(stderr, clear + f"{line}\n".encode())
        os._exit(stopping.exit_code(signum))

    try:
        with stopping.heard(stop):
            yield
    finally:
        os.close(stderr)
