"""docs/how-to/serve.md's part on phones, word for word, and its files run by TensorFlow Lite."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import dgm_tf

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve.md"

pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


@pytest.fixture(scope="module")
def digits():
    return dgm_tf.load_data("digits")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with an export of the ten digits, and the page's two files of it."""
    folder = tmp_path_factory.mktemp("phone")
    dgm_tf.load("digits-demo").export(folder / "served" / "memory", classifier=True)
    part = PAGE.read_text(encoding="utf-8").partition("## Phones")[2]
    (code,) = re.findall(r'^```python title="\S+"\n(.*?)^```$', part, re.M | re.S)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(code, {})
    return folder


def signatures(desk):
    model = tf.saved_model.load(str(desk / "served" / "memory" / "1"))
    return {name: (model, function) for name, function in model.signatures.items()}


def test_each_test_digit_has_the_class_that_the_export_gives_it(desk, digits):
    images = dgm_tf.data.pixels.to_float(digits.test_images, 16)
    pixels = tf.cast(tf.round((images + 1) * 127.5), tf.uint8)
    _, classify = signatures(desk)["classify_uint8"]
    expected = {name: value.numpy() for name, value in classify(images=pixels).items()}
    assert len(set(expected["label"].tolist())) > 5
    runner = tf.lite.Interpreter(str(desk / "classifier.tflite")).get_signature_runner()
    for rows in (slice(1), slice(1, None)):  # any number of images
        found = runner(images=pixels[rows].numpy())
        np.testing.assert_array_equal(found["label"], expected["label"][rows])
        np.testing.assert_array_equal(found["class_name"], expected["class_name"][rows])
        np.testing.assert_allclose(
            found["probabilities"], expected["probabilities"][rows], atol=1e-4
        )
        assert found["valid"].all()


def test_the_images_of_a_class_are_those_of_the_export(desk):
    _, generate = signatures(desk)["generate_from_noise"]
    noise = np.random.RandomState(0).normal(size=[20, 128]).astype(np.float32)
    expected = generate(labels=tf.fill([20], 7), noise=tf.constant(noise))["images"].numpy()
    assert expected.std(axis=0).max() > 0.05  # images of different noise differ
    interpreter = tf.lite.Interpreter(str(desk / "seven.tflite"))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    for row, image in zip(noise, expected, strict=True):
        interpreter.set_tensor(taken["index"], row[None])
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(given["index"])[0], image, atol=1e-4)


def test_a_class_alone_is_smaller_than_the_memory(desk):
    held = (desk / "served" / "memory" / "1" / "variables" / "variables.data-00000-of-00001").stat()
    assert (desk / "seven.tflite").stat().st_size < held.st_size
