"""A request of the V2 protocol, whatever its JSON says, is answered as promised or refused.

Needs requirements-serving.txt; no server is started.
"""

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("mlserver")

from mlserver import ModelSettings  # noqa: E402
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec  # noqa: E402
from mlserver.errors import InferenceError  # noqa: E402
from mlserver.types import Datatype, InferenceRequest  # noqa: E402
from pydantic import ValidationError  # noqa: E402

from dgm_tf.serving.mlserver_runtime import DGMRuntime  # noqa: E402
from tests.fuzz import effort  # noqa: E402
from tests.fuzz.mutation import changed  # noqa: E402
from tests.serving.asking import CHECKS, GOOD, SIGNATURES, any_numbers  # noqa: E402
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
    return NumpyCodec.decode_output(output)


def check(request, outputs):
    """An answer is what its signature promises, in as many rows in each output."""
    found = {output.name: decoded(output) for output in outputs}
    signature = (request.get("parameters") or {}).get("signature", "generate")
    CHECKS[signature](found.pop("valid"), **found)


@effort.long(1000)
@given(requests())
def test_a_request_is_answered_as_promised_or_refused(predict, asked):
    try:
        outputs = predict(asked)
    except (ValidationError, InferenceError):  # The server's answers 422 and 400.
        pass
    else:
        if not asked.get("outputs"):
            check(asked, outputs)
    assert predict(as_json("generate")) == predict.first


def test_a_signature_that_is_null_is_the_default(predict):
    request = as_json("generate") | {"parameters": {"signature": None}}
    assert predict(request) == predict.first


@pytest.mark.parametrize("signature", [[1], {"a": 1}, 3, "paint"])
def test_a_signature_of_any_kind_that_is_not_there_is_refused(predict, signature):
    request = as_json("generate") | {"parameters": {"signature": signature}}
    with pytest.raises(InferenceError, match="expected a signature out of classify, "):
        predict(request)


def tensor(name, datatype, data, shape=None):
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


THREE, KEY, ROW = (
    tensor("labels", "INT32", [3]), tensor("keys", "INT64", [1]), tensor("rows", "INT64", [0]),
)  # fmt: skip
REFUSED = {
    "rank": ([tensor("labels", "INT32", [3], [1, 1]), KEY, ROW], "received int32 [1, 1]"),
    "type": (
        [tensor("labels", "INT64", [3]), KEY, ROW],
        "labels as int32 (None,), received int64 [1]",
    ),
    "rows": (
        [tensor("labels", "INT32", [3, 5]), KEY, ROW],
        "expected as many rows of each input, received 1 of keys, 2 of labels, 1 of rows",
    ),
    "missing": ([THREE], "expected inputs keys, labels, rows, received labels"),
    "extra": ([THREE, KEY, ROW, tensor("noise", "FP32", [0.5])], "received keys, labels, noise"),
    "twice": ([THREE, THREE, KEY, ROW], "received keys, labels, labels, rows"),
    "text": ([tensor("labels", "INT32", ["three"]), KEY, ROW], "the data of labels does not fit"),
    "fraction": ([tensor("labels", "INT32", [3.5]), KEY, ROW], "the data of labels does not fit"),
    "too large": ([tensor("labels", "INT32", [2**40]), KEY, ROW], "the data of labels does not"),
    "too few": ([tensor("labels", "INT32", [3], [2]), KEY, ROW], "the data of labels does not fit"),
}


@pytest.mark.parametrize("inputs, message", REFUSED.values(), ids=list(REFUSED))
def test_the_line_says_what_is_wrong(predict, inputs, message):
    with pytest.raises(InferenceError, match=re.escape(message)):
        predict({"inputs": inputs})


def pictures(datatype, data, shape=None):
    return {
        "parameters": {"signature": "classify_uint8"},
        "inputs": [tensor("images", datatype, data, shape)],
    }


REFUSED_PICTURES = {
    "no base 64": (pictures("BYTES", ["%%%"]), "the contents of files in base 64"),
    "numbers": (pictures("BYTES", [3]), "the contents of files in base 64"),
    "a shape": (pictures("BYTES", ["aaaa"], [2]), "a list of files' contents, of shape [B]"),
    "two channels": (pictures("UINT8", [0] * 8, [1, 2, 2, 2]), "1 or 3 channels"),
    "three axes": (pictures("UINT8", [0] * 4, [2, 2, 1]), "received uint8 [2, 2, 1]"),
    "floats": (pictures("FP32", [0.5] * 4, [1, 2, 2, 1]), "received float32 [1, 2, 2, 1]"),
    "no pixel": (pictures("UINT8", [], [2, 0, 5, 1]), "received uint8 of shape (2, 0, 5, 1)"),
}


@pytest.mark.parametrize("request_, message", REFUSED_PICTURES.values(), ids=list(REFUSED_PICTURES))
def test_pictures_that_cannot_be_read_are_refused(predict, request_, message):
    with pytest.raises(InferenceError, match=re.escape(message)):
        predict(request_)


def test_pictures_of_any_size_are_classified(predict):
    flat = predict(pictures("UINT8", [255] * 960, [1, 40, 24, 1]))  # resizing leaves it white
    white = predict(pictures("UINT8", [255] * 256, [1, 16, 16, 1]))
    for one, other in zip(flat, white, strict=True):
        if one.name == "probabilities":
            np.testing.assert_allclose(one.data.root, other.data.root, atol=1e-6)
        else:
            assert one == other
    for none in (pictures("BYTES", []), pictures("UINT8", [], [0, 9, 9, 3])):
        assert [len(output.data.root) for output in predict(none)] == [0] * 4


def test_colours_are_seen_as_the_grey_that_they_were_learnt_as(predict):
    colours = np.random.RandomState(0).randint(0, 256, [1, 16, 16, 3]).astype(np.uint8)
    grey = np.asarray(Image.fromarray(colours[0]).convert("L"))  # ITU-R 601, Pillow's own
    found = predict(pictures("UINT8", colours.ravel().tolist(), list(colours.shape)))
    expected = predict(pictures("UINT8", grey.ravel().tolist(), [1, 16, 16, 1]))
    for one, other in zip(found, expected, strict=True):
        if one.name == "probabilities":
            np.testing.assert_allclose(one.data.root, other.data.root, atol=1e-6)
        else:
            assert one == other


@pytest.mark.parametrize("outputs, named", [(["label"], ["label"]), (["valid", "label"], None)])
def test_only_the_outputs_that_are_asked_for_are_given(predict, outputs, named):
    request = as_json("classify") | {"outputs": [{"name": name} for name in outputs]}
    assert [output.name for output in predict(request)] == (named or outputs)
    with pytest.raises(InferenceError, match="expected outputs out of class_name, label, prob"):
        predict(as_json("classify") | {"outputs": [{"name": "labels"}]})
