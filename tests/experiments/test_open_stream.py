"""The stream of a memory: classes by the names of folders, images by their content."""

import gc
import hashlib
import shutil
import weakref

import numpy as np
import pytest
from PIL import Image

from dgm_tf.data import image_file
from dgm_tf.data.image_file import GREY
from dgm_tf.data.image_folder import ClassImages, from_folder
from dgm_tf.data.task import TaskClosed
from dgm_tf.experiments.open_stream import OpenStream
from tests.class_folders import write
from tests.refusals import refused


def opened(images, rows=(), **options):
    stream = OpenStream(images, name="m", seed=0, **{"image_size": 16, "colours": GREY, **options})
    stream.begin(rows)
    return stream


def learnt(stream):
    """The rows of its tasks, as a run writes them, and each task's images by class name."""
    rows, images = [], []
    for task in stream.tasks(1):
        names, ids = list(task.class_names), list(task.classes)
        rows.append({"class_names": names, "classes": ids, **stream.told(task)})
        pixels, labels = next(iter(task.batches(task.train_size, epochs=1, seed=0)))
        found = np.rint((pixels.numpy() + 1) * 127.5).astype(np.uint8)
        images.append({n: found[labels.numpy() == i] for n, i in zip(names, ids, strict=True)})
    return rows, images


def as_set(images):
    return {image.tobytes() for image in images}


def test_each_new_class_is_a_task_in_natural_order(tmp_path):
    stream = opened(write(tmp_path, {"10": 10, "2": 20, "b": 30, "-1": 40, "-3": 50}))
    assert stream.class_names == ("-3", "-1", "2", "10", "b")
    rows, _ = learnt(stream)
    assert [row["classes"] for row in rows] == [[0], [1], [2], [3], [4]]


def test_known_names_are_passed_over_and_ids_follow_arrival(tmp_path):
    first = opened(write(tmp_path / "one", {"dog": 10, "cat": 200}))
    rows, _ = learnt(first)
    shutil.rmtree(tmp_path / "one" / "cat")
    write(tmp_path / "two", {"dog": 99, "ape": 30, "bee": 60})
    second = opened(tmp_path / "two", rows)
    assert second.known == ["dog"] and second.class_names == ("cat", "dog", "ape", "bee")
    assert [task.classes for task in second.tasks(3)] == [(2,), (3,)] and len(second) == 4
    assert opened(tmp_path / "two", rows, together=True).tasks(3).__next__().classes == (2, 3)


def test_a_tasks_images_are_gone_when_the_next_begins(tmp_path):
    stream = opened(write(tmp_path, {"a": 10, "b": 20}))
    tasks = stream.tasks()
    first = next(tasks)
    batches = first.batches(4, epochs=1, seed=0)
    images = weakref.ref(stream._read["a"].images)
    next(tasks)
    assert not first.is_open
    with pytest.raises(TaskClosed):
        next(iter(batches))
    gc.collect()
    assert images() is None


