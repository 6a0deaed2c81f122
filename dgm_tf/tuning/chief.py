"""The chief of a search by several processes: hands out trials, and sees who is still there.

KerasTuner's own chief waits for ever for a worker that has died, and takes one with other flags.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keras_tuner.engine.trial import Trial, TrialStatus

from dgm_tf import _checks
from dgm_tf.devices import calls
from dgm_tf.devices.waiting import Patience
from dgm_tf.tuning.tuner import SearchOracle

LIVE = "live"  # the call of a worker that has nothing to ask
GONE_SECONDS = 30.0  # since a worker's last call


class _Worker(NamedTuple):
    token: str  # tells two processes with one name apart
    called: float


class Chief:
    """Serves the trials of an oracle to workers.

    Args:
        oracle: the search's.
        identity: what a worker must have in common with the chief, JSON-able.
        say: takes a line of progress.
    """

    def __init__(
        self, oracle: SearchOracle, identity: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        self._oracle, self._say = oracle, say
        self._identity = json.loads(json.dumps(identity))
        self._workers: dict[str, _Worker] = {}
        self._ended: set[str] = set()  # tokens of workers that know that nothing is left
        self._lock = threading.Lock()  # for the two above
        self._turn = threading.RLock()  # for the oracle, which may take minutes
        self._error: Exception | None = None  # the oracle's

    def serve(self, address: str) -> None:
        """Serves until no trial is left and every living worker knows it.

        Raises:
            InputError: it cannot listen there, or no worker is there for half an hour.
        """
        with calls.answered(address, self._answer):
            self._wait(f"a worker that asks at {address}")

    def _wait(self, awaited: str) -> None:
        patience = Patience()
        while self._workers or not self._has_ended():
            if self._error is not None:
                raise self._error
            self._drop_gone()
            if self._workers:
                patience.met()
                time.sleep(0.1)
            else:
                patience.wait(awaited, "start workers, with the chief's flags and their own name")

    def _has_ended(self) -> bool:
        with self._turn:
            return self._oracle.has_ended()

    def _drop_gone(self) -> None:
        last = time.monotonic() - GONE_SECONDS
        with self._lock:
            gone = [name for name, each in self._workers.items() if each.called < last]
            for name in gone:
                del self._workers[name]
        for name in gone:
            with self._turn:
                trial = self._oracle.take_back(name)
            begins = f"; trial {trial} begins again at the next worker that asks" if trial else ""
            self._say(f"{name} has not been heard of for {GONE_SECONDS:g} seconds{begins}")

    # What workers ask. They repeat a call whose answer does not come.

    def _answer(self, call: Mapping[str, Any]) -> dict[str, Any]:
        if differing := _checks.differences(self._identity, call["identity"], self._identity):
            return {
                "refused": f"this worker was started for another search: {'; '.join(differing)}; "
                "give both the same flags and data"
            }
        if not self._counts(call["name"], call["token"]):
            return {"taken": True}
        if call["method"] == LIVE:
            return {}
        asked = {"create_trial": self._create, "update_trial": self._update, "end_trial": self._end}
        with self._turn:
            try:
                return asked[call["method"]](call["name"], **call["given"])
            except Exception as error:
                self._error = error
                return {"refused": f"it fails: {_checks.one_line(error)}; see there"}

    def _counts(self, name: str, token: str) -> bool:
        """Whether the name is this worker's, which is there from now on."""
        with self._lock:
            known = self._workers.get(name)
            if known is not None and known.token != token:
                return False
            if token not in self._ended:
                self._workers[name] = _Worker(token, time.monotonic())
            return True

    def _create(self, name: str) -> dict[str, Any]:
        trial = self._oracle.create_trial(name)
        if trial.status == TrialStatus.STOPPED:
            if self._oracle.ongoing_trials:
                trial.status = TrialStatus.IDLE  # A worker may die, and its trial begin again.
            else:
                self._knows_end(name)
        return {"trial": trial.get_state()}

    def _knows_end(self, name: str) -> None:
        with self._lock:
            if (known := self._workers.pop(name, None)) is not None:
                self._ended.add(known.token)

    def _update(self, name: str, trial_id: str, metrics: Mapping[str, float]) -> dict[str, Any]:
        if trial_id in self._oracle.trials:
            self._oracle.update_trial(trial_id, metrics)
            return {}
        return {"refused": f"it knows no trial {int(trial_id) + 1} (its folder is another one)"}

    def _end(self, name: str, trial: Mapping[str, Any]) -> dict[str, Any]:
        if trial["trial_id"] in self._oracle.trials:
            self._oracle.end_trial(Trial.from_state(trial))
        return {}
