"""The frame of every command: errors and signals become one line and an exit code."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator

from dgm_tf import _quiet, stopping
from dgm_tf.errors import Diverged, InputError, PeerLost
from trainers.flags import HelpAsked

WRONG = 1  # an audit has found a fault
BAD_INPUT = 2
DIVERGED = 3
PEER_LOST = 4


@dataclasses.dataclass
class Outcome:
    """End of a command.

    Attributes:
        code: its exit code: 0, WRONG, BAD_INPUT, DIVERGED, PEER_LOST, 130 after Ctrl-C or 143 after
            SIGTERM.
    """

    code: int = 0


@contextlib.contextmanager
def outcome(stopped: str = "stopped") -> Iterator[Outcome]:
    """A block that is a command's work; it turns errors and signals into an `Outcome`.

    Args:
        stopped: the line that Ctrl-C or SIGTERM ends with where nothing else is at stake.
    """
    found = Outcome()
    try:
        with _signals_end_process(stopped), _quiet.without_retracing_warnings():
            yield found
    except stopping.Stopped as stop:
        print(stop, file=sys.stderr)
        found.code = stop.exit_code
    except HelpAsked as text:
        say(str(text))
    except BrokenPipeError:
        _leave_pipe()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        codes = {PeerLost: PEER_LOST, Diverged: DIVERGED}
        found.code = codes.get(type(error), BAD_INPUT)


def say(text: str) -> None:
    """Prints a line at once; a reader that has gone is no error."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        # Bytes of a file's name that are no UTF-8: in JSON, too, their escapes stand for them.
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        _leave_pipe()


def _leave_pipe() -> None:
    """The reader, such as `head`, has seen enough; at its exit Python would write once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
