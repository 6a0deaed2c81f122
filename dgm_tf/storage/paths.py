"""Paths as people type them, and the place of this user's cache. Nothing here needs TensorFlow."""

import os
import pathlib
from collections.abc import Iterable
from typing import Any

from dgm_tf._checks import one_line
from dgm_tf.errors import InputError

_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


def expanded(path: Any) -> pathlib.Path:
    """A user's path, with the home folder in place of `~` or `~name`; it need not exist.

    Raises:
        InputError: it is no path, it is empty, there is no such home folder, or nobody could reach
            it: it is too long, or lies in a folder that may not be entered.
    """
    found = _expanded(path)
    try:
        os.stat(os.path.join(found, "."))  # the dot asks for a folder's content, too
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        shown = one_line(found, 200)
        raise InputError(f"{shown} cannot be used: {error.strerror}; name another path") from error
    return found


def _expanded(path: Any) -> pathlib.Path:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str):
        raise InputError(f"expected a path as a text, received {type(text).__name__}")
    if not text or "\0" in text:
        raise InputError(f"expected a path, received {text!r}: name a file or folder")
    if not text.startswith("~"):
        found = pathlib.Path(path)
        # Without its "./", a name that begins with ~ would be another path the next time.
        return pathlib.Path.cwd() / found if str(found).startswith("~") else found
    whole = os.path.expanduser(text)
    of_nobody = whole == text or (not os.environ.get("HOME", text) and text[1:2] in ("", os.sep))
    if not of_nobody:
        return pathlib.Path(whole)
    if os.path.lexists(text):  # A file's own name, such as ~$letter.png, which a shell leaves so.
        return pathlib.Path(text)
    raise InputError(
        f"the home folder that {text!r} begins with is not known on this machine: write the path "
        f"in full, or ./{text} for a name that begins so"
    )


def for_tensorflow(path: Any) -> pathlib.Path:
    """As `expanded`, for a folder that TensorFlow reads or writes.

    Raises:
        InputError: its name has bytes that are no UTF-8, which TensorFlow does not take.
    """
    found = expanded(path)
    if any("\ud800" <= letter <= "\udfff" for letter in str(found)):
        raise InputError(
            f"{str(found)!a} is no UTF-8 text, and TensorFlow takes no other path: rename the "
            "folder, or name another"
        )
    return found


def names_folder(path: Any) -> bool:
    """Whether a user's path is that of a folder: there is one, or it ends as theirs do."""
    return expanded(path).is_dir() or os.fspath(path).endswith(_SEPARATORS)


def check_apart(folders: Iterable[Any], written: Any, flag: str) -> None:
    """Refuses to write into folders of images, where each subfolder is a class.

    Raises:
        InputError: `written`, what `flag` names, lies in one of `folders` or is it; of these None
            is none.
    """
    place = expanded(written).resolve()
    for images in folders:
        if images is not None and place.is_relative_to(expanded(images).resolve()):
            raise InputError(
                f"{written} is in the folder of images {images}, where its parts would be taken "
                f"for classes: name another {flag}"
            )


def folders_in(path: pathlib.Path) -> list[str]:
    """Names of the folders, but for hidden ones, in one that may not exist."""
    if not path.is_dir():
        return []
    names = (child.name for child in path.iterdir() if child.is_dir())
    return sorted(name for name in names if not name.startswith("."))


def typed(text: str) -> str:
    """A path on a command line with its home folder; whether it can be reached is not asked."""
    return str(_expanded(text))


def typed_file(text: str) -> str:
    """As `typed`; a separator at the end stays, so that a folder is not taken for a file."""
    return typed(text) + (os.sep if text.endswith(_SEPARATORS) else "")


def cache() -> pathlib.Path | None:
    """The folder for what can be made again, $XDG_CACHE_HOME/dgm_tf or ~/.cache/dgm_tf.

    None for a user without a home folder, such as a container's that is only a number.
    """
    # By the rules of XDG a relative one does not count.
    if os.path.isabs(root := os.environ.get("XDG_CACHE_HOME", "")):
        return pathlib.Path(root) / "dgm_tf"
    try:
        return expanded("~/.cache/dgm_tf")
    except InputError:
        return None
