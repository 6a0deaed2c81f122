"""Requests that TensorFlow Serving answers itself when it has loaded a version.

A graph is prepared when it is first called, which takes a hundred times as long as a call. The
server makes the calls that a version brings in `FILE` before it lets requests through.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

FILE = "assets.extra/tf_serving_warmup_requests"


def requests(signatures: Mapping[str, Any], label: int) -> dict[str, dict[str, tf.Tensor]]:
    """A call of one row for each signature, by its name.

    One row prepares a graph for any number of rows: what is computed inside has always as many.

    Args:
        signatures: of a loaded export.
        label: of a class that it has learnt.
    """
    calls = {}
    for name, function in signatures.items():
        inputs = function.structured_input_signature[1]
        calls[name] = {each: _row(spec) for each, spec in inputs.items()}
        if "labels" in inputs:
            calls[name]["labels"] = tf.constant([label])
    return calls


def write(folder: Path, calls: Mapping[str, Mapping[str, tf.Tensor]]) -> None:
    """Puts requests beside an exported version.

    Args:
        folder: of the version.
        calls: inputs by name, by the name of the signature.
    """
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, inputs in calls.items():
            writer.write(_prediction_log(name, inputs))


def _row(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros([1, *spec.shape[1:]], spec.dtype)


def _prediction_log(signature: str, inputs: Mapping[str, tf.Tensor]) -> bytes:
    """A `PredictionLog` of tensorflow_serving/apis, which is no part of TensorFlow."""
    model = _field(1, b"default") + _field(3, signature.encode())  # ModelSpec
    request = _field(1, model)  # PredictRequest
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value.numpy()).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))  # PredictLog


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that is a text or another message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
