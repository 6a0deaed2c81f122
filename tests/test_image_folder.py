"""A folder of images: what is read, and the one line that is said when it cannot be."""

import io
import os
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, PngImagePlugin

from dgm_tf import image_folder
from dgm_tf.image_folder import from_folder
from tests.refusals import refused

SIDE = 16


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def flat(colour, mode="RGB", size=(SIDE, SIDE)):
    return Image.new(mode, size, colour)


def two_classes(folder, *, count=5):
    """Classes "cats" (red, brighter with its number) and "dogs" (blue)."""
    for index in range(count):
        save(folder / "cats" / f"{index}.png", flat((100 + index, 0, 0)))
        save(folder / "dogs" / f"{index}.png", flat((0, 0, 100 + index)))
    return folder


def pixels_of(data, class_id=0):
    """All images of a class, brightest first."""
    images = np.concatenate([data.train_images, data.test_images])
    labels = np.concatenate([data.train_labels, data.test_labels])
    chosen = images[labels == class_id]
    return chosen[np.argsort(-chosen.sum(axis=(1, 2, 3), dtype=int))]


def test_subfolders_are_classes_in_ascending_order_of_their_names(tmp_path):
    data = from_folder(two_classes(tmp_path / "pets"), image_size=SIDE)
    assert data.class_names == ("cats", "dogs") and data.name == "pets"
    assert data.train_images.shape == (8, SIDE, SIDE, 3) and data.train_images.dtype == np.uint8
    assert data.test_labels.tolist() == [0, 1]
    assert (pixels_of(data, 0)[:, 0, 0] == [[c, 0, 0] for c in (104, 103, 102, 101, 100)]).all()
    assert (pixels_of(data, 1)[:, 0, 0] == [[0, 0, c] for c in (104, 103, 102, 101, 100)]).all()
    assert data.source == "folder pets cut with seed 0, 8 training and 2 test images"
    assert data.image_size == SIDE


