"""Makes root obey the permissions of files, as everyone else does."""

import contextlib
import ctypes
import os
import sys

import pytest

_VERSION_3 = 0x20080522
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of linux/capability.h: what lets root pass permissions.
_PASSING = 1 << 1 | 1 << 2


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


@contextlib.contextmanager
def obeyed():
    """A block in which this thread has no more rights than a file's mode gives its owner."""
    if os.geteuid():
        yield
        return
    if sys.platform != "linux":
        pytest.skip("nothing is read-only to root")
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()

    def call(function):
        if function(ctypes.byref(header), data):
            raise OSError(ctypes.get_errno(), "capabilities cannot be changed")

    call(libc.capget)
    before = data[0].effective
    data[0].effective &= ~_PASSING
    call(libc.capset)
    try:
        yield
    finally:
        data[0].effective = before
        call(libc.capset)
