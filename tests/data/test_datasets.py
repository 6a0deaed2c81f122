"""Sources of images: what they yield, and the one line each says when they cannot."""

import io
import logging
import os
import pathlib
import shutil
import urllib.error

import numpy as np
import pytest
import scipy.io
import sklearn.datasets
import tensorflow_datasets as tfds

from dgm_tf.data import datasets
from dgm_tf.data.datasets import ImageData, from_arrays, load_data, stratified_cut
from tests import tfds_fixture
from tests.refusals import refused

# The record that every source fills.


def arrays(*, images=8, classes=2, channels=1, side=6):
    labels = np.arange(images) % classes
    pixels = np.random.RandomState(0).randint(0, 256, (images, side, side, channels))
    return {
        "images": pixels.astype(np.uint8),
        "labels": labels,
        "test_images": pixels[::-1].astype(np.uint8),
        "test_labels": labels[::-1],
    }


def test_arrays_are_taken_as_they_are():
    given = arrays(channels=3)
    data = from_arrays(**given, class_names=["left", "right"], name="sides")
    np.testing.assert_array_equal(data.train_images, given["images"])
    np.testing.assert_array_equal(data.test_labels, given["test_labels"])
    assert np.shares_memory(data.train_images, given["images"])
    assert (data.name, data.class_names) == ("sides", ("left", "right"))
    assert data.source == "arrays, 8 training and 8 test images"


def test_arrays_without_channels_and_labels_in_a_column_are_understood():
    given = arrays(classes=3)
    flat = {
        "images": given["images"][..., 0],
        "labels": given["labels"][:, np.newaxis].astype(np.uint8),
        "test_images": given["test_images"][..., 0],
        "test_labels": given["test_labels"].tolist(),
    }
    data = from_arrays(**flat)
    np.testing.assert_array_equal(data.train_images, given["images"])
    np.testing.assert_array_equal(data.train_labels, given["labels"])
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64
    assert data.class_names == ("0", "1", "2")


def test_names_may_be_a_dictionary_by_id():
    data = from_arrays(**{**arrays(), "class_names": {1: "dog", 0: "cat"}})
    assert data.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("changed", "texts"),
    [
        ({"images": np.zeros((8, 6, 6, 1), np.float32)}, ["uint8", "0 to 255", "got float32"]),
        ({"images": np.zeros((8, 6, 6, 1), np.int64)}, ["uint8", "got int64"]),
        ({"images": np.full((8, 6, 6, 1), None)}, ["uint8", "got object"]),
        ({"images": [[1, 2], [3]]}, ["must form one array"]),
        ({"images": np.zeros((8, 36), np.uint8)}, ["[N, height, width", "got (8, 36)"]),
        ({"images": np.zeros((8, 6, 6, 2), np.uint8)}, ["1 or 3 channels", "(8, 6, 6, 2)"]),
        ({"images": np.zeros((0, 6, 6, 1), np.uint8)}, ["training images", "(0, 6, 6, 1)"]),
        ({"test_images": np.zeros((8, 5, 6, 1), np.uint8)}, ["one shape", "(5, 6, 1)"]),
        ({"labels": np.arange(7)}, ["one label each: 8 images"]),
        ({"labels": np.eye(8, dtype=int)}, ["one label each", "(8, 8)"]),
        ({"labels": 3}, ["one label each"]),
        ({"labels": np.linspace(0, 1, 8)}, ["labels must be integers", "got float64"]),
        ({"test_labels": np.array(list("abababab"))}, ["test_labels must be integers"]),
        ({"labels": np.full(8, True)}, ["labels must be integers", "got bool"]),
        ({"labels": np.array([0, 1, 0, 1, 0, 1, 0, -1])}, ["0 to 1", "got -1 to 1"]),
        ({"labels": np.array([0, 1, 0, 1, 0, 1, 0, 10**15])}, ["got 0 to 1000000000000000"]),
        ({"labels": np.array([0, 2] * 4)}, ["every class needs training images", "class 1 (1)"]),
        ({"test_labels": np.zeros(8, int)}, ["every class needs test images", "class 1 (1)"]),
        ({"class_names": ["a"]}, ["at least two classes, got 1"]),
        ({"class_names": "ab"}, ["a list of names", "'ab'"]),
        ({"class_names": {1: "a", 2: "b"}}, ["each id from 0", "1, 2"]),
        ({"class_names": ["a", "b", "c"]}, ["none of class 2 (c)"]),
    ],
)
def test_arrays_of_another_kind_are_refused(changed, texts):
    with refused(*texts):
        from_arrays(**{**arrays(), **changed})


