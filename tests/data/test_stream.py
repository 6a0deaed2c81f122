"""Streams: what a task hands out, in which order, and that a finished task hands out nothing."""

import ast
import functools
import gc
import json
import time
import types
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import dgm_tf
from dgm_tf.data import task as task_module
from dgm_tf.data.datasets import ImageData
from dgm_tf.data.pixels import to_float
from dgm_tf.data.stream import TaskStream, class_incremental
from dgm_tf.data.task import TaskClosed
from tests.input_table import pixels
from tests.reach import reachable_images
from tests.refusals import refused

SIDE = 16
COUNTS = (20, 31, 24, 27)  # training images of classes 0 to 3
TEST_COUNTS = (5, 3, 4, 6)
TEST_OFFSET = 10_000  # numbers of test images start here


def numbered_images(numbers):
    """uint8 [N, 16, 16, 1] images that carry their number in the first two pixels."""
    images = np.full((len(numbers), SIDE, SIDE, 1), 77, np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.divmod(numbers, 256)
    return images


def numbers_of(images):
    pixels = np.round((np.asarray(images)[:, 0, :2, 0] + 1) * 127.5).astype(int)
    return (pixels[:, 0] * 256 + pixels[:, 1]).tolist()


def numbered_data(counts=COUNTS, test_counts=TEST_COUNTS):
    """Classes mixed in the data set's order; image number = row."""
    shuffle = np.random.RandomState(7)
    labels = shuffle.permutation(np.repeat(np.arange(len(counts)), counts))
    test_labels = shuffle.permutation(np.repeat(np.arange(len(counts)), test_counts))
    return ImageData(
        name="numbered",
        train_images=numbered_images(np.arange(len(labels))),
        train_labels=labels,
        test_images=numbered_images(TEST_OFFSET + np.arange(len(test_labels))),
        test_labels=test_labels,
        class_names=("ant", "bee", "cat", "dog")[: len(counts)],
        source="made for this test",
        image_size=SIDE,
    )


def numbered_stream(**options):
    return class_incremental(numbered_data(), **options)


@pytest.fixture
def task():
    """The first of four tasks, open: class 0, of whose 20 images 3 are held out."""
    return next(iter(numbered_stream()))


def read(dataset):
    """[(image numbers, labels)] of each batch."""
    return [(numbers_of(images), labels.numpy().tolist()) for images, labels in dataset]


def numbers_in(dataset):
    return [number for numbers, _ in read(dataset) for number in numbers]


# What the networks see.


def test_pixels_0_to_255_become_minus_1_to_1():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    result = to_float(levels, 16)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result[0, :, :, 0], levels[0, :, :, 0] / 127.5 - 1, atol=1e-6)
    assert result.numpy().min() == -1.0 and result.numpy().max() == 1.0


def test_a_smaller_image_is_enlarged_bilinearly():
    image = np.random.RandomState(0).randint(0, 256, (28, 28)).astype(np.uint8)
    result = to_float(image[None, :, :, None], 32)[0, :, :, 0]
    # Pixel centres at half-integers, edges repeated.
    places = np.clip((np.arange(32) + 0.5) * 28 / 32 - 0.5, 0, 27)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(28)))
    expected = weights @ image @ weights.T
    np.testing.assert_allclose(result, expected / 127.5 - 1, atol=1e-5)


def test_a_larger_image_is_averaged_not_thinned_out():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::4] = stripes[:, :, 3::4] = 255
    result = to_float(stripes, 16).numpy()
    # Half of every window of four is white, its two middle pixels are black: without antialiasing
    # the image would be black.
    np.testing.assert_allclose(result[:, :, 1:-1], 0.0, atol=1e-6)


