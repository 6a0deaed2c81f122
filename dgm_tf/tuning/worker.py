"""A worker of a search by several processes: runs the trials that the chief hands out."""

import contextlib
import json
import math
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_client import OracleClient

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.tuning.chief import ALIVE, GONE_SECONDS, JOIN, REASON, SERVICE
from dgm_tf.waiting import Patience

_ALIVE_SECONDS = 2.0
_CALL_SECONDS = 300.0  # A Gaussian process of many trials takes its time.
# Whatever the machine's proxies are, and however long the chief has been away.
_CHANNEL = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2000),
]
# The chief is not there, or away. Every call may be repeated: the chief passes over a second one.
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class NothingLeft(Exception):
    """The search has been finished."""


class Link:
    """The way to the chief; a call waits for one that is not there.

    Args:
        ip, port: the chief's address.
        name: the worker's own.
        identity: what the chief must have in common, JSON-able.
        is_finished: whether the search's folder, where it can be seen, says that nothing is left.
    """

    def __init__(
        self,
        ip: str,
        port: str,
        name: str,
        identity: Mapping[str, Any],
        is_finished: Callable[[], bool],
    ) -> None:
        self.chief = f"the chief at {ip}:{port}"
        self.channel = grpc.insecure_channel(f"{ip}:{port}", options=_CHANNEL)
        self._name, self._is_finished = name, is_finished
        self._me = {"name": name, "token": uuid.uuid4().hex}
        self._identity = json.loads(json.dumps(identity))
        self._refused = ""
        self._left = threading.Event()

    @contextlib.contextmanager
    def joined(self) -> Any:
        """A block in which the chief counts on this worker.

        Raises:
            NothingLeft: the search is finished.
            InputError: the chief's search is another one or it does not come; another worker has
                the name.
        """
        patience = Patience(limit=GONE_SECONDS + 15.0)
        while self.call(self._own(JOIN), self._join_request()).get("taken"):
            patience.wait(
                f"another worker that is called {self._name}",
                "name another KERASTUNER_TUNER_ID, a different one for each process",
            )
        self._raise_refusal()
        signs = threading.Thread(target=self._give_signs_of_life, daemon=True)
        signs.start()
        try:
            yield
        finally:
            self._left.set()
            signs.join()
            self.channel.close()

    def call(self, method: Callable[..., Any], request: Any, **options: Any) -> Any:
        """The chief's answer, waited for as long as `Patience` has it.

        Raises:
            NothingLeft: the search is finished.
            InputError: the chief does not come, or refuses.
        """
        patience = Patience()
        while True:
            self._raise_refusal()
            try:
                return self._checked(method(request, timeout=_CALL_SECONDS, **options))
            except grpc.RpcError as error:
                if error.code() not in _AWAY:
                    raise InputError(
                        f"{self.chief} fails: {_checks.one_line(error.details())}; see there"
                    ) from error
            if self._is_finished():
                raise NothingLeft
            patience.wait(self.chief, "start it with the same flags and address")

    def _checked(self, answer: Any) -> Any:
        if isinstance(answer, bytes):
            answer = json.loads(answer)
            self._refused = answer.get("refused", "")
        return answer

    def _raise_refusal(self) -> None:
        if self._refused:
            raise InputError(
                f"this worker was started for another search than {self.chief}: {self._refused}; "
                "give both the same flags and data"
            )

    def _own(self, name: str) -> Callable[..., Any]:
        return self.channel.unary_unary(f"/{SERVICE}/{name}")

    def _join_request(self) -> bytes:
        return json.dumps({**self._me, "identity": self._identity}).encode()

    def _give_signs_of_life(self) -> None:
        while not self._left.wait(_ALIVE_SECONDS):
            with contextlib.suppress(grpc.RpcError, ValueError):
                answer = self._own(ALIVE)(json.dumps(self._me).encode(), timeout=_ALIVE_SECONDS)
                if not json.loads(answer)["known"]:  # a chief that was started again
                    again = self._own(JOIN)(self._join_request(), timeout=_ALIVE_SECONDS)
                    self._checked(again)


class Client(OracleClient):
    """The chief's oracle as a worker's tuner sees it."""

    def __init__(self, oracle: keras_tuner.Oracle, link: Link) -> None:
        super().__init__(oracle)
        self._link = link
        self.stub = _Stub(link)

    def create_trial(self, tuner_id: str) -> Trial:
        """The next trial; waits while others run what is left."""
        patience = Patience(limit=math.inf)  # The chief sees that they live.
        while (trial := super().create_trial(tuner_id)).status == TrialStatus.IDLE:
            patience.wait("the trials of other workers", "")
        return trial

    def end_trial(self, trial: Trial) -> None:
        """Hands a trial back, with the reason where it failed."""
        reason = (trial.message or "").encode()
        request = protos.get_service().EndTrialRequest(trial=trial.to_proto())
        self.stub.EndTrial(request, metadata=((REASON, reason),) if reason else ())


class _Stub:
    """KerasTuner's calls, each by way of the link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stub = protos.get_service_grpc().OracleStub(link.channel)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._stub, name)

        def call(request: Any, *, metadata: Any = (), **_: Any) -> Any:
            return self._link.call(method, request, metadata=metadata)

        return call
