"""Folders of pictures as people have them: PNG and JPEG, of all sizes, some grey, some turned."""

import numpy as np
from PIL import Image

_TURNED = 6  # EXIF: the picture lies on its side


def square(level, seed, side=16):
    """Grey noise about a level, uint8 [side, side]."""
    noise = np.random.RandomState(seed).randint(-20, 20, (side, side))
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def write(folder, levels, *, count=10, side=16, colour=None):
    """A class for each name in `levels`, with images about its level.

    `colour` is the number of images of each class that are not grey.
    """
    for name, level in levels.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = square(level, 1000 * level + index, side)
            if colour is not None and index < colour:
                pixels = np.stack([pixels, pixels // 2, 255 - pixels], axis=-1)
            Image.fromarray(pixels).save(place / f"{index}.png")
    return folder


def photographs(folder, images, labels, names, *, count):
    """Photographs uint8 [N, H, W, 3] as a folder of mixed sizes, formats, colours and turns."""
    for label, name in enumerate(names):
        place = folder / name
        place.mkdir(parents=True)
        for index, pixels in enumerate(images[labels == label][:count]):
            photo = Image.fromarray(pixels)
            if index % 3 == 0:
                photo = photo.resize((48 + index, 40))
            elif index % 3 == 1:
                photo = photo.crop((2, 0, 30, 32))
            if index % 4 == 1:
                photo = photo.convert("L")
            exif = Image.Exif()
            if index % 5 == 2:
                photo = photo.transpose(Image.Transpose.ROTATE_90)
                exif[0x112] = _TURNED
            kind = ("png", "jpg")[index % 2]
            photo.save(place / f"{index}.{kind}", exif=exif)
    return folder
