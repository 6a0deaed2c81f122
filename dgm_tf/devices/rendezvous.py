"""The meeting of a run's processes before TensorFlow lets them work together.

TensorFlow waits for processes within its own code, without a word, and no signal ends that. So they
meet here first, in Python. The chief listens at its own address, and the others ask there again and
again whether all have come. Each listens at its own address meanwhile, which shows that it is free.
"""

import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

from dgm_tf.devices import calls
from dgm_tf.devices.waiting import Patience
from dgm_tf.errors import InputError

_GONE_SECONDS = 3.0  # since a process has asked
_ANSWER_SECONDS = 2.0
_LEAVE_SECONDS = 5.0
_ADVICE = "start every process of TF_CONFIG, each at its own address"


def meet(addresses: Sequence[str], rank: int) -> None:
    """Waits until every process of a run is there.

    Args:
        addresses: host:port of each process, the chief's first.
        rank: this process's place among them.

    Raises:
        InputError: an address is none, or two processes have it; this process's cannot be taken;
            another process has its place, or another list; the others do not come within half an
            hour.
    """
    for address in addresses:
        calls.host_and_port(address)
        if addresses.count(address) > 1:
            raise InputError(f"two processes of TF_CONFIG have the address {address}: change one")
    if rank == 0:
        _Chief(addresses).wait()
        return
    other = {"refused": f"{addresses[rank]} is no chief: give all the same cluster in TF_CONFIG"}
    # At every name of this machine, as TensorFlow will.
    with calls.answered(addresses[rank], lambda _: other, everywhere=True):
        _wait_for_chief(addresses, rank)


class _Chief:
    """The list of who is there.

    All go together: when nobody is missing, and each has asked once more since then.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses, self._ranks = list(addresses), range(1, len(addresses))
        self._lock = threading.Lock()
        self._tokens: dict[int, str] = {}
        self._asked: dict[int, float] = {}  # when each has asked last
        self._complete: float | None = None  # since when nobody is missing
        self._told: set[int] | None = None  # who knows that all go, once they do

    def wait(self) -> None:
        """Waits for all, and until each knows that they go."""
        patience, awaited = Patience(), self._addresses
        with calls.answered(self._addresses[0], self._answer, everywhere=True):
            while not self._all_go():
                awaited = self._missing() or awaited
                patience.wait(", ".join(awaited), _ADVICE)
            end = time.monotonic() + _LEAVE_SECONDS
            while len(self._told or ()) < len(self._ranks) and time.monotonic() < end:
                time.sleep(0.01)

    def _all_go(self) -> bool:
        with self._lock:
            if self._missing():
                self._complete = None
                return False
            self._complete = self._complete or time.monotonic()
            if all(self._asked[rank] > self._complete for rank in self._ranks):
                self._told = set()
            return self._told is not None

    def _missing(self) -> list[str]:
        last = time.monotonic() - _GONE_SECONDS
        return [self._addresses[rank] for rank in self._ranks if self._asked.get(rank, 0) < last]

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        rank, token = call.get("rank"), str(call.get("token"))
        if call.get("addresses") != self._addresses or rank not in self._ranks:
            return {
                "refused": f"the chief's TF_CONFIG names {', '.join(self._addresses)}, this "
                "process's other addresses: give all the same cluster"
            }
        own = self._addresses[rank]
        with self._lock:
            missing = self._missing()
            if own not in missing and self._tokens[rank] != token:
                return {
                    "refused": f"another process is at {own} already: give each its own task in "
                    "TF_CONFIG"
                }
            self._tokens[rank], self._asked[rank] = token, time.monotonic()
            if self._told is not None:
                self._told.add(rank)
                return {"go": True}
            return {"missing": [each for each in missing if each != own]}


def _wait_for_chief(addresses: Sequence[str], rank: int) -> None:
    patience, chief, awaited = Patience(), addresses[0], []
    call = {"rank": rank, "addresses": list(addresses), "token": uuid.uuid4().hex}
    while True:
        try:
            answer = calls.ask(chief, call, _ANSWER_SECONDS)
        except OSError:
            answer = {"missing": [f"the chief at {chief}"]}
        if "refused" in answer:
            raise InputError(answer["refused"])
        if answer.get("go"):
            return
        awaited = answer["missing"] or awaited  # At the end the chief makes sure of each.
        patience.wait(", ".join(awaited), _ADVICE)
