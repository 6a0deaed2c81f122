"""Bad input is refused in one line."""

import contextlib

import pytest

from dgm_tf.errors import InputError


@contextlib.contextmanager
def refused(*texts, kind=InputError):
    """The body raises an error of a kind, in one line that holds all of `texts`."""
    with pytest.raises(kind) as error:
        yield
    line = str(error.value)
    assert "\n" not in line
    for text in texts:
        assert text in line
