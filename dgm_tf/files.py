"""Writing files so that a reader never meets half of one."""

import contextlib
import os
import pathlib

from dgm_tf.errors import InputError


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Puts `content` at `path`, whole or not at all; missing folders are made.

    The bytes go to a hidden file beside the target, which then takes the target's name in one
    step: a run that is killed while it writes leaves the former file as it was.

    Raises:
        InputError: the place cannot be written (no right, no space, a file where a folder is
            needed).
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            # Without this the new name can outlive a power cut that the bytes did not.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; name a folder that can be written"
        ) from error
    finally:
        # Gone after a success; after a failure it holds part of the content.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
