"""A request of any content is answered row by row, or fails; the model stays as it was."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from dgm_tf.serving.signatures import NOISE_LIMIT, ROWS_END
from tests.fuzz import effort
from tests.serving.asking import (
    CHECKS,
    CLASSES,
    FLOATS,
    GOOD,
    SIGNATURES,
    Function,
    Session,
    any_numbers,
    as_bytes,
)
from tests.serving.tiny_export import LATENT, exported

BRIEF, LONG = effort.brief(100), effort.long(1000)


@pytest.fixture(scope="module", params=[Function, Session])
def model(request):
    return request.param(str(exported(classifier=True).path))


# Requests.

INPUTS = {
    "classify": {"images": (np.float32, [None, 16, 16, 1])},
    "classify_uint8": {"images": (np.uint8, [None, 16, 16, 1])},
    "generate": {
        "labels": (np.int32, [None]), "keys": (np.int64, [None]), "rows": (np.int64, [None]),
    },
    "generate_from_noise": {"labels": (np.int32, [None]), "noise": (np.float32, [None, LATENT])},
}  # fmt: skip
INPUTS["generate_png"] = INPUTS["serving_default"] = INPUTS["generate"]

DTYPES = [
    np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
    np.float16, np.float32, np.float64, np.complex64, np.str_,
]  # fmt: skip


def right_numbers(name, dtype):
    if name == "labels":
        return st.sampled_from(CLASSES)
    if name == "keys":
        return st.integers(-(2**63), 2**63 - 1)
    if name == "rows":
        return st.integers(0, ROWS_END - 1)
    if name == "noise":
        return st.sampled_from([*FLOATS, 3.7, NOISE_LIMIT, -NOISE_LIMIT])
    return st.integers(0, 255) if dtype == np.uint8 else st.sampled_from(FLOATS)


@st.composite
def filled(draw, shape, dtype, numbers):
    """An array of one number, but for up to three places."""
    with np.errstate(over="ignore"):  # of float16
        array = np.full(shape, draw(numbers), dtype)
        for _ in range(draw(st.integers(0, min(array.size, 3)))):
            array.flat[draw(st.integers(0, array.size - 1))] = draw(numbers)
    return array


@st.composite
def right_tensors(draw, name, dtype, shape, rows):
    """Of the type and shape that are wanted; of any content in some rows, perhaps."""
    shape = [rows if size is None else size for size in shape]
    numbers = right_numbers(name, dtype)
    if draw(st.booleans()):
        numbers = st.one_of(numbers, any_numbers(dtype))
    return draw(filled(shape, dtype, numbers))


@st.composite
def any_tensors(draw, name, dtype, shape, rows):
    """Of another type, shape or content, perhaps."""
    shape = [rows if size is None else size for size in shape]
    changed = draw(st.sampled_from(["content", "content", "content", "type", "shape", "size"]))
    if changed == "type":
        dtype = draw(st.sampled_from(DTYPES))
    elif changed == "shape":
        shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 16]), max_size=4))
    elif changed == "size":
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([0, 1, 2, 5, 17]))
    return draw(filled(shape, dtype, any_numbers(dtype)))


@st.composite
def requests(draw):
    """A signature, its inputs, and whether they have the names, types and shapes it wants."""
    signature = draw(st.sampled_from(SIGNATURES))
    rows, right, inputs = draw(st.integers(0, 3)), True, {}
    for name, (dtype, shape) in INPUTS[signature].items():
        as_wanted = draw(st.booleans())
        right = right and as_wanted
        tensors = right_tensors if as_wanted else any_tensors
        inputs[name] = draw(tensors(name, dtype, shape, rows))
    if draw(st.integers(0, 7)) == 7:
        right = False
        value = inputs.pop(draw(st.sampled_from(sorted(inputs))))
        for name in draw(st.lists(st.sampled_from(["labels", "images", "x", ""]), max_size=2)):
            inputs[name] = value
    return signature, inputs, right


# Answers.

# Rows that can be answered.
TAKEN = {
    "labels": lambda labels: np.isin(labels, CLASSES),
    "keys": lambda keys: np.full(len(keys), True),
    "rows": lambda rows: (rows >= 0) & (rows < ROWS_END),
    "noise": lambda noise: (np.abs(noise) <= NOISE_LIMIT).all(axis=1),
    "images": lambda images: (
        (images.astype(np.float64) <= 255).all(axis=(1, 2, 3))
        if images.dtype == np.uint8
        else (np.abs(images) <= 1).all(axis=(1, 2, 3))
    ),
}


def answer(model, signature):
    """The answer to a good request, to the last bit."""
    return as_bytes(model(signature, GOOD[signature]))


@pytest.fixture(scope="module")
def answers(model):
    return {signature: answer(model, signature) for signature in SIGNATURES}


def check(signature, inputs, valid, **found):
    """An answer has its promised content in the rows that can be answered, and only there."""
    taken = np.all([TAKEN[name](inputs[name]) for name in INPUTS[signature]], axis=0)
    np.testing.assert_array_equal(valid, taken)
    CHECKS[signature](taken, **found)


def ask(model, answers, asked):
    signature, inputs, right = asked
    try:
        found = model(signature, inputs)
    except model.errors:
        assert not right
    else:
        check(signature, inputs, **found)
    assert answer(model, signature) == answers[signature]


@BRIEF
@given(requests())
def test_a_request_is_answered_as_promised_or_fails_alone(model, answers, asked):
    ask(model, answers, asked)


@pytest.mark.slow
@LONG
@given(requests())
def test_many_requests_are_answered_as_promised_or_fail_alone(model, answers, asked):
    ask(model, answers, asked)


# What has gone wrong, or could.


def asked(**changed):
    inputs = {"labels": np.int32([3, 0]), "keys": np.int64([1, 1]), "rows": np.int64([0, 1])}
    return "generate", inputs | changed


def from_noise(*numbers, rows=2, size=LATENT):
    noise = np.resize(np.array(numbers, np.float32), [rows, size])
    return "generate_from_noise", {"labels": np.int32([3, 0]), "noise": noise}


def classified(number, dtype=np.float32, shape=(1, 16, 16, 1), signature="classify"):
    images = np.zeros(shape, dtype)
    images[..., -1:, :] = number
    return signature, {"images": images}


BAD_ROWS = {
    "never learnt": (asked(labels=np.int32([3, 77])), [1, 0]),
    "not yet learnt": (asked(labels=np.int32([4, 0])), [0, 1]),
    "negative": (asked(labels=np.int32([-1, -(2**31)])), [0, 0]),
    "a negative row": (asked(rows=np.int64([-1, 0])), [0, 1]),
    "a row beyond all": (asked(rows=np.int64([ROWS_END - 1, ROWS_END])), [1, 0]),
    "noise that is no number": (from_noise(*[0] * LATENT, np.nan, *[0] * (LATENT - 1)), [1, 0]),
    "infinite noise": (from_noise(-np.inf, *[0] * (2 * LATENT - 1)), [0, 1]),
    "huge noise": (from_noise(1e30), [0, 0]),
    "pixels from 0 to 255": (classified(255), [0]),
    "pixels that are no numbers": (classified(np.nan), [0]),
}


@pytest.mark.parametrize("request_, valid", BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_a_row_that_cannot_be_answered_is_said_to_be_so(model, request_, valid):
    found = model(*request_)
    np.testing.assert_array_equal(found["valid"], np.array(valid, bool))
    check(*request_, **found)


BAD = {
    "labels' rank": (asked(labels=np.int32([[3]])), r"labels\S* \[1,1\] is not compatible"),
    "fewer rows": (
        asked(rows=np.int64([0])),
        r"expected as many rows of labels, keys, rows, received\] \[2 2 1\]",
    ),
    "more noise": (from_noise(0, rows=3), "expected as many rows of labels, noise"),
    "longer noise": (from_noise(0, size=LATENT + 1), "noise.* is not compatible"),
    "images of another size": (classified(0, shape=(1, 8, 8, 1)), "images.* is not compatible"),
    "pictures of another size": (
        classified(0, np.uint8, (2, 40, 9, 1), "classify_uint8"),
        "images.* is not compatible",
    ),
}


@pytest.mark.parametrize("request_, message", BAD.values(), ids=list(BAD))
def test_the_line_says_what_was_wanted_and_the_model_lives_on(model, answers, request_, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        model(*request_)
    assert answer(model, request_[0]) == answers[request_[0]]


def test_servers_get_the_answers_that_python_gets():
    folder = str(exported(classifier=True).path)
    function, session = Function(folder), Session(folder)
    for signature in ("generate", "generate_from_noise", "generate_png"):
        assert answer(function, signature) == answer(session, signature)


WRONG_TYPES = {
    "labels": (asked(labels=np.float32([3])), "a int32 tensor but is a float"),
    "keys": (asked(keys=np.int32([0, 0])), "a int64 tensor but is a int32"),
    "uint8": (classified(0, np.uint8), "a float tensor but is a uint8"),
    "double": (classified(0, np.float64), "a float tensor but is a double"),
    "float": (classified(0, signature="classify_uint8"), "a uint8 tensor but is a float"),
}


@pytest.mark.parametrize("request_, message", WRONG_TYPES.values(), ids=list(WRONG_TYPES))
def test_a_type_is_not_converted(request_, message):
    model = Function(str(exported(classifier=True).path))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        model(*request_)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_request_for_nothing_is_answered_by_nothing(model, signature):
    inputs = {name: value[:0] for name, value in GOOD[signature].items()}
    for value in model(signature, inputs).values():
        assert len(value) == 0
