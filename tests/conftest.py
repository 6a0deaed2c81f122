"""A quiet and exact TensorFlow for every test, and a cache that a session has for itself."""

import atexit
import gc
import os
import shutil
import tempfile

import pytest

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


@pytest.fixture(scope="module")
def no_page():
    """Runs draw no page, which takes a second for each task."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgm_tf.reporting.page.write_page", lambda folder: None)
        yield
