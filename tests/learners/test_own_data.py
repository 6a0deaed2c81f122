"""A learner that is given data of a user's own, and what becomes of classes, names and images."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import dgm_tf
from dgm_tf.data.own_data import LAST_CLASS, task_of
from dgm_tf.data.task import TaskClosed
from dgm_tf.errors import InputError
from tests.input_table import pixels
from tests.same_state import assert_same_state
from tests.tiny_run import MovedDGM

IMAGES = pixels(36, 16, 16, 1)
LABELS = np.tile([4, 2, 9], 12)
NAMES = np.array(["b", "ä", "c"])[np.tile([0, 1, 2], 12)]


def new():
    return MovedDGM()


def opened(data, *, known=(), number=1, **options):
    return task_of(data, number=number, known=dict(known), **{"image_shape": None} | options)


def content(task):
    """Its images and labels, in the order of one pass."""
    batches = list(task.batches(4, epochs=1, seed=0))
    return [np.concatenate(part) for part in zip(*batches, strict=True)]


# Sources. All give the same task.


@pytest.fixture
def folder(tmp_path):
    for row, (image, name) in enumerate(zip(IMAGES, NAMES, strict=True)):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(tmp_path / name / f"{row:02}.png")
    return tmp_path


def test_arrays_are_a_task_as_a_stream_has_it():
    ids = np.array([2, 0, 1])[np.tile([0, 1, 2], 12)]
    stream = dgm_tf.class_incremental(
        (IMAGES, ids, IMAGES, ids), classes_per_task=3, image_size=16, validation_fraction=0
    )
    with opened((IMAGES, ids)) as own:
        expected = next(iter(stream))
        assert own.classes == expected.classes == (0, 1, 2)
        assert own.class_names == ("0", "1", "2") and own.image_shape == (16, 16, 1)
        for found, wanted in zip(content(own), content(expected), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "change",
    [
        lambda images, labels: (images[..., 0], labels),
        lambda images, labels: [list(images), labels.tolist()],
        lambda images, labels: (images, labels[:, None]),
        lambda images, labels: tf.data.Dataset.from_tensor_slices((images, labels)),
        lambda images, labels: tf.data.Dataset.from_tensor_slices((images, labels)).batch(7),
        lambda images, labels: tf.data.Dataset.from_tensor_slices((images[..., 0], labels)),
    ],
    ids=["without channels", "lists", "columns", "single images", "batches", "grey images"],
)
@pytest.mark.parametrize("labels", [LABELS, NAMES], ids=["ids", "names"])
def test_other_sources_are_the_same_task(change, labels):
    with opened((IMAGES, labels)) as expected, opened(change(IMAGES, labels)) as found:
        assert (found.classes, found.class_names) == (expected.classes, expected.class_names)
        one, other = (
            sorted((label, image.tobytes()) for image, label in zip(*content(task), strict=True))
            for task in (found, expected)
        )
        assert one == other


def test_a_folder_is_a_task_of_all_its_classes(folder):
    shape = (16, 16, 1)
    with opened((IMAGES, NAMES)) as expected, opened(folder, image_shape=shape) as found:
        assert found.class_names == expected.class_names == ("b", "c", "ä")
        one, other = (
            sorted((label, image.tobytes()) for image, label in zip(*content(task), strict=True))
            for task in (found, expected)
        )
        assert one == other
    with opened(str(folder)) as found:
        assert found.image_shape == (32, 32, 1)
    with opened(folder, image_shape=(16, 16, 3)) as found:  # of a memory of colour images
        assert content(found)[0].shape == (36, 16, 16, 3)


def test_a_grey_memory_learns_a_folder_of_colours_as_their_luma(tmp_path, caplog):
    (tmp_path / "cat").mkdir()
    colours = pixels(16, 16, 3)
    Image.fromarray(colours).save(tmp_path / "cat" / "1.png")
    with opened(tmp_path, image_shape=(16, 16, 1)) as task:
        found, _ = next(iter(task.each_once()))
    luma = np.asarray(Image.fromarray(colours).convert("L"), np.float32)  # ITU-R 601, Pillow's own
    np.testing.assert_array_equal(found[0, ..., 0], luma / np.float32(127.5) - 1)
    assert "this memory is grey and learns these coloured images as grey" in caplog.text


def test_arrays_take_the_channels_of_the_memory(caplog):
    colours, grey = pixels(1, 16, 16, 3), pixels(1, 16, 16, 1)
    with opened((colours, [0]), image_shape=(16, 16, 1)) as task:
        found, _ = next(iter(task.each_once()))
    luma = np.asarray(Image.fromarray(colours[0]).convert("L"), np.float32)
    np.testing.assert_array_equal(found[0, ..., 0], luma / np.float32(127.5) - 1)
    assert "learns these coloured images as grey" in caplog.text
    with opened((grey, [0]), image_shape=(16, 16, 3)) as task:
        found, _ = next(iter(task.each_once()))
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], grey[..., 0] / np.float32(127.5) - 1)


def test_floats_are_learnt_from_without_rounding():
    images = np.random.RandomState(0).uniform(-1, 1, [12, 20, 16, 3]).astype(np.float32)
    with opened((images, np.zeros(12, int))) as task:
        assert task.image_shape == (16, 16, 3)
        seen, _ = content(task)
    wanted = {image.tobytes() for image in images[:, 2:18]}
    assert {image.tobytes() for image in seen} == wanted


@pytest.mark.parametrize(
    "shape, side", [((9, 30), 16), ((17, 24), 20), ((32, 32), 32), ((300, 200), 128)]
)
def test_a_new_memory_takes_its_size_from_the_images(shape, side):
    with opened((pixels(4, *shape, 1), [0, 0, 0, 0])) as task:
        assert task.image_shape == (side, side, 1)
    with opened((pixels(4, *shape, 1), [0] * 4), image_shape=(16, 16, 1)) as task:
        assert task.image_shape == (16, 16, 1)


def test_a_class_smaller_than_a_batch_is_repeated_and_it_is_said(caplog):
    labels = np.repeat([4, 2, 9], [3, 8, 25])
    with opened((IMAGES, labels), least=8) as task:
        images, ids = content(task)
        assert np.bincount(ids).tolist() == [0, 0, 8, 0, 9, 0, 0, 0, 0, 23]  # 42 in fours
        assert {image.tobytes() for image in images[ids == 4]} == {
            (image / np.float32(127.5) - 1).tobytes() for image in np.float32(IMAGES[:3])
        }
        pairs = list(task.each_once(10))
        assert [len(ids) for _, ids in pairs] == [10, 10, 10, 6]
        assert np.bincount(np.concatenate([ids for _, ids in pairs]))[[2, 4, 9]].tolist() == [
            8, 3, 25
        ]  # fmt: skip
    assert caplog.messages == [
        "4 has 3 images to learn from, fewer than a batch of 8: they are repeated"
    ]


def test_few_images_are_learnt_from():
    model = dgm_tf.ExperienceReplay(batch_size=8, critic_size=2, epochs=1, consolidation_steps=1)
    model.learn((IMAGES[:5], ["cat"] * 5), verbose=0)
    assert model.class_names == ("cat",) and model._counts == [5]


# Classes and names.


def test_integers_are_ids_and_texts_get_the_next_ones():
    model = new()
    model.learn((IMAGES, LABELS), verbose=0)
    assert model.classes_seen == (2, 4, 9) and model.class_names == ("2", "4", "9")
    model.learn((IMAGES, NAMES), verbose=0)
    assert model.classes_seen == (2, 4, 9, 10, 11, 12)
    assert model.class_names == ("2", "4", "9", "b", "c", "ä")
    model.learn((IMAGES[:12], np.zeros(12, int)), verbose=0)
    assert model.classes_seen[-1] == 0 and model.task_classes == ((2, 4, 9), (10, 11, 12), (0,))
    model.learn((IMAGES[:12], ["z"] * 12), verbose=0)
    assert model.classes_seen[-1] == 13
    seen = model.classify(IMAGES)
    names = dict(zip(model.classes_seen, model.class_names, strict=True))
    assert model.classify(IMAGES, names=True).tolist() == [names[each] for each in seen.tolist()]
    by_name = model.generate(["ä", "0"], seed=3)
    np.testing.assert_array_equal(by_name, model.generate([12, 0], seed=3))
    np.testing.assert_array_equal(model.generate("b"), model.generate([10]))


def test_texts_of_a_new_memory_begin_at_0():
    with opened((IMAGES, NAMES)) as task:
        assert task.classes == (0, 1, 2)


def test_numbers_in_texts_count_as_numbers():
    names = {"b": "10", "c": "9", "ä": "x2"}
    with opened((IMAGES, [names[name] for name in NAMES])) as task:
        assert task.class_names == ("9", "10", "x2")


@pytest.mark.parametrize(
    "labels, advice",
    [
        (["cat"] * 12, "names of their own, such as 'cat 2'"),
        (["5"] * 12, "names of their own, such as '5 2'"),
        ([5] * 12, "free ids, such as 6"),
        ([0] * 12, "free ids, such as 6"),
        ([9] * 6 + [5] * 6, "free ids, such as 10"),
    ],
)
def test_a_class_is_learnt_once(labels, advice):
    with pytest.raises(InputError, match=f"already learnt.* or give them {advice}$"):
        with opened((IMAGES[:12], labels), known={5: "5", 0: "cat"}):
            pass


def test_after_the_last_possible_id_the_lowest_free_one_follows():
    known = {0: "0", LAST_CLASS: "far"}
    with opened((IMAGES, NAMES), known=known) as task:
        assert task.classes == (1, 2, 3)
    with opened((IMAGES, NAMES), known={0: "0", LAST_CLASS - 1: "near"}) as task:
        assert task.classes == (LAST_CLASS, 1, 2)
    with pytest.raises(InputError, match="free ids, such as 1$"):
        with opened((IMAGES[:12], [0] * 12), known=known):
            pass


def test_names_that_look_the_same_are_the_same(tmp_path):
    apart, whole = "a\u0308pfel", "\u00e4pfel"
    with opened((IMAGES, [apart, whole] * 18)) as task:
        assert task.class_names == (whole,)
    (tmp_path / apart).mkdir()
    Image.fromarray(IMAGES[0, ..., 0]).save(tmp_path / apart / "1.png")
    with opened(tmp_path) as task:
        assert task.class_names == (whole,)
    (tmp_path / whole).mkdir()
    with pytest.raises(InputError, match=f"two subfolders called {whole}"), opened(tmp_path):
        pass
    model = new()
    model.learn((IMAGES[:12], [apart] * 12), verbose=0)
    np.testing.assert_array_equal(model.generate(apart), model.generate(whole))


@pytest.mark.parametrize("labels", [[-1] * 36, [LAST_CLASS + 1] * 36])
def test_ids_beyond_those_of_a_table_are_refused(labels):
    with pytest.raises(InputError, match="expected class ids from 0 to"):
        with opened((IMAGES, labels)):
            pass


@pytest.mark.parametrize("name", ["", "two\nlines", "a" * 1001, "9" * 5000])
def test_a_name_is_a_line(name):
    with pytest.raises(InputError, match="expected names of classes that are one line"):
        with opened((IMAGES, [name] * 36)):
            pass


# What cannot be learnt.


@pytest.mark.parametrize(
    "data, words",
    [
        (IMAGES, r"received ndarray of shape \(36, 16, 16, 1\) without labels"),
        ({"images": IMAGES}, "received dict"),
        ((IMAGES, LABELS[:-1]), "received 36 images and 35 labels"),
        ((pixels(36, 16, 16, 2), LABELS), "1 or 3 channels"),
        (tf.data.Dataset.from_tensor_slices((IMAGES[:0], LABELS[:0])), "an empty data set"),
        ("nowhere", "is no folder"),
    ],
)
def test_what_cannot_be_learnt_is_said(data, words):
    with pytest.raises(InputError, match=words):
        with opened(data, image_shape=(16, 16, 1)):
            pass


def test_a_data_set_of_several_sizes_is_refused():
    pairs = [(pixels(20, 20, 1), 0), (pixels(24, 20, 1), 0)]
    data = tf.data.Dataset.from_generator(
        lambda: iter(pairs),
        output_signature=(tf.TensorSpec([None, None, 1], tf.uint8), tf.TensorSpec([], tf.int64)),
    )
    with pytest.raises(InputError, match="expected images of one size.*write them to a folder"):
        with opened(data):
            pass


def test_a_task_of_other_images_is_refused():
    stream = dgm_tf.class_incremental("digits", image_size=24)
    with pytest.raises(InputError, match="make the stream with that image_size"):
        with opened(next(iter(stream)), image_shape=(16, 16, 1)):
            pass


def test_joint_training_reads_its_own_stream_only():
    stream = dgm_tf.class_incremental("digits")
    task = next(iter(stream))
    for data in ((IMAGES, np.repeat(0, 36)), next(iter(stream.fresh()))):
        learner = dgm_tf.JointClassifier(stream=stream, batch_size=5)
        with pytest.raises(InputError, match="reads old images from its own stream"):
            learner.learn(data, verbose=0)
    assert stream.stands_at(task)


# Nothing is left.


def test_the_images_are_gone_when_the_task_is_learnt():
    kept = []

    class Keeping(MovedDGM):
        def learn_task(self, task, **options):
            kept.append((task, task.batches(4, epochs=1, seed=0)))
            return super().learn_task(task, **options)

    images = IMAGES.copy()
    Keeping().learn((images, LABELS), verbose=0)
    (task, batches), gone = kept[0], weakref.ref(images)
    assert not task.is_open
    with pytest.raises(TaskClosed):
        next(iter(batches))
    del images
    gc.collect()
    assert gone() is None


class BrokenOff(MovedDGM):
    """Stops at a moment, once."""

    moment = error = None

    def at(self, here):
        if self.moment == here:
            raise self.error

    def learn_task(self, task, **options):
        self.at("before")
        history = super().learn_task(task, **options)
        self.at("after")
        return history

    def task_learnt(self, task, classifier):
        self.at("half way")  # the generator has been taken over by now
        super().task_learnt(task, classifier)

    def remember(self, task):
        self.at("audit")
        super().remember(task)


@pytest.fixture(scope="module")
def undisturbed():
    """The states of a learner after each of two tasks."""
    model, states = new(), []
    for data in ((IMAGES[:12], [0] * 12), (IMAGES, LABELS)):
        model.learn(data, verbose=0)
        states.append(model.state())
    return states


@pytest.mark.parametrize("moment", ["before", "half way", "after", "audit"])
def test_a_learner_that_is_broken_off_is_as_it_was(undisturbed, moment):
    model, (first, second) = BrokenOff(), undisturbed
    model.load(*first)
    model.moment, model.error = moment, KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        model.learn((IMAGES, LABELS), verbose=0)
    assert_same_state(model.state(), first)
    model.moment = None
    model.learn((IMAGES, LABELS), verbose=0)
    assert_same_state(model.state(), second)


# Evaluation.


def test_accuracy_is_the_mean_over_classes_whatever_the_source():
    model = new()
    model.learn((IMAGES, NAMES), verbose=0)
    guessed = model.classify(IMAGES, names=True)
    wanted = np.mean([np.mean(guessed[NAMES == name] == name) for name in set(NAMES.tolist())])
    ids = np.array([model.classes_seen[model.class_names.index(name)] for name in NAMES])
    data = tf.data.Dataset.from_tensor_slices((IMAGES, ids))
    for given in ((IMAGES, NAMES), (IMAGES, ids), (data,), (data.batch(5),), ((IMAGES, ids),)):
        found = model.evaluate(*given)
        assert found.average_accuracy == pytest.approx(wanted)
        assert sum(found.test_images.values()) == 36
    with pytest.raises(InputError, match="class z has not been learnt"):
        model.evaluate(IMAGES[:1], ["z"])
    with pytest.raises(InputError, match="received 2 images and 1 labels"):
        model.evaluate(IMAGES[:2], ["b"])


def test_a_method_that_reads_each_image_once_repeats_none(caplog):
    images = np.random.RandomState(0).randint(0, 256, (3, 16, 16, 1)).astype(np.uint8)
    dgm_tf.NearestMean(batch_size=8).learn((images, [4, 4, 5]), verbose=0)
    assert not caplog.messages
