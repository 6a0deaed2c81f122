"""The bits of every method, recorded: whoever changes none must find them as they were.

`python -m tests.test_bits` records them again, on one machine class; elsewhere only what does not
depend on the record is tested. A commit that records again says why, and what it measured.
"""

import functools
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.data.stream import class_incremental
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.registry import METHODS, load_state, new_learner
from dgm_tf.networks.replay import to_levels
from dgm_tf.runs import provenance
from dgm_tf.storage.checkpoint import Every
from tests.reach import images_within

RECORD = Path(__file__).with_name("bits.json")
TASKS = (2, 2, 6)  # classes each; two are learnt
TINY = {"epochs": 1, "batch_size": 32, "critic_size": 4, "consolidation_steps": 6, "seed": 5}
TINY_GAN = {**TINY, "latent_dim": 16, "generator_size": 2, "replay_buffer": 64}
PAPER = {"preset": "paper"}
# Name: method, data set whose preset is taken, further arguments of `settings_for`.
CASES = {
    "dgm-w": ("dgm", "digits", {**TINY_GAN, "variant": "w"}),
    "dgm-a": ("dgm", "digits", {**TINY_GAN, "variant": "a"}),
    "dgm-w paper": ("dgm", "mnist", {**TINY_GAN, **PAPER, "variant": "w"}),
    "dgm-w photographs": (
        "dgm",
        "svhn_cropped",
        {**TINY_GAN, "variant": "w"},
    ),
    "joint": ("joint", "digits", TINY),
    "joint_gan": ("joint_gan", "digits", TINY_GAN),
    "fine_tune": ("fine_tune", "digits", TINY_GAN),
    "fine_tune paper": ("fine_tune", "mnist", {**TINY_GAN, **PAPER}),
    "ewc": ("ewc", "digits", {**TINY_GAN, "fisher_samples": 16}),
    "dgr": ("dgr", "digits", TINY_GAN),
    "mergan_jtr": ("mergan_jtr", "digits", TINY_GAN),
    "mergan_ra": ("mergan_ra", "digits", TINY_GAN),
    "experience_replay": ("experience_replay", "digits", {**TINY, "buffer_bytes": 20_000}),
    "nearest_mean": ("nearest_mean", "digits", {}),
}
# Paper's settings of DGM train one phase a task.
ONE_PHASE = ("dgm-w paper", "joint", "experience_replay")
NO_STEPS = ("nearest_mean",)
QUICK = ("dgm-w", "dgm-a", "experience_replay", "nearest_mean")  # the others take minutes


def machine_class():
    """What a sum of many float32 numbers depends on."""
    machine, versions = provenance.machine(), provenance.versions()
    found = {key: machine[key] for key in ("cpu", "cores", "onednn", "system")}
    return found | {key: versions[key] for key in ("tensorflow", "keras", "numpy")}


def new_stream():
    return class_incremental("digits", classes_per_task=TASKS)


def new(case, stream):
    method, dataset, changes = CASES[case]
    return new_learner(method, settings_for(dataset, method=method, **changes), stream)


class Kept:
    """Checkpoints inside a task, as a file would hold them, by their steps."""

    def __init__(self):
        self.by_steps = {}

    def __call__(self, steps, meta, arrays):
        self.by_steps[steps] = json.loads(json.dumps(meta)), arrays


@functools.cache
def learnt(case):
    """The states after two tasks, the learner, and the checkpoints inside the second task."""
    stream = new_stream()
    learner, kept, states = new(case, stream), Kept(), []
    for task in stream.tasks():
        callbacks = [TaskCheckpoint(kept, Every(steps=1))] if task.index == 2 else []
        learner.learn(task, callbacks=callbacks)
        states.append(learner.state())
        if task.index == 2:
            return states, learner, kept.by_steps


def resumed(case, state, found):
    """The state after the second task, which begins at a checkpoint inside it."""
    stream = new_stream()
    learner = load_state(*state, stream=stream)
    task = next(stream.tasks(start=2))
    learner.learn(task, callbacks=[TaskCheckpoint(Kept(), Every(), found=found)])
    return learner.state()


def digest(arrays):
    """SHA-256 over names, types, shapes and bytes."""
    sha = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        array = np.asarray(array)
        sha.update(f" {name} {array.dtype.str} {array.shape} ".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def digests(states, learner, export_dir):
    """What is recorded of a method."""
    found = {f"state {task}": digest(arrays) for task, (_, arrays) in enumerate(states, start=1)}
    if learner.generates:
        labels = np.repeat(learner.classes_seen, 3)
        found["images"] = digest({"images": learner.generate(labels, seed=1)})
    if learner.name.startswith("dgm"):
        exported = learner.export(export_dir, classifier=True)
        model = tf.saved_model.load(str(exported.path))
        images = model.signatures["generate"](
            labels=tf.constant(labels, tf.int32),
            keys=tf.ones([len(labels)], tf.int64),
            rows=tf.range(len(labels), dtype=tf.int64),
        )["images"]
        logits = model.signatures["classify"](images=images)["probabilities"]
        found["export"] = digest({"images": images.numpy(), "probabilities": logits.numpy()})
    return found


cases = pytest.mark.parametrize(
    "case",
    [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
)


def test_every_method_has_a_record():
    assert {method for method, _, _ in CASES.values()} == set(METHODS)
    assert json.loads(RECORD.read_text())["sha256"].keys() == CASES.keys()


@cases
def test_bits_are_as_they_were(case, tmp_path):
    states, learner, checkpoints = learnt(case)
    whole = states[-1]
    steps = sorted(checkpoints)
    assert case in NO_STEPS or len(steps) > (6 if case in ONE_PHASE else 12)
    # Inside the first phase, and inside the last one.
    for step in steps[3:4] + steps[-3:-2]:
        meta, arrays = resumed(case, states[0], checkpoints[step])
        assert meta == whole[0]
        assert digest(arrays) == digest(whole[1]), f"resumed at step {step}"
    record = json.loads(RECORD.read_text())
    if record["machine"] != machine_class():
        pytest.skip("recorded on another machine class")
    assert digests(states, learner, tmp_path) == record["sha256"][case]


@cases
def test_a_private_method_holds_no_image_of_a_finished_task(case):
    states, learner, _ = learnt(case)
    images = np.concatenate(list(training_images()))
    held = images_within(images, learner, states)
    if METHODS[learner.method].private:
        assert held == 0
    elif case == "experience_replay":
        assert held > 0  # the search would find some


def training_images():
    """Those of both tasks, uint8 [N, S, S, C], a task at a time."""
    for task in new_stream().tasks(last=2):
        for batch, _ in task.each_once():
            yield to_levels(batch).numpy()


def record(export_dir):
    found = {}
    for case in CASES:
        states, learner, _ = learnt(case)
        found[case] = digests(states, learner, os.path.join(export_dir, case))
    content = {"machine": machine_class(), "sha256": found}
    RECORD.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        record(folder)
