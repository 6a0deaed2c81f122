"""A folder of images: what is read, and the one line that is said when it cannot be."""

import hashlib
import io
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, PngImagePlugin

from dgm_tf.data import image_file
from dgm_tf.data.image_folder import from_folder
from dgm_tf.data.pixels import to_float
from dgm_tf.data.stream import class_incremental
from dgm_tf.errors import InputError
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
    assert data.source == "folder pets, 8 training and 2 test images"
    assert data.image_size == SIDE


def test_numbers_in_names_count_as_numbers(tmp_path):
    for name in ("10", "2", "0", "b2", "b10", "a"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(2):
            Image.new("L", (16, 16), number).save(folder / f"{number}.png")
    data = from_folder(tmp_path, image_size=16)
    assert data.class_names == ("0", "2", "10", "a", "b2", "b10")


def test_the_test_part_of_a_class_is_the_images_with_the_lowest_sha256(tmp_path):
    two_classes(tmp_path, count=10)
    data = from_folder(tmp_path, image_size=SIDE, test_fraction=0.3)
    assert data.test_labels.tolist() == [0, 0, 0, 1, 1, 1] and data.test_fraction == 0.3
    files = sorted(
        (tmp_path / "cats").iterdir(), key=lambda f: hashlib.sha256(f.read_bytes()).hexdigest()
    )
    reds = [100 + int(file.stem) for file in files]
    assert data.test_images[:3, 0, 0, 0].tolist() == reds[:3]
    assert data.train_images[:7, 0, 0, 0].tolist() == reds[3:]


def test_the_same_images_in_another_place_by_other_names_are_the_same_data(tmp_path):
    first = from_folder(two_classes(tmp_path / "pets"), image_size=SIDE)
    (tmp_path / "pets").rename(tmp_path / "moved")
    for place, file in enumerate(sorted((tmp_path / "moved" / "cats").iterdir(), reverse=True)):
        file.rename(file.with_name(f"renamed {place}.png"))
    shutil.copy(next((tmp_path / "moved" / "dogs").iterdir()), tmp_path / "moved" / "dogs" / "copy")
    moved = from_folder(tmp_path / "moved", image_size=SIDE)
    assert moved.fingerprint == first.fingerprint
    assert moved.remarks == ("images that are copies in their class, not counted: 1",)
    with pytest.raises(InputError, match=r"larger than a class.*copies in their class.*: 1\)$"):
        class_incremental(moved).check_batch(1000)


def test_a_folder_called_like_a_known_data_set_is_not_that_one(tmp_path):
    data = from_folder(two_classes(tmp_path / "svhn_cropped"), image_size=SIDE)
    assert data.name == "own-svhn_cropped" and data.validation_fraction == 0.15


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
        save(tmp_path / "b" / f"{index}.png", flat((1, 2, index)))
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
        ([], ["must have a subfolder of images per class"]),
        (["0.png", "1.png"], ["it has none", "passed over: images in no class's folder (2)"]),
        (["only/0.png"], ["at least two subfolders", "got 1"]),
        ([*TWO_CLASSES, "c/notes.heic"], ["c'", "must hold images, got .heic (1)", ".png"]),
        ([*TWO_CLASSES, "c/0.png"], ["class c needs at least two images", "it has 1"]),
    ],
)
def test_too_few_classes_or_images_are_refused(files, texts, tmp_path):
    for number, name in enumerate(files):
        save(tmp_path / name, flat((1, 2, number)), format="PNG")
        if name.endswith(".heic"):
            (tmp_path / name).write_bytes(b"ftypheic")
    with refused(*texts):
        from_folder(tmp_path)
    with refused("is no folder"):
        from_folder(tmp_path / "typo")


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
        image_file.read_image(tmp_path / "cats" / "bomb.png", SIDE)


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


def test_pillow_does_not_warn_of_what_is_read(tmp_path, recwarn):
    folder = two_classes(tmp_path)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x03\0" + b"\x12\x01\x03\0\xff\xff\xff\xff"  # and no more
    flat((9, 9, 9)).save(folder / "cats" / "exif.jpg", exif=exif)
    with Image.open(folder / "cats" / "exif.jpg") as image:
        image.getexif()
    assert recwarn.pop(UserWarning)
    recwarn.clear()
    assert len(from_folder(folder).train_labels) == 9
    assert not [each for each in recwarn if "PIL" in each.filename]


