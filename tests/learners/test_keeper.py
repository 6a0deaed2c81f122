"""A task cut short at any step goes on to the same bits, whatever the method."""

import json
import signal

import keras
import numpy as np
import pytest

from dgm_tf import stopping
from dgm_tf.errors import InputError
from dgm_tf.experiments.experiment import new_learner
from dgm_tf.learners.keeper import TaskKeeper
from dgm_tf.settings import settings_for
from dgm_tf.storage.checkpoint import Every
from dgm_tf.stream import class_incremental
from tests import tiny_phases
from tests.layers.layer_check import bits

TINY = {
    "epochs": 3,
    "batch_size": 32,
    "critic_size": 4,
    "consolidation_steps": 20,
    "consolidation_batch": 16,
}
TINY_GAN = {**TINY, "latent_dim": 16, "generator_size": 2, "replay_buffer": 64}
# Every method, and what of DGM's state not all of its variants have.
CASES = {
    "dgm w": ("dgm", {**TINY_GAN, "steps_per_execution": 5}),
    "dgm a": (
        "dgm",
        {
            **TINY_GAN,
            "variant": "a",
            "replay": "full",
            "critic_norm": "batch",
            "consolidation_real_share": 0.3,
            "consolidation_start": "new",
            "distillation_share": 0.5,
            "output_follows_width": True,
            "rate_decay": "none",
            "class_updates": 2,
            "classifier_average": 0.9,
        },
    ),
    "joint": ("joint", {**TINY, "classifier_average": 0.9}),
    "joint_gan": ("joint_gan", TINY_GAN),
    "fine_tune": ("fine_tune", {**TINY_GAN, "critic_steps": 2}),
    "ewc": ("ewc", {**TINY_GAN, "fisher_samples": 16}),
    "dgr": ("dgr", TINY_GAN),
    "mergan_jtr": ("mergan_jtr", TINY_GAN),
    "mergan_ra": ("mergan_ra", TINY_GAN),
}


class Saved:
    """Keeps every checkpoint as a file would."""

    def __init__(self):
        self.by_steps = {}

    def __call__(self, steps, meta, arrays):
        assert steps not in self.by_steps
        self.by_steps[steps] = (json.loads(json.dumps(meta)), arrays)


class Watch(keras.callbacks.Callback):
    """What a callback is told, all calls of `fit` together; a phase's last epoch apart."""

    def __init__(self):
        super().__init__()
        self.steps, self.epochs = 0, []

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((self.model.phase, epoch, self.steps, dict(logs)))


def new_stream():
    return class_incremental("digits", classes_per_task=[2, 4, 4])


def tiny_before_the_second_task(state=None):
    stream = tiny_phases.new_stream()
    if state is None:
        learner, tasks = tiny_phases.TinyLearner(), stream.tasks()
        learner.learn(next(tasks))
    else:
        learner, tasks = tiny_phases.TinyLearner.from_state(*state), stream.tasks(start=2)
    return learner, next(tasks)


def learner_before_the_second_task(case, state=None):
    method, changes = CASES[case]
    stream = new_stream()
    learner = new_learner(method, settings_for("digits", method=method, **changes), stream)
    if state is None:
        tasks = stream.tasks()
        learner.learn(next(tasks))
    else:
        tasks = stream.tasks(start=2)
        learner = learner.restored(*state)
    return learner, next(tasks)


def learnt(learner, task, keeper):
    watch = Watch()
    history = learner.learn(task, callbacks=[watch, keeper])
    return learner.state(), history, watch.steps, watch.epochs


def assert_same(found, wanted):
    (meta, arrays), *rest = found
    (wanted_meta, wanted_arrays), *wanted_rest = wanted
    assert rest == wanted_rest and meta == wanted_meta
    assert arrays.keys() == wanted_arrays.keys()
    for name, value in wanted_arrays.items():
        np.testing.assert_array_equal(bits(arrays[name]), bits(value), err_msg=name)


