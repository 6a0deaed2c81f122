"""TensorFlow and Pillow without their chatter."""

import contextlib
import importlib.machinery
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

_LEVEL, _NOTHING = "TF_CPP_MIN_LOG_LEVEL", "3"
_RETRACING = "triggered tf.function retracing"


def quieten() -> None:
    """Keeps TensorFlow quiet when it is imported and later, unless the user asks for its lines.

    Its level 3 asks for none, and does not keep it quiet while it is imported. Whoever imports it:
    `import dgm_tf; import keras` is quiet, too. Does nothing where TensorFlow has been imported
    before.
    """
    if os.path.expanduser("~") == "~":  # Without a home folder Keras makes one called "~".
        user = getattr(os, "getuid", lambda: 0)()
        for name in ("KERAS_HOME", "MPLCONFIGDIR"):
            folder = f"{name.lower()}-{user}"
            os.environ.setdefault(name, os.path.join(tempfile.gettempdir(), folder))
    if "tensorflow" in sys.modules or os.environ.setdefault(_LEVEL, _NOTHING) != _NOTHING:
        return
    sys.meta_path.insert(0, _QuietFinder)


class _QuietFinder:
    """Finds TensorFlow where Python does, and has its import write nothing."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_hushed(module: ModuleType) -> None:
                with _hushed():
                    run(module)

            spec.loader.exec_module = run_hushed
        return spec


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """A block that writes nothing to standard error; if it raises, what it wrote is shown.

    TensorFlow writes to the descriptor while it is imported, whatever its log level is.
    """
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


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """A block in which TensorFlow's Python part logs nothing below a warning, nor of retracing.

    Every task has networks of its own, and so functions of its own; an export is written to a
    folder that is renamed afterwards. Nor does Pillow warn: an image that cannot be read is an
    error, and what is wrong beside its pixels does not matter.
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    for logger in loggers:
        logger.addFilter(_matters)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING and _RETRACING not in record.getMessage()
