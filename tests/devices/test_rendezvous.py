"""Processes of a run meet in any order; who is missing is said, and strangers are no members."""

import socket
import threading
import time

import pytest

from benchmarks.local_cluster import tf_configs
from dgm_tf.devices import calls, distribution, rendezvous, waiting
from dgm_tf.errors import InputError


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(waiting, "_SAID_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(rendezvous, "_GONE_SECONDS", 0.3)
    monkeypatch.setattr(rendezvous, "_ANSWER_SECONDS", 0.3)


@pytest.fixture
def three():
    return distribution.place_in_cluster(tf_configs(3)[0])[1]


class Coming:
    """A process in a thread."""

    def __init__(self, addresses, rank):
        self.error = None
        self._thread = threading.Thread(target=self._meet, args=(addresses, rank), daemon=True)
        self._thread.start()

    def _meet(self, addresses, rank):
        try:
            rendezvous.meet(addresses, rank)
        except InputError as error:
            self.error = str(error)

    def is_there(self, seconds=10):
        self._thread.join(seconds)
        return not self._thread.is_alive() and self.error is None


def called(address):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_all_go_when_the_last_one_has_come_and_leave_their_ports(three, order):
    *early, last = order
    coming = [Coming(three, rank) for rank in early]
    time.sleep(0.3)
    assert not any(each.is_there(0) for each in coming)
    coming.append(Coming(three, last))
    assert all(each.is_there() for each in coming)
    for address in three:
        socket.create_server(("", int(address.split(":")[1]))).close()


def test_every_process_says_which_addresses_it_waits_for(three, capfd):
    coming = [Coming(three, 1)]
    time.sleep(0.5)
    assert f"waiting for the chief at {three[0]}, for up to 30 minutes" in capfd.readouterr().err
    coming.append(Coming(three, 0))
    time.sleep(0.8)
    # The chief and the other one say the same.
    assert capfd.readouterr().err.count(f"waiting for {three[2]}, for up to") == 2
    coming.append(Coming(three, 2))
    assert all(each.is_there() for each in coming)


def test_waiting_has_a_limit_and_an_error_that_names_who_has_not_come(three, monkeypatch):
    monkeypatch.setattr(waiting, "LIMIT_SECONDS", 0.6)
    with pytest.raises(InputError, match=f"for the chief at {three[0]}: start every process"):
        rendezvous.meet(three, 1)
    with pytest.raises(InputError, match=f"waited 0.6 seconds for {three[1]}, {three[2]}: start"):
        rendezvous.meet(three, 0)


def test_one_that_died_is_waited_for_again(three):
    chief, second = Coming(three, 0), Coming(three, 1)
    time.sleep(0.2)
    answer = calls.ask(three[0], {"rank": 2, "addresses": three, "token": "dead"}, 1.0)
    assert answer == {"missing": []}  # All have been there, but do not go: it asks no more.
    time.sleep(0.5)
    assert not chief.is_there(0) and not second.is_there(0)
    third = Coming(three, 2)
    assert chief.is_there() and second.is_there() and third.is_there()


def test_a_chief_that_was_started_again_finds_those_who_wait(three):
    second = Coming(three, 1)
    asked = threading.Event()

    def former(_):
        asked.set()
        return {"missing": [three[2]]}

    with calls.answered(three[0], former):
        assert asked.wait(5)
    chief, third = Coming(three, 0), Coming(three, 2)
    assert chief.is_there() and second.is_there() and third.is_there()


@pytest.mark.parametrize("said", [b"\x00\x00\x06\x04", b"[" * 10**6 + b"\n"])
def test_strangers_at_the_chief_do_no_harm(three, said):
    chief = Coming(three, 0)
    time.sleep(0.2)
    with called(three[0]) as stranger:
        stranger.sendall(said)
        others = [Coming(three, rank) for rank in (1, 2)]
        assert chief.is_there() and all(each.is_there() for each in others)


def test_a_stranger_at_the_chiefs_address_is_not_the_chief(three, capfd):
    port = int(three[0].split(":")[1])
    with socket.create_server(("", port)):
        second = Coming(three, 1)
        time.sleep(1.0)
        assert not second.is_there(0) and second.error is None
    assert "waiting for the chief" in capfd.readouterr().err
    chief, third = Coming(three, 0), Coming(three, 2)
    assert chief.is_there() and second.is_there() and third.is_there()


def test_two_processes_with_one_address_are_refused(three):
    chief, second = Coming(three, 0), Coming(three, 1)
    time.sleep(0.2)
    for rank in 0, 1:
        with pytest.raises(InputError, match=f"cannot listen at {three[rank]} .*another port"):
            rendezvous.meet(three, rank)
    third = Coming(three, 2)
    assert chief.is_there() and second.is_there() and third.is_there()


def test_a_process_of_another_cluster_is_refused(three):
    chief = Coming(three, 0)
    other = Coming([three[0], three[2], three[1]], 1)
    time.sleep(0.6)
    assert "the chief's TF_CONFIG names" in other.error
    others = [Coming(three, rank) for rank in (1, 2)]
    assert chief.is_there() and all(each.is_there() for each in others)


def test_a_process_that_takes_another_one_for_the_chief_is_refused(three, monkeypatch):
    monkeypatch.setattr(waiting, "LIMIT_SECONDS", 5.0)
    second = Coming(three, 1)
    time.sleep(0.2)
    with pytest.raises(InputError, match=f"{three[1]} is no chief"):
        rendezvous.meet([three[1], three[2]], 1)
    assert not second.is_there(0) and second.error is None


def test_an_address_of_two_processes_is_refused(three, monkeypatch):
    monkeypatch.setattr(waiting, "LIMIT_SECONDS", 0.0)
    with pytest.raises(InputError, match=f"two processes of TF_CONFIG have the address {three[1]}"):
        rendezvous.meet([*three, three[1]], 0)


@pytest.mark.parametrize("address", ["a", "a:", ":1", "a:x", "a:0", "a:70000"])
def test_addresses_without_a_port_are_refused(address):
    with pytest.raises(InputError, match="expected a process's address such as host1:2222"):
        rendezvous.meet([address, "b:1"], 0)