@pytest.mark.parametrize("shape", [(28, 28), (40, 24), (24, 41), (9, 30), (16, 21)])
@pytest.mark.parametrize("known", [True, False], ids=["sides known", "sides unknown"])
def test_the_central_square_is_cut_out_and_resized(shape, known):
    image = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    side, size = min(shape), 16
    top, left = ((length - side) // 2 for length in shape)
    square = image[top : top + side, left : left + side]
    # Each pixel is a mean of those around its place, further around where the image shrinks.
    reach = max(side / size, 1.0)
    places = (np.arange(size) + 0.5) * side / size - 0.5
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(side)) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = weights @ square @ weights.T / 127.5 - 1

    convert = functools.partial(to_float, size=size)
    if not known:  # as an exported model has it
        signature = [tf.TensorSpec([None, None, None, 1], tf.uint8)]
        convert = tf.function(convert, input_signature=signature)
    levels = image[None, :, :, None]
    np.testing.assert_allclose(convert(levels)[0, :, :, 0], expected, atol=1e-5)
    floats = to_float((levels / 127.5 - 1).astype(np.float32), size)
    np.testing.assert_allclose(floats[0, :, :, 0], expected, atol=1e-5)


# How classes are cut into tasks.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ((0,), (1,), (2,), (3,))),
        ({"classes_per_task": 2}, ((0, 1), (2, 3))),
        ({"classes_per_task": 4}, ((0, 1, 2, 3),)),
        ({"classes_per_task": (1, 3)}, ((0,), (1, 2, 3))),
        ({"classes_per_task": [2, 1, 1], "class_order": [3, 1, 0, 2]}, ((3, 1), (0,), (2,))),
        ({"class_order": np.array([2, 0, 1, 3])}, ((2,), (0,), (1,), (3,))),
        ({"class_order": ["cat", "ant", "bee", "dog"]}, ((2,), (0,), (1,), (3,))),
        ({"class_order": ("2", "0", "1", "3")}, ((2,), (0,), (1,), (3,))),
    ],
)
def test_classes_arrive_in_the_order_and_the_portions_asked_for(options, expected):
    stream = numbered_stream(**options)
    assert stream.task_classes == expected
    assert stream.class_order == tuple(c for classes in expected for c in classes)
    assert len(stream) == len(expected)
    for index, task in enumerate(stream, start=1):
        assert (task.index, task.classes) == (index, expected[index - 1])
        assert task.class_names == tuple(stream.class_names[c] for c in task.classes)


def test_a_seed_means_the_same_order_and_cut_for_ever():
    """Golden values: a change here makes a run that was interrupted go on with other data."""
    stream = class_incremental("digits", class_order="random", seed=3)
    assert stream.class_order == (6, 9, 1, 4, 2, 7, 8, 0, 3, 5)
    task = next(iter(numbered_stream(seed=3)))
    assert numbers_in(task.validation()) == [53, 55, 84]
    first_pass, second_pass = np.split(np.array(numbers_in(task.batches(5, epochs=2, seed=11))), 2)
    assert first_pass.tolist() == [46, 62, 20, 93, 59, 14, 88, 22, 82, 13, 78, 23, 64, 17, 25]
    assert second_pass[:5].tolist() == [17, 25, 62, 46, 78]


# What a task hands out.


def test_batches_are_float_images_of_the_tasks_classes_with_their_data_set_ids():
    data = numbered_data()
    for task in class_incremental(data, classes_per_task=2, class_order=[3, 0, 2, 1]):
        dataset = task.batches(8, epochs=1, seed=0)
        images, labels = dataset.element_spec
        assert images == tf.TensorSpec((8, SIDE, SIDE, 1), tf.float32)
        assert labels == tf.TensorSpec((8,), tf.int32)
        for numbers, batch_labels in read(dataset):
            assert batch_labels == data.train_labels[numbers].tolist()
            assert set(batch_labels) <= set(task.classes)


def test_a_pass_reads_every_image_at_most_once_in_full_batches():
    task = next(iter(numbered_stream(validation_fraction=0.0)))  # 20 images
    batches = read(task.batches(6, epochs=4, seed=0))
    assert task.steps_per_epoch(6) == 3 and len(batches) == 12
    for first in range(0, 12, 3):
        numbers = [n for batch, _ in batches[first : first + 3] for n in batch]
        assert len(numbers) == len(set(numbers)) == 18


def test_the_order_of_a_pass_depends_on_seed_and_pass_only(task):
    steps = task.steps_per_epoch(4)
    long = read(task.batches(4, epochs=5, seed=9))
    assert read(task.batches(4, epochs=2, seed=9)) == long[: 2 * steps]
    passes = [str(long[first : first + steps]) for first in range(0, 5 * steps, steps)]
    assert len(set(passes)) == 5
    assert read(task.batches(4, epochs=5, seed=10)) != long


