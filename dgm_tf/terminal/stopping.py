"""Asking a run to stop where nothing is lost. Nothing here needs TensorFlow."""

import contextlib
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

# What a command of several runs ends with.
RESUMES = "stopped; the same command resumes what is missing"

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BLOCKED_SECONDS = 1.0  # A handler that has not run by then waits for a library's code.

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


@contextlib.contextmanager
def heard(stop: Callable[[int], None]) -> Iterator[None]:
    """A block in which SIGINT and SIGTERM call `stop` with their number, whatever is going on.

    Python runs a handler between two of its own steps in the main thread. That thread may be in a
    library's code and wait for another process: after a second another thread calls `stop`.
    """
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    lock, called_for = threading.RLock(), set()

    def arrived() -> set[int]:
        with contextlib.suppress(BlockingIOError):
            return set(reading.recv(4096))
        return set()

    def in_main_thread(signum: int, _: object) -> None:
        with lock:
            arrived()
            if signum in called_for:
                called_for.discard(signum)
                return
        stop(signum)

    def in_other_thread() -> None:
        while True:
            select.select([reading], [], [])
            if ended.is_set():
                return
            time.sleep(_BLOCKED_SECONDS)
            with lock:
                blocked = sorted(arrived().intersection(_SIGNALS))
                called_for.update(blocked)
            for signum in blocked:
                stop(signum)

    ended = threading.Event()
    former = {each: signal.signal(each, in_main_thread) for each in _SIGNALS}
    former_descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=in_other_thread, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former_descriptor)
        for each, handler in former.items():
            signal.signal(each, handler)
        ended.set()
        writing.close()  # which ends the thread
        thread.join()
        reading.close()
