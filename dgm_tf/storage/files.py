"""Writing files so that a reader never meets half of one."""

import contextlib
import errno
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import filelock

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.storage import paths

_BLOCK = 2**20


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Puts `content` at `path`, whole or not at all; missing folders are made.

    The bytes go to a hidden file, which then takes the target's name in one step: a process that
    is killed while it writes leaves the former file as it was.

    Raises:
        InputError: the place cannot be written (no right, no space, a file where a folder is
            needed).
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    missing = _missing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            # Without this the new name can outlive a power cut that the bytes did not.
            os.fsync(file.fileno())
        os.replace(temporary, path)
        for folder in (path.parent, *(each.parent for each in missing)):
            _sync(folder)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        # Gone after a success; after a failure it holds part of the content.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(folder: str | os.PathLike[str], *, flag: str = "folder") -> None:
    """Tries to write where a folder is or would be made.

    Args:
        folder: is not made, so that a run that is refused later leaves nothing behind.
        flag: its name on the command line.

    Raises:
        InputError: the folder cannot be made or written.
    """
    there = paths.expanded(folder)
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
        probe = there / f".probe-{uuid.uuid4().hex}"
        write_atomically(probe, b"probe")
        probe.unlink()
    except (InputError, OSError) as error:
        cause = error.__cause__ or error
        raise InputError(
            f"cannot write to {folder}: {_checks.reason(cause)}; {remedy(cause)}name another {flag}"
        ) from error


def output_file(path: Any, *, endings: Sequence[str] = ()) -> pathlib.Path:
    """The file that a user names by --out, which is looked at before long work.

    Args:
        path: as the user names it.
        endings: those that its name may have, such as ".png", "" for none; by default any.

    Raises:
        InputError: it is a folder, its name ends otherwise, or it cannot be written.
    """
    file = paths.expanded(path)
    kinds = " or ".join(each[1:].upper() for each in endings if each)
    wanted = f"a {kinds} file" if kinds else "a file"
    if paths.names_folder(path):
        raise InputError(f"expected {wanted} for --out, received the folder {path}: name one in it")
    # A name that is nothing but an ending would be a hidden file.
    if endings and (file.suffix.lower() not in endings or file.name.lower() in endings):
        raise InputError(
            f"expected {wanted} for --out, received {path}: let it end in {endings[0]}, as "
            f"picture{endings[0]} does"
        )
    check_writable(file.parent, flag="--out")
    return file


