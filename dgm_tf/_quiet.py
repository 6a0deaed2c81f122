"""Imports of TensorFlow without its chatter."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keeps TensorFlow quiet while it is imported and later, unless the user set its log level.

    While it is imported it writes to the descriptor of standard error whatever its log level is;
    what was written there is shown after all if the import fails. Does nothing where TensorFlow has
    been imported before.
    """
    if _LEVEL in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ[_LEVEL] = "3"
    try:
        kept = os.dup(2)
    except OSError:  # A program without a standard error, such as a service.
        yield
        return
    _flush()
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except Exception:
            _flush()
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            _flush()
            os.dup2(kept, 2)
            os.close(kept)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