def test_a_file_that_is_not_there_is_not_to_be_repaired(tmp_path):
    with refused("cannot be read", "name an image file"):
        image_file.read_image(tmp_path / "gone.png", SIDE)
    with refused("cannot be read", f"name the files in it, such as {tmp_path}/*"):
        image_file.read_image(f"{tmp_path}/", SIDE)


def test_a_large_jpeg_is_seen_as_the_whole_picture_within_four_levels():
    blocks = np.random.RandomState(5).randint(0, 256, (5, 12, 24, 3)).astype(np.uint8)
    farthest = []
    for number, each in enumerate(blocks):
        size = (1501 + 37 * number, 1249 + 11 * number)
        file = encoded(Image.fromarray(each).resize(size, Image.Resampling.NEAREST), "JPEG")
        with Image.open(io.BytesIO(file)) as picture:
            whole = to_float(np.asarray(picture)[np.newaxis], SIDE).numpy()[0]
        found = image_file.read_image(io.BytesIO(file), SIDE)
        farthest.append(np.abs(found - np.rint((whole + 1) * 127.5)).max())
    assert 1 < max(farthest) <= 4  # 1 is what rounding makes


def test_all_damaged_images_are_counted_and_the_first_named_in_one_line(tmp_path):
    two_classes(tmp_path, count=9)
    for number in range(7):
        (tmp_path / ("cats", "dogs")[number % 2] / f"{number}.png").write_bytes(b"?")
    names = [f"{number}.png' (it is damaged, or none of PNG, " for number in (0, 2, 4, 6, 1)]
    with refused("7 of 18 images cannot be read:", *names, " and 2 more; repair or remove them"):
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
    ],
)
def test_a_folders_arguments_out_of_range_are_refused_before_it_is_read(options, text, tmp_path):
    with refused(text):
        from_folder(tmp_path / "not there", **options)


# The pixels that a client has who decodes a file by himself.


def photograph(mode, size):
    """Blots of 8 pixels in any mode."""
    random = np.random.RandomState(0)
    blots = random.randint(0, 256, (max(2, size[1] // 8), max(2, size[0] // 8), 3))
    photo = Image.fromarray(blots.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    return photo.convert(mode)


@pytest.mark.parametrize("size", [(24, 72), (72, 24), (5, 5), (1, 9), (33, 31), (1000, 800)])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "png"), ("RGB", "jpg"), ("L", "png"), ("P", "png"), ("CMYK", "jpg"), ("I;16", "png")],
)
def test_a_file_has_the_pixels_that_its_array_is_brought_to(mode, kind, size, tmp_path):
    file = tmp_path / f"photo.{kind}"
    photograph(mode, size).save(file)
    with Image.open(file) as opened:
        whole = np.asarray(opened.convert("RGB"))
        if mode == "I;16":
            levels = np.round(np.asarray(opened) / 257).astype(np.uint8)
            whole = np.repeat(levels[..., np.newaxis], 3, axis=-1)
    array = (to_float(whole[np.newaxis], 32).numpy()[0] + 1) * 127.5
    assert np.abs(image_file.read_image(file, 32) - array).max() < 1.01


# Given splits, and a class of too few.


def part(folder, *, first=0, count=4, classes=("a", "b")):
    for level, name in enumerate(classes):
        for index in range(first, first + count):
            save(folder / name / f"{index}.png", flat((index, 0, 100 * level)))
    return folder


def reds(images):
    return sorted(set(images[:, 0, 0, 0].tolist()))


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Train", "val"), ("training", "Valid"), ("TRAIN", "validation")],
)
def test_train_and_test_folders_are_the_parts(train, test, tmp_path):
    part(tmp_path / train)
    part(tmp_path / test, first=50, count=2)
    data = from_folder(tmp_path, image_size=SIDE)
    assert reds(data.train_images) == [0, 1, 2, 3] and reds(data.test_images) == [50, 51]
    assert data.class_names == ("a", "b") and data.test_fraction == 0
    assert f"training images from {train}, test images from {test}" in data.remarks[0]


