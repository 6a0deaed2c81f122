"""Grids of images as PNG files."""

import io
import math
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dgm_tf._checks import one_line
from dgm_tf.evaluation.sampling import some_of
from dgm_tf.storage.files import write_atomically

PER_CLASS = 10  # pictures of each class in the grids of a run
MOST_CLASSES = 40  # in such a grid

_LONGEST = 40  # letters of a label
_BACKGROUND = "white"
_GAP = 2  # pixels between pictures and around them
_ZOOM = 2  # each image pixel is a square of this side


def shown_classes(seen: Sequence[int], newest: Sequence[int]) -> list[int]:
    """The classes in the grid that a run writes after a task, in order of arrival.

    Args:
        seen: class ids of all tasks so far, in order of arrival.
        newest: those of the last one.

    Returns:
        All of up to 40. Of more there are 40: of the newest ones at least 20, if there are so many,
        and some of the others, the first among them.
    """
    if len(seen) <= MOST_CLASSES:
        return list(seen)
    earlier = seen[: len(seen) - len(newest)]
    chosen = some_of(newest, MOST_CLASSES - min(len(earlier), MOST_CLASSES // 2), seed=0)
    return [*some_of(earlier, MOST_CLASSES - len(chosen), seed=0), *chosen]


def sample_grid(
    images: np.ndarray,
    columns: int,
    path: str | os.PathLike[str],
    *,
    labels: Sequence[int | str],
) -> None:
    """Writes images side by side as a PNG file, atomically.

    Args:
        images: [N, H, W, C] with one or three channels, values in [-1, 1].
        columns: pictures in a row.
        path: the file to write; missing folders are made.
        labels: N class ids or names. Each class starts a row of its own, in the order in which
            classes first appear, with its label in front.

    Raises:
        InputError: the file cannot be written.
    """
    pixels = to_uint8(np.broadcast_to(images, (*images.shape[:3], 3)))
    pixels = pixels.repeat(_ZOOM, axis=1).repeat(_ZOOM, axis=2)
    rows = _rows(labels, columns)
    font = _font("".join(text for text, _ in rows))
    margin = max(math.ceil(font.getlength(text)) for text, _ in rows) + _GAP
    height, width = (side + _GAP for side in pixels.shape[1:3])
    size = margin + columns * width + _GAP, len(rows) * height + _GAP
    picture = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for row, (text, indices) in enumerate(rows):
        top = row * height + _GAP
        for column, index in enumerate(indices):
            place = margin + column * width + _GAP, top
            picture.paste(Image.fromarray(pixels[index]), place)
        middle = _GAP, top + (height - _GAP) // 2
        draw.text(middle, text, fill="black", font=font, anchor="lm")
    write_atomically(path, _png(picture))


def _font(text: str) -> ImageFont.FreeTypeFont:
    """Pillow's own font, or one of this machine's for letters that this one draws as boxes."""
    own = ImageFont.load_default()
    box = bytes(own.getmask("\uffff"))
    letters = frozenset(each for each in text if not each.isascii())
    if any(bytes(own.getmask(each)) == box for each in letters):
        from dgm_tf.reporting import fonts

        if (other := fonts.with_letters(letters)) is not None:
            return ImageFont.truetype(other[1], own.size)
    return own


def read_grid(path: str | os.PathLike[str], *, rows: int, image_shape: Sequence[int]) -> np.ndarray:
    """Reads back the images of a picture that `sample_grid` wrote, `PER_CLASS` in a row.

    Args:
        path: the PNG file.
        rows: rows in it, one per label.
        image_shape: (H, W, C) of each image.

    Returns:
        uint8 [rows, PER_CLASS, H, W, 3].

    Raises:
        ValueError: the picture has another size.
        OSError: the file cannot be read as a picture.
    """
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height, width = (_ZOOM * side + _GAP for side in image_shape[:2])
    margin = pixels.shape[1] - PER_CLASS * width - _GAP
    if pixels.shape[0] != rows * height + _GAP or margin < 0:
        raise ValueError(
            f"{rows} rows of {PER_CLASS} pictures of {image_shape[0]}x{image_shape[1]} were "
            f"wanted, got {pixels.shape[1]}x{pixels.shape[0]} pixels"
        )
    cells = pixels[_GAP:, margin + _GAP :].reshape(rows, height, PER_CLASS, width, 3)
    return cells[:, :-_GAP:_ZOOM, :, :-_GAP:_ZOOM].transpose(0, 2, 1, 3, 4)


def png(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as the bytes of a PNG file, grey where its channels are the same."""
    grey = (pixels == pixels[..., :1]).all()
    return _png(Image.fromarray(pixels[..., 0] if grey else pixels))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Maps [-1, 1] to 0..255, nearest; what lies outside is clipped and NaN becomes 0."""
    images = np.clip(np.nan_to_num(np.asarray(images, np.float64), nan=-1.0), -1.0, 1.0)
    return np.rint((images + 1.0) * 127.5).astype(np.uint8)


def _rows(labels: Sequence[int | str], columns: int) -> list[tuple[str, list[int]]]:
    """The label and the image indices of each row of the grid."""
    groups: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        groups.setdefault(str(label), []).append(index)
    return [
        (one_line(text, _LONGEST) if start == 0 else "", indices[start : start + columns])
        for text, indices in groups.items()
        for start in range(0, len(indices), columns)
    ]