def test_a_record_made_by_hand_is_checked_too():
    given = arrays()
    fields = dict(
        name="mine", train_images=given["images"], train_labels=given["labels"],
        test_images=given["test_images"], test_labels=given["test_labels"],
        class_names=("a", "b"), source="by hand",
    )  # fmt: skip
    assert ImageData(**fields).image_size == 32
    with refused("int64", "got int32"):
        ImageData(**{**fields, "train_labels": given["labels"].astype(np.int32)})
    with refused("uint8", "got list"):
        ImageData(**{**fields, "train_images": given["images"].tolist()})
    with refused("multiple of 4"):
        ImageData(**{**fields, "image_size": 30})


def test_a_fingerprint_tells_one_changed_pixel_or_label_apart():
    original = from_arrays(**arrays()).fingerprint
    assert from_arrays(**arrays()).fingerprint == original
    for field in ("images", "labels", "test_images", "test_labels"):
        given = arrays(images=9)
        base = from_arrays(**given).fingerprint
        given[field] = given[field].copy()
        given[field].flat[0] ^= 1
        assert from_arrays(**given).fingerprint != base


# The cut into two parts.


def test_a_cut_takes_its_fraction_of_each_class():
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], [50, 9, 100]))
    kept, held_out = stratified_cut(labels, 0.2, seed=0, use="test")
    assert sorted([*kept, *held_out]) == list(range(159))
    assert np.bincount(labels[held_out]).tolist() == [10, 2, 20]
    assert (np.diff(kept) > 0).all() and (np.diff(held_out) > 0).all()


@pytest.mark.parametrize(
    ("rows", "fraction", "expected"), [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (5, 0.0, 0)]
)
def test_a_cut_leaves_no_class_without_a_kept_row(rows, fraction, expected):
    _, held_out = stratified_cut(np.zeros(rows, int), fraction, seed=0, use="test")
    assert len(held_out) == expected


def test_a_cut_depends_on_seed_and_use_and_on_no_other_class():
    labels = np.repeat([0, 1], [40, 40])
    base = stratified_cut(labels, 0.25, seed=0, use="test")[1].tolist()
    assert stratified_cut(labels, 0.25, seed=0, use="test")[1].tolist() == base
    assert stratified_cut(labels, 0.25, seed=1, use="test")[1].tolist() != base
    assert stratified_cut(labels, 0.25, seed=0, use="validation")[1].tolist() != base
    single = stratified_cut(labels[:40], 0.25, seed=0, use="test")[1].tolist()
    assert [row for row in base if row < 40] == single


# The bundled digits.


