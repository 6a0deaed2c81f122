"""Serves an exported memory by MLServer: the V2 inference protocol over REST and gRPC.

Needs `requirements-serving.txt`. A model's `model-settings.json`:

    {
        "name": "memory",
        "implementation": "dgm_tf.serving.mlserver_runtime.DGMRuntime",
        "parameters": {"uri": "./memory"},
        "max_batch_size": 16,
        "max_batch_time": 0.01
    }

`uri` is NAME for its newest version, or NAME/<n>. Loading the model again
(`POST /v2/repository/models/memory/load`) swaps in the version that is the newest by then; requests
that are under way are answered by the former one. `"extra": {"signature": "classify"}` among the
parameters names the signature of requests that name none, which is `generate` otherwise.
"""

import asyncio
import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from mlserver import MLModel, ModelSettings
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.errors import InferenceError
from mlserver.settings import ModelParameters
from mlserver.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    ResponseOutput,
)
from mlserver.utils import get_model_uri

from dgm_tf.data import image_file, inputs
from dgm_tf.data.pixels import to_float
from dgm_tf.errors import InputError
from dgm_tf.serving import loading, warmup
from dgm_tf.serving.merging import Arrays, Merging

_PICTURES = "classify_uint8"
_DATATYPES = {
    "int32": "INT32", "int64": "INT64", "uint8": "UINT8", "float32": "FP32", "bool": "BOOL",
    "string": "BYTES",
}  # fmt: skip


class DGMRuntime(MLModel):
    """Answers a request by the signature that its parameter `signature` names.

    Inputs and outputs have the names and types of the signature. The `images` of `classify_uint8`
    may also be uint8 of any height and width, or BYTES, the contents of picture files, which JSON
    has in base 64. They are read as every command reads a picture. PNG files come in base 64.

    Concurrent requests for one signature are computed together, up to `max_batch_size` of them that
    come within `max_batch_time` seconds.
    """

    def __init__(self, settings: ModelSettings):
        parameters = settings.parameters or ModelParameters()
        # The server's own batcher would merge what does not go together; see `merging`. Workers
        # are given the settings that are made here.
        self._extra = {
            "max_batch_size": settings.max_batch_size,
            "max_batch_time": settings.max_batch_time,
            **(parameters.extra or {}),
        }
        parameters = parameters.model_copy(update={"extra": self._extra})
        changed = {"max_batch_size": 0, "max_batch_time": 0.0, "parameters": parameters}
        super().__init__(settings.model_copy(update=changed))

    async def load(self) -> bool:
        path = await get_model_uri(self.settings)
        folder, description, model = await asyncio.to_thread(_warmed, path)
        self._model = model  # only a reference to it keeps its variables alive
        self._export = folder.name
        self._image_shape = description["image"]["shape"]
        self._signatures = {
            name: _Signature(
                name,
                function,
                requests=self._extra["max_batch_size"],
                seconds=self._extra["max_batch_time"],
            )
            for name, function in model.signatures.items()
        }
        self._default = self._extra.get("signature", "generate")
        self.inputs, self.outputs = self._signature(self._default).metadata()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        named = getattr(payload.parameters, "signature", None)
        signature = self._signature(self._default if named is None else named)
        wanted = signature.wanted([each.name for each in payload.outputs or []])
        if signature.name == _PICTURES and not signature.fits(payload.inputs):
            images = await asyncio.to_thread(_as_floats, payload.inputs, self._image_shape)
            outputs = await self._signatures["classify"].merging({"images": images})
        else:
            arrays = await asyncio.to_thread(signature.inputs, payload.inputs)
            outputs = await signature.merging(arrays)
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            parameters=Parameters(export=self._export),
            outputs=[_encoded(name, outputs[name]) for name in wanted],
        )

    def _signature(self, name: Any) -> "_Signature":
        if name not in (known := sorted(self._signatures)):  # A list in JSON has no hash.
            raise InferenceError(
                f"expected a signature out of {', '.join(known)}, received {name!r}"
            )
        return self._signatures[name]


class _Signature:
    """A signature of a loaded export, as the protocol has it.

    Args:
        name: of the signature.
        function: the signature.
        requests: most requests that are computed together.
        seconds: longest time for which a request waits for others.
    """

    def __init__(self, name: str, function: Any, *, requests: int, seconds: float):
        self.name = name
        self.merging = Merging(self._compute, requests=requests, seconds=seconds)
        self._function = function
        self._inputs: dict[str, tf.TensorSpec] = function.structured_input_signature[1]
        self._outputs: dict[str, tf.TensorSpec] = function.structured_outputs

    def metadata(self) -> tuple[list[MetadataTensor], list[MetadataTensor]]:
        """Inputs and outputs, for the protocol's metadata of a model."""
        return _metadata(self._inputs), _metadata(self._outputs)

    def wanted(self, names: Sequence[str]) -> Sequence[str]:
        """Names of the outputs that a request asks for: all where it names none."""
        known = sorted(self._outputs)
        if unknown := sorted(set(names) - set(known)):
            raise InferenceError(f"expected outputs out of {_list(known)}, received {unknown[0]!r}")
        return names or known

    def fits(self, tensors: Sequence[RequestInput]) -> bool:
        """Whether a request's tensors say that they are what the signature takes."""
        said = {tensor.name: tensor for tensor in tensors}
        return said.keys() == self._inputs.keys() and all(
            Datatype(said[name].datatype).value == _DATATYPES[spec.dtype.name]
            and min(said[name].shape, default=0) >= 0
            and spec.shape.is_compatible_with(said[name].shape)
            for name, spec in self._inputs.items()
        )

    def inputs(self, tensors: Sequence[RequestInput]) -> Arrays:
        """A request's arrays, of the names, types and shapes that the signature takes."""
        received = [tensor.name for tensor in tensors]
        if sorted(received) != sorted(self._inputs):
            raise InferenceError(
                f"expected inputs {_list(self._inputs)}, received {_list(received)}"
            )
        arrays = {tensor.name: _decoded(tensor) for tensor in tensors}
        for name, spec in self._inputs.items():
            array = arrays[name]
            if array.dtype != spec.dtype.as_numpy_dtype or not spec.shape.is_compatible_with(
                array.shape
            ):
                raise InferenceError(
                    f"expected {name} as {spec.dtype.name} {spec.shape}, "
                    f"received {array.dtype} {list(array.shape)}"
                )
        if len({len(array) for array in arrays.values()}) > 1:
            rows = ", ".join(f"{len(array)} of {name}" for name, array in sorted(arrays.items()))
            raise InferenceError(f"expected as many rows of each input, received {rows}")
        return arrays

    def _compute(self, inputs: Arrays) -> Arrays:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        return {name: value.numpy() for name, value in self._function(**tensors).items()}


