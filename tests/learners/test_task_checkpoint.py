"""A task cut short at any step is resumed to the same bits; `test_bits` has every method."""

import json
import signal

import keras
import numpy as np
import pytest

from dgm_tf.errors import Diverged, InputError
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.storage.checkpoint import Every
from dgm_tf.terminal import stopping
from tests import tiny_phases
from tests.same_state import assert_same_arrays


class Saved:
    """Keeps every checkpoint as a file would."""

    def __init__(self):
        self.by_steps = {}

    def __call__(self, steps, meta, arrays):
        assert steps not in self.by_steps
        self.by_steps[steps] = (json.loads(json.dumps(meta)), arrays)


class Watch(keras.callbacks.Callback):
    """What a callback is told, over all phases."""

    def __init__(self):
        super().__init__()
        self.steps, self.epochs = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append((self.model.phase, self.epoch, batch))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((self.model.phase, epoch, dict(logs)))


def before_the_second_task(state=None):
    stream, learner = tiny_phases.new_stream(), tiny_phases.TinyLearner()
    if state is None:
        tasks = stream.tasks()
        learner.learn(next(tasks))
    else:
        learner.load(*state)
        tasks = stream.tasks(start=2)
    return learner, next(tasks)


def learnt(learner, task, checkpoint):
    watch = Watch()
    history = learner.learn(task, callbacks=[watch, checkpoint])
    return learner.state(), history, watch


def test_a_task_is_resumed_from_every_step():
    learner, task = before_the_second_task()
    before, kept = learner.state(), Saved()
    (_, arrays), history, watch = learnt(learner, task, TaskCheckpoint(kept, Every(steps=1)))
    assert list(kept.by_steps) == list(range(1, len(watch.steps) + 1))
    for steps, found in kept.by_steps.items():
        learner, task = before_the_second_task(before)
        written = Saved()
        checkpoint = TaskCheckpoint(written, Every(steps=1), found=found)
        assert checkpoint.found_steps == steps
        (_, mine), its_history, rest = learnt(learner, task, checkpoint)
        assert its_history == history
        assert_same_arrays(mine, arrays)
        # What was done is not done again, and callbacks see all that is left, epochs' ends too.
        assert rest.steps == watch.steps[steps:]
        assert rest.epochs == watch.epochs[len(watch.epochs) - len(rest.epochs) :]
        done = sum(len(next(iter(phase["history"].values()), ())) for phase in found[0]["phases"])
        assert len(rest.epochs) == len(watch.epochs) - done
        # What is written is what was written before.
        assert list(written.by_steps) == [each for each in kept.by_steps if each > steps]
        for each, (_, again) in written.by_steps.items():
            assert_same_arrays(again, kept.by_steps[each][1])


def test_the_time_of_earlier_processes_counts():
    checkpoint = TaskCheckpoint(Saved(), Every(), found=({"phases": [], "seconds": 100.0}, {}))
    assert 100 <= checkpoint.seconds < 200


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
    learner, task = before_the_second_task()
    kept = Saved()
    learner.learn(task, callbacks=[TaskCheckpoint(kept, every)])
    assert list(kept.by_steps) == expected


def test_a_loss_that_is_no_number_is_never_saved(monkeypatch):
    learner, task = before_the_second_task()
    monkeypatch.setattr(learner, "breaks_at", lambda task, phase: 3)
    kept = Saved()
    with pytest.raises(Diverged, match=r"no finite number \(nan\) in epoch 1 of adversarial"):
        learner.learn(task, callbacks=[TaskCheckpoint(kept, Every(steps=1))])
    assert list(kept.by_steps) == [1, 2, 3]
    for _, arrays in kept.by_steps.values():
        assert all(np.isfinite(array).all() for array in arrays.values())


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
    learner, task = before_the_second_task()
    kept = Saved()
    checkpoint = TaskCheckpoint(kept, Every())
    with stopping.watched(), pytest.raises(stopping.Stopped, match="stopped at step 4") as stopped:
        learner.learn(task, callbacks=[AskToStop(3), checkpoint])
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
    learner, task = before_the_second_task()
    kept = Saved()
    with stopping.watched(), pytest.raises(stopping.Stopped):
        learner.learn(task, callbacks=[AskToStop(1), TaskCheckpoint(kept, Every())])
    (found,) = kept.by_steps.values()
    damage(*found)
    with pytest.raises(InputError, match="delete the checkpoints of the unfinished task"):
        learner.learn(task, callbacks=[TaskCheckpoint(Saved(), Every(), found=found)])
