"""Training that goes wrong is noticed in its epoch, and what was good is kept."""

import contextlib

import numpy as np
import pytest

from dgm_tf.data.stream import class_incremental
from dgm_tf.errors import Diverged
from dgm_tf.experiments.options import QUIET, RunOptions
from dgm_tf.experiments.run import Run
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.watch import NumbersWatch, found_wrong
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage import checkpoint
from dgm_tf.storage.checkpoint import Every
from tests import tiny_phases
from tests.same_state import assert_same_state

HEALTHY = {"critic_loss": -3.0, "sample_spread": 0.2, "old_as_newest": 0.3}


@pytest.mark.parametrize(
    ("changes", "past", "wanted"),
    [
        ({}, 0.9, ""),
        ({"critic_loss": np.nan}, 0.0, "critic_loss is no finite number (nan)"),
        ({"penalty": -np.inf}, 0.0, "penalty is no finite number (-inf)"),
        ({"penalty": 1e12}, 0.0, "penalty has exploded to 1e+12"),
        ({"penalty": 1e3}, 0.0, ""),
        ({"sample_spread": 0.001}, 0.2, "the generator has collapsed: its images differ by 0.001"),
        ({"sample_spread": 0.0}, 0.1, ""),  # of a generator that has just begun
        ({"sample_spread": 0.02}, 0.5, ""),
        ({"old_as_newest": 1.0}, 0.5, "the critic calls 100 % of old classes' images the newest"),
        ({"old_as_newest": 1.0}, 0.1, ""),  # of a critic that has just begun
        ({"old_as_newest": 0.9}, 0.5, ""),
    ],
)
def test_what_is_wrong_with_an_epoch_is_said(changes, past, wanted):
    found = found_wrong({**HEALTHY, **changes}, past=past, real_spread=lambda: 0.2)
    assert found.startswith(wanted) and bool(found) == bool(wanted)


@pytest.mark.parametrize(("levels", "collapsed"), [(1, False), (3, False), (100, True)])
def test_images_as_alike_as_the_real_ones_are_no_collapse(levels, collapsed):
    images = np.random.RandomState(0).randint(0, levels, [64, 16, 16, 1]).astype(np.uint8)
    stream = class_incremental((images, np.arange(64) % 2, images, np.arange(64) % 2))
    watch = NumbersWatch(next(iter(stream)))
    watch.set_params({"epochs": 10})
    watch.on_epoch_end(9, HEALTHY)
    with contextlib.nullcontext() if not collapsed else pytest.raises(Diverged, match="real ones"):
        watch.on_epoch_end(9, {**HEALTHY, "sample_spread": 0.0008})


class Breaking(tiny_phases.TinyLearner):
    """Diverges in the first epoch of its second task."""

    def breaks_at(self, task, phase):
        return 3 if task == 2 and phase == "adversarial" else None


def run(folder, every):
    options = RunOptions(str(folder), oracle=False, checkpoint_every=every, verbosity=QUIET)
    Run(tiny_phases.new_stream(), Breaking(), options).run()


def test_a_task_that_diverges_outside_of_a_run_is_not_kept():
    learner, tasks = Breaking(), iter(tiny_phases.new_stream())
    learner.learn(next(tasks), verbose=0)
    before = learner.state()
    with pytest.raises(Diverged, match="loss is no finite number"):
        learner.learn(next(tasks), verbose=0)
    assert_same_state(learner.state(), before)


@pytest.mark.usefixtures("no_page")
@pytest.mark.parametrize("every", [Every(), Every(steps=1)])
def test_a_run_that_diverges_stops_with_one_line_and_keeps_what_was_good(tmp_path, every):
    with pytest.raises(Diverged) as error:
        run(tmp_path, every)
    text = str(error.value)
    assert text.startswith("task 2 of 2: ") and "\n" not in text
    assert text.endswith("loss is no finite number (nan) in epoch 1 of adversarial")
    assert f"the last good state is kept in {tmp_path}" in text
    assert [row["task"] for row in RunFolder(tmp_path).rows()] == [1]
    kept = sorted((tmp_path / "checkpoints").glob("unfinished/*"))
    # Three good steps, the last two kept.
    assert [folder.name[-1] for folder in kept] == ([] if every == Every() else ["2", "3"])
    for folder in kept:
        assert all(np.isfinite(array).all() for array in checkpoint.load(folder)[1].values())


def test_dgm_logs_what_its_generator_and_its_critic_do():
    stream = class_incremental("digits", classes_per_task=[2, 1, 7])
    learner = DGM(
        epochs=1, batch_size=32, latent_dim=12, generator_size=2, critic_size=4, replay="full",
        consolidation_steps=0,
    )  # fmt: skip
    tasks = stream.tasks()
    history = learner.learn(next(tasks))
    assert "old_as_newest" not in history and history["sample_spread"][0] > 0
    second = next(tasks)
    batch = next(iter(second.batches(32, epochs=1, seed=0)))
    for bias, share in ((50.0, 1.0), (-50.0, 0.0)):
        phase = learner.adversarial_phase(second, epochs=1, steps_per_epoch=1)
        head = phase.critic.class_head
        head.bias.assign(np.array([0.0, 0.0, bias], np.float32))
        logs = phase.train_step(batch)
        assert float(logs["old_as_newest"]) == share
        assert 0.005 < float(logs["sample_spread"]) < 1
    phase = learner.adversarial_phase(second, epochs=1, steps_per_epoch=1)
    # An output layer of zeros draws one image, whatever the noise.
    for variable in phase.generator.learning_variables():
        if "head" in variable.path:
            variable.assign(np.zeros(variable.shape, np.float32))
    assert float(phase.train_step(batch)["sample_spread"]) == 0.0