def test_the_held_out_part_follows_the_content_alone(tmp_path):
    rows, images = learnt(opened(write(tmp_path / "one", {"cat": 100})))
    (tmp_path / "two" / "cat").mkdir(parents=True)
    for place, file in enumerate(sorted((tmp_path / "one" / "cat").iterdir(), reverse=True)):
        shutil.copy(file, tmp_path / "two" / "cat" / f"renamed {place}.png")
    again, renamed = learnt(opened(tmp_path / "two"))
    assert again == rows
    np.testing.assert_array_equal(images[0]["cat"], renamed[0]["cat"])
    # The part is that of the lowest SHA-256, computed here from the files.
    files = sorted(
        (tmp_path / "one" / "cat").iterdir(),
        key=lambda file: hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    pixels = [np.asarray(Image.open(file)) for file in files]
    assert as_set(images[0]["cat"][..., 0]) == as_set(pixels[2:])  # 0.2 of 10


def test_images_that_come_later_move_none_from_one_side_to_the_other(tmp_path):
    folder = write(tmp_path, {"cat": 100})
    rows, images = learnt(opened(folder))
    write(folder, {"cat": 103}, count=9)  # other pictures under the same names, and one old
    test = opened(folder, rows).seen_test(1)
    tested = {np.rint((i.numpy() + 1) * 127.5).astype(np.uint8).tobytes()
              for batch, _ in (test or ()) for i in batch}  # fmt: skip
    assert tested.isdisjoint(as_set(images[0]["cat"]))


def test_a_class_learnt_whole_is_not_measured_by_its_own_images(tmp_path):
    folder = write(tmp_path / "images", {"cat": 100, "dog": 10})
    tests = write(tmp_path / "tests", {"cat": 110, "bird": 5})
    stream = opened(folder, test_images=tests)
    rows, images = learnt(stream)
    assert len(images[0]["cat"]) == 10 and rows[0]["held_out"] == {0: ""}
    (_, labels), = stream.seen_test(2)  # fmt: skip
    assert labels.numpy().tolist() == [0] * 10
    assert opened(folder, rows).seen_test(2) is None


def test_all_grey_images_are_one_channel_and_one_of_colour_makes_three(tmp_path):
    grey = write(tmp_path / "grey", {"a": 10, "b": 20})
    coloured = write(tmp_path / "coloured", {"a": 10, "b": 20}, colour=1)
    assert opened(grey, colours=None).image_shape == (16, 16, 1)
    assert opened(coloured, colours=None).image_shape == (16, 16, 3)


def test_a_grey_memory_learns_later_colours_as_luma_and_says_so(tmp_path):
    folder = write(tmp_path, {"a": 100}, colour=3)
    stream = opened(folder, colours=GREY)
    assert stream.remarks[0].startswith("3 of 10 images of a are coloured; this memory is grey")
    _, images = learnt(stream)
    expected = set()
    for file in (folder / "a").iterdir():
        expected.add(np.asarray(Image.open(file).convert("L")).tobytes())  # ITU-R 601, Pillow's own
    assert as_set(images[0]["a"]) < expected and len(images[0]["a"]) == 8


def test_grey_of_a_grey_image_is_itself():
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    assert image_file.in_colours(levels, 1)[..., 0].tolist() == list(range(256))
    assert image_file.in_colours(levels, 3) is levels


def test_few_images_are_repeated_to_a_batch_and_it_is_said(tmp_path):
    stream = opened(write(tmp_path, {"a": 100}, count=4), least=8)
    assert "3 images to learn from, fewer than a batch of 8" in stream.remarks[0]
    _, images = learnt(stream)
    assert len(images[0]["a"]) == 9 and len(as_set(images[0]["a"])) == 3


def test_fingerprints_tell_other_images(tmp_path):
    folder = write(tmp_path, {"a": 100})
    rows, _ = learnt(opened(folder))
    assert rows == learnt(opened(folder))[0]
    write(folder, {"a": 101}, count=1)
    assert rows[0]["fingerprints"] != learnt(opened(folder))[0][0]["fingerprints"]


def test_copies_of_an_image_are_learnt_and_held_out_once(tmp_path):
    folder = write(tmp_path, {"a": 100}, count=4)
    rows, images = learnt(opened(folder))
    for number in range(4):
        for copy in range(1 + number):
            shutil.copy(folder / "a" / f"{number}.png", folder / "a" / f"{copy} {number}.png")
    again, of_copies = learnt(opened(folder))
    assert again == rows
    np.testing.assert_array_equal(images[0]["a"], of_copies[0]["a"])


def test_what_cannot_be_learnt_is_one_line(tmp_path):
    with refused("must have a subfolder of images per class"):
        opened(tmp_path)
    write(tmp_path, {"a": 100}, count=1)
    with refused("class a needs at least two images", "one to test, it has 1"):
        opened(tmp_path)
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / "a" / "copy.png")
    with refused("class a needs at least two images", "it has 1 in 2 copies"):
        opened(tmp_path)
    write(tmp_path, {"a": 100})
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    with refused("broken.png"):
        opened(tmp_path)


