"""DGM with its accuracy after every epoch: the same bits, and numbers that agree with the run's."""

import numpy as np
import pytest

import dgm_tf
from dgm_tf.networks import Critic
from dgm_tf.reporting.run import read_run
from studies.paper.by_epoch import LOGGED, DGMByEpoch, last_and_best
from trainers import split_digits

SETTINGS = {"preset": "paper", "epochs": 2, "generator_size": 2, "critic_size": 2}


def learnt(kind, tasks=2):
    """A learner, its last history and its accuracy on test images of all classes seen."""
    stream = dgm_tf.class_incremental("digits")
    model = kind.from_preset("digits", **SETTINGS)
    model._stream = stream
    for task in stream.tasks(last=tasks):
        history = model.learn(task, verbose=0)
    return model, history, model.evaluate(stream.seen_test(tasks)).average_accuracy


def test_it_learns_what_dgm_learns():
    (one, history, accuracy), (other, plain, same) = map(learnt, (DGMByEpoch, dgm_tf.DGM))
    assert len(history.pop(LOGGED)) == 2 and history == plain and accuracy == same
    np.testing.assert_array_equal(one.generate([0, 1]), other.generate([0, 1]))


def test_the_accuracy_of_an_epoch_is_that_of_the_critic_as_it_stands(monkeypatch):
    monkeypatch.setattr(Critic, "calibrate", lambda critic, images: None)
    _, history, accuracy = learnt(DGMByEpoch)
    assert history[LOGGED][-1] == pytest.approx(accuracy)


def test_a_run_has_the_last_and_the_best_epoch_of_each_task(tmp_path):
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    folder = tmp_path / "run"
    flags += ["--method=dgm_by_epoch", "--max_tasks=2", f"--run_dir={folder}", "--nooracle"]
    assert split_digits.main(flags) == 0
    rows = read_run(folder).rows
    found = last_and_best(str(folder))
    assert [task for task, *_ in found] == [1, 2]
    for row, (_, last, best, epoch, reported) in zip(rows, found, strict=True):
        assert reported == pytest.approx(100 * row["average_accuracy"], abs=1e-3)
        by_epoch = row["history"][LOGGED]
        assert (last, best) == (100 * by_epoch[-1], 100 * max(by_epoch))
        assert by_epoch[epoch - 1] == max(by_epoch)