# One with every kind of state, and one with a frozen copy; the others take a minute.
@pytest.mark.parametrize(
    "case",
    [
        case if case in ("dgm a", "mergan_ra") else pytest.param(case, marks=pytest.mark.slow)
        for case in CASES
    ],
)
def test_every_method_goes_on_from_a_checkpoint_to_the_same_bits(case):
    learner, task = learner_before_the_second_task(case)
    before = learner.state()
    kept = Saved()
    whole = learnt(learner, task, TaskKeeper(kept, Every(steps=1)))
    calls = whole[2]
    assert len(kept.by_steps) == calls
    assert max(kept.by_steps) == 3 * task.steps_per_epoch(32) + 20
    # Within an epoch, and at the end.
    for steps in sorted(kept.by_steps)[:: calls // 2][1:]:
        learner, task = learner_before_the_second_task(case, before)
        keeper = TaskKeeper(Saved(), Every(), found=kept.by_steps[steps])
        assert keeper.found_steps == steps
        assert_same(learnt(learner, task, keeper), whole)


def test_a_task_goes_on_from_every_step():
    learner, task = tiny_before_the_second_task()
    before = learner.state()
    kept = Saved()
    whole = learnt(learner, task, TaskKeeper(kept, Every(steps=1)))
    assert list(kept.by_steps) == list(range(1, whole[2] + 1))
    for steps, found in kept.by_steps.items():
        learner, task = tiny_before_the_second_task(before)
        written = Saved()
        assert_same(learnt(learner, task, TaskKeeper(written, Every(steps=1), found=found)), whole)
        # What was done is not done again, and what is written is what was written before.
        assert list(written.by_steps) == [each for each in kept.by_steps if each > steps]
        for each, (_, arrays) in written.by_steps.items():
            for name, value in kept.by_steps[each][1].items():
                np.testing.assert_array_equal(bits(arrays[name]), bits(value), err_msg=name)


def test_a_phase_is_concluded_once_whatever_is_played_back(monkeypatch):
    """After its last step, as the checkpoints of a finished phase have it; twice is not once."""

    class Concluding(tiny_phases.TablePhase):
        def conclude(self):
            assert not self.played_back
            self.table.rows.assign(0.5 * self.table.rows + 0.1)

    learner, task = tiny_before_the_second_task()
    before = learner.state()
    plain = learnt(learner, task, TaskKeeper(Saved(), Every()))
    monkeypatch.setattr(tiny_phases, "TablePhase", Concluding)
    learner, task = tiny_before_the_second_task(before)
    kept = Saved()
    keeper = TaskKeeper(kept, Every(steps=1))
    whole = learnt(learner, task, keeper)
    assert np.all(whole[0][1]["rows"] != plain[0][1]["rows"])
    # After the last step the last phase is not concluded; at the end it is.
    ended = Saved()
    keeper._save = ended
    keeper.save()
    (end,) = ended.by_steps.values()
    assert [phase["finished"] for phase in end[0]["phases"]] == [True, True]
    for found in (*kept.by_steps.values(), end):
        learner, task = tiny_before_the_second_task(before)
        assert_same(learnt(learner, task, TaskKeeper(Saved(), Every(), found=found)), whole)


def test_the_time_of_earlier_processes_counts():
    keeper = TaskKeeper(Saved(), Every(), found=({"phases": [], "seconds": 100.0}, {}))
    assert 100 <= keeper.seconds < 200


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (Every(steps=7), [7, 14]),
        (Every(seconds=1e-9), list(range(1, 21))),
        (Every(seconds=1e9), []),
        (Every(), []),
    ],
)
def test_checkpoints_are_written_as_often_as_asked_for(every, expected):
    learner, task = tiny_before_the_second_task()
    kept = Saved()
    learner.learn(task, callbacks=[TaskKeeper(kept, every)])
    assert list(kept.by_steps) == expected


class AskToStop(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self._left = step

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if not self._left:
            assert stopping.request(signal.SIGTERM)
            assert not stopping.request(signal.SIGTERM)  # the second time is the caller's affair


def test_a_run_that_is_asked_to_stop_does_so_at_its_next_step_with_a_checkpoint():
    learner, task = tiny_before_the_second_task()
    kept = Saved()
    keeper = TaskKeeper(kept, Every())
    with stopping.watched(), pytest.raises(stopping.Stopped, match="stopped at step 4") as stopped:
        learner.learn(task, callbacks=[AskToStop(3), keeper])
    assert stopped.value.exit_code == 143
    assert list(kept.by_steps) == [4]
    assert not stopping.requested() and not stopping.request(signal.SIGINT)


@pytest.mark.parametrize(
    "damage",
    [
        lambda meta, arrays: meta["phases"][0].update(phase="another"),
        lambda meta, arrays: arrays.pop("0/networks/table/0"),
        lambda meta, arrays: arrays.update({"0/step/0": np.zeros(3, np.int64)}),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(damage):
    learner, task = tiny_before_the_second_task()
    kept = Saved()
    with stopping.watched(), pytest.raises(stopping.Stopped):
        learner.learn(task, callbacks=[AskToStop(1), TaskKeeper(kept, Every())])
    (found,) = kept.by_steps.values()
    damage(*found)
    with pytest.raises(InputError, match="delete the checkpoints of the unfinished task"):
        learner.learn(task, callbacks=[TaskKeeper(Saved(), Every(), found=found)])
