"""Keras' backend, which is TensorFlow here."""

import os
import sys


def choose_tensorflow() -> None:
    """Has Keras run on TensorFlow, whatever `KERAS_BACKEND` or Keras' own file says.

    Raises:
        ImportError: this process has imported Keras with another backend, which it cannot change.
    """
    keras = sys.modules.get("keras")
    backend = keras.config.backend() if keras else "tensorflow"
    if backend != "tensorflow":
        raise ImportError(
            f"dgm_tf needs Keras on TensorFlow, and this process has imported it on {backend}: "
            "import dgm_tf before keras, or set KERAS_BACKEND=tensorflow"
        )
    os.environ["KERAS_BACKEND"] = backend
