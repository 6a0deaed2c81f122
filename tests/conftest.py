"""Set before any test module imports TensorFlow, which reads it once: no start-up chatter."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
