"""Set before any test module imports TensorFlow, and for every process that a test starts."""

import atexit
import os
import shutil
import tempfile

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
