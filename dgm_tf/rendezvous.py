"""The meeting of a run's processes before TensorFlow lets them work together.

TensorFlow waits for processes within its own code, without a word, and no signal ends that. So they
meet here first, in Python. The chief listens at its own address. Each other process calls there and
keeps the line until the chief says that all have come; a line that breaks takes its process off the
list. Then all leave their ports to TensorFlow, the chief last, so that no port lingers closed.
"""

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator, Sequence

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.waiting import Patience

_GREETING = "dgm_tf processes meet here"
_ANSWER_SECONDS = 2.0  # for a line from somebody who has called
_LEAVE_SECONDS = 5.0
_ADVICE = "start every process of TF_CONFIG, each at its own address"


def meet(addresses: Sequence[str], rank: int) -> None:
    """Waits until every process of a run is there.

    Args:
        addresses: host:port of each process, the chief's first.
        rank: this process's place among them.

    Raises:
        InputError: this process's address cannot be taken; another process has it, or another list;
            the others do not come within half an hour.
    """
    with _listening(addresses[rank]) as server:
        if rank == 0:
            _Chief(server, addresses).wait()
        else:
            _wait_for_chief(addresses, rank)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError(f"expected addresses such as host1:2222 in TF_CONFIG, received {address}")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    # At every name of this machine, as TensorFlow will.
    _, port = _host_and_port(address)
    try:
        server = socket.create_server(("", port))
    except OSError as error:
        raise InputError(
            f"this process cannot listen at {address}, its own address in TF_CONFIG "
            f"({error.strerror or error}): end the process that does, or name another port"
        ) from error
    with server:
        yield server


class _Chief:
    def __init__(self, server: socket.socket, addresses: Sequence[str]) -> None:
        self._server, self._addresses = server, list(addresses)
        self._lines: dict[int, _Line] = {}

    def wait(self) -> None:
        """Waits for all; then tells them, and lets them leave first."""
        patience = Patience()
        try:
            while not self._all_answer():
                patience.wait(", ".join(self._missing()), _ADVICE)
                self._take_calls()
            self._tell({"go": True})
            for line in self._lines.values():
                line.is_broken(_LEAVE_SECONDS)
        finally:
            for line in self._lines.values():
                line.close()

    def _missing(self) -> list[str]:
        ranks = range(1, len(self._addresses))
        return [self._addresses[rank] for rank in ranks if rank not in self._lines]

    def _all_answer(self) -> bool:
        """Whether all are there; who does not answer is called no more."""
        here = len(self._lines)
        for rank, line in list(self._lines.items()):
            line.say({"there": "?"})
            if line.hear(_ANSWER_SECONDS) is None:
                self._lines.pop(rank).close()
        if len(self._lines) < here:
            self._tell({"missing": self._missing()})
        return not self._missing()

    def _take_calls(self) -> None:
        while select.select([self._server], [], [], 0.0)[0]:
            line = _Line(self._server.accept()[0])
            line.say({"greeting": _GREETING})
            said = line.hear(_ANSWER_SECONDS)
            if said is None or said.get("rank") not in range(1, len(self._addresses)):
                line.close()
                continue
            if refusal := self._refusal(said):
                line.say({"refused": refusal})
                line.close()
                continue
            self._lines[said["rank"]] = line
            self._tell({"missing": self._missing()})

    def _refusal(self, said: dict) -> str:
        if said.get("addresses") != self._addresses:
            return (
                f"the chief's TF_CONFIG names {', '.join(self._addresses)}, this process's other "
                "addresses: give all the same cluster"
            )
        if said["rank"] in self._lines:
            return (
                f"another process is at {self._addresses[said['rank']]} already: give each its own "
                "task in TF_CONFIG"
            )
        return ""

    def _tell(self, what: dict) -> None:
        for line in self._lines.values():
            line.say(what)


def _wait_for_chief(addresses: Sequence[str], rank: int) -> None:
    patience, chief = Patience(), addresses[0]
    while True:
        patience.wait(f"the chief at {chief}", _ADVICE)
        if (line := _called(chief)) is None:
            continue
        with contextlib.closing(line):
            line.say({"rank": rank, "addresses": list(addresses)})
            missing: list[str] = []
            while not line.is_broken(0.0):
                said = line.hear(0.0) or {}
                if said.get("go"):
                    return
                if "there" in said:
                    line.say({"here": True})
                if "refused" in said:
                    raise InputError(_checks.one_line(said["refused"]))
                if missing := said.get("missing", missing):
                    patience.wait(", ".join(missing), _ADVICE)
                else:
                    time.sleep(0.01)


def _called(chief: str) -> "_Line | None":
    """A line to the chief; None where nobody answers, or somebody else."""
    try:
        line = _Line(socket.create_connection(_host_and_port(chief), timeout=_ANSWER_SECONDS))
    except OSError:
        return None
    said = line.hear(_ANSWER_SECONDS)
    if said == {"greeting": _GREETING}:
        return line
    line.close()
    return None


class _Line:
    """A connection on which both sides say JSON objects, one per line of text."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._heard, self._closed = connection, b"", False
        connection.settimeout(_ANSWER_SECONDS)

    def say(self, what: dict) -> None:
        """Says it, unless nobody is there: `is_broken` tells."""
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(what).encode() + b"\n")

    def hear(self, seconds: float) -> dict | None:
        """The next thing that was said, waited for so long; None for none, or for what is none."""
        end = time.monotonic() + seconds
        while b"\n" not in self._heard:
            left = end - time.monotonic()
            if self._closed or not self._receive(max(0.0, left)):
                return None
        text, _, self._heard = self._heard.partition(b"\n")
        try:
            said = json.loads(text)
        except ValueError:
            return None
        return said if isinstance(said, dict) else None

    def is_broken(self, seconds: float) -> bool:
        """Whether the other side has gone, which is waited for so long."""
        while not self._closed and b"\n" not in self._heard and self._receive(seconds):
            pass
        return self._closed and b"\n" not in self._heard

    def close(self) -> None:
        self._connection.close()

    def _receive(self, seconds: float) -> bool:
        """Whether something came, an end included."""
        if not select.select([self._connection], [], [], seconds)[0]:
            return False
        try:
            got = self._connection.recv(2**16)
        except OSError:
            got = b""
        self._closed = not got
        self._heard = (self._heard + got)[: 2**20]
        return True
