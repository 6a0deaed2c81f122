"""Files of the first format, that of 0.2.0, are read by every later version.

The golden folders are a checkpoint of each type of array, a run of DGM on digits that ended inside
its second task, an export of its first, and a saved learner of each method with what it said of
some images. To write them again, when the format changes:

    python -m tests.test_golden
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import dgm_tf
from dgm_tf.data.stream import class_incremental
from dgm_tf.devices import onednn
from dgm_tf.evaluation import memory_audit
from dgm_tf.experiments.options import QUIET, RunOptions
from dgm_tf.experiments.run import Run
from dgm_tf.experiments.run_audit import audit_run
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.registry import METHODS, load_state, new_learner
from dgm_tf.methods.settings import VARIANTS, DGMSettings, setting_names
from dgm_tf.reporting import page
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage import checkpoint
from dgm_tf.storage.checkpoint import Every
from tests.interruptions import Killed, killed_at

GOLDEN = Path(__file__).parent / "golden"
STEP = 4  # in the second of two passes

META = {"name": "golden", "rate": 0.1, "none": None, "list": [1, "zwei", {"three": 3.5}]}
ARRAYS = {
    "kernel": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "odd": np.array([0.0, -0.0, np.nan, np.inf, 1e-45], np.float32),
    "mask": np.packbits([1, 0, 1]),
    "flags": np.array([True, False]),
    "step": np.array(7, np.int64),
    "none": np.empty((0, 3), np.float32),
}

LEARNERS = {name: (name, {}) for name in METHODS if name != "dgm"} | {
    f"dgm-{variant}": ("dgm", {"variant": variant}) for variant in VARIANTS
}
IMAGES = np.random.RandomState(0).randint(0, 256, [4, 16, 16, 1]).astype(np.uint8)


def learn(folder, settings):
    """Learns the digits one by one into a run folder."""
    stream = class_incremental("digits")
    options = RunOptions(
        run_dir=folder, checkpoint_every=Every(steps=STEP), verbosity=QUIET, oracle=False
    )
    Run(stream, new_learner("dgm", settings, stream), options).run()


def make():
    """Writes the golden folders."""
    sizes = {"latent_dim": 12, "generator_size": 2, "critic_size": 2, "replay_buffer": 12}
    settings = DGMSettings(epochs=2, consolidation_steps=2, seed=3, **sizes)
    shutil.rmtree(GOLDEN, ignore_errors=True)
    checkpoint.save(GOLDEN / "checkpoint", META, ARRAYS)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(page, "write_page", lambda folder: None)
        run = Path(folder) / "run"
        with killed_at(2, STEP):
            learn(run, settings)
        shutil.copytree(run, GOLDEN / "run", ignore=shutil.ignore_patterns(".lock"))
        _, meta, arrays = RunFolder(run).state_after(1)
        done = load_state(meta, arrays).export(Path(folder) / "export")
        shutil.copytree(done.path, GOLDEN / "export" / "1")
    for name in LEARNERS:
        save_learner(name)


def save_learner(name):
    """Saves a learner of the first task, and what it says and generates."""
    method, changes = LEARNERS[name]
    sizes = {
        "epochs": 1, "consolidation_steps": 2, "critic_size": 2, "latent_dim": 12,
        "generator_size": 2, "replay_buffer": 12, "fisher_samples": 16, "buffer_bytes": 4000,
        "seed": 3,
    }  # fmt: skip
    known = setting_names(METHODS[method].settings)
    taken = {key: value for key, value in sizes.items() if key in known}
    stream = pairs_of_digits()
    learner = new_learner(
        method, settings_for("digits", method=method, **{**taken, **changes}), stream
    )
    for task in stream.tasks(last=1):
        learner.learn(task)
    learner.save(GOLDEN / "learners" / name)
    (GOLDEN / "learners" / f".{name}.lock").unlink()
    np.savez(GOLDEN / "learners" / f"{name}.npz", **answers(learner))


def pairs_of_digits():
    return class_incremental("digits", classes_per_task=2)


def answers(learner):
    found = {"probabilities": learner.predict(IMAGES)}
    if learner.generates:
        found["images"] = learner.generate([0, 1, 1], seed=1)
    return found


@pytest.fixture
def run(tmp_path):
    """The run, as if it had been begun with oneDNN as it is here."""
    copied = shutil.copytree(GOLDEN / "run", tmp_path / "run")
    settings = copied / "settings.json"
    described = json.loads(settings.read_text())
    described["machine"]["onednn"] = onednn.enabled()
    settings.write_text(json.dumps(described))
    return copied


def assert_recorded(generate):
    """Makes sure that images of the run's first task are those on record."""
    record = memory_audit.read(memory_audit.record_path(GOLDEN / "run" / "audit", 1))
    for label, seed in zip(record.classes, record.seeds, strict=True):
        images = generate(np.full(16, label), seed=int(seed))
        # Another processor may round the last bit another way.
        np.testing.assert_allclose(images, record.images, atol=1e-5)


def test_a_checkpoint_is_read_bit_for_bit():
    meta, arrays = checkpoint.load(GOLDEN / "checkpoint")
    assert meta == META and set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


def test_a_finished_task_of_a_run_is_known():
    _, meta, arrays = RunFolder(GOLDEN / "run").state_after(1)
    learner = load_state(meta, arrays)
    assert learner.classes_seen == (0,) and learner.class_names == ("0",)
    assert_recorded(learner.generate)


def test_a_run_is_audited():
    found = audit_run(GOLDEN / "run")
    assert len(found.findings) == 1
    # On another processor images may differ by rounding.
    assert [fault for fault in found.faults if not fault.startswith("images of task 1 ")] == []


def test_a_task_cut_short_is_resumed(run, monkeypatch, capsys):
    def step_done(self):
        assert self.found_steps == STEP
        raise Killed(self.steps)

    monkeypatch.setattr(TaskCheckpoint, "step_done", step_done)
    settings = json.loads((run / "settings.json").read_text())["settings"]
    with pytest.raises(Killed, match=str(STEP + 1)):
        learn(run, DGMSettings(**settings))
    assert capsys.readouterr().err == ""


def test_an_export_is_loaded():
    memory = dgm_tf.load_exported(GOLDEN / "export")
    assert memory.classes_seen == (0,) and memory.audit().keys() == {1}
    assert_recorded(memory.generate)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_saved_learner_of_each_method_is_loaded(name):
    learner = dgm_tf.load(GOLDEN / "learners" / name)
    found = answers(learner)
    with np.load(GOLDEN / "learners" / f"{name}.npz") as expected:
        assert found.keys() == set(expected)
        for key, value in found.items():
            np.testing.assert_allclose(value, expected[key], atol=1e-4)


if __name__ == "__main__":
    make()
