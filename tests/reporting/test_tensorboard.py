"""The logs of a run for TensorBoard, read back from its files."""

import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.reporting import tensorboard
from dgm_tf.reporting.tensorboard import TensorBoardLog
from tests.reporting.example import row, write_run


def events(folder):
    """(tag, step, value's proto) of every file in the folder, by step."""
    found = []
    for path in folder.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found += [(value.tag, event.step, value) for value in event.summary.value]
    return sorted(found, key=lambda event: event[1])


def scalars(folder, tag):
    return [
        (step, float(tf.make_ndarray(value.tensor)))
        for found, step, value in events(folder)
        if found == tag
    ]


class Phase(keras.Model):
    """Stands in for a training phase: a name and a generator with one mask."""

    phase = "adversarial"

    def __init__(self):
        super().__init__()
        layer = types.SimpleNamespace(name="block_1", embedding=np.array([-2.0, 1.0, 0.0, 3.0]))
        self.generator = types.SimpleNamespace(blocks=[layer])


def learn(log, *, losses, steps=5):
    log.set_model(Phase())
    log.set_params({"epochs": len(losses), "steps": steps})
    for epoch, loss in enumerate(losses):
        for batch in range(steps):
            log.on_train_batch_end(batch, {"critic_loss": loss})
        log.on_epoch_end(epoch, {"critic_loss": loss})


@pytest.fixture
def logged(tmp_path):
    folder = write_run(tmp_path / "run", [row(1)], samples=[1])
    log = TensorBoardLog(folder / "tensorboard", {"seed": 3})
    first = log.task(1, steps_before=0)
    learn(first, losses=[0.5, 0.25])
    finished = row(1)
    finished["layers"] = [{"layer": "block_1", "units": 5}]
    first.finish(finished, folder / "samples" / "task-01.png", ["cat"])
    return log


def test_epochs_are_logged_at_their_training_step(logged):
    second = logged.task(2, steps_before=10)
    learn(second, losses=[0.125])
    second.finish(row(2, layers=[], audit={"1": 7}), None)
    assert scalars(logged.folder, "adversarial/critic_loss") == [(5, 0.5), (10, 0.25), (15, 0.125)]
    assert scalars(logged.folder, "task/audit_differing_pixels") == [(2, 7)]


def test_a_task_leaves_its_measures_picture_and_masks(logged):
    accuracy = pytest.approx(0.99)
    assert scalars(logged.folder, "task/A_t") == [(1, accuracy)]
    assert scalars(logged.folder, "class_accuracy/cat") == [(1, accuracy)]
    assert scalars(logged.folder, "units/block_1") == [(1, 5)]
    assert scalars(logged.folder, "mask_density/block_1") == [(5, 0.75), (10, 0.75)]
    tags = {tag: value for tag, _, value in events(logged.folder)}
    width, height, *_ = tf.make_ndarray(tags["samples"].tensor)
    assert int(height) == 8 * 2 + 2 + 2 and int(width) > 10 * 18
    histogram = tf.make_ndarray(tags["mask_embedding/block_1"].tensor)
    assert histogram[:, 2].sum() == 4


def hparams(folder):
    """The content that the HParams plug-in finds in the folder."""
    return [
        value.metadata.plugin_data.content
        for _, _, value in events(folder)
        if value.metadata.plugin_data.plugin_name == "hparams"
    ]


def test_settings_are_written_once_by_whichever_task_opens_first(tmp_path):
    def learn_task(task):
        # A log of its own, as in a process that resumes the run.
        settings = {"seed": 3, "replay": "full", "none": None}
        log = TensorBoardLog(tmp_path, settings).task(task, steps_before=0)
        log.finish(row(task, layers=[]), None)

    for task in (3, 3, 4):
        learn_task(task)
        (plugin,) = hparams(tmp_path)
        for text in (b"seed", b"replay", b"full", b"None"):
            assert text in plugin


def test_fit_writes_nothing_until_an_epoch_ends(tmp_path, monkeypatch):
    written = []
    for kind in ("scalar", "histogram", "image"):
        monkeypatch.setattr(tf.summary, kind, lambda name, *_, **__: written.append(name))
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    counts = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: counts.append(len(written)),
        on_epoch_end=lambda *_, **__: counts.append(len(written)),
    )
    log = TensorBoardLog(tmp_path, {}).task(2, steps_before=0)
    written.clear()  # of the settings
    data = np.zeros((6, 2), np.float32), np.zeros((6, 1), np.float32)
    model.fit(*data, batch_size=2, epochs=2, verbose=0, callbacks=[log, watch])
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2] and set(written) == {"training/loss"}


def test_an_attempt_cut_short_leaves_nothing_behind(logged):
    cut_short = logged.task(2, steps_before=10)
    learn(cut_short, losses=[9.0])
    cut_short._writer.close()
    again = logged.task(2, steps_before=10)
    learn(again, losses=[0.125])
    again.finish(row(2, layers=[]), None)
    assert scalars(logged.folder, "adversarial/critic_loss") == [(5, 0.5), (10, 0.25), (15, 0.125)]


def test_epochs_that_an_earlier_process_has_finished_are_written_again(tmp_path):
    log = TensorBoardLog(tmp_path, {}).task(1, steps_before=0)
    log.set_params({"epochs": 3, "steps": 5})
    # A phase that was finished is run for no epoch; the next one begins with its last.
    for finished, resumed in (([3.0, 2.0, 1.0], []), ([0.5, 0.25], [0.125])):
        model = Phase()
        model.history = types.SimpleNamespace(history={"critic_loss": finished})
        log.set_model(model)
        log.on_train_begin()
        for epoch, loss in enumerate(resumed, start=len(finished)):
            log.on_epoch_end(epoch, {"critic_loss": loss})
        log.on_train_end()
    log.finish(row(1, layers=[]), None)
    expected = list(zip(range(5, 35, 5), [3.0, 2.0, 1.0, 0.5, 0.25, 0.125], strict=True))
    assert scalars(tmp_path, "adversarial/critic_loss") == expected


def test_without_the_package_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.hparams.api", None)
    with pytest.raises(InputError, match="pip install tensorboard") as error:
        tensorboard.check_installed()
    assert "\n" not in str(error.value)
