"""What exports are asked, as Python and as servers ask it, and what answers must be."""

import io

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from PIL import Image
from tensorflow.core.protobuf import config_pb2

from dgm_tf.serving.signatures import NOISE_LIMIT
from tests.serving.tiny_export import LABELS, LATENT, NAMES, TASKS

CLASSES = [label for classes in TASKS for label in classes]
SIGNATURES = [
    "classify", "classify_uint8", "generate", "generate_from_noise", "generate_png",
    "serving_default",
]  # fmt: skip


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


# Requests.

GOOD = {
    "classify": {"images": np.full([2, 16, 16, 1], 0.5, np.float32)},
    "classify_uint8": {"images": np.full([2, 16, 16, 1], 200, np.uint8)},
    "generate": {
        "labels": np.int32([3, 5]), "keys": np.int64([7, 7]), "rows": np.int64([1, 4]),
    },
    "generate_from_noise": {
        "labels": np.int32([3, 5]),
        "noise": np.linspace(-2, 2, 2 * LATENT, dtype=np.float32).reshape(2, LATENT),
    },
}  # fmt: skip
GOOD["generate_png"] = GOOD["serving_default"] = GOOD["generate"]

FLOATS = [0.0, -0.0, 1.0, -1.0, 0.3, 1e-45, -1e-40]
WRONG_FLOATS = [
    1 + 2**-23, -1.5, 255.0, NOISE_LIMIT, 10_001.0, 1e30, -3e38, np.inf, -np.inf, np.nan,
]  # fmt: skip


def any_numbers(dtype):
    kind = np.dtype(dtype).kind
    if kind in "iu":
        ends = np.iinfo(dtype)
        extremes = st.sampled_from([0, 1, ends.min, ends.max])
        return st.one_of(extremes, st.integers(ends.min, ends.max))
    if kind == "U":
        return st.sampled_from(["", "3", "three"])
    return st.booleans() if kind == "b" else st.sampled_from([*WRONG_FLOATS, *FLOATS])


def rows_of(signature, count, seed):
    """As many rows for a signature, some of which cannot be answered."""
    random = np.random.RandomState(seed)
    labels = random.choice([*LABELS, 77], count).astype(np.int32)
    if signature == "classify_uint8":
        return {"images": random.randint(0, 256, [count, 16, 16, 1]).astype(np.uint8)}
    if signature == "classify":
        images = random.uniform(-1, 1, [count, 16, 16, 1]).astype(np.float32)
        images[random.rand(count) < 0.2, 3, 4] = np.nan
        return {"images": images}
    if signature == "generate_from_noise":
        noise = random.normal(size=[count, LATENT]).astype(np.float32)
        noise[random.rand(count) < 0.2, 5] = 1e9
        return {"labels": labels, "noise": noise}
    keys, rows = random.randint(0, 3, count), random.randint(-1, 50, count)
    return {"labels": labels, "keys": keys.astype(np.int64), "rows": rows.astype(np.int64)}


# Answers.


def as_bytes(answer):
    return {name: tf.io.serialize_tensor(value).numpy() for name, value in answer.items()}


def check_images(taken, images):
    assert images.dtype == np.float32 and images.shape == (len(taken), 16, 16, 1)
    assert np.all(np.abs(images[taken]) <= 1)  # NaN is not
    assert np.isnan(images[~taken]).all()


def check_pngs(taken, png_bytes):
    assert png_bytes.shape == taken.shape
    for data, whole in zip(png_bytes, taken, strict=True):
        if not whole:
            assert data == b""
            continue
        with Image.open(io.BytesIO(data)) as png:
            assert np.asarray(png).shape == (16, 16)


def check_classes(taken, probabilities, label, class_name):
    assert probabilities.shape == (len(taken), len(CLASSES)) and label.shape == taken.shape
    np.testing.assert_allclose(probabilities[taken].sum(axis=1), 1, atol=1e-5)
    assert np.all(probabilities[taken] >= 0) and np.isnan(probabilities[~taken]).all()
    np.testing.assert_array_equal(np.isin(label, CLASSES), taken)
    names = [NAMES[each] if each >= 0 else "" for each in label]
    assert [name.decode() for name in class_name] == names and set(label[~taken]) <= {-1}


CHECKS = {
    "classify": check_classes,
    "classify_uint8": check_classes,
    "generate": check_images,
    "generate_from_noise": check_images,
    "generate_png": check_pngs,
    "serving_default": check_images,
}
