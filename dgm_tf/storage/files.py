"""Writing files so that a reader never meets half of one."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None

from dgm_tf.errors import InputError

_BLOCK = 2**20

# The name of a folder that is being filled, with 32 digits that no other has.
_UNFILLED = re.compile(r"\..+\.[0-9a-f]{32}\.writing")


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


def read_text(path: str | os.PathLike[str], *, limit: int) -> str:
    """A UTF-8 file's text, unless it is longer than `limit` bytes.

    Raises:
        ValueError: it is too long, or not UTF-8.
        OSError: it cannot be read.
    """
    if not os.path.isfile(path):  # A pipe would be waited for.
        raise FileNotFoundError(errno.ENOENT, "there is no such file")
    parts, length = [], 0
    with open(path, "rb") as file:
        while part := file.read(_BLOCK):  # All at once would take the limit's memory.
            length += len(part)
            if length > limit:
                raise ValueError(f"it is longer than {limit} bytes")
            parts.append(part)
    return b"".join(parts).decode()


def refuse_links_out(folder: str | os.PathLike[str]) -> None:
    """Makes sure that no link below a folder leads out of it.

    Raises:
        InputError: one does, so that reading or writing there would be elsewhere.
    """
    folder = pathlib.Path(folder)
    try:
        home = folder.resolve()
        for path in folder.rglob("*"):
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise InputError(
                    f"{path} is a link that leaves the folder {folder}; put what it leads to in "
                    "its place"
                )
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise InputError(f"the folder {folder} cannot be listed: {error}") from error


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """A hidden folder beside `path` that takes its name once the block has filled it.

    If the block raises, or the process is killed, nothing is at `path`; if it raises, the folders
    that were made on the way there are gone, too. What a killed process left hidden goes when the
    next folder beside it is made: one that is being filled is locked, and the lock ends with its
    process. Where the file system locks no folders, as NFS, it stays.

    Raises:
        InputError: there is something at `path` already, or the place cannot be written.
    """
    path = pathlib.Path(path)
    aside = _unfilled(path.parent, path.name)
    missing = [parent for parent in path.parents if not parent.exists()]
    lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        aside.mkdir()
        lock = _folder_lock(aside)
        yield aside
        for file in aside.rglob("*"):
            if file.is_file():
                with open(file, "rb+") as opened:
                    os.fsync(opened.fileno())
        if path.exists():  # An empty folder would be replaced.
            raise FileExistsError(errno.EEXIST, "it is there already")
        os.rename(aside, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; name another folder"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # Gone after a success.
        if lock is not None:
            os.close(lock)
        with contextlib.suppress(OSError):  # One that holds something stays.
            for parent in missing:
                parent.rmdir()


def _unfilled(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / f".{name}.{uuid.uuid4().hex}.writing"


def _remove_abandoned(folder: pathlib.Path) -> None:
    """Removes the folders in `folder` that no living process goes on to fill."""
    for left in folder.glob(".*.writing"):
        if not _UNFILLED.fullmatch(left.name):
            continue
        if (lock := _folder_lock(left)) is None:
            continue
        # Another name first: where locks are each machine's own, it can be in use on another, which
        # may then fail to give it its name, but never gives it to half of it.
        gone = _unfilled(folder, "abandoned")
        with contextlib.suppress(OSError):
            os.rename(left, gone)
            shutil.rmtree(gone, ignore_errors=True)
        os.close(lock)


def _folder_lock(folder: pathlib.Path) -> int | None:
    """A descriptor that locks a folder; None where another has the lock, or there is none."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps every other process out of a folder that asks in the same way.

    The lock is the system's and ends with the process, however that ends; the hidden file that it
    lies on may stay behind and blocks nobody. Where the system has no such locks nothing is kept
    out.

    Args:
        folder: made where it does not exist.

    Raises:
        InputError: another process has it, or the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked_file(folder / ".lock")
    except BlockingIOError as error:
        raise InputError(
            f"another process is at work in {folder}: wait for it, or name another folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror or error}; name another folder"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / ".lock").unlink()
        os.close(descriptor)


def _locked_file(path: pathlib.Path) -> int:
    """A descriptor of the file at `path`, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            # Its last owner may have removed it since it was opened: then it locks nothing.
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # Some network file systems.
            raise
