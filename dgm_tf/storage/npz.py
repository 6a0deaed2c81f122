"""Reading .npz files that anyone can have written: no pickle, and no memory on their word alone."""

import os
import zipfile
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

# Types whose bytes .npy files keep exactly; object arrays would need pickle.
KINDS = "biufcU"

_SUFFIX = ".npy"
_MAX_ARRAYS = 100_000


def read(
    path: str | os.PathLike[str],
    names: Iterable[str],
    *,
    limit: int | None = None,
) -> dict[str, np.ndarray]:
    """Reads arrays of a .npz file.

    What the file says of its sizes is checked before anything is read: a member must be as long as
    its array's type and shape make it, and all of them together no longer than the file itself
    (or `limit`, for a compressed file).

    Args:
        path: the file.
        names: the arrays to read.
        limit: bytes that all arrays together may take; None for the file's own length, which a
            compressed file seldom keeps to.

    Raises:
        ValueError: the file is not what it says, holds other than plain arrays, or too much.
        OSError, KeyError, zipfile.BadZipFile and others: it cannot be read.
    """
    limit = os.path.getsize(path) if limit is None else limit
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MAX_ARRAYS:
            raise ValueError(f"it holds {len(members)} arrays, more than {_MAX_ARRAYS}")
        declared = sum(member.file_size for member in members)
        if declared > limit:
            raise ValueError(f"its arrays would take {declared} bytes, more than {limit}")
        for name in names:
            member = archive.getinfo(f"{name}{_SUFFIX}")
            with archive.open(member) as file:
                arrays[name] = _read_array(file, member.file_size, name)
    return arrays


def _read_array(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """One .npy file of `size` bytes."""
    shape, fortran, dtype = _header(file)
    if dtype.kind not in KINDS or not dtype.itemsize:
        raise ValueError(f"array {name} is of type {dtype}, no plain numbers or text")
    count = 1
    for length in shape:  # Python's integers: NumPy's could run over.
        count *= length
    if min(shape, default=0) < 0 or count * dtype.itemsize != size - file.tell():
        raise ValueError(f"array {name} is not as long as its shape {shape} and type {dtype}")
    content = bytearray(count * dtype.itemsize)
    unread = memoryview(content)
    while unread:
        got = file.readinto(unread)
        if not got:
            raise ValueError(f"array {name} is cut short")
        unread = unread[got:]
    return np.ndarray(shape, dtype, content, order="F" if fortran else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, whether the last index varies slowest, and type."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of .npy was not expected")
    # A header is a Python literal, which NumPy reads as such, not as code, up to a length.
    return readers[version](file)