def test_numbers_in_names_count_as_numbers(tmp_path):
    for name in ("10", "2", "0", "b2", "b10", "a"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(2):
            Image.new("L", (16, 16), number).save(folder / f"{number}.png")
    data = from_folder(tmp_path, image_size=16)
    assert data.class_names == ("0", "2", "10", "a", "b2", "b10")


def test_the_test_split_is_a_fraction_of_each_class_and_follows_the_seed(tmp_path):
    two_classes(tmp_path, count=10)
    cuts = [from_folder(tmp_path, image_size=SIDE, test_fraction=0.3, seed=s) for s in (1, 1, 2)]
    assert cuts[0].test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert cuts[0].fingerprint == cuts[1].fingerprint != cuts[2].fingerprint


def test_what_is_no_image_is_passed_over(tmp_path):
    two_classes(tmp_path)
    for path in ("notes.txt", "cats/Thumbs.db", "cats/.hidden.png", "dogs/labels.csv"):
        (tmp_path / path).write_text("not an image")
    for path in (".git", "__MACOSX", "dogs/more.png"):
        (tmp_path / path).mkdir()
    data = from_folder(tmp_path, image_size=SIDE)
    assert len(data.train_labels) + len(data.test_labels) == 10 and len(data.class_names) == 2


def wide():
    image = flat((255, 0, 0), size=(96, 32))
    image.paste((0, 255, 0), (32, 0, 64, 32))
    return image


def lying():
    """White on the left; shown turned by 90 degrees clockwise, on top."""
    image = flat((0, 0, 0))
    image.paste((255, 255, 255), (0, 0, SIDE // 2, SIDE))
    exif = Image.Exif()
    exif[0x0112] = 6
    return image, exif.tobytes()


def upright():
    white, black = np.full((SIDE // 2, SIDE, 3), 255), np.zeros((SIDE // 2, SIDE, 3))
    return np.concatenate([white, black])


ANIMATION = {"save_all": True, "append_images": [flat((200, 0, 0))], "duration": 50}
SHOWN = {
    "CMYK": (flat((0, 255, 255, 0), "CMYK"), "x.tif", {}, (255, 0, 0)),
    "opaque": (flat((200, 100, 50, 255), "RGBA"), "x.png", {}, (200, 100, 50)),
    "clear": (flat((200, 100, 50, 0), "RGBA"), "x.png", {}, (255, 255, 255)),
    "clear grey": (flat((10, 0), "LA"), "x.png", {}, (255, 255, 255)),
    "palette": (flat((200, 100, 50)).quantize(4), "x.gif", {}, (200, 100, 50)),
    "one bit": (flat(1, "1"), "x.png", {}, (255, 255, 255)),
    "grey": (flat(77, "L"), "x.bmp", {}, (77, 77, 77)),
    "16 bits": (Image.fromarray(np.full((9, 9), 51400, np.uint16)), "x.png", {}, (200, 200, 200)),
    "white": (Image.fromarray(np.full((9, 9), 65535, np.uint16)), "x.tiff", {}, (255, 255, 255)),
    "32 bits": (Image.fromarray(np.full((9, 9), 25700, np.int32)), "x.tif", {}, (100, 100, 100)),
    "first frame": (flat((0, 0, 200)), "x.gif", ANIMATION, (0, 0, 200)),
    "central square": (wide(), "x.png", {}, (0, 255, 0)),
    "turned upright": (lying()[0], "x.png", {"exif": lying()[1]}, upright()),
}


@pytest.mark.parametrize("case", SHOWN)
def test_every_kind_of_image_becomes_an_rgb_square(case, tmp_path):
    image, name, options, expected = SHOWN[case]
    save(tmp_path / "a" / name, image, **options)
    save(tmp_path / "a" / "zz.png", flat((0, 0, 0)))
    for index in range(2):
        save(tmp_path / "b" / f"{index}.png", flat((1, 2, 3)))
    np.testing.assert_array_equal(
        *np.broadcast_arrays(pixels_of(from_folder(tmp_path, image_size=SIDE))[0], expected)
    )


def test_grey_images_keep_one_channel_and_one_coloured_pixel_makes_three(tmp_path):
    for name in ("a", "b"):
        for index in range(3):
            save(tmp_path / name / f"{index}.png", flat(50 * index, "L"))
    save(tmp_path / "b" / "rgb.png", flat((9, 9, 9)))
    assert from_folder(tmp_path, image_size=SIDE).train_images.shape[-1] == 1
    dotted = flat((9, 9, 9))
    dotted.putpixel((3, 3), (9, 10, 9))
    save(tmp_path / "b" / "rgb.png", dotted)
    assert from_folder(tmp_path, image_size=SIDE).train_images.shape[-1] == 3


TWO_CLASSES = ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]


@pytest.mark.parametrize(
    ("files", "texts"),
    [
        ([], ["at least two subfolders", "got 0"]),
        (["only/0.png"], ["at least two subfolders", "got 1"]),
        ([*TWO_CLASSES, "c/notes.txt"], ["c'", "at least two images", "got 0", ".png"]),
        ([*TWO_CLASSES, "c/0.png"], ["c'", "at least two images", "got 1"]),
    ],
)
def test_too_few_classes_or_images_are_refused(files, texts, tmp_path):
    for name in files:
        save(tmp_path / name, flat((1, 2, 3)), format="PNG")
    with refused(*texts):
        from_folder(tmp_path)
    with refused("is no folder"):
        from_folder(tmp_path / "typo")


def test_a_folder_that_may_not_be_listed_is_refused(tmp_path, monkeypatch):
    def deny(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "iterdir", deny)
    with refused("cannot be listed", "Permission denied"):
        from_folder(tmp_path)


def encoded(image, kind):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8))


def png_that_claims(width, height):
    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image_data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", image_data)
        + chunk(b"IEND", b"")
    )  # fmt: skip


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    two_classes(tmp_path)
    (tmp_path / "cats" / "bomb.png").write_bytes(png_that_claims(9000, 8000))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    with refused("bomb.png", "9000 x 8000 pixels are more than 64,000,000"):
        image_folder.read_image(tmp_path / "cats" / "bomb.png", SIDE)


def test_a_program_that_is_called_an_image_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was run"))
    two_classes(tmp_path)
    (tmp_path / "cats" / "program.png").write_bytes(POSTSCRIPT)
    with refused("program.png"):
        from_folder(tmp_path)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.png", b"this is no image"),
        ("empty.jpg", b""),
        ("truncated.png", encoded(NOISE, "PNG")[:-3000]),
        ("truncated.jpg", encoded(NOISE, "JPEG")[:-1000]),
        ("truncated.gif", encoded(NOISE, "GIF")[:-1000]),
        ("float.tif", encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")),
        ("wide.tif", encoded(Image.fromarray(np.full((4, 4), 70000, np.int32)), "TIFF")),
        ("bomb.png", png_that_claims(60000, 60000)),
        ("two\nlines.png", b"this is no image"),
    ],
)
def test_an_image_that_cannot_be_read_is_named_in_one_line(name, content, tmp_path):
    two_classes(tmp_path)
    (tmp_path / "cats" / name).write_bytes(content)
    with refused("cannot be read", name.split("\n")[0], "repair or remove it"):
        from_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_called_like_an_image_is_not_waited_for(tmp_path):
    two_classes(tmp_path)
    os.mkfifo(tmp_path / "cats" / "pipe.png")
    assert len(from_folder(tmp_path).train_labels) == 8


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"image_size": 18}, "multiple of 4"),
        ({"image_size": "32"}, "got '32'"),
        ({"test_fraction": 0}, "between 0 and 1, got 0"),
        ({"test_fraction": 1.0}, "between 0 and 1, got 1.0"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_a_folders_arguments_out_of_range_are_refused_before_it_is_read(options, text, tmp_path):
    with refused(text):
        from_folder(tmp_path / "not there", **options)