def test_all_damaged_images_of_new_classes_are_told_in_one_go(tmp_path):
    write(tmp_path, {"a": 100, "b": 50, "c": 20})
    for name in ("a/1.png", "c/2.png", "c/3.png"):
        (tmp_path / name).write_bytes(name.encode())
    for colours in (GREY, None):
        with refused("3 of 30 images cannot be read:", "a/1.png'", "c/2.png'", "c/3.png'"):
            opened(tmp_path, colours=colours)


def test_train_and_test_folders_are_the_two_parts(tmp_path):
    write(tmp_path / "train", {"a": 100, "b": 50})
    write(tmp_path / "test", {"a": 110, "b": 60, "z": 3}, count=3)
    stream = opened(tmp_path)
    rows, images = learnt(stream)
    assert [len(images[0]["a"]), rows[0]["held_out"]] == [10, {0: ""}]
    ((_, labels),) = stream.seen_test(2)
    assert labels.numpy().tolist() == [0, 0, 0, 1, 1, 1]
    assert stream.remarks == [
        f"{tmp_path}: training images from train, test images from test",
        "test images of classes not learnt are passed over: z",
    ]


def test_copies_among_test_images_are_said(tmp_path):
    folder = write(tmp_path / "one", {"a": 100, "b": 120})
    tests = write(tmp_path / "tests", {"a": 50, "b": 60})
    for copy in ("a/copy.png", "b/0.png"):
        shutil.copy(tests / "a" / "1.png", tests / copy)
    said = [
        "test images that are copies in their class, not counted: 1",
        "test images that are in more than one class: 1",
    ]
    assert opened(folder, test_images=tests).remarks == said
    assert list(from_folder(folder, test_images=tests).remarks) == said


def test_what_is_not_taken_is_a_remark(tmp_path):
    folder = write(tmp_path / "one", {"a": 100})
    (folder / "a" / "x.heic").write_bytes(b"?")
    shutil.copy(folder / "a" / "0.png", folder / "a" / "copy.png")
    shutil.copytree(folder / "a", folder / "b")
    assert opened(folder).remarks == [
        f"{folder}: 22 images taken; passed over: .heic (2)",
        "images that are copies in their class, not counted: 2",
        "images that are in more than one class: 10",
    ]


def test_a_broken_image_of_an_old_class_does_not_keep_a_new_one_out(tmp_path):
    folder = write(tmp_path, {"a": 100})
    rows, _ = learnt(opened(folder))
    limit = rows[0]["held_out"][0]
    place = next(n for n in range(999) if hashlib.sha256(b"%d" % n).hexdigest() < limit)
    (folder / "a" / "broken.png").write_bytes(b"%d" % place)
    write(folder, {"b": 20})
    stream = opened(folder, rows)
    assert len(stream) == 2 and "a is not measured" in stream.remarks[0]


def test_a_held_out_part_leaves_and_takes_at_least_one():
    digests = tuple(f"{n:02}" for n in range(5))
    five = ClassImages(np.zeros((5, 1, 1, 3), np.uint8), digests)
    for fraction, count in ((0.01, 1), (0.4, 2), (0.99, 4)):
        kept, held = five.divided(five.held_out(fraction))
        assert (len(kept.images), len(held.digests)) == (5 - count, count)


def test_test_images_that_a_class_was_learnt_from_are_said(tmp_path):
    said = "test images that are those learnt, of classes known: cat"
    first = write(tmp_path / "first", {"cat": 100, "dog": 10})
    whole, _ = learnt(opened(first, test_images=write(tmp_path / "tests", {"cat": 110, "dog": 20})))
    divided, _ = learnt(opened(first))
    later = write(tmp_path / "later", {"bird": 5})
    others = write(tmp_path / "others", {"cat": 200, "dog": 220})
    for rows in (whole, divided):
        assert f"{said}, dog" in opened(later, rows, test_images=first).remarks
        told = opened(later, rows, test_images=others).remarks
        assert not any(line.startswith("test images that are") for line in told)
