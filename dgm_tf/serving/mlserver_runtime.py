"""Serves an exported memory by MLServer: the V2 inference protocol over REST and gRPC.

Needs `requirements-serving.txt`. A model's `model-settings.json`:

    {
        "name": "memory",
        "implementation": "dgm_tf.serving.mlserver_runtime.DGMRuntime",
        "parameters": {"uri": "./memory"}
    }

`uri` is NAME for its newest version, or NAME/<n>. Loading the model again
(`POST /v2/repository/models/memory/load`) swaps in the version that is the newest by then; requests
that are under way are answered by the former one.
"""

import asyncio
import re
from typing import Any

import numpy as np
import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlserver.utils import get_model_uri

from dgm_tf import determinism
from dgm_tf.serving.loading import newest_version

_DEFAULT = "generate"


class DGMRuntime(MLModel):
    """Answers a request by the signature that its parameter `signature` names, or by `generate`.

    Inputs and outputs have the names and types of the signature. PNG files come in base 64.
    """

    async def load(self) -> bool:
        folder = newest_version(await get_model_uri(self.settings))
        determinism.ensure()  # the learner's own images on a GPU, too
        self._model = await asyncio.to_thread(tf.saved_model.load, str(folder))
        self._version = folder.name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        name = getattr(payload.parameters, "signature", _DEFAULT)
        signatures = self._model.signatures
        if name not in (known := sorted(signatures)):  # A list in JSON has no hash.
            raise InferenceError(
                f"expected a signature out of {', '.join(known)}, received {name!r}"
            )
        inputs = _inputs(payload, signatures[name].structured_input_signature[1])
        # In a thread, so that the server goes on answering others.
        outputs = await asyncio.to_thread(_outputs, signatures[name], inputs)
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version=self._version, outputs=outputs
        )


def _inputs(payload: InferenceRequest, wanted: dict[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """The request's tensors, of the names, types and shapes that a signature takes."""
    received = [tensor.name for tensor in payload.inputs]
    if sorted(received) != sorted(wanted):
        raise InferenceError(f"expected inputs {_list(wanted)}, received {_list(received)}")
    inputs = {}
    for tensor in payload.inputs:
        name, spec = tensor.name, wanted[tensor.name]
        try:
            array = _decoded(tensor)
        except (ValueError, TypeError, OverflowError) as error:
            raise InferenceError(f"the data of {name} does not fit its type and shape") from error
        if array.dtype != spec.dtype.as_numpy_dtype or not spec.shape.is_compatible_with(
            array.shape
        ):
            raise InferenceError(
                f"expected {name} as {spec.dtype.name} {spec.shape}, "
                f"received {array.dtype} {list(array.shape)}"
            )
        inputs[name] = tf.constant(array)
    return inputs


def _decoded(tensor: RequestInput) -> np.ndarray:
    array = NumpyCodec.decode_input(tensor)
    # The codec makes whole numbers of fractions and texts without a word.
    if array.size and array.dtype.kind in "iu":
        if (received := np.asarray(tensor.data.root).dtype).kind not in "iu":
            raise ValueError(f"expected whole numbers, received {received}")
    return array


def _outputs(signature: Any, inputs: dict[str, tf.Tensor]) -> list[ResponseOutput]:
    try:
        outputs = {name: value.numpy() for name, value in signature(**inputs).items()}
    except tf.errors.InvalidArgumentError as error:
        failed = re.search(r"assertion failed: (.*)", str(error))
        raise InferenceError(failed[1] if failed else str(error)) from error
    return [_encoded(name, value) for name, value in outputs.items()]


def _encoded(name: str, value: np.ndarray) -> ResponseOutput:
    if value.dtype != object:
        return NumpyCodec.encode_output(name, value)
    if name.endswith("_bytes"):
        return Base64Codec.encode_output(name, value.tolist())
    return StringCodec.encode_output(name, [text.decode() for text in value])


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