def read_text(path: str | os.PathLike[str], *, limit: int) -> str:
    """Text of a UTF-8 file of at most `limit` bytes.

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


def _not_written(path: pathlib.Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {path}: {_checks.reason(error)}; {remedy(error)}name a folder that can be "
        "written"
    )


def remedy(error: BaseException) -> str:
    """What comes before "name another folder" where a place could not be written."""
    # A library's error has no number.
    number = getattr(error, "errno", 0)
    full = number in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "free some space or " if full else ""


def refuse_links_out(folder: str | os.PathLike[str]) -> None:
    """Makes sure that no link below a folder leads out of it.

    Raises:
        InputError: one does, so that reading or writing there would be elsewhere.
    """
    folder = pathlib.Path(folder)
    try:
        home = folder.resolve()
        # It passes over folders that have gone: a run removes what it needs no more.
        for parent, folders, files in os.walk(folder):
            for path in (pathlib.Path(parent, name) for name in (*folders, *files)):
                if path.is_symlink() and not path.resolve().is_relative_to(home):
                    raise InputError(
                        f"{path} is a link that leaves the folder {folder}; put what it leads to "
                        "in its place"
                    )
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise InputError(
            f"the folder {folder} cannot be listed: {_checks.reason(error)}"
        ) from error


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], *, replace: bool = False) -> Iterator[pathlib.Path]:
    """A hidden folder next to `path` that takes its name once the block has filled it.

    If the block raises, or the process is killed, nothing new is at `path`. If it raises, the
    folders that were made on the way there are gone, too. Hidden leftovers of a killed process go
    when the same folder is written again. Two processes must not write one folder at a time; see
    `locked`.

    Args:
        path: the folder.
        replace: let it take the place of a folder that is there. A crash between the two renames
            leaves both folders under hidden names; `recover` brings the former one back.

    Raises:
        InputError: there is something at `path` already, or the place cannot be written.
    """
    path = pathlib.Path(path)
    aside = _hidden(path, "writing")
    missing = _missing(path)
    try:
        if replace:
            recover(path)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        for file in (*aside.rglob("*"), aside):
            _sync(file)
        if path.exists() and not replace:  # An empty folder would be replaced by the rename.
            raise FileExistsError(errno.EEXIST, "it is there already")
        _rename_into_place(aside, path)
        for each in missing:
            _sync(each.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # Gone after a success.
        with contextlib.suppress(OSError):  # One that holds something stays.
            for parent in missing:
                parent.rmdir()


def _hidden(path: pathlib.Path, end: str) -> pathlib.Path:
    return path.parent / f".{path.name}.{end}"


def _rename_into_place(aside: pathlib.Path, path: pathlib.Path) -> None:
    replaced = _hidden(path, "replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if path.exists():
        # A folder cannot be renamed over one that is not empty.
        os.rename(path, replaced)
    try:
        os.rename(aside, path)
    except OSError:
        if replaced.exists():
            os.rename(replaced, path)
        raise
    _sync(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def to_recover(path: str | os.PathLike[str]) -> bool:
    """Returns whether a crash has left nothing at `path`, and a folder that was there hidden."""
    path = pathlib.Path(path)
    return not os.path.lexists(path) and _hidden(path, "replaced").is_dir()


def recover(path: str | os.PathLike[str]) -> None:
    """Gives a folder its name back that a crash of `whole_folder` has left hidden.

    Raises:
        InputError: the place cannot be written.
    """
    path = pathlib.Path(path)
    if not to_recover(path):
        return
    hidden = _hidden(path, "replaced")
    try:
        os.rename(hidden, path)
        _sync(path.parent)
    except OSError as error:
        raise InputError(
            f"{hidden} is what was at {path} before a crash, and cannot be renamed "
            f"({_checks.reason(error)}): rename it"
        ) from error


def _missing(path: pathlib.Path) -> list[pathlib.Path]:
    """The folders above a path that are still to be made, from the innermost."""
    return [parent for parent in path.parents if not parent.exists()]


def _sync(path: pathlib.Path) -> None:
    """Makes a file, or the names in a folder, last through a power cut."""
    folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        # Windows opens no folders, and some network file systems do not sync them.
        if not folder:
            raise


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps every other process out of a folder that asks in the same way.

    The lock is the system's and ends with the process. Its hidden file stays and blocks nobody;
    if the block raises, the file goes, and so do the folders that were made for it.

    Args:
        folder: made where it does not exist.

    Raises:
        InputError: another process has it, or the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    with _held(folder / ".lock", folder):
        yield


@contextlib.contextmanager
def locked_name(path: str | os.PathLike[str]) -> Iterator[None]:
    """As `locked`, for a folder that is replaced as a whole: the lock's file lies next to it."""
    path = pathlib.Path(path)
    with _held(_hidden(path, "lock"), path):
        yield


@contextlib.contextmanager
def _held(file: pathlib.Path, at: pathlib.Path) -> Iterator[None]:
    lock = filelock.FileLock(file, blocking=False)
    missing = _missing(file)
    made = not file.exists()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        if not file.exists():  # It was that of a process that had failed and was removing it.
            lock.release()
            raise filelock.Timeout(str(file))
    except filelock.Timeout as error:
        raise InputError(
            f"another process is at work in {at}: wait for it, or name another folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot write to {at}: {_checks.reason(error)}; {remedy(error)}name another folder"
        ) from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # A folder that holds something stays.
                file.unlink()
                for parent in missing:
                    parent.rmdir()
        raise
    finally:
        lock.release()
