"""A machine with a GPU: where operations repeat their bits only if they are asked to."""

import keras
import pytest
import tensorflow as tf

import dgm_tf
from tests.networks.tiny_generator import made
from tests.serving.tiny_export import exported


@pytest.fixture
def asked(monkeypatch):
    """A list that grows each time TensorFlow is asked to, which it is not: it would keep to it."""
    times = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: times.append(1))
    return times


@pytest.fixture
def gpu(monkeypatch):
    device = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [device])


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])


def test_a_generator_on_a_gpu_asks_for_it(asked, gpu):
    made()
    assert asked


def test_so_does_one_that_keras_builds_again(asked, gpu):
    config = made().get_config()
    asked.clear()
    keras.saving.deserialize_keras_object(
        {"class_name": "dgm_tf>Generator", "config": config, "module": None,
         "registered_name": "dgm_tf>Generator"}
    ).build()  # fmt: skip
    assert asked


def test_so_does_an_exported_memory_that_is_loaded(asked, gpu):
    path = exported().path
    asked.clear()
    memory = dgm_tf.load_exported(path)
    assert asked
    assert set(memory.audit().values()) == {True}


def test_without_a_gpu_nothing_is_changed(asked, no_gpu):
    made()
    dgm_tf.load_exported(exported().path)
    assert not asked
