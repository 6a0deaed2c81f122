"""Output that is written as far as it can be."""

import errno
import io
import os

import pytest

from dgm_tf.terminal.printing import Output


class Narrow(io.TextIOWrapper):
    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


class Failing(io.StringIO):
    """A stream whose writes fail after the first, for a reason."""

    def __init__(self, number):
        super().__init__()
        self.number, self.tries = number, 0

    def write(self, text):
        self.tries += 1
        if self.tries > 1:
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


@pytest.mark.parametrize(
    ("encoding", "wanted"),
    [
        ("utf-8", "é 犬 \\udce9 ✓"),
        ("cp1252", "é \\u72ac \\udce9 \\u2713"),
        ("ascii", "\\xe9 \\u72ac \\udce9 \\u2713"),
    ],
)
def test_letters_that_an_encoding_lacks_become_escapes(encoding, wanted):
    stream = Narrow(encoding)
    output = Output(stream)
    print("é 犬 \udce9 ✓", end="", file=output)
    assert stream.text() == wanted and not output.lost


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF])
def test_after_a_line_that_cannot_be_written_there_is_none(number):
    stream = Failing(number)
    output = Output(stream)
    for line in ("one", "two", "three"):
        output.write(line)
        output.flush()
    assert stream.getvalue() == "one" and stream.tries == 2
    assert output.lost == os.strerror(number)


def test_a_reader_that_has_gone_ends_what_prints_where_that_is_asked_for():
    output = Output(Failing(errno.EPIPE), ends=True)
    output.write("one")
    with pytest.raises(BrokenPipeError):
        output.write("two")
    output.write("three")
    full = Output(Failing(errno.ENOSPC), ends=True)
    full.write("one")
    full.write("two")
    assert full.lost


def test_no_stream_and_a_closed_one_take_nothing():
    none = Output(None)
    print("text", file=none, flush=True)
    assert not none.isatty() and not none.lost
    with pytest.raises(io.UnsupportedOperation):
        none.fileno()
    closed = io.StringIO()
    closed.close()
    output = Output(closed)
    print("text", file=output, flush=True)
    assert not output.isatty() and "closed" in output.lost
