"""What may be handed in as images and labels, and what is said of the rest."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

import dgm_tf
from dgm_tf.data import image_file, inputs
from dgm_tf.errors import InputError
from tests.input_table import SIDE, TAKEN, floats, pixels

ROOT = Path(__file__).parents[2]
KNOWN = {3: "cat", 0: "dog", 7: "7"}


def test_learner_and_exported_model_answer_or_refuse_and_the_process_lives():
    done = subprocess.run(
        [sys.executable, "-m", "tests.input_table"],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "alive"


@pytest.mark.parametrize("row", TAKEN)
def test_images_keep_their_values(row):
    given, count = TAKEN[row]
    found = inputs.images(given, (16, 16, 1))
    assert found.ndim == 4 and found.shape[0] == count and found.shape[-1] == 1
    if count or np.ndim(given) == 4:
        assert found.dtype == (np.uint8 if np.asarray(given).dtype == np.uint8 else np.float32)
    np.testing.assert_array_equal(found.ravel(), np.asarray(given).ravel())


def test_colour_images_have_three_channels():
    assert inputs.images(pixels(2, 9, 8, 3), (16, 16, 3)).shape == (2, 9, 8, 3)
    assert inputs.images(pixels(9, 8, 3), (16, 16, 3)).shape == (1, 9, 8, 3)


@pytest.mark.parametrize("shape", [(9, 8), (2, 9, 8), (2, 9, 8, 1), (3, 9, 8)])
def test_grey_images_get_three_equal_channels_where_the_network_sees_colours(shape):
    grey = pixels(*shape)
    found = inputs.images(grey, (16, 16, 3))
    assert found.shape[-1] == 3 and found.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel].ravel(), grey.ravel())


def test_colours_become_the_grey_of_files_where_the_network_sees_grey():
    colours = pixels(4, 16, 16, 3)
    found = inputs.images(colours, (16, 16, 1))
    expected = np.stack([np.asarray(Image.fromarray(each).convert("L")) for each in colours])
    np.testing.assert_array_equal(found[..., 0], expected)  # ITU-R 601, Pillow's own
    floats_found = inputs.images(colours / np.float32(127.5) - 1, (16, 16, 1))
    np.testing.assert_allclose((floats_found[..., 0] + 1) * 127.5, expected, atol=0.51)


def test_grey_of_equal_channels_has_their_very_bits():
    grey = np.random.RandomState(0).uniform(-1, 1, [30, 16, 16, 1]).astype(np.float32)
    found = inputs.images(np.repeat(grey, 3, axis=-1), (16, 16, 1))
    np.testing.assert_array_equal(found, grey)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "LA", "1", "I;16", "CMYK"])
def test_pictures_are_seen_as_their_files_are(mode, ending, tmp_path):
    if (mode, ending) == ("CMYK", "png"):
        pytest.skip("there are none")
    file, turned = tmp_path / f"a.{ending}", Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    drawn = Image.fromarray(pixels(16, 16, 3))
    if mode == "I;16":
        drawn = Image.fromarray(np.asarray(drawn)[..., 0].astype(np.uint16) * 257)
    elif "A" in mode:
        drawn.putalpha(Image.fromarray(pixels(16, 16)))
    drawn.convert(mode).save(file, exif=turned)
    expected = image_file.read_image(file, 16)  # 16x16 already
    with Image.open(file) as picture:
        for given, count in ((picture, 1), ([picture, picture], 2)):
            found = inputs.images(given, (16, 16, 3))
            np.testing.assert_array_equal(found, [expected] * count)
        learnt = inputs.training_images([picture])
    grey = (expected == expected[..., :1]).all()
    assert grey == (mode in ("L", "LA", "1", "I;16"))
    np.testing.assert_array_equal(learnt[0], expected[..., :1] if grey else expected)


@pytest.mark.parametrize("mode, ground", [("RGB", (9, 9, 9)), ("L", 9)])
def test_a_colour_that_is_transparent_becomes_white_as_in_files(mode, ground, tmp_path):
    Image.new(mode, (16, 16), ground).save(tmp_path / "a.png", transparency=ground)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == mode
        assert inputs.images(picture, (16, 16, 1)).min() == 255


def test_pictures_that_cannot_be_read_are_refused():
    for given in (Image.new("F", (16, 16)), [Image.new("L", (9, 9)), Image.new("L", (8, 8))]):
        with pytest.raises(InputError, match="makes no array") as error:
            inputs.images(given, (16, 16, 1))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGB", 3)])
def test_pictures_of_levels_are_taken(mode, channels):
    picture = Image.fromarray(pixels(9, 8, 3)).convert(mode)
    for given, count in ((picture, 1), ([picture, picture], 2)):
        found = inputs.images(given, (16, 16, channels))
        assert found.shape == (count, 9, 8, channels)
        np.testing.assert_array_equal(found[0].ravel(), np.asarray(picture).ravel())


def test_masked_arrays_are_refused():
    masked = np.ma.masked_equal(pixels(2, 16, 16, 1), 5)
    for given in (masked, list(masked)):
        with pytest.raises(InputError, match="a masked array; fill it by"):
            inputs.images(given, (16, 16, 1))
    with pytest.raises(InputError, match="a masked array"):
        inputs.labels(np.ma.masked_equal([1, 2], 2))
    with pytest.raises(InputError, match="a masked array"):
        list(inputs.labelled_batches([(masked, [0, 1])]))


# Images to learn from.


@pytest.mark.parametrize(
    "given", [pixels(4, 9, 7, 1), pixels(4, 9, 7, 3), floats(4, 20, 30, 1), pixels(4, 28, 28)]
)
def test_images_of_any_one_size_are_learnt_from(given):
    found = inputs.training_images(given)
    assert found.shape == (*given.shape[:3], given.shape[3] if given.ndim == 4 else 1)
    np.testing.assert_array_equal(found.ravel(), given.ravel())


@pytest.mark.parametrize(
    "given",
    [
        pixels(28, 28),
        pixels(28, 28, 3),  # one image
        pixels(28, 28, 1),
        pixels(4, 28, 28, 2),
        pixels(4, 28, 28, 1) / 1.0,
        pixels(4, 28, 28, 1).astype(int),
        pixels(0, 28, 28, 1),
    ],
)
def test_what_cannot_be_learnt_from_is_said(given):
    with pytest.raises(InputError, match=r"expected images \[N, height, width, "):
        inputs.training_images(given)


# Labels.


@pytest.mark.parametrize(
    "given, expected",
    [
        ([2, 5], [2, 5]),
        (np.array([[2], [5]], np.uint8), [2, 5]),  # as Keras' CIFAR has them
        (7, [7]),
        (tf.constant([1, 2], tf.int32), [1, 2]),
        (("b", "a"), ["b", "a"]),
        (np.array([b"b", "ä".encode()]), ["b", "ä"]),
        ([b"a\xcc\x88"], ["\u00e4"]),
        (["a\u0308", "\u00e4"], ["\u00e4"] * 2),
        (tf.constant(["x", "y"]), ["x", "y"]),
        ("cat", ["cat"]),
        (np.array(["x", "y"], object), ["x", "y"]),
        ([], []),
    ],
)
def test_labels_are_ids_or_names(given, expected):
    found = inputs.labels(given)
    assert found.tolist() == expected and found.ndim == 1
    texts = expected and isinstance(expected[0], str)
    assert found.dtype.kind == "U" if texts else found.dtype == np.int64


@pytest.mark.parametrize(
    "given, words",
    [
        ([0.0, 1.0], "labels.astype(int)"),
        ([True, False], "labels.astype(int)"),
        (np.eye(3), "argmax"),
        ([1, "cat"], "use one kind"),
        (None, "NoneType"),
        ([[1, 2], [3]], "no array"),
        ([None, "a"], "use one kind"),
        (np.array([None, "a"]), "objects"),
        (np.array([2**63], np.uint64), "uint64"),
        ([b"\xff"], "of shape"),
    ],
)
def test_what_are_no_labels_is_said(given, words):
    with pytest.raises(InputError) as error:
        inputs.labels(given)
    assert words in str(error.value) and str(error.value).startswith("expected class ids")


def test_classes_are_named_by_id_or_name():
    assert inputs.class_ids([0, 7, 3], KNOWN).tolist() == [0, 7, 3]
    assert inputs.class_ids(["cat", "dog", "cat"], KNOWN).tolist() == [3, 0, 3]
    assert inputs.class_ids("cat", KNOWN).tolist() == [3]
    for unknown in (["bird"], [4], [-1], ["3"]):
        with pytest.raises(InputError, match=r"known are 3 \(cat\), 0 \(dog\), 7$"):
            inputs.class_ids(unknown, KNOWN)


# Data sets.


def as_lists(batches):
    return [(images.shape, labels.tolist()) for images, labels in batches]


def test_batches_are_taken_as_they_are():
    data = tf.data.Dataset.from_tensor_slices((pixels(5, 8, 9, 1), np.arange(5))).batch(2)
    assert as_lists(inputs.labelled_batches(data)) == [
        ((2, 8, 9, 1), [0, 1]), ((2, 8, 9, 1), [2, 3]), ((1, 8, 9, 1), [4])
    ]  # fmt: skip
    grey = data.map(lambda images, labels: (images[..., 0], labels))
    assert [shape for shape, _ in as_lists(inputs.labelled_batches(grey))][-1] == (1, 8, 9)


@pytest.mark.parametrize("labels", [np.arange(300), np.arange(300)[:, None]])
@pytest.mark.parametrize("shape", [(8, 9, 3), (8, 9)])
def test_single_images_come_together(labels, shape):
    images = pixels(300, *shape)
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    batches = list(inputs.labelled_batches(data))
    assert [len(part) for part, _ in batches] == [256, 44]
    np.testing.assert_array_equal(np.concatenate([part for part, _ in batches]), images)
    np.testing.assert_array_equal(np.concatenate([part for _, part in batches]), labels)


def test_single_images_of_several_sizes_come_apart():
    pairs = [(pixels(8, 8, 1), 0), (pixels(8, 8, 1), 1), (pixels(9, 8, 1), 2)]
    assert as_lists(inputs.labelled_batches(pairs)) == [((2, 8, 8, 1), [0, 1]), ((1, 9, 8, 1), [2])]


@pytest.mark.parametrize(
    "data, words",
    [
        (tf.data.Dataset.from_tensors((0, 0)).repeat(), "repeats for ever"),
        (tf.data.Dataset.from_tensors({"image": 0, "label": 0}), "as_supervised=True"),
        (tf.data.Dataset.from_tensors((0, 0, 0)), "pairs"),
        (5, "received int"),
        ([5], "received int"),
    ],
)
def test_what_is_no_data_set_of_pairs_is_said(data, words):
    with pytest.raises(InputError, match=words):
        list(inputs.labelled_batches(data))


@pytest.mark.parametrize(
    "names", [("1", "cat"), ("-1", "-2"), ("0.5", "1.5"), ("+1", "x"), ("01", "x")]
)
def test_a_number_is_no_id_where_a_class_is_called_by_one(names):
    known = dict(enumerate(names))
    for label, name in known.items():
        assert inputs.asked_classes([name], known) == [label]
    with pytest.raises(InputError, match="class 0 is unknown"):
        inputs.asked_classes(["0"], known)
    assert inputs.asked_classes(["0"], {0: "7b", 1: "v1.5"}) == [0]


def test_classes_are_asked_for_by_any_form_of_their_names():
    known = {0: "caf\u00e9", 1: " pad ", 2: "plum", 3: "plum "}
    asked = ["cafe\u0301", "caf\udcc3\udca9", "pad", "plum", "plum ", "2"]
    assert inputs.asked_classes(asked, known) == [0, 0, 1, 2, 3, 2]


def test_images_of_different_sizes_are_predicted_as_each_alone():
    model = dgm_tf.NearestMean()
    model.learn((pixels(4, SIDE, SIDE, 1), [0, 0, 1, 1]), verbose=0)
    given = [pixels(8, 9, 1), Image.fromarray(pixels(40, 30, 3)), pixels(20, 20)]
    alone = np.concatenate([model.predict(each) for each in given])
    np.testing.assert_array_equal(model.predict(given), alone)
    found = model.classify(given)
    assert model.evaluate(given, found).average_accuracy == 1


BLACK = np.zeros([SIDE, SIDE], np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        [pixels(9, 9, 3), pixels(9, 9)],
        [pixels(9, 9, 1), pixels(9, 9)],
        [Image.fromarray(pixels(9, 9)), pixels(9, 9)],
        [BLACK, -np.ones([SIDE, SIDE], np.float32)],
        [tf.constant(pixels(9, 9, 3)), tf.constant(pixels(8, 9, 3))],
    ],
    ids=["colours", "axes", "picture", "floats", "tensors"],
)
def test_images_of_different_kinds_are_predicted_as_each_alone(given):
    model = dgm_tf.NearestMean()
    model.learn((pixels(4, SIDE, SIDE, 3), [0, 0, 1, 1]), verbose=0)
    alone = np.concatenate([model.predict(each) for each in given])
    np.testing.assert_allclose(model.predict(given), alone, atol=1e-6)


def test_floats_from_0_to_1_are_said(recwarn):
    pictures = pixels(4, SIDE, SIDE, 1)
    pictures[:, 0] = 0
    model = dgm_tf.NearestMean()
    model.learn((pictures / 127.5 - 1, [0, 0, 1, 1]), verbose=0)
    model.predict(pictures[:1] / 127.5 - 1)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"values from 0 to .* pixels \* 2 - 1 brings 0 to 1"):
        model.predict(pictures / np.float32(255))


@pytest.mark.parametrize("least", [0, 3])
def test_floats_from_0_to_1_are_not_learnt(least):
    pictures = np.maximum(pixels(4, SIDE, SIDE, 1), least) / np.float32(255)
    model = dgm_tf.NearestMean()
    with pytest.raises(InputError, match=r"with values from 0.* pixels \* 2 - 1 brings 0 to 1"):
        model.learn((pictures, ["a", "a", "b", "b"]), verbose=0)
    assert not model.classes_seen
    model.learn((np.uint8(255 * pictures), ["a", "a", "b", "b"]), verbose=0)


def test_a_one_hot_label_of_a_single_image_is_said():
    data = tf.data.Dataset.from_tensor_slices((pixels(6, 8, 8, 1), np.eye(6)))
    with pytest.raises(InputError, match=r"an image of shape \(8, 8, 1\) .* argmax"):
        list(inputs.labelled_batches(data))
    as_many_as_rows = tf.data.Dataset.from_tensor_slices((pixels(8, 8, 8, 3), np.eye(8)))
    with pytest.raises(InputError, match=r"an image of shape \(8, 8, 3\) .* argmax"):
        list(inputs.labelled_batches(as_many_as_rows))


def test_no_labels_of_any_shape_are_none():
    for shape in [(0,), (0, 1)]:
        assert inputs.labels(np.zeros(shape, int)).shape == (0,)


def test_a_pair_may_be_a_list():
    model = dgm_tf.NearestMean()
    images, labels = pixels(4, SIDE, SIDE, 1), [0, 0, 1, 1]
    model.learn([images, labels], verbose=0)
    expected = model.evaluate((images, labels))
    assert model.evaluate([images, labels]) == expected
    assert model.evaluate([(images[:2], labels[:2]), (images[2:], labels[2:])]) == expected
