"""A chief and workers in any order: what is said, who is refused, and whose trial begins again.

Threads stand for processes here; `tests/trainers/test_tune.py` has whole ones.
"""

import socket
import threading
import time

import keras_tuner
import pytest
from keras_tuner.engine.trial import TrialStatus

from dgm_tf.devices import waiting
from dgm_tf.errors import InputError
from dgm_tf.tuning import chief, tuner, worker
from dgm_tf.tuning.space import Plan

IDENTITY = {"base": {"epochs": 9}, "tasks": 2}
METRICS = {"objective": 0.5}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(waiting, "_SAID_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(chief, "GONE_SECONDS", 1.0)
    monkeypatch.setattr(worker, "GONE_SECONDS", 1.0)
    monkeypatch.setattr(worker, "_LIVE_SECONDS", 0.1)


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = str(free.getsockname()[1])
    return number


def new_oracle(folder, trials=2, *, kind="random", reload=False):
    plan = Plan(tuner=kind, trials=trials, factor=2, halvings=1)
    oracle = tuner.new_oracle(plan, seed=1)
    oracle.verbose = 0
    space = keras_tuner.HyperParameters()
    space.Float("sparsity", 0.1, 1.0)
    oracle.update_space(space)
    oracle._set_project_dir(str(folder), "trials")
    if reload:
        oracle.reload()
    return oracle


class Serving:
    """A chief in a thread."""

    def __init__(self, oracle, port):
        self.said, self.error = [], None
        self._thread = threading.Thread(target=self._serve, args=(oracle, port), daemon=True)
        self._thread.start()

    def _serve(self, oracle, port):
        try:
            chief.Chief(oracle, IDENTITY, self.said.append).serve(f"127.0.0.1:{port}")
        except Exception as error:
            self.error = error

    def ended(self, seconds=20):
        self._thread.join(seconds)
        return not self._thread.is_alive()


def link(port, name="worker1", identity=None, is_finished=lambda: False):
    return worker.Link(f"127.0.0.1:{port}", name, identity or IDENTITY, is_finished)


def work(port, name="worker1", *, failing=()):
    """Runs trials until nothing is left, as KerasTuner's tuner does; the numbers of those run."""
    ran, way = [], link(port, name)
    with way.joined():
        client = worker.Client(way)
        while (trial := client.create_trial(name)).status != TrialStatus.STOPPED:
            ran.append(int(trial.trial_id) + 1)
            if ran[-1] in failing:
                trial.status, trial.message = TrialStatus.FAILED, "out of memory, ü"
            else:
                client.update_trial(trial.trial_id, METRICS)
                trial.status = TrialStatus.COMPLETED
            client.end_trial(trial)
    return ran


def all_completed(oracle):
    return [trial.status for trial in oracle.trials.values()] == ["COMPLETED"] * len(oracle.trials)


def test_a_worker_that_starts_first_says_whom_it_waits_for_and_then_works(tmp_path, port, capfd):
    oracle, ran = new_oracle(tmp_path), []
    first = threading.Thread(target=lambda: ran.extend(work(port)))
    first.start()
    time.sleep(0.6)
    serving = Serving(oracle, port)
    first.join(20)
    assert serving.ended() and serving.error is None
    assert ran == [1, 2] and all_completed(oracle)
    assert f"waiting for the chief at 127.0.0.1:{port}, for up to" in capfd.readouterr().err


def test_a_chief_without_workers_says_so_and_has_a_limit(tmp_path, port, monkeypatch, capfd):
    monkeypatch.setattr(waiting, "LIMIT_SECONDS", 0.5)
    serving = Serving(new_oracle(tmp_path), port)
    assert serving.ended()
    assert "waited 0.5 seconds for a worker that asks at 127.0.0.1" in str(serving.error)
    assert "waiting for a worker" in capfd.readouterr().err


def test_a_chief_ends_where_the_last_worker_has_died_after_the_last_trial(tmp_path, port):
    oracle = new_oracle(tmp_path, trials=1)
    serving, way = Serving(oracle, port), link(port)
    with way.joined():
        client = worker.Client(way)
        trial = client.create_trial("worker1")
        client.update_trial(trial.trial_id, METRICS)
        trial.status = TrialStatus.COMPLETED
        client.end_trial(trial)
    # It has not asked for the next one.
    assert serving.ended() and serving.error is None and all_completed(oracle)


def test_a_finished_search_needs_no_worker(tmp_path, port):
    oracle = new_oracle(tmp_path, trials=1)
    serving = Serving(oracle, port)
    assert work(port) == [1] and serving.ended()
    assert Serving(new_oracle(tmp_path, trials=1, reload=True), port).ended(5)


def test_a_worker_of_a_folder_that_is_gone_is_told(tmp_path, port):
    serving, way = Serving(new_oracle(tmp_path), port), link(port)
    with way.joined():
        with pytest.raises(InputError, match="127.0.0.1:.*it knows no trial 8"):
            worker.Client(way).update_trial("7", METRICS)
    assert work(port) == [1, 2] and serving.ended()


def test_a_worker_without_a_chief_has_a_limit(port, monkeypatch):
    monkeypatch.setattr(waiting, "LIMIT_SECONDS", 0.5)
    with pytest.raises(InputError, match="waited 0.5 seconds for the chief at 127.0.0.1:"):
        work(port)


def test_a_worker_that_comes_after_the_end_is_told_by_the_folder(port):
    with pytest.raises(worker.NothingLeft), link(port, is_finished=lambda: True).joined():
        pass


def test_a_worker_with_other_flags_is_refused_and_the_search_continues(tmp_path, port):
    serving = Serving(new_oracle(tmp_path), port)
    other = {"base": {"epochs": 8}, "tasks": 2}
    with (
        pytest.raises(
            InputError,
            match="the chief at 127.0.0.1:.*another search: base.epochs is 9 there, 8 here",
        ),
        link(port, identity=other).joined(),
    ):
        pass
    assert work(port) == [1, 2]
    assert serving.ended() and serving.error is None


def test_a_second_worker_with_a_name_is_refused(tmp_path, port, monkeypatch):
    serving = Serving(new_oracle(tmp_path), port)
    with link(port).joined(), monkeypatch.context() as patched:
        patched.setattr(worker, "GONE_SECONDS", -14.0)  # so that a second passes
        with (
            pytest.raises(InputError, match="called worker1.*name another KERASTUNER_TUNER_ID"),
            link(port).joined(),
        ):
            pass
    assert work(port) == [1, 2]  # Its name is free again once it has gone.
    assert serving.ended()


def test_the_trial_of_a_worker_that_died_begins_again_at_another(tmp_path, port):
    oracle = new_oracle(tmp_path)
    serving = Serving(oracle, port)
    way = link(port, "dead")
    with way.joined():
        client = worker.Client(way)
        assert client.create_trial("dead").trial_id == "0"
    # The other one waits for it, and does not leave before.
    assert sorted(work(port, "alive")) == [1, 2]
    assert serving.ended() and all_completed(oracle) and len(oracle.trials) == 2
    assert any("dead has not been heard of" in line for line in serving.said)
    assert any("trial 1 begins again" in line for line in serving.said)


def test_a_result_that_comes_twice_is_counted_once(tmp_path, port):
    oracle = new_oracle(tmp_path)
    serving = Serving(oracle, port)
    way = link(port)
    with way.joined():
        client = worker.Client(way)
        trial = client.create_trial("worker1")
        oracle.take_back("worker1")  # It was thought dead.
        client.update_trial(trial.trial_id, METRICS)
        trial.status = TrialStatus.COMPLETED
        client.end_trial(trial)
        client.end_trial(trial)
        assert client.create_trial("worker1").trial_id == "1"
        oracle.take_back("worker1")
    assert work(port, "worker2") == [2]
    assert serving.ended() and oracle.end_order == ["0", "1"]


def test_a_chief_that_was_started_again_knows_its_workers_and_their_trials(tmp_path, port):
    before = new_oracle(tmp_path)
    before.create_trial("worker1")
    before.create_trial("worker2")  # Then the chief is killed.
    after = new_oracle(tmp_path, reload=True)
    serving = Serving(after, port)
    assert work(port) == [1, 2]
    assert serving.ended() and all_completed(after) and len(after.trials) == 2


def test_the_reason_of_a_failure_comes_with_it(tmp_path, port):
    oracle = new_oracle(tmp_path)
    serving = Serving(oracle, port)
    work(port, failing={2})
    assert serving.ended()
    assert oracle.trials["1"].message == "out of memory, ü"
    assert new_oracle(tmp_path, reload=True).trials["1"].message == "out of memory, ü"


def test_an_error_of_the_oracle_ends_the_chief(tmp_path, port, monkeypatch):
    oracle = new_oracle(tmp_path)
    populate_space = oracle.populate_space

    def fails(trial_id):
        if trial_id == "1":
            raise ArithmeticError("no such inverse")
        return populate_space(trial_id)

    monkeypatch.setattr(oracle, "populate_space", fails)
    serving = Serving(oracle, port)
    with pytest.raises(InputError, match="fails: .*no such inverse"):
        work(port)
    assert serving.ended() and isinstance(serving.error, ArithmeticError)


@pytest.mark.parametrize("kind", ["hyperband", "bayesian"])
def test_every_tuner_hands_out_the_trials_that_one_process_would_run(tmp_path, port, kind):
    def names(oracle):
        return [trial.hyperparameters.values for trial in oracle.trials.values()]

    alone, shared = (new_oracle(tmp_path / name, 5, kind=kind) for name in ("alone", "shared"))
    while (trial := alone.create_trial("only")).status != TrialStatus.STOPPED:
        alone.update_trial(trial.trial_id, METRICS)
        trial.status = TrialStatus.COMPLETED
        alone.end_trial(trial)
    serving = Serving(shared, port)
    assert len(work(port)) == len(alone.trials) > 3
    assert serving.ended() and names(shared) == names(alone)


def test_a_last_sign_of_life_of_a_worker_that_has_ended_does_not_keep_the_chief(tmp_path):
    oracle, me = new_oracle(tmp_path, trials=1), {"name": "worker1", "token": "its own"}
    served = chief.Chief(oracle, IDENTITY, print)

    def ask(method, **given):
        return served._answer({**me, "identity": IDENTITY, "method": method, "given": given})

    trial = ask("create_trial")["trial"]
    ask("update_trial", trial_id=trial["trial_id"], metrics=METRICS)
    ask("end_trial", trial={**trial, "status": "COMPLETED"})
    assert [*served._workers] == ["worker1"]
    assert ask("create_trial")["trial"]["status"] == "STOPPED"
    assert ask("live") == {} and not served._workers
