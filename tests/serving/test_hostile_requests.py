"""A request of any content is answered as promised or fails alone: the model stays as it was."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tensorflow.core.protobuf import config_pb2

from dgm_tf.serving.export import NOISE_LIMIT, ROWS_END
from tests.fuzz import effort
from tests.serving.tiny_export import LATENT, NAMES, TASKS, exported

CLASSES = [label for classes in TASKS for label in classes]
SIGNATURES = [
    "classify", "classify_uint8", "generate", "generate_from_noise", "generate_png",
    "serving_default",
]  # fmt: skip

BRIEF, LONG = effort.brief(100), effort.long(1000)


class Function:
    """A model as Python loads it."""

    # A type, shape or number that is wrong; a name that is; one without a letter.
    errors = (tf.errors.InvalidArgumentError, TypeError, IndexError)

    def __init__(self, folder):
        self._model = tf.saved_model.load(folder)

    def __call__(self, signature, inputs):
        tensors = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
        found = self._model.signatures[signature](**tensors)
        return {name: value.numpy() for name, value in found.items()}


class Session:
    """A model as servers load it, asked as they do: Python checks nothing before."""

    errors = (tf.errors.InvalidArgumentError, KeyError)

    def __init__(self, folder):
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], folder)
        self._callables = {name: self._callable(loaded.signature_def[name]) for name in SIGNATURES}

    def _callable(self, signature):
        options = config_pb2.CallableOptions()
        options.feed.extend(tensor.name for tensor in signature.inputs.values())
        options.fetch.extend(tensor.name for tensor in signature.outputs.values())
        run = self._session._make_callable_from_options(options)
        return list(signature.inputs), list(signature.outputs), run

    def __call__(self, signature, inputs):
        names, outputs, run = self._callables[signature]
        values = [inputs[name] for name in names]
        # Texts of any length, as tensors have them.
        values = [value.astype(object) if value.dtype.kind == "U" else value for value in values]
        return dict(zip(outputs, run(*values), strict=True))


@pytest.fixture(scope="module", params=[Function, Session])
def model(request):
    return request.param(str(exported(classifier=True).path))


# Requests.

INPUTS = {
    "classify": {"images": (np.float32, [None, 16, 16, 1])},
    "classify_uint8": {"images": (np.uint8, [None, 16, 16, 1])},
    "generate": {"labels": (np.int32, [None]), "seed": (np.int64, [2])},
    "generate_from_noise": {"labels": (np.int32, [None]), "noise": (np.float32, [None, LATENT])},
}
INPUTS["generate_png"] = INPUTS["serving_default"] = INPUTS["generate"]

DTYPES = [
    np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
    np.float16, np.float32, np.float64, np.complex64, np.str_,
]  # fmt: skip
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.3, 1e-45, -1e-40]
WRONG_FLOATS = [
    1 + 2**-23, -1.5, 255.0, NOISE_LIMIT, 10_001.0, 1e30, -3e38, np.inf, -np.inf, np.nan,
]  # fmt: skip


def right_numbers(name, dtype):
    if name == "labels":
        return st.sampled_from(CLASSES)
    if name == "noise":
        return st.sampled_from([*FLOATS, 3.7, NOISE_LIMIT, -NOISE_LIMIT])
    return st.integers(0, 255) if dtype == np.uint8 else st.sampled_from(FLOATS)


def any_numbers(dtype):
    kind = np.dtype(dtype).kind
    if kind in "iu":
        ends = np.iinfo(dtype)
        extremes = st.sampled_from([0, 1, ends.min, ends.max])
        return st.one_of(extremes, st.integers(ends.min, ends.max))
    if kind == "U":
        return st.sampled_from(["", "3", "three"])
    return st.booleans() if kind == "b" else st.sampled_from([*WRONG_FLOATS, *FLOATS])


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
    if name == "seed":
        key, first = draw(st.integers(-(2**63), 2**63 - 1)), draw(st.integers(0, ROWS_END - 1))
        return np.array([key, first], dtype)
    shape = [rows if size is None else size for size in shape]
    if dtype == np.uint8:
        shape[1:3] = draw(st.sampled_from([(16, 16), (1, 1), (5, 17), (40, 2)]))
    return draw(filled(shape, dtype, right_numbers(name, dtype)))


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
    """A signature, its inputs, and whether all of them are right."""
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

# Numbers that may be answered at all.
TAKEN = {
    "labels": lambda labels: np.isin(labels, CLASSES).all(),
    "seed": lambda seed: 0 <= seed[1] < ROWS_END,
    "noise": lambda noise: np.all(np.abs(noise) <= NOISE_LIMIT),
    "images": lambda images: images.dtype == np.uint8 or np.all(np.abs(images) <= 1),
}


def check_images(inputs, images):
    assert images.dtype == np.float32 and images.shape == (len(inputs["labels"]), 16, 16, 1)
    assert np.all(np.abs(images) <= 1)  # NaN is not


def check_pngs(inputs, png_bytes):
    assert png_bytes.shape == inputs["labels"].shape
    for data in png_bytes:
        with Image.open(io.BytesIO(data)) as png:
            assert np.asarray(png).shape == (16, 16)


def check_classes(inputs, probabilities, label, class_name):
    rows = len(inputs["images"])
    assert probabilities.shape == (rows, len(CLASSES)) and label.shape == (rows,)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.all(probabilities >= 0) and set(label) <= set(CLASSES)
    assert [name.decode() for name in class_name] == [NAMES[each] for each in label]


CHECKS = {
    "classify": check_classes,
    "classify_uint8": check_classes,
    "generate": check_images,
    "generate_from_noise": check_images,
    "generate_png": check_pngs,
    "serving_default": check_images,
}

GOOD = {
    "classify": {"images": np.full([2, 16, 16, 1], 0.5, np.float32)},
    "classify_uint8": {"images": np.full([2, 20, 9, 1], 200, np.uint8)},
    "generate": {"labels": np.int32([3, 5]), "seed": np.int64([7, 1])},
    "generate_from_noise": {
        "labels": np.int32([3, 5]),
        "noise": np.linspace(-2, 2, 2 * LATENT, dtype=np.float32).reshape(2, LATENT),
    },
}
GOOD["generate_png"] = GOOD["serving_default"] = GOOD["generate"]


def answer(model, signature):
    """What a good request gets, to the last bit."""
    found = model(signature, GOOD[signature])
    return {name: tf.io.serialize_tensor(value).numpy() for name, value in found.items()}


@pytest.fixture(scope="module")
def answers(model):
    return {signature: answer(model, signature) for signature in SIGNATURES}


def ask(model, answers, asked):
    signature, inputs, right = asked
    try:
        found = model(signature, inputs)
    except model.errors:
        assert not right
    else:
        assert all(TAKEN[name](inputs[name]) for name in INPUTS[signature])
        CHECKS[signature](inputs, **found)
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
    return "generate", {"labels": np.int32([3, 0]), "seed": np.int64([1, 0]), **changed}


def from_noise(*numbers, shape=(1, LATENT)):
    noise = np.resize(np.array(numbers, np.float32), shape)
    return "generate_from_noise", {"labels": np.int32([3]), "noise": noise}


def classified(number, dtype=np.float32, shape=(1, 16, 16, 1), signature="classify"):
    images = np.zeros(shape, dtype)
    images[..., -1:, :] = number
    return signature, {"images": images}


NEAR = r"expected noise in \[-10000, 10000\]"
BAD = {
    "never": (asked(labels=np.int32([3, 77])), "labels of the classes learnt, 0, 1, 2, 3, 5"),
    "not yet": (asked(labels=np.int32([3, 4])), r"0, 1, 2, 3, 5, received\] \[4\]"),
    "negative": (asked(labels=np.int32([-1])), r"received\] \[-1\]"),
    "labels' rank": (asked(labels=np.int32([[3]])), r"labels\S* \[1,1\] is not compatible"),
    "seed's shape": (asked(seed=np.int64([0, 0, 0])), r"seed\S* \[3\] is not compatible"),
    "row": (asked(seed=np.int64([0, -1])), "the number of the first image"),
    "a first image beyond all": (
        asked(seed=np.int64([2**63 - 1, 2**63 - 1])),
        r"expected seed\[1\], the number of the first image, from 0 to 1099511627775",
    ),
    "noise that is no number": (from_noise(np.nan), NEAR),
    "infinite noise": (from_noise(-np.inf), rf"{NEAR}, received up to\] \[inf\]"),
    "huge noise": (from_noise(1e30), rf"{NEAR}, received up to\] \[1e\+30\]"),
    "noise of another rank": (from_noise(0, shape=(1, LATENT, 1)), r"\[1,10,1\] is not compatible"),
    "longer noise": (from_noise(0, shape=(1, LATENT + 1)), "noise.* is not compatible"),
    "more noise": (from_noise(0, shape=(3, LATENT)), "as many rows of noise as labels"),
    "images of another size": (classified(0, shape=(1, 8, 8, 1)), "images.* is not compatible"),
    "pixels as numbers": (classified(255), r"images in \[-1, 1\].*received up to\] \[255\]"),
    "pixels that are no numbers": (classified(np.nan), r"expected images in \[-1, 1\]"),
    "images without a pixel": (
        classified(0, np.uint8, (2, 0, 5, 1), "classify_uint8"),
        r"expected images of a pixel or more, received height and width\] \[0 5\]",
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
    "seed": (asked(seed=np.int32([0, 0])), "a int64 tensor but is a int32"),
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
    inputs = {
        name: value if name == "seed" else value[:0] for name, value in GOOD[signature].items()
    }
    for value in model(signature, inputs).values():
        assert len(value) == 0
