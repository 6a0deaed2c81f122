"""A folder of images, one subfolder per class, as a data set.

An image is told by its content: neither the names nor the order of files decide about anything, and
copies of a file count once.
"""

import collections
import dataclasses
import hashlib
import itertools
import logging
import os
import pathlib
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from dgm_tf import _checks
from dgm_tf.data import folder_scan, image_file
from dgm_tf.data.datasets import DEFAULT_SIZE, NAMES, ImageData, counted, held_out
from dgm_tf.errors import InputError
from dgm_tf.storage import paths

TEST_FRACTION = 0.2

_Key = TypeVar("_Key", bound=Hashable)
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassImages:
    """The images of one class, each once, in the order of their digests.

    Attributes:
        images: uint8 [N, S, S, 3].
        digests: SHA-256 of each file, in hex.
        files: number of files, copies included.
    """

    images: np.ndarray
    digests: tuple[str, ...]
    files: int = 0

    def held_out(self, fraction: float) -> str:
        """The last digest of the part that is held out; at least one image is, and one is not.

        An image belongs to that part if its digest is not above it: whatever else comes into the
        folder later, no image changes sides.
        """
        return self.digests[held_out(len(self.digests), fraction) - 1]

    def divided(self, limit: str) -> tuple["ClassImages", "ClassImages"]:
        """The images above the digest `limit`, and the others, which are held out."""
        above = np.array([digest > limit for digest in self.digests], bool)
        return self._some(above), self._some(~above)

    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 over the digests."""
        return hashlib.sha256("".join(self.digests).encode()).hexdigest()[:16]

    def _some(self, chosen: np.ndarray) -> "ClassImages":
        kept = tuple(itertools.compress(self.digests, chosen))
        return ClassImages(self.images[chosen], kept, len(kept))


def read_all(
    files: Mapping[_Key, Sequence[pathlib.Path]],
    size: int,
    *,
    up_to: Mapping[_Key, str] | None = None,
) -> dict[_Key, ClassImages]:
    """Reads the files of several classes.

    Args:
        files: by class.
        size: side of the images.
        up_to: by class the digest up to which images are taken; None takes all.

    Raises:
        InputError: some cannot be read; one line names the first of all of them.
    """
    every = [file for part in files.values() for file in part]
    limits = up_to and [up_to[key] for key, part in files.items() for _ in part]
    digests, images = image_file.read_files(every, size, up_to=limits)
    read, first = {}, 0
    for key, part in files.items():
        rows = {digests[row]: row for row in range(first, first + len(part))}
        taken = sorted(each for each in rows if up_to is None or each <= up_to[key])
        chosen = images[[rows[each] for each in taken]]
        read[key] = ClassImages(chosen, tuple(taken), len(part))
        first += len(part)
    return read


def told_copies(classes: Mapping[str, ClassImages], images: str = "images") -> list[str]:
    """Lines on images that are there more than once; none where each is there once.

    Args:
        classes: by name.
        images: what the lines call them, such as "test images".
    """
    copies = sum(each.files - len(each.digests) for each in classes.values())
    lines = [f"{images} that are copies in their class, not counted: {copies}"] if copies else []
    places = collections.Counter(digest for each in classes.values() for digest in each.digests)
    if both := sum(count > 1 for count in places.values()):
        lines.append(f"{images} that are in more than one class: {both}")
    return lines


def told_learnt(train: Mapping[str, ClassImages], test: Mapping[str, ClassImages]) -> list[str]:
    """A line on test images that are training images, too; none where there are none."""
    learnt = {digest for each in train.values() for digest in each.digests}
    both = sum(digest in learnt for each in test.values() for digest in each.digests)
    return [f"test images that are training images, too: {both}"] if both else []


def from_folder(
    path: str | os.PathLike[str],
    *,
    image_size: int = DEFAULT_SIZE,
    test_images: str | os.PathLike[str] | None = None,
    test_fraction: float = TEST_FRACTION,
    follow_links: bool = False,
) -> ImageData:
    """Reads a folder that has one subfolder of images per class.

    Classes take their ids from the subfolders' names in their order, `2` before `10`. An image is
    turned upright (EXIF), cut to its central square and resized. Of an animation the first frame is
    taken, transparent parts become white, 16-bit grey is scaled to 8 bits, every other colour model
    is converted to RGB. If all images are grey, one channel is kept.

    Folders `train` and `test` (or `val`), with the classes in them, are taken as the two parts.
    Else the test images of a class are those with the lowest SHA-256 of their files: the choice
    depends on nothing but the content. What is passed over is logged, and stays in `remarks`.

    Args:
        path: the folder.
        image_size: side of the images, a multiple of 4 and at least 16.
        test_images: a folder of test images, with the same subfolders.
        test_fraction: fraction of each class's images that becomes the test split where no folder
            has one.
        follow_links: take links that lead out of the folder, too: for folders of your own.

    Returns:
        The data, for `class_incremental`.

    Raises:
        InputError: no folder, fewer than two classes, a class with too few images, a name that is
            no text, a link out of the folder, or images that cannot be read.

    Example:
        ```python
        # photos/cat/1.png, photos/cat/2.png, ..., photos/dog/1.png, ...
        data = dgm_tf.from_folder("photos", image_size=16)
        stream = dgm_tf.class_incremental(data)
        ```
    """
    data = read_folder(
        path,
        image_size=image_size,
        test_images=test_images,
        test_fraction=test_fraction,
        follow_links=follow_links,
    )
    for line in data.remarks:
        _log.warning("%s", line)
    return data


def read_folder(
    path: str | os.PathLike[str],
    *,
    image_size: int = DEFAULT_SIZE,
    test_images: str | os.PathLike[str] | None = None,
    test_fraction: float = TEST_FRACTION,
    follow_links: bool = False,
) -> ImageData:
    """`from_folder`, without logging."""
    size = _checks.image_size(image_size)
    fraction = _checks.fraction(test_fraction, "test_fraction", zero=False)
    found = folder_scan.parts(path, test_images, follow_links=follow_links)
    folder = paths.expanded(path)
    names = tuple(found.train)
    if len(names) < 2:
        raise InputError(
            f"{str(folder)!r} must have at least two subfolders with images, one per class, got "
            f"{len(names)}{''.join(f'; {line}' for line in found.remarks)}"
        )
    given = found.test is not None
    if given and (missing := [name for name in names if name not in found.test]):
        raise InputError(
            f"there are no test images of {_checks.listed(missing)}: each class needs some"
        )
    parts = {(name, False): files for name, files in found.train.items()}
    parts |= {(name, True): found.test[name] for name in names if given}
    read = read_all(parts, size)
    every = {name: read[name, False] for name in names}
    if given:
        pairs = [(read[name, False], read[name, True]) for name in names]
    else:
        pairs = [_divided(name, each, fraction) for name, each in every.items()]
    train, test = (dict(zip(names, part, strict=True)) for part in zip(*pairs, strict=True))
    remarks = [*found.remarks, *told_copies(every)]
    if given:
        remarks += told_copies(test, "test images")
    remarks += told_learnt(train, test)
    if given and (unknown := [name for name in found.test if name not in names]):
        listed = _checks.listed(unknown)
        remarks.append(f"test images of classes without training images passed over: {listed}")
    return _data(folder, size, train, test, remarks, found.passed_over, 0.0 if given else fraction)


def check_two(name: str, found: ClassImages) -> None:
    """Refuses a class that cannot be divided into images to learn and images to test with."""
    count = len(found.digests)
    if count < 2:
        copies = f" in {found.files} copies" if found.files > count else ""
        raise InputError(
            f"class {name} needs at least two images, one to learn and one to test, it has "
            f"{count}{copies}"
        )


def _divided(name: str, found: ClassImages, fraction: float) -> tuple[ClassImages, ClassImages]:
    check_two(name, found)
    return found.divided(found.held_out(fraction))


def _data(
    folder: pathlib.Path,
    size: int,
    train: Mapping[str, ClassImages],
    test: Mapping[str, ClassImages],
    remarks: Sequence[str],
    passed_over: int,
    fraction: float,
) -> ImageData:
    arrays = [_joined(train), _joined(test)]
    if all(image_file.is_grey(images) for images, _ in arrays):
        arrays = [(np.ascontiguousarray(images[..., :1]), labels) for images, labels in arrays]
    (images, labels), (test_images, test_labels) = arrays
    name = folder_scan.class_name(folder.resolve().name or "folder")
    source = counted(f"folder {name}", labels, test_labels)
    if passed_over:
        source += f", {passed_over} other {'entry' if passed_over == 1 else 'entries'} passed over"
    return ImageData(
        name=f"own-{name}" if name in NAMES else name,  # no numbers of others next to its own
        train_images=images,
        train_labels=labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=tuple(train),
        source=source,
        image_size=size,
        test_fraction=fraction,
        remarks=tuple(remarks),
    )


def _joined(classes: Mapping[str, ClassImages]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels, class by class."""
    images = np.concatenate([each.images for each in classes.values()])
    labels = np.repeat(np.arange(len(classes)), [len(each.images) for each in classes.values()])
    return images, labels


def read_classes(
    path: str | os.PathLike[str], *, image_size: int = DEFAULT_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Reads all images of a folder that has a subfolder per class, one class or more.

    Of folders `train` and `test` the first is read.

    Args:
        path: as in `from_folder`, whose rules hold for classes and images.
        image_size: as there.

    Returns:
        uint8 [N, image_size, image_size, 1 or 3] and the classes' names str [N].

    Raises:
        InputError: as in `from_folder`, but for the number of classes and images.
    """
    size = _checks.image_size(image_size)
    found = folder_scan.parts(path)
    classes = read_all(found.train, size)
    for line in [*found.remarks, *told_copies(classes)]:
        _log.warning("%s", line)
    images, labels = _joined(classes)
    if image_file.is_grey(images):
        images = np.ascontiguousarray(images[..., :1])
    return images, np.array([*classes])[labels]
