"""The requests by which TensorFlow Serving warms a version."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.serving import warmup
from tests.serving.asking import SIGNATURES, Session
from tests.serving.tiny_export import TASKS, exported


def fields(content):
    """Numbers and contents of a protocol buffer whose fields are all of variable length."""
    position = 0

    def varint():
        nonlocal position
        value, shift = 0, 0
        while True:
            byte = content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(content):
        number, kind = divmod(varint(), 8)
        assert kind == 2
        size = varint()
        yield number, content[position : position + size]
        position += size
    assert position == len(content)


def recorded(folder):
    """Signatures and inputs, read by the numbers of the fields in tensorflow_serving/apis."""
    for record in tf.data.TFRecordDataset(str(folder / warmup.FILE)).as_numpy_iterator():
        ((log, predict_log),) = fields(record)
        ((first, request),) = fields(predict_log)
        assert (log, first) == (6, 1)
        (_, model), *inputs = fields(request)
        arrays = {}
        for number, entry in inputs:
            (_, name), (_, tensor) = fields(entry)
            proto = tf.make_tensor_proto(0)
            proto.ParseFromString(tensor)
            assert number == 2
            arrays[name.decode()] = tf.make_ndarray(proto)
        yield dict(fields(model))[3].decode(), arrays


def test_each_signature_is_warmed_by_a_request_that_it_answers():
    folder = exported(classifier=True).path
    found = dict(recorded(folder))
    assert sorted(found) == SIGNATURES
    model = Session(str(folder))
    for signature, inputs in found.items():
        assert model(signature, inputs)["valid"].tolist() == [True]
        assert inputs.get("labels", 3) == TASKS[0][0] == 3  # class 0 need not be known
    assert (folder / warmup.FILE).stat().st_size < 10_000


def test_without_the_classifier_there_is_nothing_to_warm_of_it():
    assert "classify" not in dict(recorded(exported().path))


def test_the_records_are_those_of_tensorflow_serving():
    predictions = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    folder = exported(classifier=True).path
    records = tf.data.TFRecordDataset(str(folder / warmup.FILE)).as_numpy_iterator()
    for record, (signature, inputs) in zip(records, recorded(folder), strict=True):
        request = predictions.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.signature_name == signature
        assert sorted(request.inputs) == sorted(inputs)
        for name, value in inputs.items():
            np.testing.assert_array_equal(tf.make_ndarray(request.inputs[name]), value)