def _warmed(path: str) -> tuple[Path, dict[str, Any], Any]:
    """An export, each of whose signatures has been called once, for a class it knows."""
    folder, description, model = loading.opened(path)
    label = description["classes"][0]["label"]
    for name, call in warmup.requests(model.signatures, label).items():
        model.signatures[name](**call)
    return folder, description, model


def _as_floats(tensors: Sequence[RequestInput], image_shape: Sequence[int]) -> np.ndarray:
    """Pictures of any size as `classify` takes them; NaN for files that cannot be read."""
    size, _, channels = image_shape
    if [tensor.name for tensor in tensors] != ["images"]:
        received = _list([tensor.name for tensor in tensors])
        raise InferenceError(f"expected inputs images, received {received}")
    (tensor,) = tensors
    if Datatype(tensor.datatype) is Datatype.BYTES:
        return np.concatenate(
            [np.zeros([0, *image_shape], np.float32)]
            + [_read(content, image_shape) for content in _contents(tensor)]
        )
    images = _decoded(tensor)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InferenceError(
            "expected images as the contents of files or as uint8 [B, height, width, channels], "
            f"received {images.dtype} {list(images.shape)}"
        )
    try:
        return to_float(inputs.images(images, image_shape), size).numpy()
    except InputError as error:
        raise InferenceError(str(error)) from error


def _contents(tensor: RequestInput) -> list[bytes]:
    """Contents of files: base 64 in JSON, bytes over gRPC."""
    contents = tensor.data.root
    if not isinstance(contents, list) or tensor.shape not in ([len(contents)], [len(contents), 1]):
        raise InferenceError(
            f"expected images as a list of files' contents, of shape [B]; received {tensor.shape}"
        )
    in_base64 = getattr(tensor.parameters, "content_type", None) == Base64Codec.ContentType
    try:
        return [_content(each, in_base64=in_base64) for each in contents]
    except (TypeError, ValueError) as error:  # of base 64, too
        raise InferenceError("expected the contents of files in base 64") from error


def _content(given: Any, *, in_base64: bool) -> bytes:
    if isinstance(given, bytes) and not in_base64:
        return given
    return base64.b64decode(given, validate=True)


def _read(content: bytes, image_shape: Sequence[int]) -> np.ndarray:
    """A picture float32 [1, S, S, C], NaN where its file cannot be read."""
    size, _, channels = image_shape
    try:
        pixels = image_file.read_image(io.BytesIO(content), size)
    except InputError:
        return np.full([1, *image_shape], np.nan, np.float32)
    return to_float(image_file.in_colours(pixels, channels)[np.newaxis], size).numpy()


def _decoded(tensor: RequestInput) -> np.ndarray:
    try:
        if min(tensor.shape, default=0) < 0:  # NumPy would find out a size of -1.
            raise ValueError("a negative size")
        array = NumpyCodec.decode_input(tensor)
        # The codec makes whole numbers of fractions and texts without a word.
        if array.size and array.dtype.kind in "iu":
            if (received := np.asarray(tensor.data.root).dtype).kind not in "iu":
                raise ValueError(f"expected whole numbers, received {received}")
        return array
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise InferenceError(
            f"the data of {tensor.name} does not fit its type and shape"
        ) from error


def _encoded(name: str, value: np.ndarray) -> ResponseOutput:
    """An output of shape [B, ...]; the codecs would make [B, 1] of [B]."""
    content_type, datatype = "np", _DATATYPES.get(value.dtype.name, "BYTES")
    data = value.ravel().tolist()
    if name.endswith("_bytes"):
        content_type, data = "base64", [base64.b64encode(each) for each in data]
    elif datatype == "BYTES":
        content_type = "str"
    return ResponseOutput(
        name=name,
        datatype=datatype,
        shape=list(value.shape),
        data=data,
        parameters=Parameters(content_type=content_type),
    )


def _metadata(specs: Mapping[str, tf.TensorSpec]) -> list[MetadataTensor]:
    return [
        MetadataTensor(
            name=name,
            datatype=_DATATYPES[spec.dtype.name],
            shape=[-1 if size is None else size for size in spec.shape],
        )
        for name, spec in sorted(specs.items())
    ]


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
