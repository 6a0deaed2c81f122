"""What a lever is measured by: held-out images, and the settings that it names."""

import json

import numpy as np
import pytest

from dgm_tf.data.stream import TaskStream
from dgm_tf.methods import registry
from studies.accuracy import levers

CHANGE = (
    "steps=2,epochs=1,generator_size=2,critic_size=2,latent_dim=16,consolidation_steps=2,"
    "adversarial_loss=wasserstein"
)


class Recogniser:
    """An oracle that takes everything for class 3, by four features of the brightness."""

    @staticmethod
    def of(stream):
        return Recogniser()

    def classify(self, images):
        return np.full(len(images), 3)

    def features(self, images):
        return images.reshape(len(images), -1)[:, 100:104].astype(np.float64)


def test_a_lever_is_measured_on_held_out_images_alone(tmp_path, monkeypatch, capsys):
    doors, used = [], []
    door = TaskStream.seen_validation
    monkeypatch.setattr(levers, "Oracle", Recogniser)
    monkeypatch.setattr(levers, "_STEPS", 2)
    monkeypatch.setattr(TaskStream, "seen_test", lambda *arguments: pytest.fail("test images"))
    monkeypatch.setattr(
        TaskStream, "seen_validation", lambda self, task: doors.append(task) or door(self, task)
    )
    new_learner = registry.new_learner

    def noted(method, settings, stream):
        used.append((method, settings))
        return new_learner(method, settings, stream)

    monkeypatch.setattr(registry, "new_learner", noted)
    rows = tmp_path / "new" / "rows.jsonl"
    levers.main(["--dataset=digits", f"--change={CHANGE}", "--seed=5", f"--rows={rows}"])
    row = json.loads(rows.read_text())
    assert row == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (row["dataset"], row["change"], row["seed"]) == ("digits", CHANGE, 5)
    assert len(row["accuracy"]) == len(row["seconds"]) == 4 and row["accuracy"][0] == 100
    assert len(row["taught"]) == 3 and row["recognised"] == [100, 0, 0, 0]
    assert len(doors) == 5 and row["parameters"] > 0
    ((method, settings),) = used
    assert method == row["method"] == "dgm"
    assert (settings.seed, settings.epochs, settings.generator_size) == (5, 1, 2)
    assert settings.details.adversarial_loss == "wasserstein"
    assert settings.details.critic_norm == "none"


def test_joint_training_has_an_accuracy_and_no_images(tmp_path):
    change = "--change=epochs=1,critic_size=2,consolidation_steps=2"
    rows = tmp_path / "rows.jsonl"
    levers.main(["--dataset=digits", "--method=joint", change, "--tasks=2", f"--rows={rows}"])
    row = json.loads(rows.read_text())
    assert row["method"] == "joint" and len(row["accuracy"]) == 2 and "taught" not in row
