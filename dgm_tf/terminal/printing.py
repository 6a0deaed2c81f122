"""Printing that no reader, encoding or full disk turns into a fault of the program."""

import io
import sys
from typing import Any, TextIO

from dgm_tf._checks import reason


class Output(io.TextIOBase):
    """A stream that lines are written to as far as they can be.

    Letters that its encoding lacks become escapes. After a line that cannot be written nothing is
    written any more, and nothing is raised, so that what prints goes on without it.

    Args:
        stream: the stream below; None, as Python has it for a closed one, takes nothing.
        ends: raise a `BrokenPipeError` where the reader, such as `head`, has gone.

    Attributes:
        lost: the reason why output is lost; empty while there is none.
    """

    def __init__(self, stream: TextIO | None, *, ends: bool = False) -> None:
        self._stream, self._ends = stream, ends
        self.lost = ""

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # It has been closed.
            return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        # A file's name may have bytes that are no text; in JSON, too, their escapes stand for them.
        known = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        self._try("write", known)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def _try(self, action: str, *arguments: str) -> None:
        if self._stream is None or self.lost:
            return
        try:
            getattr(self._stream, action)(*arguments)
        except (OSError, ValueError) as error:  # ValueError: it has been closed.
            self.lost = reason(error)
            if self._ends and isinstance(error, BrokenPipeError):
                raise


def say(text: Any) -> None:
    """Prints a text and a line break on standard output at once; see `Output`."""
    file = sys.stdout if isinstance(sys.stdout, Output) else Output(sys.stdout)
    print(text, file=file, flush=True)


def warn(text: Any) -> None:
    """Prints a line on standard error that begins with "warning: "; see `Output`."""
    print(f"warning: {text}", file=Output(sys.stderr), flush=True)
