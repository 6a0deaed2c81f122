"""Image files as every command reads them, and the colours of images."""

import concurrent.futures
import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.terminal import quiet

GEOMETRY = 1  # version of the rules for reading pictures; docs/how-to/memory.md has them

# Pillow recognises a file by its content, whatever it is called, and knows formats that are
# programs (EPS starts Ghostscript). Only these are opened; by each the endings of its files.
_ENDINGS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
}
# Of the formats that no other kind of file begins like: raw photographs begin like TIFF.
_BEGINNINGS = {
    "PNG": (0, (b"\x89PNG\r\n\x1a\n",)),
    "JPEG": (0, (b"\xff\xd8\xff",)),
    "GIF": (0, (b"GIF87a", b"GIF89a")),
    "WEBP": (8, (b"WEBPVP8",)),
    "AVIF": (4, (b"ftypavif", b"ftypavis")),
}
_MAX_PIXELS = 64_000_000
_BLOCK = 2**20
_SPARE = 32
_MOST_NAMED = 5  # of the files that cannot be read

GREY, RGB = "grey", "RGB"  # what a data set's images are learnt as


@functools.cache
def _formats() -> tuple[str, ...]:
    """The formats that Pillow reads here; AVIF is missing in older releases."""
    from PIL import Image, features

    Image.init()
    optional = [name for name in ("WEBP", "AVIF") if name.lower() in features.modules]
    without = [name for name in optional if not features.check_module(name.lower())]
    return tuple(name for name in _ENDINGS if name in Image.OPEN and name not in without)


def endings() -> tuple[str, ...]:
    """How the names of images end, in lower case."""
    return tuple(sorted(ending for name in _formats() for ending in _ENDINGS[name]))


def is_image(file: pathlib.Path) -> bool:
    """Whether a regular file is taken for an image: by its ending or, with an unknown one or none,
    by its first bytes."""
    return file.suffix.lower() in endings() or _begins_like_one(file)


def _begins_like_one(file: pathlib.Path) -> bool:
    try:
        with open(file, "rb") as opened:
            beginning = opened.read(16)
    except OSError:
        return False
    return any(
        beginning.startswith(texts, place)
        for name, (place, texts) in _BEGINNINGS.items()
        if name in _formats()
    )


def read_image(file: str | os.PathLike[str] | BinaryIO, size: int) -> np.ndarray:
    """One image, of a path or an open file, as every command reads it, uint8 [size, size, 3].

    It is turned upright (EXIF), its transparent parts become white, its central square is cut out
    and resized bilinearly, with antialiasing. These rules are version 1 of `GEOMETRY`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if not isinstance(file, str | os.PathLike):
            return _decoded(file, size)
        with open(file, "rb") as opened:
            return _decoded(opened, size)
    # Decoders of damaged files raise nearly anything.
    except Exception as error:
        raise _unreadable(file, error) from error


def read_files(
    files: Sequence[pathlib.Path], size: int, *, up_to: Sequence[str] | None = None
) -> tuple[list[str], np.ndarray]:
    """Digests of files, and their images as `read_image` gives them.

    Args:
        files: N paths.
        size: side of the images.
        up_to: by file the digest up to which it is decoded; None decodes all.

    Returns:
        SHA-256 of each file in hex, and uint8 [N, size, size, 3]; what is not decoded stays 0.

    Raises:
        InputError: some cannot be read; it says how many, and names the first.
    """
    images = np.zeros((len(files), size, size, 3), np.uint8)

    def read(row: int) -> str | Exception:
        try:
            with open(files[row], "rb") as opened:
                digest = _digest(opened)
                if up_to is None or digest <= up_to[row]:
                    images[row] = _decoded(opened, size)
            return digest
        except Exception as error:
            return error

    # Pillow decodes without holding Python's lock.
    with quiet.without_chatter(), concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(read, range(len(files))))
    wrong = [row for row, each in enumerate(found) if isinstance(each, Exception)]
    if not wrong:
        return found, images
    if len(wrong) == 1:
        raise _unreadable(files[wrong[0]], found[wrong[0]])
    named = [
        f"{_checks.one_line(repr(str(files[row])))} ({_reason(found[row])})"
        for row in wrong[:_MOST_NAMED]
    ]
    more = f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    raise InputError(
        f"{len(wrong)} of {len(files)} images cannot be read: {', '.join(named)}{more}; repair or "
        "remove them"
    )


def _unreadable(file: str | os.PathLike[str], error: Exception) -> InputError:
    advice = "repair or remove it"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        advice = "name an image file"
    elif isinstance(error, IsADirectoryError):
        advice = f"name the files in it, such as {_checks.one_line(str(file).rstrip('/'))}/*"
    return InputError(
        f"image {_checks.one_line(repr(str(file)))} cannot be read: {_reason(error)}; {advice}"
    )


def _digest(opened: BinaryIO) -> str:
    """SHA-256 of a file, which then stands at its beginning again."""
    digest = hashlib.sha256()
    while block := opened.read(_BLOCK):
        digest.update(block)
    opened.seek(0)
    return digest.hexdigest()


def _decoded(opened: BinaryIO, size: int) -> np.ndarray:
    from PIL import Image

    with Image.open(opened, formats=_formats()) as image:
        if image.width * image.height > _MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {_MAX_PIXELS:,}")
        # A large JPEG is decoded at a fraction of its size, in a fraction of the time, but still so
        # many times what is needed that no level differs by more than four from the whole one's.
        image.draft(image.mode, (_SPARE * size, _SPARE * size))
        square = _central_square(_upright(image))
        return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def pixels(picture: Any) -> np.ndarray:
    """Pixels of a Pillow picture as of its file, uint8 [H, W, 3], neither cut nor resized.

    Raises:
        ValueError: they have no range that is known.
    """
    return np.asarray(_upright(picture))


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return _to_rgb(ImageOps.exif_transpose(image))


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"it is damaged, or none of {', '.join(_formats())}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {_MAX_PIXELS:,} pixels"
    return _checks.reason(error)


def _central_square(image: Any) -> Any:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


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


def is_grey(images: np.ndarray) -> bool:
    """Whether the channels of each pixel [..., 3] are equal."""
    return bool((images[..., :1] == images).all())


def in_colours(images: np.ndarray, channels: int) -> np.ndarray:
    """Images with as many channels as a data set or a network has.

    Colours become grey by the luma of ITU-R 601, which of a grey pixel is its own level; grey
    becomes three equal channels.

    Args:
        images: uint8 or float32 [..., 1 or 3].
        channels: 1 or 3.

    Returns:
        The same kind of array, [..., channels].
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    weights = np.array([19595, 38470, 7471])  # their sum is 2**16
    if images.dtype == np.uint8:
        luma = (images.astype(np.uint32) @ weights.astype(np.uint32) + 2**15) >> 16
    else:
        luma = images.astype(np.float64) @ (weights / 2**16)  # exact where the channels are equal
    return luma.astype(images.dtype)[..., np.newaxis]