def test_start_goes_on_exactly_where_an_interrupted_pass_stopped(task):
    whole = read(task.batches(4, epochs=3, seed=2))
    assert len(whole) == 3 * task.steps_per_epoch(4)
    for start in (0, 1, 3, 4, 7, 11, 12):
        rest = task.batches(4, epochs=3, seed=2, start=start)
        assert rest.cardinality() == len(whole) - start  # known before anything is read
        assert read(rest) == whole[start:]


def test_validation_is_cut_from_each_class_and_never_trained_on():
    data, options = numbered_data(), {"classes_per_task": 2, "validation_fraction": 0.25}
    in_another_order = class_incremental(data, class_order=[1, 0, 2, 3], **options)
    for task, same in zip(class_incremental(data, **options), in_another_order, strict=True):
        held_out = numbers_in(task.validation(batch_size=3))
        assert sorted(numbers_in(same.validation())) == sorted(held_out)
        trained = set(numbers_in(task.batches(1, epochs=1, seed=0)))
        assert trained.isdisjoint(held_out)
        of_task = np.flatnonzero(np.isin(data.train_labels, task.classes))
        assert sorted([*trained, *held_out]) == of_task.tolist()
        assert len(held_out) == task.validation_size and len(trained) == task.train_size
        for class_id in task.classes:
            count = np.sum(data.train_labels[held_out] == class_id)
            assert count == round(0.25 * COUNTS[class_id])


def test_each_training_image_is_there_once_until_the_stream_moves_on():
    stream = numbered_stream(classes_per_task=2, validation_fraction=0)
    tasks = iter(stream)
    task = next(tasks)
    batches = task.each_once(batch_size=7)
    sizes = [len(labels) for _, labels in batches]
    assert sizes[:-1] == [7] * (len(sizes) - 1) and 0 < sizes[-1] < 7
    wanted = np.flatnonzero(np.isin(numbered_data().train_labels, task.classes))
    assert sorted(numbers_in(batches)) == wanted.tolist()
    next(tasks)
    for read_again in (task.each_once, lambda: next(iter(batches))):
        with pytest.raises(TaskClosed):
            read_again()


def test_seen_test_holds_the_test_images_of_all_classes_up_to_the_task():
    data = numbered_data()
    stream = class_incremental(data, classes_per_task=(1, 2, 1), class_order=[2, 0, 3, 1])
    for task, seen in zip(stream, ({2}, {2, 0, 3}, {0, 1, 2, 3}), strict=True):
        for asked in (task, task.index):
            batches = read(stream.seen_test(asked, batch_size=4))
            numbers = [n - TEST_OFFSET for batch, _ in batches for n in batch]
            labels = [c for _, batch in batches for c in batch]
            assert data.test_labels[numbers].tolist() == labels
            expected = np.flatnonzero(np.isin(data.test_labels, list(seen)))
            assert sorted(numbers) == expected.tolist()
    # After the last task, too.
    assert len(read(stream.seen_test(1, batch_size=100))[0][0]) == TEST_COUNTS[2]


