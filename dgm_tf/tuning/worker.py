"""A worker of a search by several processes: runs the trials that the chief hands out."""

import contextlib
import json
import math
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from keras_tuner.engine.trial import Trial, TrialStatus

from dgm_tf.devices import calls
from dgm_tf.devices.waiting import Patience
from dgm_tf.errors import InputError
from dgm_tf.tuning.chief import GONE_SECONDS, LIVE

_LIVE_SECONDS = 2.0
_ANSWER_SECONDS = 300.0  # A Gaussian process of many trials takes its time.


class NothingLeft(Exception):
    """The search has been finished."""


class Link:
    """The way to the chief; a call waits for one that is not there.

    Args:
        chief: its address, such as host:8010.
        name: the worker's own.
        identity: what the chief must have in common, JSON-able.
        is_finished: whether the search's folder, where it can be seen, says that nothing is left.
    """

    def __init__(
        self, chief: str, name: str, identity: Mapping[str, Any], is_finished: Callable[[], bool]
    ) -> None:
        self._chief, self._is_finished = chief, is_finished
        self._me = {"name": name, "token": uuid.uuid4().hex}
        self._me["identity"] = json.loads(json.dumps(identity))

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """A block in which the chief counts on this worker; errors are those of `ask`."""
        left = threading.Event()

        def give_signs_of_life() -> None:
            while not left.wait(_LIVE_SECONDS):
                with contextlib.suppress(OSError):
                    self._call(LIVE, {}, _LIVE_SECONDS)

        self.ask(LIVE)
        signs = threading.Thread(target=give_signs_of_life, daemon=True)
        signs.start()
        try:
            yield
        finally:
            left.set()
            signs.join()

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        """The chief's answer, waited for as long as `Patience` has it.

        Raises:
            NothingLeft: the search is finished.
            InputError: the chief does not come, its search is another one, or it fails; another
                worker has the name.
        """
        coming, leaving = Patience(), Patience(limit=GONE_SECONDS + 15.0)
        while True:
            try:
                answer = self._call(method, given, _ANSWER_SECONDS)
            except OSError:
                if self._is_finished():
                    raise NothingLeft from None
                coming.wait(
                    f"the chief at {self._chief}", "start it with the same flags and address"
                )
                continue
            if "refused" in answer:
                raise InputError(f"the chief at {self._chief} says: {answer['refused']}")
            if not answer.get("taken"):
                return answer
            leaving.wait(
                f"another worker that is called {self._me['name']}",
                "name another KERASTUNER_TUNER_ID, a different one for each process",
            )

    def _call(self, method: str, given: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        return calls.ask(self._chief, {**self._me, "method": method, "given": given}, seconds)


class Client:
    """The chief's oracle as a worker's tuner sees it."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def create_trial(self, tuner_id: str) -> Trial:
        """The next trial; waits while others run what is left."""
        patience = Patience(limit=math.inf)  # The chief sees that they live.
        while True:
            trial = Trial.from_state(self._link.ask("create_trial")["trial"])
            if trial.status != TrialStatus.IDLE:
                return trial
            patience.wait("the trials of other workers", "")

    def update_trial(self, trial_id: str, metrics: Mapping[str, float]) -> None:
        """Hands metrics to the chief."""
        self._link.ask("update_trial", trial_id=trial_id, metrics=metrics)

    def end_trial(self, trial: Trial) -> None:
        """Hands a trial back, with the reason where it failed."""
        self._link.ask("end_trial", trial=trial.get_state())
