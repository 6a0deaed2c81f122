"""The memory audit: proves that images of finished tasks stay the same, bit for bit.

When a task ends, a fixed set of its images is generated and kept with its SHA-256. After every
later task the same set is generated again and compared with what was kept.

Example:

    for task in stream:
        model.learn(task)
        for earlier in range(1, task.index):
            record = memory_audit.read(memory_audit.record_path(folder, earlier))
            print(earlier, memory_audit.compare(record, model.generate).pixels)  # 0
        memory_audit.remember(folder, task.index, task.classes, model.generate)
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.storage.arrays import pack, unpack
from dgm_tf.storage.files import write_atomically

# generate(labels int32 [N], seed=int) -> float32 [N, H, W, C]
Generate = Callable[..., Any]

# Part of what is audited: with other seeds the images of an old record would not come back.
_FIRST_SEED = 20181
_IMAGES_PER_CLASS = 16

# On the scale of -1 to 1: by so much another machine or build may round images otherwise.
ROUNDING = 1e-6

_REMEDY = "restore it or begin a new run folder"


@dataclasses.dataclass(frozen=True)
class Record:
    """The fixed images of one task and what they were made from."""

    classes: np.ndarray  # int32 [K]
    seeds: np.ndarray  # int64 [K]
    images: np.ndarray  # float32 [K * images per class, H, W, C], class by class

    def digest(self) -> str:
        """SHA-256 over names, types, shapes and bytes of all fields."""
        sha = hashlib.sha256()
        for name, array in vars(self).items():
            sha.update(f"{name} {array.dtype.str} {array.shape} ".encode())
            sha.update(array.tobytes())
        return sha.hexdigest()

    def images_digest(self) -> str:
        """SHA-256 over the bytes of the images only, as little-endian float32."""
        return hashlib.sha256(self.images.astype("<f4").tobytes()).hexdigest()


def remember(
    folder: str | os.PathLike[str], task: int, classes: Sequence[int], generate: Generate
) -> Record:
    """Generates and keeps the fixed images of a task that has just ended.

    The generator is called once per class, always with the same number of images, so that a traced
    generator is not traced again. A record that an earlier attempt at the task left is replaced.

    Args:
        folder: for the records; it need not exist yet.
        task: from 1.
        classes: ids of the classes that the task brought.
        generate: `generate(labels int32 [N], seed=int)`, images float32 [N, H, W, C].

    Raises:
        InputError: the folder cannot be written.
    """
    record = recorded(classes, generate)
    write(folder, task, record)
    return record


def write(folder: str | os.PathLike[str], task: int, record: Record) -> None:
    """Keeps a record, in the place of an earlier one of the task.

    Raises:
        InputError: the folder cannot be written.
    """
    content = pack({**vars(record), "sha256": _bytes(record)})
    write_atomically(record_path(folder, task), content)


def recorded(classes: Sequence[int], generate: Generate) -> Record:
    """The fixed images of a task with these classes; `generate` is as in `remember`."""
    classes = np.asarray(classes, dtype=np.int32)
    seeds = _FIRST_SEED + np.arange(len(classes), dtype=np.int64)
    return Record(classes, seeds, _generate(generate, classes, seeds, _IMAGES_PER_CLASS))


@dataclasses.dataclass(frozen=True)
class Difference:
    """Difference of images generated again from those on record.

    Attributes:
        pixels: differing pixels, 0 for identical images.
        of: pixels compared.
        furthest: the largest change of a value, on the scale of -1 to 1; NaN where one is NaN.
    """

    pixels: int
    of: int
    furthest: float


def compare(record: Record, generate: Generate) -> Difference:
    """Generates the images of a record again and compares them bit by bit.

    Bits, not values: 0.0 and -0.0 differ. A pixel differs when any of its channels does.

    Raises:
        ValueError: the generator's images have another type or shape.
    """
    count = len(record.images) // len(record.classes)
    images = _generate(generate, record.classes, record.seeds, count)
    if images.shape != record.images.shape:
        raise ValueError(
            f"images of classes {record.classes.tolist()} have the shape {images.shape}, "
            f"the ones on record {record.images.shape}"
        )
    return difference(images, record.images)


def difference(now: np.ndarray, then: np.ndarray) -> Difference:
    """The difference of images float32 [N, H, W, C] from others of their shape, bit by bit."""
    differ = now.view(np.uint32) != then.view(np.uint32)
    with np.errstate(invalid="ignore", over="ignore"):  # of infinities
        changes = np.abs(now[differ] - then[differ])
    return Difference(
        pixels=int(differ.any(axis=-1).sum()),
        of=now[..., 0].size,
        furthest=float(changes.max(initial=0.0)),
    )


def record_path(folder: str | os.PathLike[str], task: int) -> pathlib.Path:
    """The file of a task (from 1) in an audit's folder."""
    return pathlib.Path(folder) / f"task-{task:02d}.safetensors"


def read(path: pathlib.Path) -> Record:
    """A task's record.

    Raises:
        InputError: it is missing, cannot be read, or is not what was written.
    """
    if not path.exists():
        raise InputError(f"the audit record {path} is missing; {_REMEDY}")
    try:
        stored = unpack(path.read_bytes())
        sha256 = stored.pop("sha256")
        record = Record(**stored)
        _check_form(record)
    except (OSError, KeyError, TypeError, ValueError, MemoryError) as error:
        why = _checks.one_line(error)
        raise InputError(f"audit record {path} cannot be read ({why}); {_REMEDY}") from error
    if not np.array_equal(sha256, _bytes(record)):
        raise InputError(
            f"audit record {path} does not match its own SHA-256, so it was changed after it was "
            f"written; {_REMEDY}"
        )
    return record


def _bytes(record: Record) -> np.ndarray:
    """The record's digest, uint8 [32]."""
    return np.frombuffer(bytes.fromhex(record.digest()), np.uint8)


def _check_form(record: Record) -> None:
    classes, seeds, images = record.classes, record.seeds, record.images
    types = [array.dtype for array in (classes, seeds, images)] == [np.int32, np.int64, np.float32]
    shapes = classes.ndim == 1 and seeds.shape == classes.shape and images.ndim == 4
    if not (types and shapes and images.size and len(classes) and not len(images) % len(classes)):
        raise ValueError(
            f"classes {classes.dtype} {classes.shape}, seeds {seeds.dtype} {seeds.shape}, "
            f"images {images.dtype} {images.shape}: no task has such"
        )


def _generate(generate: Generate, classes: np.ndarray, seeds: np.ndarray, count: int) -> np.ndarray:
    """`count` images of each class, float32 [K * count, H, W, C]."""
    batches = [
        np.asarray(generate(np.full(count, label, np.int32), seed=int(seed)))
        for label, seed in zip(classes, seeds, strict=True)
    ]
    images = np.concatenate(batches)
    # A cast to float32 here could round a difference away.
    if images.dtype != np.float32 or images.ndim != 4 or len(images) != count * len(classes):
        raise ValueError(
            f"{count} float32 images [N, H, W, C] per class were wanted, "
            f"{images.dtype} {images.shape} came for {len(classes)} classes"
        )
    return images
