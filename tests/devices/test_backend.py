"""Keras runs on TensorFlow, whatever the user's other programs need."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dgm_tf.devices import backend


@pytest.mark.parametrize("variable", [None, "jax"])
def test_keras_imported_after_the_package_runs_on_tensorflow(variable, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment["KERAS_HOME"] = str(tmp_path)
    if variable:
        environment["KERAS_BACKEND"] = variable
    program = "import dgm_tf, keras; print(keras.config.backend())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "tensorflow\n", done.stderr


def test_keras_imported_before_on_another_backend_is_refused(monkeypatch):
    keras = SimpleNamespace(config=SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ImportError, match="imported it on jax: import dgm_tf before keras"):
        backend.choose_tensorflow()
    assert os.environ["KERAS_BACKEND"] == "jax"