def test_joint_batches_mix_the_training_images_of_all_classes_so_far_without_validation():
    stream = numbered_stream(class_order=[1, 3, 0, 2])
    trained, held_out = set(), set()
    for task in stream.tasks():
        if task.index > 2:
            break
        trained |= set(numbers_in(task.batches(1, epochs=1, seed=0)))
        held_out |= set(numbers_in(task.validation()))
    batches = read(stream.joint_batches(2, 1, epochs=1, seed=0))
    numbers = [n for batch, _ in batches for n in batch]
    assert len(numbers) == len(trained) and set(numbers) == trained
    assert held_out.isdisjoint(numbers)
    first_half = {label for _, (label,) in batches[: len(batches) // 2]}
    assert first_half == {1, 3}
    again = [read(stream.joint_batches(2, 8, epochs=2, seed=5)) for _ in range(2)]
    assert again[0] == again[1]


def test_keras_fit_takes_the_batches_as_they_are():
    import keras

    stream = numbered_stream(classes_per_task=2)
    task = next(iter(stream))
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, steps_per_execution=2)
    steps = task.steps_per_epoch(7)
    history = model.fit(
        task.batches(7, epochs=2, seed=0), epochs=2, steps_per_epoch=steps, shuffle=False,
        validation_data=task.validation(), verbose=0,
    )  # fmt: skip
    assert len(history.history["loss"]) == len(history.history["val_loss"]) == 2


# A finished task hands out nothing.


@pytest.fixture(scope="module")
def finished():
    """A task after the stream moved on, with a dataset and iterators made while it was open."""
    stream = numbered_stream()
    tasks = iter(stream)
    task = next(tasks)
    dataset = task.batches(2, epochs=50, seed=0)
    derived = dataset.map(lambda images, labels: images).take(40)
    open_iterators = types.SimpleNamespace(
        direct=iter(dataset), derived=iter(derived), validation=iter(task.validation(2))
    )
    for iterator in vars(open_iterators).values():
        next(iterator)
    next(tasks)
    return types.SimpleNamespace(
        stream=stream, task=task, dataset=dataset, derived=derived, iterators=open_iterators
    )


@pytest.mark.parametrize(
    "reading",
    [
        lambda f: f.task.batches(2, epochs=1, seed=0),
        lambda f: f.task.validation(),
        lambda f: iter(f.dataset),
        lambda f: next(f.iterators.direct),
        lambda f: f.iterators.direct.get_next(),
        lambda f: next(f.iterators.validation),
        lambda f: list(f.dataset),
    ],
)
def test_a_finished_task_its_datasets_and_running_iterators_raise_one_clear_line(finished, reading):
    with refused("task 1 of 4: class ant is finished", kind=TaskClosed):
        reading(finished)
    assert not finished.task.is_open
    assert not any(is_alive(handle) for handle in handles_of(finished.task))


def test_what_was_derived_from_a_finished_tasks_dataset_yields_nothing_more(finished):
    with pytest.raises(tf.errors.InvalidArgumentError, match="task 1 of 4: class ant is finished"):
        next(finished.iterators.derived)
    with pytest.raises(tf.errors.InvalidArgumentError, match="task 1 of 4: class ant is finished"):
        next(iter(finished.derived))


def test_a_batch_that_waits_in_a_buffer_when_the_task_ends_is_not_handed_out():
    @tf.function
    def compiled_next(iterator):
        return next(iterator)

    tasks = iter(numbered_stream())
    iterator = iter(next(tasks).batches(2, epochs=50, seed=0))
    compiled_next(iterator)
    time.sleep(0.2)  # lets the buffers fill
    next(tasks)
    with pytest.raises(tf.errors.InvalidArgumentError, match="task 1 of 4: class ant is finished"):
        compiled_next(iterator)


def is_alive(handle):
    return bool(tf.raw_ops.VarIsInitializedOp(resource=handle))


def handles_of(task):
    stores = task._train, task._validation
    return [handle for store in stores for handle in (store._images, store._labels)]


def test_a_task_can_end_while_a_graph_of_no_function_is_built(task):
    """As that of a SavedModel is, in which garbage may be collected."""
    handles = handles_of(task)
    with tf.Graph().as_default():
        task_module._destroy(*handles)
    assert not any(is_alive(handle) for handle in handles)


def test_a_task_can_end_while_a_function_is_traced():
    tasks = iter(numbered_stream())
    task = next(tasks)
    tf.function(lambda: next(tasks) and tf.constant(0), autograph=False).get_concrete_function()
    assert not task.is_open and not any(is_alive(handle) for handle in handles_of(task))


def test_the_memory_of_a_task_that_nobody_holds_is_given_back():
    task = next(iter(numbered_stream()))
    handles = handles_of(task)
    assert all(is_alive(handle) for handle in handles)
    del task
    gc.collect()
    assert not any(is_alive(handle) for handle in handles)


def test_the_search_for_arrays_looks_into_closures_and_captures():
    images = numbered_images([1, 2, 3])
    captured = tf.constant(images)
    dataset = tf.data.Dataset.range(3).map(lambda row: tf.gather(captured, row))
    assert any(found is images for found in reachable_images(lambda: images))
    assert any(found is captured for found in reachable_images(iter(dataset.take(2))))


def test_no_reference_leads_from_a_finished_task_to_images(finished):
    gc.collect()
    assert not reachable_images(
        finished.task, finished.dataset, finished.derived, *vars(finished.iterators).values()
    )


@pytest.fixture
def taken(monkeypatch):
    """Classes and images, weakly held, of every task that is opened."""
    rows, take = [], TaskStream._take

    def recorded(self, chosen, classes):
        images, labels = take(self, chosen, classes)
        rows.append((classes, weakref.ref(images)))
        return images, labels

    monkeypatch.setattr(TaskStream, "_take", recorded)
    return rows


def test_a_finished_task_dies_and_the_arrays_that_went_into_it(taken):
    tasks = iter(numbered_stream())
    task = next(tasks)
    iterator = iter(task.batches(2, epochs=9, seed=0))
    next(iterator)
    images_of_first = [images for _, images in taken]
    next(tasks)
    gc.collect()
    assert images_of_first and all(images() is None for images in images_of_first)
    first = weakref.ref(task)
    del task, iterator
    gc.collect()
    assert first() is None


# A stream goes forward once.


def test_a_stream_is_walked_once_and_its_last_task_ends_with_it():
    stream = numbered_stream()
    late, (*_, last) = iter(stream), stream
    for again in (lambda: iter(stream), lambda: next(late)):
        with refused("make a new stream", kind=TaskClosed):
            again()
    with pytest.raises(TaskClosed):
        last.batches(2, epochs=1, seed=0)


def test_a_fresh_stream_hands_out_the_same_while_the_former_stays_closed():
    stream = numbered_stream(classes_per_task=2, class_order="random", seed=3)
    first = next(iter(stream))
    expected = numbers_in(first.batches(4, epochs=2, seed=1))
    again, other = stream.fresh(), stream.fresh(seed=4)
    assert again.describe() == stream.describe()
    assert numbers_in(next(iter(again)).batches(4, epochs=2, seed=1)) == expected
    assert numbers_in(first.batches(4, epochs=2, seed=1)) == expected
    with pytest.raises(TaskClosed):
        stream.tasks(start=1)
    assert other.task_classes == stream.task_classes and other.seed == 4
    held_out = [numbers_in(cut.seen_validation(2)) for cut in (stream, other)]
    assert sorted(held_out[0]) != sorted(held_out[1])


def test_a_resumed_stream_hands_out_the_rest_of_a_whole_one_and_opens_nothing_else(taken):
    whole = [read(task.batches(4, epochs=1, seed=0)) for task in numbered_stream()]
    taken.clear()
    stream = numbered_stream()
    rest = [read(task.batches(4, epochs=1, seed=0)) for task in stream.tasks(start=3)]
    assert rest == whole[2:]
    assert {classes for classes, _ in taken} == {(2,), (3,)}
    with pytest.raises(TaskClosed):
        stream.tasks(start=2)
    assert list(numbered_stream().tasks(start=5)) == []


def test_a_loop_that_was_left_goes_on_at_the_next_task():
    stream = numbered_stream()
    first = next(iter(stream))
    assert first.is_open
    second = next(stream.tasks(start=2))
    assert second.index == 2 and second.is_open and not first.is_open


def test_the_end_of_a_loop_does_not_bring_back_what_another_one_has_passed():
    stream = numbered_stream()
    first = stream.tasks(last=1)
    next(first)
    others = stream.tasks(start=2)
    next(others)
    third = next(others)
    assert next(first, None) is None
    assert third.is_open
    with pytest.raises(TaskClosed, match="task 2 of 4 was handed out already"):
        stream.tasks(start=2)


def test_only_joint_training_judges_and_searches_pass_the_doors_to_finished_tasks():
    library = Path(dgm_tf.__file__).parent
    doors = ("joint_batches", "seen_validation", "real_batches")
    passing = {
        path.relative_to(library).as_posix()
        for path in library.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if getattr(node, "attr", getattr(node, "id", None)) in doors
    }
    assert passing == {
        "evaluation/oracle.py",
        "experiments/judge.py",
        "learners/joint.py",
        "tuning/measure.py",
        "tuning/search.py",
    }


def test_a_stream_may_be_walked_inside_a_distribution_strategys_scope():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        for task in numbered_stream():
            assert len(read(task.batches(8, epochs=1, seed=0))) == task.steps_per_epoch(8)


# What is refused, and how.


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"classes_per_task": 3}, "does not divide the 4 classes"),
        ({"classes_per_task": True}, "got True"),
        ({"classes_per_task": "2"}, "got '2'"),
        ({"classes_per_task": 2.0}, "got 2.0"),
        ({"classes_per_task": (2, 1)}, "sum up to the 4 classes"),
        ({"classes_per_task": (4, 1)}, "sums up to 5"),
        ({"classes_per_task": (5, -1)}, "integer of at least 1, got -1"),
        (
            {"class_order": [0, 1, 2]},
            "permutation of the 4 classes, by id (0 to 3) or by name",
        ),
        ({"class_order": [0, 1, 2, 2]}, "permutation"),
        ({"class_order": [0.0, 1.0, 2.0, 3.0]}, "permutation"),
        ({"class_order": "backwards"}, "permutation"),
        ({"class_order": ["bee", "ant", "cat"]}, "permutation"),
        ({"class_order": ["bee", "ant", "cat", "bug"]}, "class bug is unknown; there are ant, "),
        ({"class_order": 3}, "permutation"),
        ({"image_size": 22}, "multiple of 4, got 22"),
        ({"image_size": 8}, "at least 16, got 8"),
        ({"image_size": 32.0}, "got 32.0"),
        ({"validation_fraction": 1.0}, "below 1, got 1.0"),
        ({"validation_fraction": -0.1}, "got -0.1"),
        ({"validation_fraction": float("nan")}, "got nan"),
        ({"validation_fraction": "some"}, "got 'some'"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"seed": 0.5}, "seed must be an integer"),
    ],
)
def test_arguments_that_do_not_fit_the_data_are_refused_in_one_line(options, text):
    with refused(text):
        numbered_stream(**options)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda t: t.steps_per_epoch(18),
            "class ant has 17 images to learn from, batch_size is 18, for which a class needs 21",
        ),
        (lambda t: t.batches(18, epochs=1, seed=0), "a batch must not be larger than a class"),
        (lambda t: t.steps_per_epoch(0), "batch_size must be an integer of at least 1"),
        (lambda t: t.steps_per_epoch(4.0), "batch_size must be an integer"),
        (lambda t: t.batches(4, epochs=0, seed=0), "epochs must be an integer of at least 1"),
        (lambda t: t.batches(4, epochs=1, seed=0, start=5), "start must be an integer from 0 to 4"),
        (lambda t: t.batches(4, epochs=1, seed=0, start=-1), "start must be an integer"),
        (lambda t: t.batches(4, epochs=1, seed=2**63), "seed must be an integer"),
        (lambda t: t.validation(0), "batch_size must be an integer"),
        (lambda t: t.each_once(0), "batch_size must be an integer"),
        (lambda t: numbered_stream().seen_test(0), "task must be an integer from 1 to 4"),
        (lambda t: numbered_stream().seen_test(5), "task must be an integer from 1 to 4"),
        (lambda t: numbered_stream().seen_test("1"), "task must be an integer from 1 to 4"),
        (lambda t: numbered_stream(class_order=[3, 2, 1, 0]).seen_test(t), "another stream"),
        (lambda t: numbered_stream().tasks(start=0), "start must be an integer from 1 to 5"),
        (lambda t: numbered_stream().tasks(start=6), "start must be an integer from 1 to 5"),
        (
            lambda t: numbered_stream(validation_fraction=0).seen_validation(1),
            "validation_fraction is 0",
        ),
        (
            lambda t: next(iter(numbered_stream(classes_per_task=2))).steps_per_epoch(18),
            "class ant has 17 images to learn from",
        ),
        (lambda t: class_incremental((1, 2, 3)), "data must be a data set's name"),
        (lambda t: class_incremental(None), "data must be a data set's name"),
    ],
)
def test_other_arguments_out_of_range_are_refused_in_one_line(task, call, text):
    with refused(text):
        call(task)


