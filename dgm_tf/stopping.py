"""Asking a run to stop where nothing is lost. Nothing here needs TensorFlow."""

import contextlib
import signal
from collections.abc import Iterator

# What a command of several runs ends with.
RESUMES = "stopped; the same command resumes what is missing"

# Signals belong to the process, and so does this.
_requested: int | None = None
_watchers = 0


class Stopped(BaseException):
    """A run that was asked to stop has written where it stands.

    Like `KeyboardInterrupt` it is no `Exception`: nothing on the way may take it for a failure.
    `str(stopped)` is one line on how to resume.

    Attributes:
        exit_code: what a shell reports for the signal: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code(signal.SIGINT if _requested is None else _requested)


def exit_code(signum: int) -> int:
    """Returns what a shell reports for a process that a signal has ended."""
    return 128 + signum


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """A block whose code looks at `requested` every now and then, and raises `Stopped`."""
    global _requested, _watchers
    _watchers += 1
    try:
        yield
    finally:
        _watchers -= 1
        if not _watchers:
            _requested = None


def request(signum: int) -> bool:
    """Asks the code that watches to stop.

    Returns:
        Whether there is such code and it has not been asked before; otherwise the caller must end
        the process itself.
    """
    global _requested
    if not _watchers or _requested is not None:
        return False
    _requested = signum
    return True


def requested() -> bool:
    """Returns whether the code that watches shall stop."""
    return _requested is not None
