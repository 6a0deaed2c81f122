"""Calls between the processes of one piece of work: a JSON object goes, a JSON object comes back.

Each call is a connection of its own and holds one line of text either way. The caller hangs up
first, so that the answer has come and the answerer's port is free at once.
"""

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError

_VERSION = "dgm_tf 1"  # tells from strangers at the same port
_STRANGER_SECONDS = 2.0  # for somebody who has called and says nothing
_MOST_BYTES = 2**24

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of an address such as host:2222 or [::1]:2222.

    Raises:
        InputError: it is none.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError(f"expected a process's address such as host1:2222, received {address}")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def answered(address: str, answer: Answer, *, everywhere: bool = False) -> Iterator[None]:
    """A block in which calls are answered, each in a thread of its own.

    Args:
        address: where, such as host:2222.
        answer: from a call to its answer; it does not raise.
        everywhere: listen at all names of this machine.

    Raises:
        InputError: this process cannot listen there.
    """
    host, port = host_and_port(address)
    try:
        place = ("" if everywhere else host, port)
        server = _Server(place, answer, version_6=":" in host)
    except OSError as error:
        raise InputError(
            f"this process cannot listen at {address} ({_checks.reason(error)}): end the process "
            "that does, or name another port"
        ) from error
    with server:  # Its end waits for calls that are answered.
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def ask(address: str, call: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The answer to a call.

    Args:
        address: the answerer's, such as host:2222.
        call: a JSON object.
        seconds: to wait for the answer.

    Raises:
        OSError: nobody answers, or a stranger.
    """
    with socket.create_connection(host_and_port(address), _STRANGER_SECONDS) as connection:
        connection.settimeout(seconds)
        connection.sendall(_line(call))
        with connection.makefile("rb") as file:
            found = _said(file.readline(_MOST_BYTES))
    if found is None:
        raise ConnectionError(f"a stranger answers at {address}")
    return found


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True  # also where a process has just been killed

    def __init__(self, address: tuple[str, int], answer: Answer, *, version_6: bool) -> None:
        self.answer = answer
        self.address_family = socket.AF_INET6 if version_6 else socket.AF_INET
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Passes over callers who hang up."""


class _Handler(socketserver.StreamRequestHandler):
    timeout = _STRANGER_SECONDS

    def handle(self) -> None:
        call = _said(self.rfile.readline(_MOST_BYTES))
        if call is not None:
            self.wfile.write(_line(self.server.answer(call)))
            self.rfile.read(1)  # until the caller hangs up


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps({"": _VERSION, **said}).encode() + b"\n"


def _said(line: bytes) -> dict[str, Any] | None:
    """What a line says; None of a stranger's."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.pop("", None) != _VERSION:
        return None
    return said