# What is said about a stream, and where its data come from.


def test_a_task_and_a_scenario_read_well():
    stream = numbered_stream(class_order=[2, 0, 1, 3])
    assert str(next(iter(stream))) == "task 1 of 4: class cat"
    assert stream.scenario == (
        "class-incremental, 4 tasks of 1 class, order cat,ant,bee,dog, single head, "
        "numbered (made for this test)"
    )
    uneven = numbered_stream(classes_per_task=(1, 3))
    assert "2 tasks of 1 to 3 classes, order ant..dog" in uneven.scenario
    assert [str(task) for task in uneven][1] == "task 2 of 2: classes bee, cat, dog"
    assert "1 task of 4 classes" in numbered_stream(classes_per_task=4).scenario


def test_a_stream_describes_itself_in_json():
    described = numbered_stream(classes_per_task=np.int64(2), seed=np.int64(4)).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["task_classes"] == [[0, 1], [2, 3]]
    assert described["seed"] == 4
    totals = np.add(described["train_images"], described["validation_images"])
    assert totals.tolist() == list(COUNTS)
    assert described["test_images"] == list(TEST_COUNTS)


def test_images_are_seen_at_a_size_of_the_datas_own_unless_another_is_asked_for():
    assert class_incremental("digits").image_shape == (16, 16, 1)
    data = numbered_data()
    stream = class_incremental(
        (data.train_images, data.train_labels, data.test_images, data.test_labels)
    )
    assert stream.image_shape == (16, 16, 1) and stream.name == "arrays"
    stream = numbered_stream(image_size=24)
    task = next(iter(stream))
    for dataset in (
        task.batches(4, epochs=1, seed=0), task.validation(), stream.seen_test(1),
        stream.joint_batches(1, 4, epochs=1, seed=0),
    ):  # fmt: skip
        assert next(iter(dataset))[0].shape[1:] == stream.image_shape == (24, 24, 1)


