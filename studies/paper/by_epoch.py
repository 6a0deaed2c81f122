"""DGM that logs its accuracy on test images after every epoch: what choosing the best epoch brings.

    DGM_METHODS=studies.paper.by_epoch python -m trainers.split_mnist \
        --method=dgm_by_epoch --preset=paper --run_dir=runs/paper
    python -m studies.paper.by_epoch runs/paper --record

By `--preset=paper` the critic is the classifier, and by the moving averages of its batch norm its
accuracy swings from epoch to epoch. The method `dgm_by_epoch` learns as DGM does, to the bit, and
chooses nothing. The second command prints three accuracies after each task, and adds them to
by_epoch.csv: of the last epoch and of the best one by these averages, and what a run reports, which
is the last epoch after `Critic.calibrate`. The best epoch is chosen by test images of old classes,
so it is no result of a method that may not keep any.
"""

import argparse
import csv
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import dgm_tf
from dgm_tf.evaluation.accuracy import evaluate
from dgm_tf.reporting.run import read_run
from studies.results import BY_EPOCH

METHOD = "dgm_by_epoch"
LOGGED = "test_accuracy"  # A_t after each epoch, 0 to 1: the mean over classes


class _TestAccuracy(keras.callbacks.Callback):
    """Adds the critic's accuracy to what an epoch of the adversarial phase logs."""

    def __init__(self, classes: Sequence[int], test: Iterable[tuple[Any, Any]]):
        super().__init__()
        self._classes = np.asarray(classes)
        self._test = list(test)
        self._logits: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        if self.model.phase == "adversarial":
            shape = tf.TensorSpec([None, *self.model.critic.image_shape])
            self._logits = tf.function(self.model.critic.class_logits, input_signature=[shape])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.model.phase == "adversarial":
            logs[LOGGED] = evaluate(self._classify, self._test).average_accuracy

    def _classify(self, images: np.ndarray) -> np.ndarray:
        return self._classes[np.argmax(self._logits(images), axis=1)]


class DGMByEpoch(dgm_tf.DGM):
    """DGM with `test_accuracy` in the history of each task."""

    method = METHOD

    def __init__(self, settings: Any = None, stream: Any = None, **changes: Any):
        super().__init__(settings, **changes)
        self._stream = stream

    def learn_task(self, task: Any, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        accuracy = _TestAccuracy(self.classes_with(task), self._stream.seen_test(task))
        # First, so that all that keeps or shows an epoch's logs has it.
        return super().learn_task(task, callbacks=[accuracy, *callbacks])


dgm_tf.register_method(
    dgm_tf.Method(
        METHOD,
        "DGM by epoch",
        dgm_tf.DGMSettings,
        DGMByEpoch,
        "DGM that logs its accuracy on test images after every epoch",
        needs_stream=True,
        private=False,
        preset="dgm",
    )
)


def last_and_best(folder: str) -> list[tuple[int, float, float, int, float]]:
    """Returns accuracies in percent, of all classes seen after each task of a run.

    Args:
        folder: of a run of `dgm_by_epoch`.

    Returns:
        The task's number, the accuracy of its last epoch, that of its best epoch, which epoch that
        is, and the accuracy that the run reports.
    """
    rows = []
    for row in read_run(folder).rows:
        by_epoch = row["history"][LOGGED]
        best = int(np.argmax(by_epoch))
        of_epochs = 100 * by_epoch[-1], 100 * by_epoch[best], best + 1
        rows.append((row["task"], *of_epochs, 100 * row["average_accuracy"]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a run of dgm_by_epoch")
    parser.add_argument("--record", action="store_true", help="add the rows to by_epoch.csv")
    given = parser.parse_args()
    settings, found = read_run(given.run).settings, last_and_best(given.run)
    of_run = [settings["variant"], settings["epochs"], settings["seed"]]
    print("task  last epoch  best epoch       reported")
    for task, last, best, epoch, reported in found:
        print(f"{task:4}  {last:10.2f}  {best:10.2f} {f'({epoch})':5}  {reported:7.2f}")
    if given.record:
        with open(BY_EPOCH, "a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [*of_run, task, f"{last:.4f}", f"{best:.4f}", epoch, f"{reported:.4f}"]
                for task, last, best, epoch, reported in found
            )


if __name__ == "__main__":
    main()
