"""DGM with its accuracy after every epoch: the same bits, and numbers that agree with the run's."""

import numpy as np
import pytest

import dgm_tf
from dgm_tf.reporting.run import read_run
from studies.paper.by_epoch import LOGGED, DGMByEpoch, last_and_best
from trainers import split_digits

SETTINGS = {"preset": "paper", "epochs": 2, "generator_size": 2, "critic_size": 2}


def test_it_learns_what_dgm_learns_and_logs_the_accuracy_of_each_epoch():
    histories = []
    for kind in (DGMByEpoch, dgm_tf.DGM):
        stream = dgm_tf.class_incremental("digits")
        model = kind.from_preset("digits", **SETTINGS)
        model._stream = stream
        for task in stream.tasks(last=2):
            history = model.learn(task, verbose=0)
        accuracy = model.evaluate(stream.seen_test(2))
        histories.append((history, accuracy.average_accuracy, model.generate([0, 1])))
    (mine, accuracy, images), (plain, _, others) = histories
    logged = mine.pop(LOGGED)
    assert len(logged) == 2 and logged[-1] == pytest.approx(accuracy) and mine == plain
    np.testing.assert_array_equal(images, others)


def test_a_run_has_the_last_and_the_best_epoch_of_each_task(tmp_path, capsys):
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    folder = tmp_path / "run"
    flags += ["--method=dgm_by_epoch", "--max_tasks=2", f"--run_dir={folder}", "--nooracle"]
    assert split_digits.main(flags) == 0
    reported = [row["average_accuracy"] for row in read_run(folder).rows]
    found = last_and_best(str(folder))
    assert [task for task, *_ in found] == [1, 2]
    for (_, last, best, epoch), accuracy in zip(found, reported, strict=True):
        assert last == pytest.approx(100 * accuracy, abs=1e-3)
        assert last <= best <= 100 and epoch in (1, 2)
