"""A request of the V2 protocol, whatever its JSON says, is answered as promised or refused.

Needs requirements-serving.txt; no server is started.
"""

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("mlserver")

from mlserver import ModelSettings  # noqa: E402
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec  # noqa: E402
from mlserver.errors import InferenceError  # noqa: E402
from mlserver.types import Datatype, InferenceRequest  # noqa: E402
from pydantic import ValidationError  # noqa: E402

from dgm_tf.serving.mlserver_runtime import DGMRuntime  # noqa: E402
from tests.fuzz import effort  # noqa: E402
from tests.fuzz.test_corpus import changed  # noqa: E402
from tests.serving.test_hostile_requests import CHECKS, GOOD, SIGNATURES, any_numbers  # noqa: E402
from tests.serving.tiny_export import exported  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # the server's own packages warn of each other
]


@pytest.fixture(scope="module")
def predict():
    """The outputs that the runtime gives the server for a request."""
    folder = exported(classifier=True).path
    runtime = DGMRuntime(
        ModelSettings(name="m", implementation=DGMRuntime, parameters={"uri": str(folder)})
    )
    asyncio.run(runtime.load())

    def asked(request):
        return asyncio.run(runtime.predict(InferenceRequest.model_validate(request))).outputs

    asked.first = asked(as_json("generate"))
    return asked


TYPES = {"int32": "INT32", "int64": "INT64", "float32": "FP32", "uint8": "UINT8"}


def as_json(signature):
    """A good request."""
    inputs = [
        {
            "name": name,
            "datatype": TYPES[value.dtype.name],
            "shape": list(value.shape),
            "data": value.ravel().tolist(),
        }
        for name, value in GOOD[signature].items()
    ]
    return {"parameters": {"signature": signature}, "inputs": inputs}


@st.composite
def requests(draw):
    """JSON that is nearly what a signature expects."""
    request = as_json(draw(st.sampled_from(SIGNATURES)))
    for tensor in request["inputs"]:
        if draw(st.booleans()):
            value = draw(any_numbers(draw(st.sampled_from([np.int64, np.float64, np.str_]))))
            tensor["data"][draw(st.integers(0, len(tensor["data"]) - 1))] = value
        if draw(st.integers(0, 3)) == 3:
            tensor["datatype"] = draw(st.sampled_from(list(Datatype))).value
        if draw(st.integers(0, 3)) == 3:
            tensor["shape"] = draw(st.lists(st.sampled_from([-1, 0, 1, 2, 16, 2**40]), max_size=4))
    return draw(changed(request)) if draw(st.booleans()) else request


def decoded(output):
    if output.name == "png_bytes":
        return np.array(Base64Codec.decode_output(output), object)
    if output.name == "class_name":
        return np.array([text.encode() for text in StringCodec.decode_output(output)], object)
    array = NumpyCodec.decode_output(output)
    return array.ravel() if output.name == "label" else array  # the codec makes it [B, 1]


def check(request, outputs):
    """An answer is what its signature promises, in as many rows in each output."""
    found = {output.name: decoded(output) for output in outputs}
    signature = (request.get("parameters") or {}).get("signature", "generate")
    rows = np.zeros(len(next(iter(found.values()))))
    CHECKS[signature]({"labels": rows, "images": rows}, **found)


@effort.long(1000)
@given(requests())
def test_a_request_is_answered_as_promised_or_refused(predict, asked):
    try:
        outputs = predict(asked)
    except (ValidationError, InferenceError):  # The server's answers 422 and 400.
        pass
    else:
        check(asked, outputs)
    assert predict(as_json("generate")) == predict.first


@pytest.mark.parametrize("signature", [[1], {"a": 1}, 3, None, "paint"])
def test_a_signature_of_any_kind_that_is_not_there_is_refused(predict, signature):
    request = as_json("generate") | {"parameters": {"signature": signature}}
    with pytest.raises(InferenceError, match="expected a signature out of classify, "):
        predict(request)


def tensor(name, datatype, data, shape=None):
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


THREE, SEED = tensor("labels", "INT32", [3]), tensor("seed", "INT64", [1, 0])
REFUSED = {
    "class": ([tensor("labels", "INT32", [3, 12]), SEED], "labels of the classes learnt"),
    "row": ([THREE, tensor("seed", "INT64", [1, -1])], "the number of the first image"),
    "shape": ([THREE, tensor("seed", "INT64", [1])], "seed as int64 (2,), received int64 [1]"),
    "rank": ([tensor("labels", "INT32", [3], [1, 1]), SEED], "received int32 [1, 1]"),
    "type": ([tensor("labels", "INT64", [3]), SEED], "labels as int32 (None,), received int64 [1]"),
    "missing": ([THREE], "expected inputs labels, seed, received labels"),
    "extra": ([THREE, SEED, tensor("noise", "FP32", [0.5])], "received labels, noise, seed"),
    "twice": ([THREE, THREE, SEED], "expected inputs labels, seed, received labels, labels, seed"),
    "text": ([tensor("labels", "INT32", ["three"]), SEED], "the data of labels does not fit"),
    "fraction": ([tensor("labels", "INT32", [3.5]), SEED], "the data of labels does not fit"),
    "too large": ([tensor("labels", "INT32", [2**40]), SEED], "the data of labels does not fit"),
    "too few": ([tensor("labels", "INT32", [3], [2]), SEED], "the data of labels does not fit"),
}


@pytest.mark.parametrize("inputs, message", REFUSED.values(), ids=list(REFUSED))
def test_the_line_says_what_is_wrong(predict, inputs, message):
    with pytest.raises(InferenceError, match=re.escape(message)):
        predict({"inputs": inputs})
