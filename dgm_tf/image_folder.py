"""A folder of images, one subfolder per class, as a data set."""

import collections
import concurrent.futures
import functools
import os
import pathlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgm_tf import _checks, paths
from dgm_tf.datasets import DEFAULT_SIZE, ImageData, counted, stratified_cut
from dgm_tf.errors import InputError

_IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
)
# Pillow recognises a file by its content, whatever it is called, and knows formats that are
# programs (EPS starts Ghostscript). Only these are opened.
_PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_MAX_PIXELS = 64_000_000

GREY, RGB = "grey", "RGB"  # what a data set's images are learnt as


def from_folder(
    path: str | os.PathLike[str],
    *,
    image_size: int = DEFAULT_SIZE,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> ImageData:
    """Reads a folder that has one subfolder of images per class.

    Classes take their ids from the subfolders' names in their order, `2` before `10`. An image is
    turned upright (EXIF), cut to its central square and resized. Of an animation the first frame is
    taken, transparent parts become white, 16-bit grey is scaled to 8 bits, every other colour model
    is converted to RGB. If all images are grey, one channel is kept.

    Args:
        path: the folder. Files in it, hidden entries, and files in the subfolders that are not
            called like images are passed over.
        image_size: side of the images, a multiple of 4 and at least 16.
        test_fraction: fraction of each class's images that becomes the test split.
        seed: determines that split.

    Raises:
        InputError: no folder, fewer than two classes, a class with fewer than two images, a name
            that is no text, a link out of the folder, or an image that cannot be read.
    """
    image_size = _checks.image_size(image_size)
    test_fraction = _checks.fraction(test_fraction, "test_fraction", zero=False)
    seed = _checks.integer(seed, "seed", low=0)
    folder = paths.expanded(path)
    class_names, images, labels = _read_classes(folder, image_size, least=2)
    train, test = stratified_cut(labels, test_fraction, seed=seed, use="test")
    name = _text(folder.resolve().name or "folder")
    return ImageData(
        name=name,
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        class_names=class_names,
        source=counted(f"folder {name} cut with seed {seed}", train, test),
        image_size=image_size,
    )


def read_classes(
    path: str | os.PathLike[str], *, image_size: int = DEFAULT_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Reads all images of a folder that has a subfolder per class, one class or more.

    Args:
        path: as in `from_folder`, whose rules hold for classes and images.
        image_size: as there.

    Returns:
        uint8 [N, image_size, image_size, 1 or 3] and the classes' names str [N].

    Raises:
        InputError: as in `from_folder`, but for the number of classes and images.
    """
    size = _checks.image_size(image_size)
    names, images, labels = _read_classes(paths.expanded(path), size, least=1)
    return images, np.array(names)[labels]


def _read_classes(
    folder: pathlib.Path, size: int, *, least: int
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names of the classes, images, and labels int64 [N] by the place of the names."""
    files_by_class = _checked(folder, list_classes(folder), least)
    files = [file for files in files_by_class.values() for file in files]
    labels = np.repeat(np.arange(len(files_by_class)), [*map(len, files_by_class.values())])
    return tuple(files_by_class), _read_images(files, size), labels


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts names as people do, by the numbers in them: `2` before `10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def list_classes(path: str | os.PathLike[str]) -> dict[str, list[pathlib.Path]]:
    """The image files of each subfolder of a folder, by its name, `2` before `10`.

    Raises:
        InputError: no folder, a name that is no text, two that are one (NFC), or a link out of the
            folder.
    """
    folder = paths.expanded(path)
    try:
        if not folder.is_dir():
            raise InputError(
                f"{str(folder)!r} is no folder: name one that has a subfolder of images per class"
            )
        classes: dict[str, list[pathlib.Path]] = {}
        for entry in sorted(folder.iterdir(), key=lambda entry: natural(entry.name)):
            if not entry.is_dir() or _is_passed_over(entry):
                continue
            if (name := _text(entry.name)) in classes:
                raise InputError(
                    f"{str(folder)!r} has two subfolders called {name}, in two forms of Unicode: "
                    "put their images together"
                )
            files = (_within(file, folder) for file in entry.iterdir() if _is_image(file))
            classes[name] = sorted(files)
        return classes
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise InputError(f"{str(folder)!r} cannot be listed: {_checks.reason(error)}") from error


def _checked(
    folder: pathlib.Path, classes: dict[str, list[pathlib.Path]], least: int
) -> dict[str, list[pathlib.Path]]:
    """Classes, of which there must be so many, with so many files each."""
    wanted, reason = ("two", " (one to train, one to test)") if least == 2 else ("one", "")
    if len(classes) < least:
        raise InputError(
            f"{str(folder)!r} must have at least {wanted} subfolders, one per class, "
            f"got {len(classes)}"
        )
    for name, files in classes.items():
        if len(files) < least:
            raise InputError(
                f"class folder {str(folder / name)!r} must hold at least {wanted} images{reason}, "
                f"got {len(files)}; images are files called {', '.join(sorted(_IMAGE_SUFFIXES))}"
            )
    return classes


def _text(name: str) -> str:
    """A folder's name, fit to be that of a class or of the data in reports and in JSON."""
    if not _checks.is_line(name):
        raise InputError(
            f"the name of folder {name!r} must be text of one line of at most "
            f"{_checks.LINE_LIMIT} characters: rename it"
        )
    return unicodedata.normalize("NFC", name)  # as a text that is typed is; macOS has it apart


def _within(file: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{_checks.one_line(repr(str(file)))} is a link that leaves the folder "
            f"{str(folder)!r}: put a copy in its place"
        )
    return file


def _is_passed_over(entry: pathlib.Path) -> bool:
    return entry.name.startswith(".") or entry.name in ("__MACOSX", "__pycache__")


def _is_image(file: pathlib.Path) -> bool:
    return file.suffix.lower() in _IMAGE_SUFFIXES and not _is_passed_over(file) and file.is_file()


def _read_images(files: Sequence[pathlib.Path], size: int) -> np.ndarray:
    """uint8 [N, size, size, 3], or one channel if every image is grey."""
    images = read_images(files, size)
    if is_grey(images):
        return np.ascontiguousarray(images[..., :1])
    return images


def read_images(files: Sequence[pathlib.Path], size: int) -> np.ndarray:
    """Images as `read_image` gives them, uint8 [N, size, size, 3].

    Raises:
        InputError: an image cannot be read.
    """
    images = np.empty((len(files), size, size, 3), np.uint8)
    # Pillow decodes without holding Python's lock.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        reading = collections.deque(pool.submit(read_image, file, size) for file in files)
        try:
            for row in range(len(files)):
                images[row] = reading.popleft().result()
        finally:
            for waiting in reading:
                waiting.cancel()
    return images


def is_grey(images: np.ndarray) -> bool:
    """Whether the channels of each pixel [..., 3] are equal."""
    return bool((images[..., :1] == images).all())


def in_colours(images: np.ndarray, colours: str) -> np.ndarray:
    """Images uint8 [..., 3] as those of a grey or of a coloured data set.

    Args:
        images: red, green, blue.
        colours: `RGB` for the images themselves, `GREY` for one channel: the luma of ITU-R 601,
            which of a grey pixel is its own level.

    Returns:
        uint8 [..., 3] or [..., 1].
    """
    if colours == RGB:
        return images
    weights = np.array([19595, 38470, 7471], np.uint32)  # their sum is 2**16
    luma = (images.astype(np.uint32) @ weights + 2**15) >> 16
    return luma.astype(np.uint8)[..., np.newaxis]


def read_image(file: str | os.PathLike[str], size: int) -> np.ndarray:
    """One image as every command reads it, uint8 [size, size, 3].

    It is turned upright (EXIF), its transparent parts become white, its central square is cut out
    and resized bilinearly, with antialiasing. These rules are version 1 of
    `dgm_tf.runs.run_format.GEOMETRY`.

    Raises:
        InputError: it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=_pillow_formats()) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(
                    f"{image.width} x {image.height} pixels are more than {_MAX_PIXELS:,}"
                )
            # A large JPEG is decoded at a fraction of its size, still twice what is needed.
            image.draft(image.mode, (2 * size, 2 * size))
            upright = ImageOps.exif_transpose(image)
            square = _central_square(_to_rgb(upright))
            return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    # Decoders of damaged files raise nearly anything.
    except Exception as error:
        raise InputError(
            f"image {_checks.one_line(repr(str(file)))} cannot be read: {_checks.reason(error)}; "
            "repair or remove it"
        ) from error


def _central_square(image: Any) -> Any:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


@functools.cache
def _pillow_formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in _PILLOW_FORMATS if name in Image.OPEN)


def _to_rgb(image: Any) -> Any:
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        # Pillow's own conversion cuts 16-bit values off at 255.
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError("its pixels are wider than 16 bits")
        grey = np.round(levels / 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")
