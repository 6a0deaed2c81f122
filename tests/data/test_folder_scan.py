"""The entries of a folder of images: which are taken, and why others are not."""

import os
import pathlib

import pytest
from PIL import Image, features

from dgm_tf.data import folder_scan, image_file
from dgm_tf.data.folder_scan import scan
from tests.class_folders import write
from tests.refusals import refused


def names(found):
    return {name: sorted(file.name for file in files) for name, files in found.classes.items()}


def picture(path, kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), "red").save(path, kind)


@pytest.mark.parametrize("name", ["x.jfif", "x.JPE", "x.jpeg", "x.mpo", "x.webp", "x.pbm"])
def test_endings_of_images_are_known(name, tmp_path):
    write(tmp_path, {"a": 10}, count=1)
    (tmp_path / "a" / name).write_bytes(b"?")
    assert names(scan(tmp_path))["a"] == ["0.png", name]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_an_unknown_ending_or_none_is_no_matter_where_the_content_is_an_image(kind, tmp_path):
    for name in ("0123abcd", "photo.jpg_large"):
        picture(tmp_path / "a" / name, kind)
    found = scan(tmp_path)
    assert names(found) == {"a": ["0123abcd", "photo.jpg_large"]} and not found.passed_over


@pytest.mark.skipif(not features.check("avif"), reason="needs a Pillow with AVIF")
def test_avif_is_read_whatever_it_is_called(tmp_path):
    for name in ("a.avif", "b", "c.jpg"):
        picture(tmp_path / "a" / name, "AVIF")
    for file in scan(tmp_path).classes["a"]:
        red, green, blue = image_file.read_image(file, 16)[8, 8]
        assert red > 240 and green < 15 and blue < 15


def test_without_a_decoder_avif_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "_formats", lambda: ("PNG",))
    write(tmp_path, {"a": 10}, count=1)
    (tmp_path / "a" / "x.avif").write_bytes(b"\0\0\0 ftypavif")
    assert scan(tmp_path).passed_over == {".avif": 1}


def test_each_reason_is_counted(tmp_path):
    write(tmp_path, {"a": 10}, count=2)
    for name in ("1.heic", "2.HEIC", "raw.cr2", "no ending", ".hidden.png", "Thumbs.db"):
        (tmp_path / "a" / name).write_bytes(b"II*\0 no picture")
    os.symlink("/gone.png", tmp_path / "a" / "dead.png")
    picture(tmp_path / "outside.png")
    for folder in ("b", "a/folder.png"):
        (tmp_path / folder).mkdir()
    found = scan(tmp_path)
    assert found.passed_over == {
        ".heic": 2, ".cr2": 1, "without an ending": 1, "hidden or of the system": 2,
        "dead links": 1, "images in no class's folder": 1,
    }  # fmt: skip
    assert names(found) == {"a": ["0.png", "1.png"]} and found.empty == ["b"]
    lines = folder_scan.parts(tmp_path).remarks
    assert len(lines) == 2 and "2 images taken; passed over: .heic (2), hidden" in lines[0]
    assert lines[1] == f"{tmp_path}: nothing in b"


@pytest.mark.parametrize(
    "name",
    [
        "lost+found", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "#recycle",
        "__MACOSX", ".ipynb_checkpoints", ".Trash-1000", "LOST+FOUND",
    ],
)  # fmt: skip
def test_folders_of_the_system_are_no_classes(name, tmp_path):
    write(tmp_path, {"a": 10, "b": 20, name: 30}, count=2)
    write(tmp_path / "a", {name: 40}, count=2)
    found = scan(tmp_path)
    assert names(found) == {"a": ["0.png", "1.png"], "b": ["0.png", "1.png"]}
    assert found.passed_over == {"hidden or of the system": 2}
    assert folder_scan.parts(tmp_path).remarks == []


def test_images_in_folders_below_a_class_are_its_own_and_it_is_said(tmp_path):
    write(tmp_path, {"cat": 10, "dog": 20}, count=2)
    write(tmp_path / "cat", {"wild": 30}, count=3)
    write(tmp_path / "cat" / "wild", {"big": 40}, count=1)
    found = folder_scan.parts(tmp_path)
    assert len(found.train["cat"]) == 6 and len(found.train["dog"]) == 2
    assert found.remarks == [
        f"{tmp_path}: classes are its own subfolders; 4 of 8 images lie in folders below"
    ]


def test_a_plain_folder_has_nothing_to_be_said_of(tmp_path):
    assert folder_scan.parts(write(tmp_path, {"a": 10, "b": 20})).remarks == []


def test_a_link_below_a_class_may_not_lead_out(tmp_path):
    write(tmp_path / "own", {"a": 10}, count=2)
    write(tmp_path / "foreign", {"b": 10}, count=2)
    os.symlink(tmp_path / "foreign" / "b", tmp_path / "own" / "a" / "more")
    with refused("leaves the folder"):
        scan(tmp_path / "own")
    assert len(scan(tmp_path / "own", follow_links=True).classes["a"]) == 4


def test_a_part_may_link_to_the_other_part_of_its_folder(tmp_path):
    write(tmp_path / "train", {"a": 10, "b": 20}, count=3)
    (tmp_path / "test").mkdir()
    os.symlink("../train/a", tmp_path / "test" / "a")
    assert len(folder_scan.parts(tmp_path).test["a"]) == 3
    os.symlink(write(tmp_path.parent / "foreign", {"c": 10}) / "c", tmp_path / "train" / "c")
    with refused("leaves the folder"):
        folder_scan.parts(tmp_path)


def test_links_in_a_circle_bring_no_class_and_no_image(tmp_path):
    write(tmp_path, {"a": 10}, count=2)
    os.symlink(tmp_path, tmp_path / "all")
    os.symlink("..", tmp_path / "a" / "up")
    (tmp_path / "a" / "below").mkdir()
    os.symlink("..", tmp_path / "a" / "below" / "back")
    found = scan(tmp_path)
    assert names(found) == {"a": ["0.png", "1.png"]} and found.empty == ["all"]


def test_a_folder_without_a_class_is_refused_with_what_it_has(tmp_path):
    picture(tmp_path / "0.png")
    with refused("has none", "images in no class's folder (1)"):
        folder_scan.parts(tmp_path)


def test_of_folders_that_may_not_be_listed_the_one_is_named(tmp_path, monkeypatch):
    write(tmp_path, {"a": 10, "b": 20}, count=1)
    listed = pathlib.Path.iterdir

    def denied(place):
        if place.name == "b":
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(pathlib.Path, "iterdir", denied)
    with refused(repr(str(tmp_path / "b")), "cannot be listed: Permission denied"):
        scan(tmp_path)
