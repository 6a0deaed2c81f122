"""What the comparison rests on: without protection old classes are lost, with masks none is."""

import itertools

import pytest

from dgm_tf.data.stream import class_incremental
from dgm_tf.evaluation.memory_audit import compare, remember
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.registry import new_learner

pytestmark = pytest.mark.slow

TASKS = 4
SMALL = {
    "epochs": 120, "learning_rate": 6e-3, "critic_learning_rate": 6e-3, "generator_size": 8,
    "critic_size": 8, "latent_dim": 32, "consolidation_steps": 60,
}  # fmt: skip


def learnt(method, folder):
    """A_t after four classes, and the differing share of the pixels of each earlier task."""
    stream = class_incremental("digits")
    learner = new_learner(method, settings_for("digits", method=method, **SMALL), stream)
    records = {}
    for task in itertools.islice(stream, TASKS):
        learner.learn(task)
        found = {task: compare(record, learner.generate) for task, record in records.items()}
        records[task.index] = remember(folder, task.index, task.classes, learner.generate)
    accuracy = learner.evaluate(stream.seen_test(TASKS)).average_accuracy
    return accuracy, {earlier: each.pixels / each.of for earlier, each in found.items()}


@pytest.fixture(scope="module")
def unprotected(tmp_path_factory):
    return learnt("fine_tune", tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return learnt("dgm", tmp_path_factory.mktemp("audit"))


def test_without_protection_old_images_and_classes_are_lost(unprotected):
    accuracy, changed = unprotected
    # Images of all classes look like the newest's. A classifier that starts warm has not forgotten
    # everything after so few steps.
    assert accuracy < 0.6
    assert min(changed.values()) > 0.9


def test_masks_keep_every_class_and_every_pixel(masked, unprotected):
    accuracy, changed = masked
    assert changed == dict.fromkeys(range(1, TASKS), 0.0)
    assert accuracy > max(0.75, unprotected[0] + 0.2)