def test_of_test_and_val_the_first_is_taken_and_the_others_are_said(tmp_path):
    for number, name in enumerate(("train", "dev", "validation", "val", "eval", "test")):
        part(tmp_path / name, first=10 * number)
    data = from_folder(tmp_path, image_size=SIDE)
    assert reds(data.test_images) == [50, 51, 52, 53]
    assert data.remarks[0].endswith("from test; val, validation, eval, dev passed over")


def test_a_test_folder_without_classes_is_passed_over_for_one_that_has_them(tmp_path):
    part(tmp_path / "train")
    part(tmp_path / "val", first=30)
    save(tmp_path / "test" / "unknown.png", flat((9, 9, 9)))
    data = from_folder(tmp_path, image_size=SIDE)
    assert reds(data.test_images) == [30, 31, 32, 33]
    assert data.remarks[0].endswith("test images from val; test passed over")


def test_a_train_folder_alone_is_cut(tmp_path):
    part(tmp_path / "train", count=10)
    data = from_folder(tmp_path, image_size=SIDE)
    assert (len(data.train_labels), len(data.test_labels)) == (16, 4)
    assert data.remarks[0].endswith("test images are a part of them")


def test_another_folder_can_have_the_test_images(tmp_path):
    part(tmp_path / "images")
    part(tmp_path / "others", first=70, classes=("a", "b", "c"))
    data = from_folder(tmp_path / "images", image_size=SIDE, test_images=tmp_path / "others")
    assert reds(data.train_images) == [0, 1, 2, 3] and reds(data.test_images) == [70, 71, 72, 73]
    assert data.remarks == ("test images of classes without training images passed over: c",)
    part(tmp_path / "images", first=70, count=1)
    data = from_folder(tmp_path / "images", image_size=SIDE, test_images=tmp_path / "others")
    assert "test images that are training images, too: 2" in data.remarks
    with refused("no test images of c"):
        from_folder(tmp_path / "others", test_images=tmp_path / "images")


def test_classes_may_be_called_like_parts(tmp_path):
    part(tmp_path, classes=("train", "car", "test"))
    assert from_folder(tmp_path, image_size=SIDE).class_names == ("car", "test", "train")


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (("train/a", "train/b", "test/a", "cat", "dog"), "some are parts and others may be"),
        (("train", "test"), "none of which has training images in a folder per class"),
        (("test/a", "val/a"), "none of which has training images"),
        (("a/train", "a/test", "b/train", "b/test"), "make them folders above the classes"),
        (("data/a", "data/b"), "has one subfolder, data, whose subfolders have the images"),
    ],
)
def test_folders_that_may_be_parts_or_classes_are_refused(files, text, tmp_path):
    for number, name in enumerate(files):
        for index in range(3):
            save(tmp_path / name / f"{index}.png", flat((number, 0, index)))
    with refused(text):
        from_folder(tmp_path)


def test_what_was_not_taken_is_logged_once(tmp_path, caplog):
    two_classes(tmp_path)
    (tmp_path / "cats" / "a.heic").write_bytes(b"?")
    data = from_folder(tmp_path, image_size=SIDE)
    assert [record.getMessage() for record in caplog.records] == list(data.remarks)
    assert data.remarks == (f"{tmp_path}: 10 images taken; passed over: .heic (1)",)
    assert data.source.endswith("2 test images, 1 other entry passed over")


def test_links_out_of_the_folder_are_taken_where_they_are_allowed(tmp_path):
    store = two_classes(tmp_path / "store")
    own = tmp_path / "own"
    own.mkdir()
    (own / "cats").symlink_to(store / "cats")
    (own / "dogs").mkdir()
    for file in (store / "dogs").iterdir():
        (own / "dogs" / file.name).symlink_to(file)
    with refused("leaves the folder", "--follow_links"):
        from_folder(own, image_size=SIDE)
    data = from_folder(own, image_size=SIDE, follow_links=True)
    assert data.fingerprint == from_folder(store, image_size=SIDE).fingerprint
