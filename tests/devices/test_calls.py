"""Calls between processes: what comes back, and who is taken for a stranger."""

import socket
import threading

import pytest

from benchmarks.local_cluster import tf_configs
from dgm_tf.devices import calls, distribution
from dgm_tf.errors import InputError


@pytest.fixture
def address():
    return distribution.place_in_cluster(tf_configs(1)[0])[1][0]


def test_an_answer_comes_back_and_the_port_is_free_at_the_end(address):
    for _ in range(3):
        with calls.answered(address, lambda call: {"twice": 2 * call["number"], "text": "ü"}):
            answers = [calls.ask(address, {"number": number}, 5.0) for number in range(20)]
        assert answers == [{"twice": 2 * number, "text": "ü"} for number in range(20)]


@pytest.mark.parametrize("everywhere", [False, True])
def test_an_address_may_be_of_version_6(everywhere):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
            address = f"[::1]:{free.getsockname()[1]}"
    except OSError:
        pytest.skip("this machine has no such address")
    with calls.answered(address, lambda call: call, everywhere=everywhere):
        assert calls.ask(address, {"number": 1}, 5.0) == {"number": 1}


@pytest.mark.parametrize(
    "said",
    [b"", b"{}\n", b"[]\n", b"3\n", b"\xff\n", b"[" * 10**6 + b"\n", b"HTTP/1.1 400\r\n\r\n"],
)
def test_who_answers_something_else_is_a_stranger(said):
    def answer():
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(said)

    with socket.create_server(("localhost", 0)) as server:
        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(OSError):
            calls.ask(f"localhost:{server.getsockname()[1]}", {}, 5.0)


def test_nobody_and_somebody_silent_are_no_answer(address):
    with pytest.raises(ConnectionRefusedError):
        calls.ask(address, {}, 5.0)
    with socket.create_server(("localhost", 0)) as silent, pytest.raises(TimeoutError):
        calls.ask(f"localhost:{silent.getsockname()[1]}", {}, 0.2)


def test_callers_that_are_strangers_get_no_answer(address):
    heard = []
    with calls.answered(address, lambda call: heard.append(call) or {}):
        for said in b"{}\n", b"[]\n", b"GET / HTTP/1.1\r\n\r\n":
            host, port = calls.host_and_port(address)
            with socket.create_connection((host, port)) as stranger:
                stranger.sendall(said)
                assert stranger.recv(100) == b""
        calls.ask(address, {"number": 1}, 5.0)
    assert heard == [{"number": 1}]


def test_a_port_that_is_taken_is_said(address):
    with (
        calls.answered(address, dict),
        pytest.raises(InputError, match=f"cannot listen at {address}"),
    ):
        with calls.answered(address, dict):
            pass
