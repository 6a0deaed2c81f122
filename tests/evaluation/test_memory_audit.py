"""Every changed bit of a finished task's images is found, and no record can be replaced."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dgm_tf.errors import InputError
from dgm_tf.evaluation.memory_audit import compare, read, record_path, remember

SHAPE = (4, 5, 3)


class Memory:
    """A stand-in generator: fixed noise per (label, seed), which a test can change per class."""

    def __init__(self):
        self.changes = {}
        self.calls = []

    def generate(self, labels, *, seed):
        labels = np.asarray(labels)
        self.calls.append((labels.tolist(), seed))
        rng = np.random.default_rng(seed)
        images = rng.uniform(-1, 1, (len(labels), *SHAPE)).astype(np.float32)
        images += labels[:, None, None, None].astype(np.float32)
        for label, change in self.changes.items():
            if label in labels:
                images = change(images)
        return images


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def audit(tmp_path, memory):
    """The folder of two finished tasks: classes 3 and 1, then class 8."""
    remember(tmp_path / "audit", 1, (3, 1), memory.generate)
    remember(tmp_path / "audit", 2, [8], memory.generate)
    return tmp_path / "audit"


@pytest.fixture
def path(audit):
    """The record of task 1."""
    return audit / "task-01.safetensors"


def differing(folder, generate, tasks=(1, 2)):
    """Differing pixels of each task."""
    return {task: compare(read(record_path(folder, task)), generate).pixels for task in tasks}


def one_bit_up(images):
    """The same images, except that one value is the next float32."""
    images = images.copy()
    images[2, 1, 4, 0] = np.nextafter(images[2, 1, 4, 0], np.float32(9))
    return images


def two_pixels(images):
    images[0, 0, 0, :] += 1
    images[3, 2, 1, 1:] += 1
    return images


def test_the_last_bit_of_one_value_is_one_differing_pixel_of_its_task(audit, memory):
    assert differing(audit, memory.generate) == {1: 0, 2: 0}
    memory.changes[8] = one_bit_up
    assert differing(audit, memory.generate) == {1: 0, 2: 1}


def test_a_pixel_counts_once_however_many_of_its_channels_differ(audit, memory):
    memory.changes[1] = two_pixels
    assert differing(audit, memory.generate) == {1: 2, 2: 0}
    found = compare(read(record_path(audit, 1)), memory.generate)
    assert (found.of, found.furthest) == (2 * 16 * 4 * 5, 1.0)


def test_minus_zero_differs_and_nan_equals_itself(tmp_path, memory):
    memory.changes[0] = lambda images: np.where(images < 0, np.float32("nan"), np.float32(0))
    record = remember(tmp_path, 1, [0], memory.generate)
    assert compare(record, memory.generate).pixels == 0
    memory.changes[0] = lambda images: np.where(images < 0, np.float32("nan"), -np.float32(0))
    assert compare(record, memory.generate).pixels > 0


def test_the_same_calls_are_made_at_every_check_one_class_at_a_time(audit, memory):
    first = memory.calls.copy()
    differing(audit, memory.generate)
    assert memory.calls[len(first) :] == first
    assert [labels for labels, _ in first] == [[3] * 16, [1] * 16, [8] * 16]


def test_images_of_another_type_or_size_are_refused(audit, memory):
    with pytest.raises(ValueError, match="float64"):
        differing(audit, lambda labels, seed: memory.generate(labels, seed=seed).astype(float))
    with pytest.raises(ValueError, match=r"\(32, 3, 5, 3\).*\(32, 4, 5, 3\)"):
        differing(audit, lambda labels, seed: memory.generate(labels, seed=seed)[:, :3])


# Records.


def test_the_record_of_an_attempt_that_was_cut_short_is_replaced(audit, memory):
    memory.changes[8] = one_bit_up  # the second attempt learnt something else
    assert differing(audit, memory.generate) == {1: 0, 2: 1}
    remember(audit, 2, [8], memory.generate)
    assert differing(audit, memory.generate) == {1: 0, 2: 0}


def test_records_are_plain_arrays_with_a_hash_that_anyone_can_compute(path):
    arrays = load_file(path)
    assert arrays["classes"].tolist() == [3, 1]
    text = hashlib.sha256()
    for name, dtype, shape in [
        ("classes", "<i4", "(2,)"),
        ("seeds", "<i8", "(2,)"),
        ("images", "<f4", "(32, 4, 5, 3)"),
    ]:
        text.update(f"{name} {dtype} {shape} ".encode() + arrays[name].tobytes())
    assert arrays["sha256"].tobytes() == text.digest()


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path, memory):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        remember(tmp_path / "file" / "audit", 1, [0], memory.generate)


# Tampering.


def rewrite(path, **changes):
    save_file(load_file(path) | changes, path)


def refused(path, match):
    """Makes sure that a record is refused in one line."""
    with pytest.raises(InputError, match=match) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_record_is_an_input_error(path):
    path.unlink()
    refused(path, "task-01.safetensors is missing")


@pytest.mark.parametrize("field", ["classes", "seeds", "images"])
def test_what_does_not_match_its_hash_is_reported(path, field):
    rewrite(path, **{field: load_file(path)[field][::-1].copy() + 1})
    refused(path, "task-01.safetensors does not match")


@pytest.mark.parametrize("content", [b"", b"not a record", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_file_that_is_no_record_is_an_input_error_of_one_line(path, content):
    path.write_bytes(content)
    refused(path, "cannot be read")


def test_a_damaged_byte_never_gives_another_error_or_other_images(path, memory):
    whole = path.read_bytes()
    for position in range(0, len(whole), 83):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            found = differing(path.parent, memory.generate)
        except InputError:
            continue
        assert found == {1: 0, 2: 0}  # a byte that carries nothing
