"""The chief of a search by several processes: hands out trials, and sees who is still there.

It serves KerasTuner's oracle over gRPC, and next to it a service by which workers join and say that
they live: KerasTuner waits for ever for a worker that has died, and starts one with other flags.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any, NamedTuple

import grpc
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.tuning.tuner import SearchOracle
from dgm_tf.waiting import Patience

SERVICE = "dgm_tf.Search"
JOIN, ALIVE = "Join", "Alive"
REASON = "reason-bin"  # of a failed trial, in a call's metadata
GONE_SECONDS = 30.0  # since a worker's last sign of life
_THREADS = 4


class _Worker(NamedTuple):
    token: str  # tells two processes with one name apart
    seen: float


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
        self._lock = threading.Lock()
        self.error: Exception | None = None  # of the oracle

    def serve(self, ip: str, port: str) -> None:
        """Serves until no trial is left and every living worker knows it.

        Raises:
            InputError: it cannot listen there, or no worker is there for half an hour.
        """
        server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS),
            # gRPC would share the port with another search's chief, and mix their workers.
            options=[("grpc.so_reuseport", 0)],
        )
        protos.get_service_grpc().add_OracleServicer_to_server(_Trials(self._oracle, self), server)
        own = {JOIN: self._join, ALIVE: self._alive}
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(_json(method)) for name, method in own.items()
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        try:
            server.add_insecure_port(f"{ip}:{port}")
        except RuntimeError as error:
            raise InputError(
                f"the chief cannot listen at {ip}:{port} ({_checks.reason(error)}); name another "
                "KERASTUNER_ORACLE_PORT"
            ) from error
        server.start()
        try:
            self._wait(f"a worker that asks at {ip}:{port}")
        finally:
            server.stop(grace=2.0).wait()

    def _wait(self, awaited: str) -> None:
        patience = Patience()
        while self._workers or not self._ended:
            if self.error is not None:
                raise self.error
            self._drop_gone()
            if self._workers:
                patience.met()
                time.sleep(0.1)
            else:
                patience.wait(awaited, "start workers, with the chief's flags and their own name")

    def _drop_gone(self) -> None:
        now = time.monotonic()
        with self._lock:
            gone = [name for name, each in self._workers.items() if now - each.seen > GONE_SECONDS]
            for name in gone:
                del self._workers[name]
        for name in gone:
            trial = self._oracle.take_back(name)
            begins = f"; trial {trial} begins again at the next worker that asks" if trial else ""
            self._say(f"{name} has not been heard of for {GONE_SECONDS:g} seconds{begins}")

    # What workers ask.

    def _join(self, name: str, token: str, identity: Mapping[str, Any]) -> Mapping[str, Any]:
        if differing := _checks.differences(self._identity, identity, list(self._identity)):
            return {"refused": "; ".join(differing)}
        with self._lock:
            known = self._workers.get(name)
            if known is not None and known.token != token:
                return {"taken": True}
            if token not in self._ended:
                self._workers[name] = _Worker(token, time.monotonic())
        return {}

    def _alive(self, name: str, token: str) -> Mapping[str, Any]:
        with self._lock:
            if token in self._ended:
                return {"known": True}
            known = self._workers.get(name)
            if known is None or known.token != token:
                return {"known": False}
            self._workers[name] = _Worker(token, time.monotonic())
        return {"known": True}

    def knows_end(self, name: str) -> None:
        """A worker has been told that nothing is left."""
        with self._lock:
            if (known := self._workers.pop(name, None)) is not None:
                self._ended.add(known.token)


class _Trials(OracleServicer):
    """KerasTuner's service, whose workers stay while others still run trials."""

    def __init__(self, oracle: SearchOracle, chief: Chief) -> None:
        super().__init__(oracle)
        self._chief = chief

    def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 (gRPC's name)
        try:
            trial = self.oracle.create_trial(request.tuner_id)
        except Exception as error:
            self._chief.error = error
            raise
        if trial.status == TrialStatus.STOPPED:
            if self.oracle.ongoing_trials:
                trial.status = TrialStatus.IDLE  # A worker may die, and its trial begin again.
            else:
                self._chief.knows_end(request.tuner_id)
        return protos.get_service().CreateTrialResponse(trial=trial.to_proto())

    def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._check(request.trial_id, context)
        return super().GetTrial(request, context)

    def UpdateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._check(request.trial_id, context)
        return super().UpdateTrial(request, context)

    def EndTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        trial_id = request.trial.trial_id
        self._check(trial_id, context)
        for key, reason in context.invocation_metadata():
            if key == REASON:
                self.oracle.reasons[trial_id] = reason.decode()
        return super().EndTrial(request, context)

    def _check(self, trial_id: str, context: Any) -> None:
        # An error inside the oracle would leave its lock taken for ever.
        if trial_id not in self.oracle.trials:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no trial {trial_id}")


def _json(method: Callable[..., Mapping[str, Any]]) -> Callable[[bytes, Any], bytes]:
    """A method of keyword arguments as gRPC calls it."""
    return lambda request, context: json.dumps(method(**json.loads(request))).encode()
