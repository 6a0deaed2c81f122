"""Stands in for TensorFlow Serving: its gRPC protocol, answered from an exported model.

The model is loaded as that server does, into a session: restore, then the initializer.
"""

import contextlib
from concurrent import futures

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """One model of one name and version."""

    def __init__(self, name, folder):
        self._name, self._version = name, int(folder.name)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            model = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self._signatures = model.signature_def

    def Predict(self, request, context):
        if request.model_spec.name != self._name:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
        signature = self._signatures[request.model_spec.signature_name or "serving_default"]
        try:
            feed = {
                signature.inputs[name].name: tf.make_ndarray(tensor)
                for name, tensor in request.inputs.items()
            }
            fetches = {name: tensor.name for name, tensor in signature.outputs.items()}
            found = self._session.run(fetches, feed)
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name = self._name
        answer.model_spec.version.value = self._version
        for name, value in found.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer


@contextlib.contextmanager
def served(name, folder):
    """The loopback address at which the model is served."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(name, folder), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
