"""Paths as people type them, and the place of this user's cache. Nothing here needs TensorFlow."""

import os
import pathlib
from typing import Any

from dgm_tf.errors import InputError


def expanded(path: Any) -> pathlib.Path:
    """A user's path, with the home folder in place of `~` or `~name`.

    Raises:
        InputError: it is no path, it is empty, or there is no such home folder.
    """
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


def typed(text: str) -> str:
    """As `expanded`, for the value of a flag."""
    return str(expanded(text))


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