def test_digits_are_scikit_learns_scaled_to_8_bits_and_cut_for_good():
    data = load_data("digits")
    assert data.train_images.shape == (1438, 8, 8, 1) and data.test_images.shape == (359, 8, 8, 1)
    bundle = sklearn.datasets.load_digits()
    levels = np.floor(bundle.images * 255 / 16 + 0.5).astype(np.uint8)
    images = np.concatenate([data.train_images, data.test_images])
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert sorted(zip(images.reshape(-1, 64).tolist(), labels, strict=True)) == sorted(
        zip(levels.reshape(-1, 64).tolist(), bundle.target, strict=True)
    )
    assert np.bincount(data.test_labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert data.fingerprint == "1c4561764c008f52"  # Golden: other numbers mean another split.


# TensorFlow Datasets.


OFFICIAL = {
    "mnist": " (not the official 60000 and 10000)",
    "fashion_mnist": "",
    "svhn_cropped": " (not the official 73257 and 26032)",
    "cifar10": " (not the official 50000 and 10000)",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with small stand-ins of all data sets of TFDS, and what was written, by name."""
    folder = tmp_path_factory.mktemp("tfds")
    return folder, {name: tfds_fixture.write_small(name, folder) for name in tfds_fixture.VERSIONS}


@pytest.fixture
def mnist(prepared, tmp_path):
    """The folder of a MNIST that may be changed, in `tmp_path`."""
    return shutil.copytree(prepared[0] / "mnist", tmp_path / "mnist") / "3.0.1"


@pytest.mark.parametrize("name", tfds_fixture.VERSIONS)
def test_prepared_data_is_what_was_written_in_few_reads_or_many(name, prepared, monkeypatch):
    folder, written = prepared
    if name == "fashion_mnist":
        monkeypatch.setitem(datasets._OFFICIAL_COUNTS, name, (60, 20))
    monkeypatch.setattr(datasets, "_RECORDS_PER_READ", 7 if name == "mnist" else 1000)
    data = load_data(name, data_dir=folder)
    for images, labels, split in (
        (data.train_images, data.train_labels, "train"),
        (data.test_images, data.test_labels, "test"),
    ):
        np.testing.assert_array_equal(images, written[name][split][0])
        np.testing.assert_array_equal(labels, written[name][split][1])
    assert data.class_names[3] == ("Dress" if name == "fashion_mnist" else "3")
    assert data.source == (
        f"tfds {name} {tfds_fixture.VERSIONS[name]}, 60 training and 20 test images{OFFICIAL[name]}"
    )


def test_the_splits_train_and_test_are_read_and_no_other(tmp_path):
    split = tfds_fixture.small_split("svhn_cropped", 1, seed=0)
    splits = {"train": split, "test": split, "extra": split}
    folder = tfds_fixture.write("svhn_cropped", tmp_path, splits)
    for file in folder.glob("*extra*"):
        file.unlink()
    assert len(load_data("svhn_cropped", data_dir=tmp_path).train_labels) == 10
    tfds_fixture.write("mnist", tmp_path, {"train": tfds_fixture.small_split("mnist", 1, seed=0)})
    with refused("mnist", "no split 'test'"):
        load_data("mnist", data_dir=tmp_path)


def records(folder, split="train"):
    (file,) = folder.glob(f"*-{split}.tfrecord-*")
    return file


def flip_a_byte(folder):
    content = bytearray(records(folder).read_bytes())
    content[len(content) // 2] ^= 255
    records(folder).write_bytes(content)


DAMAGES = {
    "cut short": lambda folder: os.truncate(records(folder), 400),
    "a byte flipped": flip_a_byte,
    "records lost": lambda folder: shutil.copy(records(folder, "test"), records(folder)),
    "no records": lambda folder: records(folder).unlink(),
    "a garbled description": lambda folder: (folder / "dataset_info.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_is_refused_in_one_line(damage, mnist, tmp_path, caplog):
    DAMAGES[damage](mnist)
    with refused("mnist", "again"):
        load_data("mnist", data_dir=tmp_path)
    assert not caplog.records


def test_data_in_another_file_format_is_refused(mnist, tmp_path):
    description = mnist / "dataset_info.json"
    description.write_text(description.read_text().replace('"tfrecord"', '"array_record"'))
    with refused("mnist", "stored as array_record", "prepare it as tfrecord"):
        load_data("mnist", data_dir=tmp_path)


@pytest.fixture
def no_network(monkeypatch):
    def fail(request, timeout):
        assert timeout <= 30
        raise urllib.error.URLError("Name or service not known")

    def download(self, **_):
        raise AssertionError("a download began")

    monkeypatch.setattr(datasets.urllib.request, "urlopen", fail)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)


@pytest.mark.usefixtures("no_network")
def test_without_a_network_one_line_says_what_to_do(tmp_path, caplog):
    with refused("mnist is not in", str(tmp_path), "cannot be reached", "--data_dir", "'digits'"):
        load_data("mnist", data_dir=tmp_path)
    assert not caplog.records and not list(tmp_path.iterdir())
    (tmp_path / "train_32x32.mat").touch()
    with refused("svhn_cropped is not in", "train_32x32.mat and test_32x32.mat", "--data_dir"):
        load_data("svhn_cropped", data_dir=tmp_path)


@pytest.mark.usefixtures("no_network")
def test_data_one_or_two_levels_away_is_named(mnist, tmp_path):
    folder = tmp_path / "above" / "data"
    shutil.copytree(mnist.parent, folder / "mnist")
    for place in (folder / "mnist/3.0.1", folder / "mnist", folder.parent):
        with refused(f"mnist is not in {place}", f"but in {folder}: name that"):
            load_data("mnist", data_dir=place)
    assert len(load_data("mnist", data_dir=folder).train_labels) == 60


@pytest.mark.usefixtures("no_network")
def test_data_of_another_version_is_named(mnist, tmp_path):
    mnist.rename(mnist.with_name("3.0.0"))
    with refused(f"mnist is in {tmp_path} in version 3.0.0, 3.0.1 is wanted", "cannot be fetched"):
        load_data("mnist", data_dir=tmp_path)


def test_the_size_of_svhns_download_is_said_before_it_begins(tmp_path, monkeypatch, caplog):
    def download(self, **_):
        assert "1.5 GB" in caplog.text and "'extra'" in caplog.text
        raise OSError("No space left on device")

    monkeypatch.setattr(datasets, "_unreachable", lambda url: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)
    with caplog.at_level(logging.WARNING), refused("svhn_cropped", "No space left on device"):
        load_data("svhn_cropped", data_dir=tmp_path)


def test_missing_data_is_downloaded_into_the_folder_that_was_named(prepared, tmp_path, monkeypatch):
    def download(self, **_):
        assert pathlib.Path(self.data_path) == tmp_path / "mnist" / "3.0.1"
        shutil.copytree(prepared[0] / "mnist", tmp_path / "mnist")
        self.info.read_from_directory(self.data_path)

    monkeypatch.setattr(datasets, "_unreachable", lambda url: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)
    assert len(load_data("mnist", data_dir=tmp_path).train_labels) == 60


def test_a_host_counts_as_reachable_when_it_answers_whatever_it_says(monkeypatch):
    def refuse(request, timeout):
        raise urllib.error.HTTPError(request.full_url, 403, "Forbidden", {}, io.BytesIO())

    monkeypatch.setattr(datasets.urllib.request, "urlopen", refuse)
    assert datasets._unreachable("http://somewhere/file") is None


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("mnits", ["unknown data set 'mnits'", "did you mean 'mnist'?", "digits, mnist"]),
        ("svhn", ["did you mean 'svhn_cropped'?"]),
        ("imagenet_resized/64x64", ["unknown data set", "cifar10"]),
        ("", ["unknown data set ''"]),
        ("two\nlines", ["unknown data set"]),
        (None, ["unknown data set None"]),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_there_are(name, texts):
    with refused(*texts):
        load_data(name)


def test_a_folder_in_place_of_a_name_is_told_the_way(tmp_path):
    with refused("is a folder", "dgm_tf.from_folder(path)", "--dataset=folder --images=DIR"):
        load_data(str(tmp_path))


def test_a_data_dir_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "typo", tmp_path / "file"):
        with refused("data_dir", "is no folder"):
            load_data("mnist", data_dir=place)


# SVHN's original files.


def write_svhn_files(folder, *, seed=0):
    written = []
    for file, count in (("train_32x32.mat", 20), ("test_32x32.mat", 10)):
        pixels = np.random.RandomState(seed).randint(0, 256, (32, 32, 3, count)).astype(np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, np.newaxis]  # 1 to 10
        scipy.io.savemat(folder / file, {"X": pixels, "y": labels}, do_compression=True)
        written.append((pixels, labels))
    return written


@pytest.mark.parametrize("place", [".", "svhn"])
def test_svhns_original_files_are_read_directly(place, tmp_path, no_network):
    (tmp_path / place).mkdir(exist_ok=True)
    (train_pixels, _), (test_pixels, _) = write_svhn_files(tmp_path / place)
    data = load_data("svhn_cropped", data_dir=tmp_path)
    assert data.train_images.shape == (20, 32, 32, 3)
    np.testing.assert_array_equal(data.train_images[4], train_pixels[:, :, :, 4])
    np.testing.assert_array_equal(data.test_images[9], test_pixels[:, :, :, 9])
    # The file's label 10 is the digit 0; image i has label i + 1.
    assert data.train_labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    assert data.source == (
        "SVHN's original files, 20 training and 10 test images (not the official 73257 and 26032)"
    )


@pytest.mark.parametrize(
    "content",
    [
        {"X": np.zeros((32, 32, 3, 9), np.uint8), "y": np.ones((8, 1))},
        {"X": np.zeros((9, 32, 32, 3), np.uint8), "y": np.ones((9, 1))},
        {"X": np.zeros((32, 32, 3, 9)), "y": np.ones((9, 1))},
        {"y": np.ones((9, 1))},
        b"no MATLAB file",
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(100),
    ],
)
def test_other_files_of_svhns_names_are_refused(content, tmp_path):
    write_svhn_files(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / "test_32x32.mat").write_bytes(content)
    else:
        scipy.io.savemat(tmp_path / "test_32x32.mat", content)
    with refused("test_32x32.mat", "is not one of SVHN's original files"):
        load_data("svhn_cropped", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["cat\n", "", "a" * 1001])
def test_a_name_of_a_class_that_no_file_could_hold_is_refused(name):
    with refused("expected names of classes that are one line"):
        from_arrays(**{**arrays(), "class_names": [name, "dog"]})


def test_names_of_classes_that_look_the_same_are_the_same():
    apart, whole = "a\u0308pfel", "\u00e4pfel"
    assert from_arrays(**{**arrays(), "class_names": [apart, "dog"]}).class_names == (whole, "dog")
    with refused(f"two classes called {whole!r}"):
        from_arrays(**{**arrays(), "class_names": [apart, whole]})
