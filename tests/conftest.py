"""A quiet and exact TensorFlow for every test, and what is trained once for a whole session."""

import atexit
import contextlib
import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

# TensorFlow reads it once: no start-up chatter.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow has oneDNN on or off by the processor, and with it a convolution's bits depend on how
# many images stand beside one: exact tests are the same on every machine only without.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# Oracles are trained once per session, and never taken from or left in a user's cache. The worker
# processes of a session inherit the session's.
_CACHE = "DGM_TF_TESTS_CACHE"
if _CACHE not in os.environ:
    os.environ[_CACHE] = tempfile.mkdtemp(prefix="dgm_tf-cache-")
    atexit.register(shutil.rmtree, os.environ[_CACHE], ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = os.environ[_CACHE]


def pytest_collection_finish():
    """Takes what was imported out of garbage collection, which walks a million objects else."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_flushing():
    """Leaves files to the system: killed processes lose nothing of theirs, only machines do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@contextlib.contextmanager
def _one_process_at_a_time(name):
    """A block that one worker of the session enters at a time; gives a folder for what it makes."""
    folder = Path(os.environ[_CACHE]) / name
    with FileLock(f"{folder}.lock"):
        yield folder


@pytest.fixture(scope="session")
def digits_oracle():
    """The oracle of the digits, which every run on them finds in the session's cache."""
    from dgm_tf.evaluation.oracle import Oracle
    from dgm_tf.stream import class_incremental

    with _one_process_at_a_time("oracle"):
        return Oracle.of(class_incremental("digits"))


def _train_tiny_run(folder):
    """Trains DGMw on the digits for a few steps and exports its memory."""
    from trainers import split_digits

    arguments = [
        "--classes_per_task=5", "--epochs=1", "--batch_size=60", "--generator_size=2",
        "--critic_size=4", "--consolidation_steps=6", "--seed=5", "--verbosity=0",
        '--settings={"latent_dim": 16, "replay_buffer": 64}',
        f"--run_dir={folder}", f"--export_dir={folder}/export",
    ]  # fmt: skip
    assert split_digits.main(arguments) == 0


@pytest.fixture(scope="session")
def tiny_trained_run(digits_oracle):
    """The folder of a run of two tasks that has ended, with `export/`; to be copied, not changed.

    It is trained once per session; an oracle has judged its images.
    """
    with _one_process_at_a_time("tiny-run") as folder:
        if not (folder / "export").is_dir():
            _train_tiny_run(folder)
    before = _stamps(folder)
    yield folder
    assert _stamps(folder) == before, "a test has changed the run that all tests share"


def _stamps(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
