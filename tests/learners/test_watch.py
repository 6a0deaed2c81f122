"""Training that goes wrong is noticed in its epoch, what was good is kept, and it is retried."""

import json

import numpy as np
import pytest
from dgm_tf.learners.keeper import TaskKeeper

from dgm_tf.errors import Diverged
from dgm_tf.experiments import experiment
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.watch import found_wrong
from dgm_tf.reporting import page
from dgm_tf.storage import checkpoint
from dgm_tf.storage.checkpoint import Every
from dgm_tf.stream import class_incremental
from tests import tiny_phases
from tests.run_content import content

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
    found = found_wrong({**HEALTHY, **changes}, past=past)
    assert found.startswith(wanted) and bool(found) == bool(wanted)


class Breaking(tiny_phases.TinyLearner):
    """Diverges in the first epoch of its second task unless it learns slowly."""

    def breaks_at(self, task, phase):
        return 3 if task == 2 and phase == "adversarial" and self.rate > 0.03 else None


def run(folder, **options):
    return experiment.run(
        tiny_phases.new_stream(),
        Breaking(),
        run_dir=folder,
        settings=tiny_phases.SETTINGS,
        quiet=True,
        **{"checkpoint_every": Every(), **options},
    )


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    monkeypatch.setattr(page, "write_page", lambda folder: None)


@pytest.mark.parametrize("every", [Every(), Every(steps=1)])
def test_a_run_that_diverges_stops_with_one_line_and_keeps_what_was_good(tmp_path, every):
    with pytest.raises(Diverged) as error:
        run(tmp_path, checkpoint_every=every)
    text = str(error.value)
    assert text.startswith("task 2 of 2: ") and "\n" not in text
    assert text.endswith("loss is no finite number (nan) in epoch 1 of adversarial")
    assert "--on_divergence=retry" in text
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["task"] for row in rows] == [1]
    kept = sorted((tmp_path / "checkpoints").glob("unfinished/*"))
    # Three good steps, the last two kept.
    assert [folder.name[-1] for folder in kept] == ([] if every == Every() else ["2", "3"])
    for folder in kept:
        assert all(np.isfinite(array).all() for array in checkpoint.load(folder)[1].values())


def test_a_run_that_diverges_is_retried_at_a_lower_rate(tmp_path, capsys):
    with pytest.raises(Diverged):
        run(tmp_path, checkpoint_every=Every(steps=1))
    rows = run(tmp_path, checkpoint_every=Every(steps=1), on_divergence="retry").rows
    # 0.1, 0.05 and 0.025, of which only the last is slow enough.
    assert rows[1]["learning_rate_factor"] == 0.25 and rows[1]["divergences"] == 2 * [
        "epoch 1 of adversarial"
    ]
    assert "divergences" not in rows[0]
    assert len(rows[1]["history"]["adversarial loss"]) == tiny_phases.EPOCHS
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2 and error[1].endswith("learnt again at 0.25 of the learning rates")


def test_a_retry_that_is_cut_short_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    run(tmp_path / "whole", on_divergence="retry")

    class Killed(BaseException):
        """Stands in for the end of the process."""

    look = TaskKeeper.look

    def killed(self):
        look(self)
        if self.steps == 9:  # no attempt before the last comes that far
            raise Killed

    monkeypatch.setattr(TaskKeeper, "look", killed)
    with pytest.raises(Killed):
        run(tmp_path / "run", on_divergence="retry", checkpoint_every=Every(steps=2))
    monkeypatch.setattr(TaskKeeper, "look", look)
    run(tmp_path / "run", on_divergence="retry")
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_retries_come_to_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(Breaking, "breaks_at", lambda self, task, phase: 0)
    with pytest.raises(Diverged):
        run(tmp_path, on_divergence="retry")
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_dgm_logs_what_its_generator_and_its_critic_do():
    stream = class_incremental("digits", classes_per_task=[2, 1, 7])
    learner = DGM(
        epochs=1, batch_size=32, latent_dim=12, generator_size=2, critic_size=4, replay="full",
        consolidation_steps=0,
    )  # fmt: skip
    tasks = stream.tasks()
    learner.learn(next(tasks))
    second = next(tasks)
    batch = next(iter(second.batches(32, epochs=1, seed=0)))
    for bias, share in ((50.0, 1.0), (-50.0, 0.0)):
        phase = learner.adversarial_phase(second, epochs=1)
        head = phase.critic.class_head
        head.bias.assign(np.array([0.0, 0.0, bias], np.float32))
        logs = phase.train_step(batch)
        assert float(logs["old_as_newest"]) == share
        assert 0.005 < float(logs["sample_spread"]) < 1
    phase = learner.adversarial_phase(second, epochs=1)
    # An output layer of zeros draws one image, whatever the noise.
    for variable in phase.generator.learning_variables():
        if "head" in variable.path:
            variable.assign(np.zeros(variable.shape, np.float32))
    assert float(phase.train_step(batch)["sample_spread"]) == 0.0


def test_dgm_learns_more_slowly_in_a_block_and_is_itself_afterwards():
    learner = DGM(learning_rate=0.2, critic_learning_rate=0.4, consolidation_learning_rate=0.8)
    with learner.slowed(0.5):
        settings = learner.settings
        assert settings.learning_rate == 0.1 and settings.critic_learning_rate == 0.2
        assert settings.consolidation_learning_rate == 0.4
    assert learner.settings.learning_rate == 0.2