# The door of a search.


def test_seen_validation_holds_the_held_out_images_of_all_classes_up_to_the_task():
    stream = numbered_stream(class_order=(2, 0, 3, 1), validation_fraction=0.25)
    held_out = []
    for task in stream:
        held_out += numbers_in(task.validation())
        assert numbers_in(stream.seen_validation(task)) == held_out
        assert numbers_in(stream.seen_validation(task.index, batch_size=3)) == held_out
    labels = [label for _, batch in read(stream.seen_validation(3)) for label in batch]
    assert list(dict.fromkeys(labels)) == [2, 0, 3]
    # Nothing to train on, and nothing to test on.
    again = stream.fresh()
    trained = {n for task in again for n in numbers_in(task.batches(1, epochs=1, seed=0))}
    assert not trained & set(held_out) and max(held_out) < TEST_OFFSET


def test_no_data_of_ours_waits_for_a_tuning_thread():
    stream = numbered_stream(validation_fraction=0.25)
    task = next(iter(stream))
    for data in (
        task.batches(2, epochs=1, seed=0),
        task.each_once(),
        task.validation(),
        stream.joint_batches(1, 2, epochs=1, seed=0),
        stream.seen_test(task),
    ):
        assert data.options().autotune.enabled is False


@pytest.mark.parametrize("side, kept", [(64, np.float32), (48, np.uint8)])
def test_large_images_are_resized_once_to_the_bits_of_each_batch(side, kept):
    """Once for all where the networks' own pixels take no more memory than the stored ones."""
    images, labels = pixels(8, side, side, 3), np.repeat([0, 1], 4)
    data = dgm_tf.from_arrays(images, labels, test_images=images, test_labels=labels)
    stream = dgm_tf.class_incremental(data, image_size=32, validation_fraction=0)
    task = next(stream.tasks())
    assert task._train._dtype == kept
    ((found, _),) = task.each_once()
    np.testing.assert_array_equal(found, to_float(images[:4], 32))


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "..\\up", 3])
def test_a_name_of_data_can_be_that_of_a_folder(name):
    images, labels = pixels(4, 16, 16, 1), [0, 0, 1, 1]
    with refused("name must be one line that can be the name of a folder"):
        dgm_tf.from_arrays(images, labels, test_images=images, test_labels=labels, name=name)


def test_the_path_of_a_folder_as_data_gets_its_hint(tmp_path):
    with refused("dgm_tf.from_folder(path)"):
        dgm_tf.class_incremental(tmp_path)
