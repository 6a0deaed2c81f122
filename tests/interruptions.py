"""Work that ends before its end, as if its process were killed."""

import contextlib

import pytest

from dgm_tf.runs.run_folder import RunFolder


class Killed(BaseException):
    """Stands in for the end of the process: nobody catches it."""


@contextlib.contextmanager
def killed_at(task, steps):
    """A block whose run ends right after the checkpoint that is so many steps into a task."""
    keep = RunFolder.keep_unfinished

    def kept(self, at, done, *arguments):
        keep(self, at, done, *arguments)
        if (at, done) == (task, steps):
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunFolder, "keep_unfinished", kept)
        yield
